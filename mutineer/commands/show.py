"""`mutineer show`: what came of a run, or the story of one experiment. Reads only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaigns.record import ExperimentRecord
from campaigns.run_folder import find_run
from campaigns.show import SCHEMA, document, experiment_document, golden_document
from campaigns.store import Run, open_run
from classifiers.golden import Baseline
from classifiers.verdict import ClientFailure, OrchestratorFailure, State
from injector.errors import InputError
from injector.rules import JSONValue
from mutineer.report.sentences import target_name
from mutineer.story import SEVERITY, story

__all__ = ["command", "print_summary"]


@click.command("show")
@click.argument("run", required=False)
@click.argument("experiment", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts (`mutineer schema show`).")
def command(run: str | None, experiment: str | None, as_json: bool) -> None:
    """Show a run (a name below runs/ or a folder; default: the newest), or one EXPERIMENT of it (an id or its start).

    \b
    Examples:
      mutineer show
      mutineer show quickstart-1 e0d58
      mutineer show quickstart-1 --json
    """
    with open_run(find_run(run)) as opened:
        record = _find(opened, experiment) if experiment is not None else None
        if as_json:
            shown = document(opened) if record is None else _one(record)
            click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
            return
        console = Console(file=sys.stdout, highlight=False, markup=False)
        if record is not None:
            console.print(story(record, _baseline(opened, record)))
        else:
            _print_run(console, opened)


def print_summary(folder: Path) -> int:
    """Prints what `mutineer show RUN` does; returns how many experiments are errors of the harness."""
    with open_run(folder) as opened:
        _print_run(Console(file=sys.stdout, highlight=False, markup=False), opened)
        return sum(record.verdict.state is State.ERROR for record in opened.records(observations=False))


def _one(record: ExperimentRecord) -> dict[str, JSONValue]:
    if record.planned.golden:
        return {"schema": SCHEMA, "golden": golden_document(record)}
    return {"schema": SCHEMA, "experiment": experiment_document(record)}


def _find(run: Run, beginning: str) -> ExperimentRecord:
    matching = [planned.id for planned in run.plan.experiments if planned.id.startswith(beginning)]
    if len(matching) != 1:
        what = f"{len(matching)} experiments begin so: {', '.join(matching[:5])}" if matching else "none begins so"
        raise InputError(f"no one experiment {beginning!r} in {run.folder}: {what}")
    record = run.record(matching[0])
    if record is None:
        raise InputError(f"experiment {matching[0]} of {run.folder} is planned, but not finished")
    return record


def _baseline(run: Run, record: ExperimentRecord) -> Baseline:
    """What the golden runs of its workload did, for comparison in the story."""
    workload = record.planned.workload
    goldens = [
        found.observation
        for planned in run.plan.experiments
        if planned.golden and planned.workload == workload and planned.id != record.planned.id
        if (found := run.record(planned.id)) is not None and found.observation is not None
    ]
    return Baseline.from_observations(workload, goldens)


def _print_run(console: Console, run: Run) -> None:
    records = sorted(run.records(observations=False), key=lambda r: _gravity(r.verdict.orchestrator))
    faults = [r for r in records if not r.planned.golden]
    planned = sum(1 for p in run.plan.experiments if not p.golden)
    console.print(Text(f"{run.folder}: {len(faults)} of {planned} experiments done", style="bold"))
    console.print(_golden_line([r for r in records if r.planned.golden]))
    if not faults:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("id", no_wrap=True, width=6)
    table.add_column("what", ratio=1, overflow="fold")
    table.add_column("cluster", no_wrap=True, width=14)
    table.add_column("clients", no_wrap=True, width=12)
    table.add_column("aware", no_wrap=True, width=5)
    for record in faults:
        table.add_row(*_row(record))
    console.print(table)
    console.print(_summary(faults))
    console.print(Text(f"One experiment: mutineer show {run.folder.name} {faults[0].planned.id[:5]}", style="dim"))


def _row(record: ExperimentRecord) -> tuple[Text, ...]:
    rule, verdict = record.planned.rule, record.verdict
    assert rule is not None
    field = f" {rule.target.field or rule.target.role}" if rule.target.field or rule.target.role else ""
    at_rest = {"at-rest-write": " at rest", "at-rest-silent": " at rest, silently"}.get(rule.channel, "")
    what = f"{rule.model}{at_rest}: {rule.target.kind} {target_name(rule.target)}{field}"
    cluster = verdict.orchestrator.value if verdict.orchestrator else verdict.state.value
    style = SEVERITY[verdict.orchestrator] if verdict.orchestrator else "magenta"
    aware = {True: "yes", False: "no", None: "-"}[verdict.aware]
    return (
        Text(record.planned.id[:6], style="cyan"),
        Text(what),
        Text(cluster, style=style),
        Text(verdict.client.value if verdict.client else "-"),
        Text(aware),
    )


def _golden_line(goldens: list[ExperimentRecord]) -> Text:
    quiet = sum(1 for r in goldens if r.verdict.orchestrator is OrchestratorFailure.NONE)
    inconclusive = sum(1 for r in goldens if r.verdict.state is not State.JUDGED)
    alarms = len(goldens) - quiet - inconclusive
    parts = [f"{len(goldens)} golden runs: {quiet} quiet"]
    parts += [f"{alarms} with a failure"] if alarms else []
    parts += [f"{inconclusive} not judged"] if inconclusive else []
    return Text(", ".join(parts), style="red" if alarms else "")


def _summary(faults: list[ExperimentRecord]) -> Text:
    """One line each: states, classes of the judged, clients of the judged; what never came is left out."""
    judged = [r.verdict for r in faults if r.verdict.state is State.JUDGED]
    states = [(s.value, sum(1 for r in faults if r.verdict.state is s)) for s in State]
    classes = [(c.value, sum(1 for v in judged if v.orchestrator is c)) for c in OrchestratorFailure]
    clients = [(c.value, sum(1 for v in judged if v.client is c)) for c in ClientFailure]
    lines = [("verdicts", states), ("cluster", classes), ("clients", clients)]
    return Text("\n".join(f"{name:9}{_counted(counts)}" for name, counts in lines))


def _counted(counts: list[tuple[str, int]]) -> str:
    return " · ".join(f"{count} {word}" for word, count in counts if count) or "none judged"


def _gravity(failure: OrchestratorFailure | None) -> int:
    """Gravest first; what could not be judged last."""
    return list(OrchestratorFailure).index(failure) if failure else len(OrchestratorFailure)
