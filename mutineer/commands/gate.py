"""`mutineer gate`: whether a run is good enough, for a pipeline. Reads only."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mutineer.completing import complete_runs
from mutineer.exit_codes import ExitCode

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from rich.console import Console

    from campaigns.judging.gate import Check, Gate, Outcome
    from campaigns.judging.gate_policy import GatePolicy
    from campaigns.record import ExperimentRecord
    from campaigns.store import Run
    from injector.rules import JSONValue

__all__ = ["command", "gate_of"]

SCHEMA = 1
"""Of the `--json` output; counts incompatible changes."""

_SHOWN = 20
"""Experiments that are listed; --json has them all. Arbitrary: with the table, a screen."""

_CODES = {
    "passed": ExitCode.OK,
    "failed": ExitCode.GATE_FAILED,
    "error": ExitCode.ENVIRONMENT,
    "inconclusive": ExitCode.INCONCLUSIVE,
}
"""campaigns.judging.gate.Outcome → exit code."""


@click.command("gate")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.option("--policy", "policy_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="What is too much (`mutineer schema gate`; default: any cluster-wide failure).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(run: str | None, policy_file: Path | None, as_json: bool) -> int:
    """Hold RUN (a name below runs/ or a folder; default: the newest) against a policy.

    Exit code 0: it passes; 1: it fails; 2: the policy or the run's name is wrong; 3: the harness failed more often than
    the policy allows; 4: more is inconclusive, or missing, than it allows. Of several, the first of 1, 3, 4.

    Without a policy no experiment may end in outage or stall, 5% may be inconclusive, none an error, and all must be
    finished.

    \b
    Examples:
      mutineer gate --policy gate.yaml
      mutineer gate nightly-7 --policy gate.yaml --json > gate.json
    """
    from campaigns.judging.gate_policy import DEFAULT_POLICY, load_policy
    from campaigns.run_folder import find_run
    from campaigns.store import open_run

    policy = load_policy(policy_file) if policy_file is not None else DEFAULT_POLICY
    with open_run(find_run(run)) as opened:
        records = {record.planned.id: record for record in opened.records(observations=False)}
        gate = gate_of(opened, policy, list(records.values()), today=datetime.date.today())
        if as_json:
            click.echo(json.dumps(_document(opened, gate, records), indent=2, ensure_ascii=False))
        else:
            _print(opened, gate, records)
    return _CODES[gate.outcome.value]


def gate_of(run: Run, policy: GatePolicy, records: Sequence[ExperimentRecord], *, today: datetime.date) -> Gate:
    """The gate of a run, of which `records` are finished."""
    from campaigns.judging.gate import case_of, evaluate

    cases = [case for record in records if (case := case_of(record)) is not None]
    return evaluate(policy, run.plan.experiments, cases, today=today)


def _argument(run: Run) -> str:
    """The run, as a command finds it from here."""
    from campaigns.run_folder import RUNS

    return run.folder.name if run.folder.parent == RUNS else str(run.folder)


def _sentences(run: Run) -> dict[str, str]:
    from mutineer.report.sentences import what_was_done

    return {each.id: what_was_done(each.rule, None) for each in run.plan.experiments if each.rule is not None}


def _ended(record: ExperimentRecord | None) -> str:
    """`network, clients unreachable`, or why there is no class."""
    if record is None:
        return "not finished"
    verdict = record.verdict
    if verdict.orchestrator is None:
        return verdict.state.value
    return f"{verdict.orchestrator.value}, clients {verdict.client.value if verdict.client else '-'}"


def _alarms(records: dict[str, ExperimentRecord]) -> int:
    """Golden runs that were judged with a failure."""
    goldens = (record.verdict.orchestrator for record in records.values() if record.planned.golden)
    return sum(failure is not None and failure.value != "none" for failure in goldens)


def _document(run: Run, gate: Gate, records: dict[str, ExperimentRecord]) -> dict[str, JSONValue]:
    sentences = _sentences(run)

    def experiment(identifier: str) -> dict[str, JSONValue]:
        verdict = records[identifier].verdict if identifier in records else None
        return {
            "id": identifier,
            "sentence": sentences.get(identifier, ""),
            "verdict": verdict.state.value if verdict else None,
            "orchestrator": verdict.orchestrator.value if verdict and verdict.orchestrator else None,
            "client": verdict.client.value if verdict and verdict.client else None,
            "show": f"mutineer show {_argument(run)} {identifier}",
        }

    return {
        "schema": SCHEMA,
        "run": run.folder.resolve().name,
        "outcome": gate.outcome.value,
        "exit_code": int(_CODES[gate.outcome.value]),
        "checks": [
            {
                "what": check.what,
                "allowed": check.allowed,
                "found": check.found,
                "of": check.of,
                "of_what": check.of_what,
                "outcome": check.outcome.value,
                "why": check.why,
                "experiments": list(check.experiments),
            }
            for check in gate.checks
        ],
        "experiments": [experiment(each) for each in gate.offending],
        "known": [
            {"id": each.id, "until": each.until.isoformat(), "why": each.why, "state": each.state}
            for each in gate.known
        ],
        "golden_alarms": _alarms(records),
    }


def _print(run: Run, gate: Gate, records: dict[str, ExperimentRecord]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(
        Text.assemble((f"{run.folder}: the gate ", "bold"), (_WORDS[gate.outcome.value], _style(gate.outcome)))
    )
    _print_checks(console, gate.checks)
    for each in gate.known:
        until = "" if each.state in ("not counted", "expired") else "; take it off the list?"
        console.print(Text(f"known {each.id} until {each.until}: {each.state}{until} ({each.why})", style="dim"))
    if alarms := _alarms(records):
        words = f"{alarms} golden runs were judged with a failure: trust the classes less (mutineer report)"
        console.print(Text(words, style="yellow"))
    _print_offending(console, run, gate, records)


_WORDS = {"passed": "passes", "failed": "fails", "error": "can't tell: errors", "inconclusive": "is inconclusive"}
_STYLES = {"passed": "green", "failed": "bold red", "error": "magenta", "inconclusive": "magenta"}


def _style(outcome: Outcome) -> str:
    return _STYLES[outcome.value]


def _print_checks(console: Console, checks: Sequence[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("what", ratio=1, overflow="fold")
    table.add_column("allowed", no_wrap=True)
    table.add_column("found", ratio=1, overflow="fold")
    table.add_column("", no_wrap=True)
    for check in checks:
        share = f" ({100 * check.found / check.of:.1f}%)" if check.of else ""
        table.add_row(
            Text(check.what + (f" ({check.why})" if check.why else "")),
            Text(check.allowed),
            Text(f"{check.found} of {check.of} {check.of_what}{share}"),
            Text(check.outcome.value, style=_style(check.outcome)),
        )
    console.print(table)


def _print_offending(console: Console, run: Run, gate: Gate, records: dict[str, ExperimentRecord]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from mutineer.report.sentences import what_was_done

    rules = {each.id: each.rule for each in run.plan.experiments}
    for identifier in gate.offending[:_SHOWN]:
        rule = rules.get(identifier)
        console.print()
        console.print(Text.assemble((identifier, "bold cyan"), f"  {_ended(records.get(identifier))}"))
        if rule is not None:
            console.print(Padding(Text(what_was_done(rule, None)), (0, 0, 0, 2)))
        if identifier in records:
            console.print(Text(f"  mutineer show {_argument(run)} {identifier}", style="dim"), soft_wrap=True)
    more = len(gate.offending) - _SHOWN
    if more > 0:
        console.print(Text(f"\n… and {more} more; --json has them all"))
