"""The baseline: what golden runs of one workload did, as robust statistics.

A golden run is an experiment without a fault. Everything that a symptom compares against is drawn from them here, so
that no symptom carries an expectation of its own: what is normal is what fault-free runs did. Medians and median
absolute deviations, because one slow run among ten must not hide the next slow one; floors (classifiers.numbers),
because runs that agree to the millisecond would make every other run late.

Deliberately not here: which runs to take (the caller leaves out the run that it judges) and what a difference means.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from classifiers import numbers, signals
from classifiers.observation import Observation
from classifiers.over_time import Range, ranges
from classifiers.windows import Phase, Traffic, error_rate, latency_quantile

__all__ = ["Baseline", "ClientBaseline", "Spread", "ready_pods", "writes_per_identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One quantity over the golden runs: its median, median absolute deviation and range. `runs` had it, `missing`
    had not (a milestone that never came). The unit is the quantity's own."""

    runs: int
    missing: int
    median: float
    mad: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """None if no run had a value."""
        everything = list(values)
        seen = [float(v) for v in everything if v is not None]
        if not seen:
            return None
        middle = float(median(seen))
        return cls(
            runs=len(seen),
            missing=len(everything) - len(seen),
            median=middle,
            mad=float(median(abs(v - middle) for v in seen)),
            low=min(seen),
            high=max(seen),
        )

    @property
    def always(self) -> bool:
        """Every golden run had it."""
        return not self.missing

    def upper(self, *, floor: float, ratio: float) -> float:
        """What lies above it lies beyond golden runs: see classifiers.numbers for the form."""
        margin = max(floor, ratio * self.median, numbers.SPREADS * numbers.MAD_TO_SIGMA * self.mad)
        return max(self.median + margin, self.high)

    @property
    def late(self) -> float:
        """Seconds after which a milestone with this spread is late."""
        return self.upper(floor=numbers.TIMING_FLOOR_S, ratio=numbers.TIMING_RATIO)

    def describe(self, unit: str = "") -> str:
        """`6` or `5..7 s`: the golden range in words."""
        low, high = _short(self.low), _short(self.high)
        return f"{low if low == high else f'{low}..{high}'}{f' {unit}' if unit else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientBaseline:
    """What one client (a path from a vantage) saw in golden runs: share of failed requests per phase, p90 latency
    in seconds (None where no run had enough requests, or one's is endless: no run can be slower than that)."""

    error_rates: Mapping[Phase, Spread]
    latency_s: Spread | None

    def tolerated(self, phase: Phase, requests: int = 0) -> float:
        """The share of failed requests that golden runs do not exceed. Where they fail by chance themselves (one in
        three goes to the pods of a node that is off, until it is given up), so many `requests` may fail a little more
        often by chance alone."""
        spread = self.error_rates.get(phase)
        usual = spread.high if spread else 0.0
        chance = numbers.ERROR_RATE_SIGMAS * math.sqrt(usual * (1 - usual) / requests) if requests else 0.0
        return usual + max(numbers.ERROR_RATE_MARGIN, chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What golden runs of `workload` did; `wrong` more were left out, for something was wrong in them.

    milestones, canary           name or stage → Spread in seconds
    final_counts, peak_counts    kind → Spread of objects, volatile kinds left out
    over_time                    kind → fewest and most objects, second by second (classifiers.over_time)
    created                      kind → Spread of objects created in the run
    writes                       identity → Spread of writes; a run that never wrote it counts as 0
    clients                      (path, vantage) of a series → ClientBaseline
    components                   name → Spread of restarts, components that every golden run had
    unready                      components that were not ready or not alive at the end of some golden run
    user_errors                  what the API said to golden users too
    not_ready_s, log_errors, metric_rises, warnings    see classifiers.signals; a run without counts as 0
    """

    workload: str
    runs: int
    milestones: Mapping[str, Spread]
    canary: Mapping[str, Spread]
    final_counts: Mapping[str, Spread]
    peak_counts: Mapping[str, Spread]
    over_time: Mapping[str, Range]
    created: Mapping[str, Spread]
    writes: Mapping[str, Spread]
    ready_pods: Spread | None
    clients: Mapping[tuple[str, str], ClientBaseline]
    components: Mapping[str, Spread]
    unready: frozenset[str]
    user_errors: frozenset[str]
    not_ready_s: Mapping[str, Spread]
    log_errors: Mapping[str, Spread]
    metric_rises: Mapping[tuple[str, str], Spread]
    warnings: frozenset[tuple[str, str]]
    wrong: int = 0

    @classmethod
    def from_observations(cls, workload: str, observations: Sequence[Observation], *, wrong: int = 0) -> Baseline:
        """The baseline of golden runs. ValueError if one of them is of another workload or had a fault armed."""
        for run in observations:
            if run.workload != workload:
                raise ValueError(f"golden run of workload {run.workload!r} in the baseline of {workload!r}")
            if run.armed or run.firings:
                raise ValueError("an experiment with a fault armed is no golden run")
        milestones = _spreads(observations, lambda run: run.milestones)
        return cls(
            workload=workload,
            runs=len(observations),
            milestones=milestones,
            canary=_spreads(observations, lambda run: run.canary.stages),
            final_counts=_counts(observations, lambda run: _steady(run.final_counts)),
            peak_counts=_counts(observations, lambda run: _steady(run.peak_counts)),
            over_time=ranges(observations),
            created=_counts(observations, created_per_kind),
            writes=_counts(observations, writes_per_identity),
            ready_pods=Spread.of(ready_pods(run) for run in observations),
            clients=_clients(observations, _traffic_late_s(milestones)),
            components=_components(observations),
            unready=frozenset(
                c.name for run in observations for c in run.components if not c.alive or c.ready is False
            ),
            user_errors=frozenset(words for run in observations for words in run.user_errors),
            not_ready_s=_counts(observations, lambda run: {k: s for k, (_, s) in signals.not_ready_s(run).items()}),
            log_errors=_counts(observations, signals.log_errors),
            metric_rises=_counts(observations, signals.metric_rises),
            warnings=frozenset(what for run in observations for what, _ in signals.warnings(run)),
            wrong=wrong,
        )

    @property
    def shortfall(self) -> str | None:
        """Why these golden runs are too few or too noisy to judge by, in words; None if they are neither."""
        if self.runs < numbers.MIN_GOLDENS:
            return (
                f"golden baseline too small: {self.runs} golden run{'s' if self.runs != 1 else ''} of "
                f"{self.workload}, at least {numbers.MIN_GOLDENS} needed"
            )
        of = self.runs + self.wrong
        if self.wrong >= numbers.NOISY_LEAST and self.wrong > numbers.NOISY_SHARE * of:
            return (
                f"golden baseline too noisy: in {self.wrong} of {of} golden runs of {self.workload} something was wrong"
            )
        return None

    @property
    def enough(self) -> bool:
        return self.shortfall is None

    @property
    def traffic_late_s(self) -> float:
        """Seconds from the start after which the services have to answer."""
        return _traffic_late_s(self.milestones)


def _traffic_late_s(milestones: Mapping[str, Spread]) -> float:
    """The golden threshold of `traffic`; none where some golden run never had it, for then it may come at any time."""
    spread = milestones.get("traffic")
    return spread.late if spread is not None and spread.always else 0.0


_SUCCEEDED = "Succeeded"
"""Phase of a pod that ran to completion, as a Job's: it is never ready again, and not meant to be."""


def ready_pods(observation: Observation) -> int:
    """Pods that do what they are there for at the end: ready, or ended with success, and not on their way out."""
    return sum(1 for pod in observation.pods if (pod.ready or pod.phase == _SUCCEEDED) and not pod.deleting)


def writes_per_identity(observation: Observation) -> Mapping[str, int]:
    """Writes of each object, volatile kinds left out."""
    return Counter(w.identity for w in observation.writes if w.kind not in numbers.VOLATILE_KINDS)


def created_per_kind(observation: Observation) -> Mapping[str, int]:
    """Objects created since r0, volatile kinds left out."""
    return Counter(
        w.kind for w in observation.writes if w.operation == "create" and w.kind not in numbers.VOLATILE_KINDS
    )


def _steady(counts: Mapping[str, int]) -> Mapping[str, int]:
    return {kind: n for kind, n in counts.items() if kind not in numbers.VOLATILE_KINDS}


def _spreads(runs: Sequence[Observation], of: Callable[[Observation], Mapping[str, float | None]]) -> dict[str, Spread]:
    names = sorted({name for run in runs for name in of(run)})
    spreads = {name: Spread.of(of(run).get(name) for run in runs) for name in names}
    return {name: spread for name, spread in spreads.items() if spread is not None}


K = TypeVar("K", str, tuple[str, str])


def _counts(runs: Sequence[Observation], of: Callable[[Observation], Mapping[K, float]]) -> dict[K, Spread]:
    """Like _spreads, where an absent name means none of them."""
    counted = [of(run) for run in runs]
    names = sorted({name for counts in counted for name in counts})
    spreads = {name: Spread.of(counts.get(name, 0) for counts in counted) for name in names}
    return {name: spread for name, spread in spreads.items() if spread is not None}


def _components(runs: Sequence[Observation]) -> dict[str, Spread]:
    restarts = [{c.name: float(c.restarts) for c in run.components} for run in runs]
    shared = set.intersection(*(set(r) for r in restarts)) if restarts else set()
    spreads = {name: Spread.of(r[name] for r in restarts) for name in sorted(shared)}
    return {name: spread for name, spread in spreads.items() if spread is not None}


def _clients(runs: Sequence[Observation], late_s: float) -> dict[tuple[str, str], ClientBaseline]:
    found: dict[tuple[str, str], list[Traffic]] = {}
    for run in runs:
        for series in run.probes:
            if series.samples and series.blind is None:
                traffic = Traffic.of(run, series, late_s=late_s, hit_s=None)
                found.setdefault((series.path, series.vantage), []).append(traffic)
    return {client: _client(found[client]) for client in sorted(found)}


def _client(traffics: Sequence[Traffic]) -> ClientBaseline:
    rates = {phase: Spread.of(error_rate(t.samples(phase)) for t in traffics) for phase in Phase}
    latencies = [latency_quantile(t.judged) for t in traffics if len(t.judged) >= numbers.MIN_LATENCY_SAMPLES]
    return ClientBaseline(
        error_rates={phase: spread for phase, spread in rates.items() if spread is not None},
        latency_s=Spread.of(latencies) if all(map(math.isfinite, latencies)) else None,
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
