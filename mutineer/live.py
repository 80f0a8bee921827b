"""What a person sees while a campaign runs: a live table on a terminal, plain lines when piped."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from campaigns.record import ExperimentRecord, Purpose
from campaigns.running.campaign import CampaignView
from campaigns.running.stopping import is_finding
from classifiers.verdict import State

__all__ = ["ClosableView", "ViewConsole", "choose_view", "outcome"]

_LAST = 8
"""Findings shown below the bar; as many as fit a small terminal with the rest."""
_SANDBOXES = 10
"""As many are shown one by one, for the same reason."""
_SUM_UP_S = 60.0
"""Between two lines that sum up a long campaign where output is piped."""
_STYLES = {
    "outage": "bold red",
    "stall": "red",
    "network": "magenta",
    "more-resources": "yellow",
    "less-resources": "yellow",
    "timing": "cyan",
    "unreachable": "magenta",
    "intermittent": "yellow",
    "slower": "cyan",
    "none": "green",
    "timing?": "cyan",
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


class ViewConsole(Console):
    """Standard error. Where nobody reads it any more it goes silent, where Rich's own would end the program."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"stderr": True, **options})

    def on_broken_pipe(self) -> None:
        self.quiet = True


def choose_view(console: Console, clock: Callable[[], float] = time.monotonic) -> ClosableView:
    """By what the output is."""
    counts = _Counts(clock)
    return _LiveView(console, counts) if console.is_terminal else _PlainView(console, counts)


def outcome(record: ExperimentRecord) -> str:
    """The orchestrator class, or the state where it was not judged; `golden` for the first golden runs, which make the
    baseline and are judged by it in the end; `timing?` for what is to be done again alone before that counts."""
    verdict = record.verdict
    if verdict.to_be_alone:
        return "timing?"
    if record.planned.golden and verdict.state is State.INCONCLUSIVE:
        return "golden"
    if verdict.state is State.JUDGED and verdict.orchestrator is not None:
        return verdict.orchestrator.value
    return verdict.state.value


def _story(record: ExperimentRecord, purpose: Purpose = Purpose.PLANNED) -> str:
    rule = record.planned.rule
    again = "" if purpose is Purpose.PLANNED else f"once more ({purpose.value}): "
    if rule is None:
        return f"{again}golden run of {record.planned.workload}"
    return again + (record.planned.why or f"{rule.model} on {rule.target.named}")


def _worth_a_look(record: ExperimentRecord) -> bool:
    """Findings, and what went wrong with the harness or with a golden run: all but what is as it should be."""
    if record.planned.golden:
        return outcome(record) not in ("golden", "none")
    return is_finding(record) or record.verdict.state is not State.JUDGED


