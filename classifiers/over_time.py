"""Counts over time: how many objects of each kind there are, second by second, and where that leaves what golden runs
did, to come back to it later.

Counted from r0 on, by the creations and deletions in etcd's history, in every namespace but those of the harness: what
was there at r0 is the same in all runs of a workload, so only differences to it are compared. Left out is what comes or
goes a little earlier or later than in golden runs (numbers.COUNT_SHIFT_S), what does not last (numbers.COUNT_LASTS_S),
and what lasts to the end, which the counts at the end tell.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from classifiers import numbers
from classifiers.observation import Observation

__all__ = ["Excursion", "Range", "excursions", "ranges"]

_OWN = "mutineer-"
"""Namespaces of the harness begin so; the canary's is one."""
_STEP = {"create": 1, "delete": -1}


@dataclass(frozen=True, slots=True)
class Range:
    """Fewest and most objects more than at r0 in any golden run, by whole seconds since the start; the last holds from
    then on."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    def at(self, second: int) -> tuple[int, int]:
        place = min(second, len(self.low) - 1)
        return self.low[place], self.high[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excursion:
    """So many more (less than zero: fewer) of a kind than golden runs had at that time, at its worst, in whole seconds
    since the start."""

    kind: str
    by: int
    from_s: int
    to_s: int

    def describe(self) -> str:
        what = "more" if self.by > 0 else "fewer"
        return f"{abs(self.by)} {what} of {self.kind} than golden runs, from {self.from_s} to {self.to_s} s"


def ranges(runs: Sequence[Observation]) -> Mapping[str, Range]:
    """Of each kind that some golden run made or deleted."""
    counted = [_counts(run) for run in runs]
    seconds = max((_seconds(run) for run in runs), default=0)
    return {kind: _range([counts.get(kind, ()) for counts in counted], seconds) for kind in _kinds(counted)}


def excursions(observation: Observation, golden: Mapping[str, Range]) -> tuple[Excursion, ...]:
    """The longest of each kind, by kind."""
    counts, none = _counts(observation), Range((0,), (0,))
    found = (
        _longest(kind, counts.get(kind, ()), golden.get(kind, none), _seconds(observation))
        for kind in sorted({*counts, *golden})
    )
    return tuple(each for each in found if each is not None)


def _seconds(observation: Observation) -> int:
    return math.ceil(observation.seconds) + 1


def _kinds(counted: Iterable[Mapping[str, object]]) -> list[str]:
    return sorted({kind for counts in counted for kind in counts})


def _counts(observation: Observation) -> dict[str, list[int]]:
    """Kind → objects more than at r0, at each whole second."""
    seconds = _seconds(observation)
    steps: dict[str, list[int]] = defaultdict(lambda: [0] * (seconds + 1))
    for write in observation.writes:
        step = _STEP.get(write.operation)
        if step is not None and write.kind not in numbers.VOLATILE_KINDS and not _is_own(write.identity):
            steps[write.kind][min(max(0, math.ceil(write.at_s)), seconds)] += step
    return {kind: list(_running(each[:seconds])) for kind, each in steps.items()}


def _is_own(identity: str) -> bool:
    return identity.partition("/")[2].startswith(_OWN)


def _running(steps: Iterable[int]) -> Iterator[int]:
    count = 0
    for step in steps:
        count += step
        yield count


def _at(counts: Sequence[int], second: int) -> int:
    return counts[min(max(0, second), len(counts) - 1)] if counts else 0


def _range(runs: Sequence[Sequence[int]], seconds: int) -> Range:
    near = range(-numbers.COUNT_SHIFT_S, numbers.COUNT_SHIFT_S + 1)
    values = [[_at(counts, second + shift) for counts in runs for shift in near] for second in range(seconds)]
    return Range(tuple(map(min, values)), tuple(map(max, values)))


def _longest(kind: str, counts: Sequence[int], golden: Range, seconds: int) -> Excursion | None:
    beyond = [_beyond(_at(counts, second), *golden.at(second)) for second in range(seconds)]
    stretches = [list(those) for sign, those in groupby(range(seconds), key=lambda s: _sign(beyond[s])) if sign]
    passed = [each for each in stretches if len(each) >= numbers.COUNT_LASTS_S and each[-1] < seconds - 1]
    if not passed:
        return None
    longest = max(passed, key=len)
    return Excursion(kind=kind, by=max((beyond[s] for s in longest), key=abs), from_s=longest[0], to_s=longest[-1] + 1)


def _beyond(count: int, low: int, high: int) -> int:
    return count - high if count > high else min(count - low, 0)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
