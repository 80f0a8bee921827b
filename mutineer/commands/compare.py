"""`mutineer compare`: what is different in a second run. Reads only."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from mutineer.completing import complete_runs

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from rich.console import Console

    from campaigns.judging.comparison import Change, Comparison, Ended, Row, Side
    from campaigns.judging.statistics import Interval
    from campaigns.store import Run
    from injector.rules import JSONValue, Rule

__all__ = ["command"]

SCHEMA = 1
"""Of the `--json` output; counts incompatible changes."""

_SHOWN = 40
"""Changes that are listed; --json has them all. Arbitrary: a screen."""


@click.command("compare")
@click.argument("a", shell_complete=complete_runs)
@click.argument("b", shell_complete=complete_runs)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(a: str, b: str, as_json: bool) -> None:
    """Compare run A with run B (names below runs/ or folders): such as before and after an upgrade.

    Experiments are the same where their ids are. Shares are of the experiments that were judged and fired, with 95 %
    intervals; how much they moved is estimated from the experiments that both runs have judged.

    \b
    Examples:
      mutineer compare nightly-6 nightly-7
      mutineer compare nightly-6 nightly-7 --json | jq -r '.changed[] | select(.worse) | .id'
    """
    from campaigns.judging.comparison import compare
    from campaigns.run_folder import find_run
    from campaigns.store import open_run

    with open_run(find_run(a)) as first, open_run(find_run(b)) as second:
        sides = _side(first), _side(second)
        rules = {each.id: each.rule for run in (second, first) for each in run.plan.experiments if each.rule}
        found = compare(*sides)
    if as_json:
        click.echo(json.dumps(_document(*sides, found, rules), indent=2, ensure_ascii=False))
    else:
        _print(*sides, found, rules)


def _side(run: Run) -> Side:
    from campaigns.judging.comparison import Side, ended

    faults = {each.id: each for each in run.plan.experiments if not each.golden}
    records = {record.planned.id: record for record in run.records(observations=False)}
    return Side(
        name=run.folder.resolve().name,
        planned=frozenset(faults),
        ended={
            each: ended(planned, records[each].verdict, stratum=planned.stratum)
            for each, planned in faults.items()
            if each in records
        },
        metadata=run.metadata,
        weights={stratum.name: float(stratum.population) for stratum in run.plan.strata},
    )


def _document(a: Side, b: Side, found: Comparison, rules: dict[str, Rule]) -> dict[str, JSONValue]:
    from mutineer.report.sentences import what_was_done

    def end(value: Ended) -> dict[str, JSONValue]:
        return {
            "verdict": value.state.value,
            "orchestrator": value.orchestrator.value if value.orchestrator else None,
            "client": value.client.value if value.client else None,
        }

    def change(each: Change) -> dict[str, JSONValue]:
        sentence = what_was_done(rules[each.id], None)
        return {"id": each.id, "sentence": sentence, "a": end(each.a), "b": end(each.b), "worse": each.worse}

    def interval(value: Interval | None) -> dict[str, JSONValue] | None:
        return None if value is None else {"estimate": value.estimate, "low": value.low, "high": value.high}

    return {
        "schema": SCHEMA,
        "a": a.name,
        "b": b.name,
        "judged_in_both": found.same + len(found.changed),
        "changed": [change(each) for each in found.changed],
        "judged_in_one": [change(each) for each in found.unclear],
        "only_planned_in_a": found.only_a,
        "only_planned_in_b": found.only_b,
        "rates": [
            {
                "of": row.of,
                "class": row.failure,
                "a": {"count": row.count_a, "judged": row.judged_a, "rate": interval(row.a)},
                "b": {"count": row.count_b, "judged": row.judged_b, "rate": interval(row.b)},
                "change": interval(row.change),
                "pairs": None if row.pairs is None else dataclasses.asdict(row.pairs),
                "p": row.p,
            }
            for row in found.rows
        ],
        "caveats": list(found.caveats),
    }


def _print(a: Side, b: Side, found: Comparison, rules: dict[str, Rule]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False)
    both, worse = found.same + len(found.changed), sum(each.worse for each in found.changed)
    head = f"{a.name} → {b.name}: {both} experiments were judged in both"
    tail = f"; {len(found.changed)} ended otherwise, {worse} of them worse" if both else ""
    console.print(Text(head + tail, style="bold"))
    _print_changes(console, found, rules)
    if any(row.judged_a or row.judged_b for row in found.rows):
        console.print()
        _print_rows(console, a, b, found.rows)
    console.print()
    console.print(Text("What this can't tell", style="bold"))
    for caveat in found.caveats:
        console.print(Padding(Text(caveat), (0, 0, 0, 2)))


def _print_changes(console: Console, found: Comparison, rules: dict[str, Rule]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from mutineer.report.sentences import what_was_done

    listed = (*found.changed, *found.unclear)
    for each in listed[:_SHOWN]:
        style = "" if each in found.unclear else "red" if each.worse else "green"
        console.print()
        console.print(Text.assemble((each.id, "bold cyan"), "  ", (f"{each.a.words} → {each.b.words}", style)))
        console.print(Padding(Text(what_was_done(rules[each.id], None)), (0, 0, 0, 2)))
    if (more := len(listed) - _SHOWN) > 0:
        console.print(Text(f"\n… and {more} more; --json has them all"))


def _print_rows(console: Console, a: Side, b: Side, rows: tuple[Row, ...]) -> None:
    """Classes that never came in either run are left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("class", f"A {a.name}", f"B {b.name}", "change, points", "p"):
        table.add_column(column, overflow="fold")
    for row in rows:
        if not row.count_a and not row.count_b:
            continue
        certain = row.change is not None and not row.change.low <= 0 <= row.change.high
        table.add_row(
            Text(f"clients {row.failure}" if row.of == "client" else row.failure),
            Text(_rate(row.count_a, row.judged_a, row.a)),
            Text(_rate(row.count_b, row.judged_b, row.b)),
            Text(_moved(row.change), style="bold" if certain else ""),
            Text("" if row.p is None else f"{row.p:.3f}"),
        )
    console.print(table)
    pairs = next((row.pairs for row in rows if row.pairs is not None), None)
    how = f"from the {pairs.count} in both (paired)" if pairs is not None else "from two samples"
    console.print(Text(f"95 % intervals in brackets; the change is estimated {how}", style="dim"))


def _rate(count: int, of: int, rate: Interval | None) -> str:
    if rate is None:
        return "none judged"
    return f"{count} of {of}: {100 * rate.estimate:.1f}% [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _moved(change: Interval | None) -> str:
    if change is None:
        return "-"
    return f"{100 * change.estimate:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