class _Counts:
    """What is done so far, shared by both views. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = self.done = self.before = 0
        self.outcomes: Counter[str] = Counter()
        self.clock, self.began = clock, clock()
        self.first_done: float | None = None
        self.sandboxes = 1

    def planned(self, *, golden: int, faults: int, repeats: int, sandboxes: int, folder: Path, done: int) -> str:
        """In words."""
        self.total, self.sandboxes, self.before = golden + faults + repeats, sandboxes, done
        parts = [_count(golden, "golden run"), _count(faults, "experiment")] if golden or faults or not repeats else []
        what = " and ".join(parts + ([_count(repeats, "repeat")] if repeats else []))
        before = f" ({done} are done)" if done and not repeats else ""
        return f"{what}{before} on {_count(min(sandboxes, self.total), 'sandbox', 'es')}, into {folder}"

    def finished(self, record: ExperimentRecord) -> None:
        self.done += 1
        self.first_done = self.first_done or self.clock()
        if not record.planned.golden:
            self.outcomes[outcome(record)] += 1

    def per_hour(self) -> float | None:
        """Experiments and golden runs an hour since the first result (before it, clusters were starting); None while
        there are too few."""
        if self.first_done is None or self.done <= self.sandboxes:
            return None
        return (self.done - 1) * 3600 / max(self.clock() - self.first_done, 0.001)

    def pace(self) -> str:
        """Time gone, rate, time left."""
        words = f"{_clock(self.clock() - self.began)} gone"
        if (rate := self.per_hour()) is not None:
            words += f", {rate:,.0f} an hour, about {_clock((self.total - self.done) * 3600 / rate)} left"
        return words


class _PlainView:
    """One line an experiment, and one a minute that sums up; sandboxes' states are left out."""

    def __init__(self, console: Console, counts: _Counts) -> None:
        self._console, self._counts = console, counts
        self._summed_up = counts.began

    def __enter__(self) -> _PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def planned(self, *, golden: int, faults: int, repeats: int, sandboxes: int, folder: Path, done: int) -> None:
        self.note(
            self._counts.planned(
                golden=golden, faults=faults, repeats=repeats, sandboxes=sandboxes, folder=folder, done=done
            )
        )

    def more(self, repeats: int, why: str) -> None:
        self._counts.total += repeats
        self.note(f"{repeats} more, {why}")

    def sandbox(self, name: str, state: str) -> None:
        pass

    def finished(self, record: ExperimentRecord, purpose: Purpose = Purpose.PLANNED) -> None:
        counts = self._counts
        counts.finished(record)
        line = f"[{counts.done}/{counts.total}] {record.planned.id} {outcome(record)}: {_story(record, purpose)}"
        self.note(f"{line} ({record.seconds:.1f} s)")
        if counts.clock() >= self._summed_up + _SUM_UP_S and counts.done < counts.total:
            self._summed_up = counts.clock()
            so_far = ", ".join(f"{number} {name}" for name, number in counts.outcomes.most_common()) or "golden runs"
            self.note(f"-- {counts.pace()}; so far {so_far}")

    def note(self, words: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it is gone; the campaign is not
            self._console.print(words, markup=False, highlight=False, soft_wrap=True)


class _LiveView:
    """Bar, rate, time left, verdicts so far, what each sandbox is doing and for how long, the last findings."""

    def __init__(self, console: Console, counts: _Counts) -> None:
        self._console, self._counts = console, counts
        self._states: dict[str, tuple[str, float]] = {}
        self._last: deque[tuple[ExperimentRecord, Purpose]] = deque(maxlen=_LAST)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> _LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._live.stop()

    def planned(self, *, golden: int, faults: int, repeats: int, sandboxes: int, folder: Path, done: int) -> None:
        self.note(
            self._counts.planned(
                golden=golden, faults=faults, repeats=repeats, sandboxes=sandboxes, folder=folder, done=done
            )
        )

    def more(self, repeats: int, why: str) -> None:
        self._counts.total += repeats
        self.note(f"{repeats} more, {why}")

    def sandbox(self, name: str, state: str) -> None:
        self._states[name] = state, self._counts.clock()

    def finished(self, record: ExperimentRecord, purpose: Purpose = Purpose.PLANNED) -> None:
        self._counts.finished(record)
        if _worth_a_look(record):
            self._last.append((dataclasses.replace(record, observation=None), purpose))

    def note(self, words: str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(words, markup=False, highlight=False)

    def _render(self) -> RenderableType:
        counts = self._counts
        head = Table.grid(padding=(0, 1))
        head.add_column(width=20)
        head.add_column(no_wrap=True)
        head.add_column()
        bar = ProgressBar(total=max(counts.total, 1), completed=counts.done, width=20)
        head.add_row(bar, f"{counts.done}/{counts.total}", _line(counts.pace(), style="dim"))
        outcomes = Text()
        for name, number in counts.outcomes.most_common():
            outcomes.append(f"{name} {number}   ", style=_STYLES.get(name, ""))
        return Group(head, outcomes, self._sandboxes(), self._findings())

    def _sandboxes(self) -> Table:
        table = Table.grid(padding=(0, 1))
        # widths of their own: a long state would take the others'
        table.add_column(style="dim", no_wrap=True, min_width=len(f"sandbox {len(self._states)}"))
        table.add_column(style="dim", no_wrap=True, justify="right", min_width=len("1:00"))
        table.add_column()
        shown = list(enumerate(self._states.values(), 1))[:_SANDBOXES]
        for number, (state, since) in shown:
            table.add_row(f"sandbox {number}", _clock(self._counts.clock() - since), _line(state))
        if (more := len(self._states) - len(shown)) > 0:
            table.add_row(f"and {more} more", "", "")
        return table

    def _findings(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, width=14)
        table.add_column()
        for record, purpose in self._last:
            name = outcome(record)
            if name == "none" and record.verdict.client is not None:
                name = record.verdict.client.value
            table.add_row(Text(name, style=_STYLES.get(name, "")), _line(_story(record, purpose)))
        return table


def _count(number: int, word: str, ending: str = "s") -> str:
    return f"{number} {word}{ending if number != 1 else ''}"


def _line(words: str, style: str = "") -> Text:
    """One line that ends in … where it is too long. As Text: `spec.selector[app]` is no markup. The column must not be
    `no_wrap`: Rich cuts such columns off without a sign, or takes the width from their neighbours."""
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    """1:05 is a minute and five seconds, 2:01:05 two hours more."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
