"""One experiment over time, as plain marks: probe outcomes as strips, milestones beside the golden median, firings.

Pure geometry, no markup: positions and widths are percent of the experiment's length, so that the drawing scales while
its text does not. The template draws them (templates/timeline.html.j2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from classifiers.observation import Observation, ProbeSample, ProbeSeries

__all__ = ["Bar", "Milestone", "Strip", "Tick", "Timeline", "draw"]

TICKS = 8
"""At most so many time ticks: labels of five characters do not touch down to 500 px."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Neighbouring requests with one outcome. `look` is ok, refused, timeout, reset, http or other."""

    x: float
    width: float
    look: str
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The requests from one vantage point. `summary` says in words what the bars show."""

    service: str
    vantage: str
    bars: tuple[Bar, ...]
    summary: str
    blind: str | None


@dataclass(frozen=True, slots=True)
class Milestone:
    """Where a milestone was reached; x None where it never was, golden_x None where golden runs never do (or where
    their median lies beyond the drawing: `label` has it in words). The label begins right of `label_x`, or, if
    `label_left`, ends left of it."""

    name: str
    x: float | None
    golden_x: float | None
    label: str
    label_x: float = 0.0
    label_left: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """All there is to draw of one experiment."""

    seconds: float
    ticks: tuple[Tick, ...]
    milestones: tuple[Milestone, ...]
    strips: tuple[Strip, ...]
    firings: tuple[Tick, ...]
    looks: tuple[str, ...]


def draw(observation: Observation, golden: Mapping[str, float]) -> Timeline:
    """`golden`: milestone → median of the golden runs of the same workload, in seconds."""
    whole = max(observation.seconds, 0.001)
    strips = tuple(_strip(series, whole) for series in observation.probes)
    return Timeline(
        seconds=observation.seconds,
        ticks=_ticks(whole),
        milestones=_milestones(observation.milestones, golden, whole),
        strips=strips,
        # A moment outside the experiment is from another clock: better not drawn than drawn wrong.
        firings=tuple(
            Tick(_percent(firing.at_s, whole), f"fired at {firing.at_s:.1f} s")
            for firing in observation.firings
            if 0 <= firing.at_s <= whole
        ),
        looks=tuple(sorted({bar.look for strip in strips for bar in strip.bars}, key=_LOOKS.index)),
    )


_LOOKS = ("ok", "refused", "timeout", "reset", "http", "other")


def _look(outcome: str) -> str:
    if outcome in _LOOKS:
        return outcome
    return "http" if outcome.startswith("http-") else "other"


def _percent(at_s: float, whole: float) -> float:
    return round(100 * min(max(at_s, 0.0), whole) / whole, 3)


def _ticks(whole: float) -> tuple[Tick, ...]:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
    step = next((step for step in steps if whole / step <= TICKS), steps[-1])
    return tuple(Tick(_percent(n * step, whole), f"{n * step:g} s") for n in range(int(whole / step) + 1))


def _milestones(
    reached: Mapping[str, float | None], golden: Mapping[str, float], whole: float
) -> tuple[Milestone, ...]:
    marks = []
    for name in [*reached, *(name for name in golden if name not in reached)]:
        at_s, median = reached.get(name), golden.get(name)
        label = "never" if at_s is None else f"{at_s:.1f} s"
        if median is not None:
            label += f" (golden median {median:.1f} s)"
        golden_x = _percent(median, whole) if median is not None and median <= whole else None
        x = None if at_s is None else _percent(at_s, whole)
        drawn = [at for at in (x, golden_x) if at is not None]
        left = bool(drawn) and max(drawn) > 55  # no room on the right for a label of some 250 px
        label_x = (min(drawn) if left else max(drawn)) if drawn else 0.0
        marks.append(Milestone(name, x, golden_x, label, label_x, left))
    return tuple(marks)


def _strip(series: ProbeSeries, whole: float) -> Strip:
    samples = sorted(series.samples, key=lambda sample: sample.at_s)
    return Strip(
        service=series.path,
        vantage=series.vantage,
        bars=tuple(_bars(samples, whole)),
        summary=_summary(samples),
        blind=series.blind,
    )


def _summary(samples: list[ProbeSample]) -> str:
    if not samples:
        return "no requests"
    failed = Counter(sample.outcome for sample in samples if sample.outcome != "ok")
    if not failed:
        return f"all {len(samples)} requests answered"
    told = ", ".join(f"{count} {outcome}" for outcome, count in failed.most_common())
    return f"{failed.total()} of {len(samples)} requests failed ({told})"


def _bars(samples: list[ProbeSample], whole: float) -> Iterable[Bar]:
    """Runs of one outcome, each as long as until the next run begins (the last: until its last answer)."""
    start = 0
    for i in range(1, len(samples) + 1):
        if i < len(samples) and samples[i].outcome == samples[start].outcome:
            continue
        begin = samples[start].at_s
        end = samples[i].at_s if i < len(samples) else samples[-1].at_s + max(samples[-1].latency_s, 0.05)
        outcome = samples[start].outcome
        x = _percent(begin, whole)
        title = f"{begin:.1f} to {end:.1f} s: {i - start} times {outcome}"
        yield Bar(x, round(max(_percent(end, whole) - x, 0.15), 3), _look(outcome), title)
        start = i
