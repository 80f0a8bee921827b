"""What `mutineer show` prints: a run as a list, an experiment as a story or a history, either as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaigns.judging.aftermath import Aftermath, Aftermaths
from campaigns.judging.agreement import class_of
from campaigns.judging.statistics import wilson
from campaigns.judging.suspects import is_quiet
from campaigns.record import ExperimentRecord
from campaigns.show import SCHEMA, experiment_document, golden_document, stream
from campaigns.store import Count, Run, open_run
from classifiers.golden import Baseline
from classifiers.observation import Observation
from classifiers.record import to_json
from classifiers.trace import Trace, trace_from_bytes
from classifiers.verdict import ClientFailure, OrchestratorFailure, State
from injector.errors import InputError, StoreError
from injector.rules import JSONValue
from mutineer.history import history, history_document
from mutineer.report.sentences import target_name
from mutineer.story import SEVERITY, story

__all__ = ["MOST", "print_experiment", "print_run", "print_summary"]

MOST = 200
"""Experiments that are listed unless all are asked for: more than a person reads, and at once."""


def print_experiment(folder: Path, beginning: str, *, with_history: bool, as_json: bool) -> None:
    """The one whose id begins so. InputError if there is none, or it is not finished."""
    with open_run(folder) as opened:
        record, console = _find(opened, beginning), Console(file=sys.stdout, highlight=False, markup=False)
        if as_json:
            more = {"history": history_document(*_history(opened, record))} if with_history else {}
            click.echo(json.dumps({**_one(opened, record), **more}, indent=2, ensure_ascii=False))
        elif with_history:
            console.print(history(*_history(opened, record)))
        else:
            identifier = record.planned.id
            failed = opened.failed_attempts().get(identifier, ())
            again = tuple(opened.repeats(identifier, observations=False))
            console.print(story(record, _baseline(opened, record), failed, again, _aftermath(opened, record)))


def print_run(folder: Path, *, everything: bool, as_json: bool) -> None:
    """Its MOST gravest experiments, or all of them."""
    with open_run(folder) as opened:
        if as_json:
            for text in stream(opened):
                click.echo(text, nl=False)
        else:
            console = Console(file=sys.stdout, highlight=False, markup=False)
            _print_run(console, opened, None if everything else MOST)


def print_summary(folder: Path) -> int:
    """Prints what `mutineer show RUN` does; returns how many experiments are errors of the harness."""
    with open_run(folder) as opened:
        _print_run(Console(file=sys.stdout, highlight=False, markup=False), opened, MOST)
        return sum(count.experiments for count in opened.counts() if count.state is State.ERROR)


def _one(run: Run, record: ExperimentRecord) -> dict[str, JSONValue]:
    if record.planned.golden:
        return {"schema": SCHEMA, "golden": golden_document(record)}
    repeats = tuple(run.repeats(record.planned.id, observations=False))
    after = _aftermath(run, record)
    more = {"aftermath": to_json(after)} if after is not None else {}
    return {"schema": SCHEMA, "experiment": experiment_document(record, repeats), **more}


def _aftermath(run: Run, record: ExperimentRecord) -> Aftermath | None:
    """None, and said so, where its trace can't be read: all else stands without it."""
    try:
        return Aftermaths(run).of(record)
    except StoreError as error:
        click.echo(f"what became of the fault is not known: {error}", err=True)
        return None


def _find(run: Run, beginning: str) -> ExperimentRecord:
    identifier = run.one_planned_id(beginning)
    record = run.record(identifier)
    if record is None:
        raise InputError(f"experiment {identifier} of {run.folder} is planned, but not finished")
    return record


def _history(run: Run, record: ExperimentRecord) -> tuple[Observation, Trace | None]:
    """What was seen, and the values if they are kept. InputError where the harness failed before it saw anything."""
    if record.observation is None:
        raise InputError(f"nothing was observed in {record.planned.id}: the harness failed")
    trace = run.trace(record.planned.id)
    return record.observation, trace_from_bytes(trace) if trace is not None else None


def _baseline(run: Run, record: ExperimentRecord) -> Baseline:
    """What the golden runs of its workload did, for comparison in the story."""
    workload = record.planned.workload
    goldens = [
        golden.observation
        for golden in run.goldens(workload)
        if golden.planned.id != record.planned.id and golden.observation is not None
    ]
    return Baseline.from_observations(workload, goldens)


