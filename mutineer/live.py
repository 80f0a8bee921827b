"""What a person sees while a campaign runs: a live table on a terminal, plain lines when piped."""

from __future__ import annotations

import time
from collections import Counter, deque
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from campaigns.campaign import CampaignView
from campaigns.record import ExperimentRecord
from classifiers.verdict import State

__all__ = ["ClosableView", "choose_view", "outcome"]

_LAST = 8
"""Findings shown below the bar; as many as fit a small terminal with the rest."""
_STYLES = {
    "outage": "bold red",
    "stall": "red",
    "network": "magenta",
    "more-resources": "yellow",
    "less-resources": "yellow",
    "timing": "cyan",
    "none": "green",
    "inconclusive": "dim",
    "golden": "dim",
    "error": "bold white on red",
}


class ClosableView(CampaignView, Protocol):
    """A view that is open inside a `with`."""

    def __enter__(self) -> ClosableView: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def choose_view(console: Console) -> ClosableView:
    """By what the output is."""
    return _LiveView(console) if console.is_terminal else _PlainView(console)


def outcome(record: ExperimentRecord) -> str:
    """The orchestrator class, or the state where it was not judged; `golden` for the first golden runs, which make the
    baseline and are judged by it in the end."""
    verdict = record.verdict
    if record.planned.golden and verdict.state is State.INCONCLUSIVE:
        return "golden"
    if verdict.state is State.JUDGED and verdict.orchestrator is not None:
        return verdict.orchestrator.value
    return verdict.state.value


def _story(record: ExperimentRecord) -> str:
    rule = record.planned.rule
    if rule is None:
        return f"golden run of {record.planned.workload}"
    return record.planned.why or f"{rule.model} on {rule.target.named}"


class _Counts:
    """What is done so far, shared by both views."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.outcomes: Counter[str] = Counter()
        self.began = time.monotonic()
        self.first_done: float | None = None
        self.sandboxes = 1

    def finished(self, record: ExperimentRecord) -> None:
        self.done += 1
        self.first_done = self.first_done or time.monotonic()
        if not record.planned.golden:
            self.outcomes[outcome(record)] += 1

    def left_s(self) -> float | None:
        """Time left in seconds, by the rate since the first result (before it, clusters were starting)."""
        if self.first_done is None or self.done <= self.sandboxes:
            return None
        rate = (self.done - 1) / max(time.monotonic() - self.first_done, 0.001)
        return (self.total - self.done) / rate


class _PlainView:
    """One line an experiment; sandboxes' states are left out."""

    def __init__(self, console: Console) -> None:
        self._console, self._counts = console, _Counts()

    def __enter__(self) -> _PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def planned(self, *, golden: int, faults: int, sandboxes: int, folder: Path) -> None:
        self._counts.total = golden + faults
        self.note(f"{golden} golden runs and {faults} experiments on {sandboxes} sandboxes, into {folder}")

    def sandbox(self, name: str, state: str) -> None:
        pass

    def finished(self, record: ExperimentRecord) -> None:
        self._counts.finished(record)
        line = f"[{self._counts.done}/{self._counts.total}] {record.planned.id} {outcome(record)}: {_story(record)}"
        self._console.print(f"{line} ({record.seconds:.1f} s)", markup=False, highlight=False, soft_wrap=True)

    def note(self, words: str) -> None:
        self._console.print(words, markup=False, highlight=False, soft_wrap=True)


class _LiveView:
    """Bar, rate, time left, verdicts so far, what each sandbox is doing, the last findings."""

    def __init__(self, console: Console) -> None:
        self._console, self._counts = console, _Counts()
        self._states: dict[str, str] = {}
        self._last: deque[ExperimentRecord] = deque(maxlen=_LAST)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> _LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, *, golden: int, faults: int, sandboxes: int, folder: Path) -> None:
        self._counts.total, self._counts.sandboxes = golden + faults, sandboxes
        self.note(f"{golden} golden runs and {faults} experiments on {sandboxes} sandboxes, into {folder}")

    def sandbox(self, name: str, state: str) -> None:
        self._states[name] = state

    def finished(self, record: ExperimentRecord) -> None:
        self._counts.finished(record)
        self._last.append(record)

    def note(self, words: str) -> None:
        self._console.print(words, markup=False, highlight=False)

    def _render(self) -> RenderableType:
        counts = self._counts
        left = counts.left_s()
        rate = f"{_clock(time.monotonic() - counts.began)} gone"
        if left is not None:
            rate += f", about {_clock(left)} left"
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(counts.total, 1), completed=counts.done, width=30)
        head.add_row(bar, f"{counts.done}/{counts.total}", Text(rate, style="dim"))
        outcomes = Text()
        for name, number in counts.outcomes.most_common():
            outcomes.append(f"{name} {number}   ", style=_STYLES.get(name, ""))
        return Group(head, outcomes, self._sandboxes(), self._findings())

    def _sandboxes(self) -> Table:
        table = Table.grid(padding=(0, 1))
        # a width of its own: a long state would take the label's
        table.add_column(style="dim", no_wrap=True, min_width=len(f"sandbox {len(self._states)}"))
        table.add_column()
        for number, state in enumerate(self._states.values(), 1):
            table.add_row(f"sandbox {number}", _line(state))
        return table

    def _findings(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, width=14)
        table.add_column()
        for record in self._last:
            name = outcome(record)
            table.add_row(Text(name, style=_STYLES.get(name, "")), _line(_story(record)))
        return table


def _line(words: str) -> Text:
    """One line that ends in … where it is too long. As Text: `spec.selector[app]` is no markup. The column must not be
    `no_wrap`: Rich cuts such columns off without a sign, or takes the width from their neighbours."""
    return Text(words, no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
