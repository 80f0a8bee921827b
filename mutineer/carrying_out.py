"""What `run`, `resume` and `replay` have in common: the machine is looked at, binaries are got, a view is open, signals
are heard, and what came of it becomes an exit code."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from injector.errors import InputError, MutineerError
from mutineer.exit_codes import ExitCode

if TYPE_CHECKING:  # what runs a campaign takes a second to load
    from campaigns.assets import Assets
    from campaigns.running.stopping import Stop
    from campaigns.store import Run
    from mutineer.live import ClosableView

__all__ = ["Stage", "finished", "report", "stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything is ready for a campaign."""

    assets: Assets
    view: ClosableView
    stop: Stop


@contextlib.contextmanager
def stage(folder: Path, source: str | None) -> Iterator[Stage]:
    """For a campaign in `folder`. Ctrl-C inside: the first finishes what is under way, the second, SIGTERM and SIGHUP
    raise KeyboardInterrupt at once. Says how to go on where it is left by an error."""
    from campaigns import assets, environment
    from campaigns.clusters.sandbox import outside
    from campaigns.clusters.sandbox.config import BINARIES
    from campaigns.running.stopping import Stop
    from mutineer.interrupts import interruptible
    from mutineer.live import ViewConsole, choose_view

    environment.require_sandbox()
    stop = Stop()
    there = (folder / "record.sqlite").exists()
    try:
        with interruptible(lambda: stop.ask("Ctrl-C", interrupted=True)):
            outside.reap()
            binaries = assets.ensure(BINARIES, source=source)
            with choose_view(ViewConsole()) as view:
                yield Stage(binaries, view, stop)
    except (KeyboardInterrupt, MutineerError):
        if not there and (folder / "record.sqlite").exists():
            _say(f"what was finished is kept: mutineer show {_named(folder)}; go on: mutineer resume {_named(folder)}")
        elif there and stop.why is not None:
            _say(f"what was finished is kept; go on: mutineer resume {_named(folder)}")
        raise


def report(run: Run) -> None:
    """Writes the report. Where that can't be, it says so: the run is whole without it."""
    from mutineer.commands.report import write_report

    try:
        write_report(run)
    except InputError as error:
        _say(f"{error}; later: mutineer report {_named(run.folder)}")


def finished(run: Run, stop: Stop) -> ExitCode:
    """After the run is closed: what there is, the report's place, and how to go on where something is missing."""
    from campaigns.running.session import due_alone, missing_tasks
    from campaigns.store import open_run
    from mutineer.showing import print_summary

    errors = print_summary(run.folder)
    if (path := run.folder / "report.html").exists():
        click.echo(f"report: {path.resolve()}")
    with open_run(run.folder) as again:
        missing = len(missing_tasks(again))
        late = sum(task.planned.rule is not None for task in due_alone(again))
        confirmed = _confirmed(again)
    for line in confirmed:
        click.echo(line)
    left = [f"{missing} are missing"] if missing else []
    left += [f"{late} that were late are to be done again alone"] if late else []
    if stop.why is not None and left:
        _say(f"stopped ({stop.why}), {' and '.join(left)}; go on: mutineer resume {_named(run.folder)}")
    if errors:
        _say(f"{errors} experiments are errors of the harness; their logs are in {run.folder / 'logs'}")
    if stop.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.ENVIRONMENT if errors else ExitCode.OK


def _confirmed(run: Run) -> list[str]:
    from campaigns.judging.agreement import agreements
    from campaigns.record import Purpose

    same, times = Counter[str](), Counter[str]()
    for each in agreements(run, Purpose.CONFIRM):
        same[each.was] += each.same
        times[each.was] += each.times
    return [f"{was}: confirmed {same[was]} of {times[was]}" for was in times]


def _named(folder: Path) -> str:
    """A run as a command takes it."""
    from campaigns.run_folder import RUNS

    return folder.name if folder.resolve().parent == RUNS.resolve() else str(folder)


def _say(words: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        click.echo(words, err=True)