def _print_run(console: Console, run: Run, most: int | None) -> None:
    counts, planned = run.counts(), run.planned_count(golden=False)
    faults = [count for count in counts if not count.golden]
    done = _total(faults)
    console.print(Text(f"{run.folder}: {done} of {planned} experiments done", style="bold"))
    goldens = [count for count in counts if count.golden]
    console.print(_golden_line(goldens))
    if noisy := _noisy(run, goldens):
        console.print(Text(noisy, style="yellow"))
    if not done:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("id", no_wrap=True, width=6)
    table.add_column("what", ratio=1, overflow="fold")
    table.add_column("cluster", no_wrap=True, width=14)
    table.add_column("clients", no_wrap=True, width=12)
    table.add_column("aware", no_wrap=True, width=5)
    shown = list(run.gravest(most))
    for record in shown:
        table.add_row(*_row(record))
    console.print(table)
    if len(shown) < done:
        left = f"{done - len(shown)} more, no graver than these: mutineer show {run.folder.name} --all"
        console.print(Text(left, style="dim"))
    console.print(_summary(faults))
    console.print(Text(f"One experiment: mutineer show {run.folder.name} {shown[0].planned.id[:5]}", style="dim"))


def _row(record: ExperimentRecord) -> tuple[Text, ...]:
    rule, verdict = record.planned.rule, record.verdict
    assert rule is not None
    field = f" {rule.target.field or rule.target.role}" if rule.target.field or rule.target.role else ""
    at_rest = {"at-rest-write": " at rest", "at-rest-silent": " at rest, silently"}.get(rule.channel, "")
    what = f"{rule.model}{at_rest}: {rule.target.kind} {target_name(rule.target)}{field}"
    cluster = class_of(record)
    style = SEVERITY[verdict.orchestrator] if verdict.orchestrator else "magenta"
    aware = {True: "yes", False: "no", None: "-"}[verdict.aware]
    return (
        Text(record.planned.id[:6], style="cyan"),
        Text(what),
        Text(cluster, style=style),
        Text(verdict.client.value if verdict.client else "-"),
        Text(aware),
    )


def _total(counts: Iterable[Count]) -> int:
    return sum(count.experiments for count in counts)


def _golden_line(goldens: list[Count]) -> Text:
    done = _total(goldens)
    quiet = _total(count for count in goldens if count.orchestrator is OrchestratorFailure.NONE)
    inconclusive = _total(count for count in goldens if count.state is not State.JUDGED)
    alarms = done - quiet - inconclusive
    parts = [f"{done} golden runs: {quiet} quiet"]
    parts += [f"{alarms} with a failure"] if alarms else []
    parts += [f"{inconclusive} not judged"] if inconclusive else []
    if judged := quiet + alarms:
        high = wilson(alarms, judged).high
        parts.append(f"a false-alarm rate of {alarms / judged:.0%}, less than {high:.0%} (95 % sure)")
    return Text(", ".join(parts), style="red" if alarms else "")


def _noisy(run: Run, goldens: list[Count]) -> str:
    """What to do about golden runs in which something was wrong, "" where there are none."""
    if all(count.state is not State.JUDGED or is_quiet(count) for count in goldens):
        return ""
    records = (record for record in run.records(observations=False) if record.planned.golden)
    judged = (record for record in records if record.verdict.state is State.JUDGED)
    found = [record.planned.id for record in judged if not is_quiet(record.verdict)]
    shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
    return (
        f"Something was wrong without a fault ({shown}): they are no measure for others. If the machine is too busy, "
        f"fewer sandboxes help (--parallelism). mutineer show {run.folder.name} {found[0]}"
    )


def _summary(faults: list[Count]) -> Text:
    """One line each: states, classes of the judged, clients of the judged; what never came is left out."""
    judged = [count for count in faults if count.state is State.JUDGED]
    states = [(s.value, sum(c.experiments for c in faults if c.state is s)) for s in State]
    classes = [(o.value, sum(c.experiments for c in judged if c.orchestrator is o)) for o in OrchestratorFailure]
    clients = [(f.value, sum(c.experiments for c in judged if c.client is f)) for f in ClientFailure]
    lines = [("verdicts", states), ("cluster", classes), ("clients", clients)]
    return Text("\n".join(f"{name:9}{_counted(counts)}" for name, counts in lines))


def _counted(counts: list[tuple[str, int]]) -> str:
    return " · ".join(f"{count} {word}" for word, count in counts if count) or "none judged"
