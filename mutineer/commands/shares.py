"""`mutineer shares`: which failures come of what is hit. Reads only."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from mutineer.completing import complete_runs

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from campaigns.judging.shares import Row
    from campaigns.judging.statistics import Interval

__all__ = ["BY", "command"]

SCHEMA = 1
"""Of the `--json` output: {"schema", "by", "of", "rows": [{"name", "experiments", "population", "shares": {group:
[estimate, low, high]}}], "paper": {group: share}, "caveats": [text]}, shares as fractions."""
BY = ("role", "kind", "model", "channel", "workload")
_WIDE = 96
"""Columns that the table needs with a share and its interval side by side."""
_BASES = ("planned", "fired", "effective")
"""Those of campaigns.judging.shares, which a test compares: loading it takes a while."""


@click.command("shares")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.option("--by", type=click.Choice(BY), default="role", show_default=True, help="What makes a row.")
@click.option("--of", "base", type=click.Choice(_BASES), default="fired", show_default=True,
              help="What a percentage is of.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(run: str | None, by: str, base: str, as_json: bool) -> None:
    """Show the share of each class of failure by the role of the field that was hit (RUN: default the newest).

    Shares are estimated for all the faults that the plan was drawn from, by the weights of its strata, with 95 %
    intervals that respect that experiments on one object are alike.

    \b
    Examples:
      mutineer shares paper-1
      mutineer shares paper-1 --by kind --of effective
      mutineer shares paper-1 --json
    """
    from campaigns.judging.shares import DIMENSIONS, PAPER, Base, caveats, rows
    from campaigns.run_folder import find_run
    from campaigns.store import open_run

    with open_run(find_run(run)) as opened:
        populations = {stratum.name: stratum.population for stratum in opened.plan.strata}
        records = [record for record in opened.records(observations=False) if not record.planned.golden]
        folder = opened.folder
    found = rows(records, populations, DIMENSIONS[by], Base(base))
    said = caveats(records, populations, Base(base))
    if as_json:
        document = {
            "schema": SCHEMA, "by": by, "of": base, "rows": [_document(row) for row in found],
            "paper": {group.value: share for group, share in PAPER.items()}, "caveats": said,
        }  # fmt: skip
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(str(folder), found, by, base, said)


def _document(row: Row) -> dict[str, object]:
    def numbers(share: Interval) -> list[float]:
        return [share.estimate, share.low, share.high]

    shares = {group.value: numbers(share) for group, share in row.shares.items()}
    return {"name": row.name, "experiments": row.experiments, "population": row.population, "shares": shares}


def _print(folder: str, found: tuple[Row, ...], by: str, base: str, said: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from campaigns.judging.shares import PAPER, Group, in_words

    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(Text(f"{folder}: failures by {by}, of the {base} experiments", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(by, overflow="fold")
    for name in (base, "stand for", *Group):
        table.add_column(str(name), justify="right", no_wrap=name in (base, "stand for"))
    apart = " " if console.width >= _WIDE else "\n"
    for row in found:
        told = (in_words(row.shares[group]).replace(" [", f"{apart}[") for group in Group)
        table.add_row(row.name, f"{row.experiments:,}", f"{row.population:,.0f}", *told)
    paper = (f"{PAPER[group] * 100:.0f} %" if group in PAPER else "" for group in Group)
    table.add_row(Text("the paper", style="dim"), "", "", *(Text(share, style="dim") for share in paper))
    console.print(table)
    for words in said:
        console.print(Text(words, style="dim"))
