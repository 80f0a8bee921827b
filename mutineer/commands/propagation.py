"""`mutineer propagation`: how far faults got, over a whole run. Reads only."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from mutineer.commands.shares import BY
from mutineer.completing import complete_runs
from mutineer.counting import counted

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from campaigns.judging.spreading import Row

__all__ = ["command"]

SCHEMA = 1
"""Of the `--json` output: {"schema", "by", "rows": [{"name", "experiments", "stored", "taken", "furthest" (steps or
null), "healed", "healed_s" (median or null), "otherwise" (or null), "through": {component: experiments}, "kinds":
{kind: experiments}}]}, numbers of experiments but for these two."""
_SHOWN = 5
"""Components and kinds that are shown; JSON has them all, row by row."""


@click.command("propagation")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.option("--by", type=click.Choice(BY), default="role", show_default=True, help="What makes a row.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(run: str | None, by: str, as_json: bool) -> None:
    """Show how far faults got: who took wrong values over, who put them right, what ended otherwise (RUN: default the
    newest).

    Counts experiments whose fault fired, from the traces of what etcd held. `mutineer show RUN ID` tells the same of
    one, object by object.

    \b
    Examples:
      mutineer propagation
      mutineer propagation paper-1 --by kind
      mutineer propagation paper-1 --json
    """
    from campaigns.judging.shares import DIMENSIONS
    from campaigns.judging.spreading import rows, spreads
    from campaigns.run_folder import find_run
    from campaigns.store import open_run
    from classifiers.verdict import Activation
    from mutineer.interrupts import interruptible

    with open_run(find_run(run)) as opened:
        folder = opened.folder
        fired = [
            record
            for record in opened.records(observations=False)
            if record.verdict.activation not in (None, Activation.NOT_FIRED)
        ]
    with interruptible():
        found = spreads(folder, [record.planned.id for record in fired], counted)
    table = rows(found, {record.planned.id: DIMENSIONS[by](record) for record in fired})
    if as_json:
        document = {"schema": SCHEMA, "by": by, "rows": [dataclasses.asdict(row) for row in table]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(str(folder), table, by, len(fired) - len(found))


def _print(folder: str, rows: tuple[Row, ...], by: str, without: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(Text(f"{folder}: how far faults got, by {by}", style="bold"))
    if not rows:
        console.print("no fault fired in an experiment that has a trace")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(by, overflow="fold")
    for name in ("fired", "wrong value stored", "taken over", "put right", "others ended otherwise"):
        table.add_column(name, justify="right")
    for row in rows:
        taken = (
            f"{row.taken} ({row.furthest} step{'s' if row.furthest != 1 else ''})" if row.furthest else str(row.taken)
        )
        right = f"{row.healed} ({row.healed_s:.1f} s)" if row.healed_s is not None else str(row.healed)
        table.add_row(row.name, str(row.experiments), str(row.stored), taken, right, _known(row.otherwise))
    console.print(table)
    *_, everything = rows
    for what, times in (("Taken over through", everything.through), ("Ended otherwise", everything.kinds)):
        if times:
            console.print(f"{what}: {_most(times)}")
    console.print(
        Text(
            "In brackets: at most so many steps away; so long after the fault (median); in so many experiments.",
            style="dim",
        )
    )
    if without:
        console.print(Text(f"{without} more fired, and have no trace that could be read.", style="dim"))


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _most(counted: Mapping[str, int]) -> str:
    """With the number of experiments."""
    shown = [f"{name} ({number})" for name, number in list(counted.items())[:_SHOWN]]
    return ", ".join((*shown, "…")) if len(counted) > _SHOWN else ", ".join(shown)
