"""How long work tells what it is doing: a bar on a terminal, plain lines when piped, nothing in tests.

A task is either counted in bytes (downloads) or only timed (a Go build, whose length is not known beforehand).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

__all__ = ["PlainProgress", "Progress", "Silent", "Task", "TerminalProgress", "choose_progress"]

PLAIN_INTERVAL_S = 15.0
"""Seconds between two lines of one task when piped. Arbitrary: a CI log of a ten-minute build stays at 40 lines."""


class Task(Protocol):
    """One piece of work under way."""

    def done_bytes(self, count: int) -> None:
        """Tell how many bytes are done in all (not since the last call)."""

    def tick(self, detail: str = "") -> None:
        """Tell that it still runs, and at what."""


class Progress(Protocol):
    """Where notes and tasks are shown."""

    def note(self, text: str) -> None:
        """Say one line that stays."""

    def task(self, label: str, *, total_bytes: int | None = None) -> AbstractContextManager[Task]:
        """Show a task from enter to exit. `total_bytes` None: only timed."""


class Silent:
    """Shows nothing; `notes` keeps what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def task(self, label: str, *, total_bytes: int | None = None) -> Iterator[Task]:
        self.notes.append(label)
        yield _Nothing()


class _Nothing:
    def done_bytes(self, count: int) -> None:
        pass

    def tick(self, detail: str = "") -> None:
        pass


class PlainProgress:
    """A line at the start, one every `PLAIN_INTERVAL_S`, one at the end."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    @contextmanager
    def task(self, label: str, *, total_bytes: int | None = None) -> Iterator[Task]:
        size = f" ({total_bytes / 1e6:.0f} MB)" if total_bytes is not None else ""
        self.note(f"{label}{size} ...")
        task = _PlainTask(self, label, total_bytes, self._clock)
        yield task
        self.note(f"{label}: done in {task.elapsed_s:.0f} s")


class _PlainTask:
    def __init__(
        self, progress: PlainProgress, label: str, total_bytes: int | None, clock: Callable[[], float]
    ) -> None:
        self._progress, self._label, self._total, self._clock = progress, label, total_bytes, clock
        self._start = self._last = clock()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._start

    def done_bytes(self, count: int) -> None:
        share = f" of {self._total / 1e6:.0f}" if self._total else ""
        self._line(f"{count / 1e6:.0f}{share} MB")

    def tick(self, detail: str = "") -> None:
        self._line(detail)

    def _line(self, what: str) -> None:
        now = self._clock()
        if now - self._last >= PLAIN_INTERVAL_S:
            self._last = now
            self._progress.note(f"{self._label}: {self.elapsed_s:.0f} s, {what}")


class TerminalProgress:
    """Bars with bytes, rate and time left; a spinner with the elapsed time where the length is unknown."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def task(self, label: str, *, total_bytes: int | None = None) -> Iterator[Task]:
        columns = (
            (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            if total_bytes is not None
            else (TimeElapsedColumn(), TextColumn("{task.fields[detail]}"))
        )
        with RichProgress(
            SpinnerColumn(), TextColumn("{task.description}"), *columns, console=self._console, transient=True
        ) as bar:
            task = _TerminalTask(bar, bar.add_task(escape(label), total=total_bytes, detail=""))
            started = time.monotonic()
            yield task
        self.note(f"{label}: done in {time.monotonic() - started:.0f} s")


class _TerminalTask:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def done_bytes(self, count: int) -> None:
        self._bar.update(self._task, completed=count)

    def tick(self, detail: str = "") -> None:
        self._bar.update(self._task, detail=escape(detail))


def choose_progress(stream: TextIO | None = None) -> Progress:
    """Bars where `stream` (default: standard error) is a terminal, lines otherwise."""
    stream = stream or sys.stderr
    return TerminalProgress(Console(file=stream)) if stream.isatty() else PlainProgress(stream)
