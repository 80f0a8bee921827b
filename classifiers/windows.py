"""One client's requests cut into phases: before the fault, during it, and at the end.

    start      up_s          hit_s                 end - FINAL_WINDOW_S     end
      |  (rise)  |   BEFORE    |        DURING              |      AFTER     |

`up_s` is when this run had traffic from everywhere, or when golden runs have it at the latest: what fails before is a
service on its way up, in golden runs too. Without a fault, or with one that came before `up_s`, DURING begins at
`up_s`, and BEFORE is empty. Requests at times below zero were sent while the workload was prepared, to a service that
answered: they are BEFORE, in every run. AFTER are the last seconds before the last request of any client, whenever that
is: by then everything has to be up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from classifiers import numbers
from classifiers.observation import Observation, ProbeKind, ProbeSample, ProbeSeries

__all__ = ["Phase", "Traffic", "error_rate", "failures", "hit_s", "latency_quantile", "probing_end_s"]


class Phase(StrEnum):
    """Where a request falls, relative to the fault."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Traffic:
    """One client's requests by phase. Those before `up_s` belong to none."""

    before: tuple[ProbeSample, ...]
    during: tuple[ProbeSample, ...]
    after: tuple[ProbeSample, ...]

    @classmethod
    def of(cls, observation: Observation, series: ProbeSeries, *, late_s: float, hit_s: float | None) -> Traffic:
        """Cuts `series`; `late_s` is the golden threshold of `traffic`. Only times decide, never outcomes: a worse
        series is cut in the same places."""
        own_s = observation.milestones.get("traffic")
        up_s = late_s if own_s is None else min(late_s, own_s)
        samples = sorted(series.samples, key=lambda s: s.at_s)
        start_s = probing_end_s(observation) - numbers.FINAL_WINDOW_S
        final = sum(1 for s in samples if s.at_s > start_s)
        # pods that nobody asks any more are gone: what was seen of them before does not tell of the end
        fewest = 0 if series.kind is ProbeKind.POD else numbers.FINAL_MIN_SAMPLES
        cut = max(0, len(samples) - max(final, fewest))
        rest = [s for s in samples[:cut] if s.at_s >= up_s or s.at_s < 0.0]
        fault_s = 0.0 if hit_s is None else hit_s
        return cls(
            before=tuple(s for s in rest if s.at_s < fault_s),
            during=tuple(s for s in rest if s.at_s >= fault_s),
            after=tuple(samples[cut:]),
        )

    def samples(self, phase: Phase) -> tuple[ProbeSample, ...]:
        return {Phase.BEFORE: self.before, Phase.DURING: self.during, Phase.AFTER: self.after}[phase]

    @property
    def judged(self) -> tuple[ProbeSample, ...]:
        """What the client's class is drawn from: everything since the fault, or since the service had to be up."""
        return self.during + self.after


def failures(samples: Sequence[ProbeSample]) -> int:
    return sum(1 for s in samples if s.outcome != "ok")


def error_rate(samples: Sequence[ProbeSample]) -> float | None:
    """Share of failed requests, 0..1; None without requests."""
    return failures(samples) / len(samples) if samples else None


def latency_quantile(samples: Sequence[ProbeSample]) -> float:
    """p90 of the latencies in seconds, a failed request counted as endless (so that failing never looks quick)."""
    latencies = sorted(s.latency_s if s.outcome == "ok" else math.inf for s in samples)
    return latencies[max(0, math.ceil(numbers.LATENCY_QUANTILE * len(latencies)) - 1)] if latencies else 0.0


def probing_end_s(observation: Observation) -> float:
    """When the last request of any client was sent; the experiment's end if there was none."""
    return max((s.at_s for series in observation.probes for s in series.samples), default=observation.seconds)


def hit_s(observation: Observation) -> float | None:
    """When the first fault entered, in seconds since the experiment's start; None if none fired or it can't be told.

    A write that was held back entered when it was, not when it was stored; what was told, when it was told. Where a
    firing's own time lies outside the experiment, it is that of the write that it became.
    """
    at_of = {w.revision: w.at_s for w in observation.writes}

    def inside(at_s: float | None) -> bool:
        return at_s is not None and 0.0 <= at_s <= observation.seconds

    times = (f.at_s if inside(f.at_s) else at_of.get(f.revision or 0) for f in observation.firings)
    return min((at for at in times if at is not None and inside(at)), default=None)
