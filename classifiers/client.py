"""Client failure: what those who use the services saw, per path and vantage point, against golden runs. A path is a
service, its name (DNS), or the pods on other nodes.

    unreachable   no request succeeds at the end (classifiers.windows: AFTER), where golden runs' do
    intermittent  more requests fail than in any golden run, since the fault or since the service had to be up
    slower        the p90 latency lies beyond golden runs'; failed requests count as endless
    none

A service that comes late is *intermittent*: from the golden threshold of `traffic` on its clients had to get answers,
and from its own first traffic on if that is earlier.
A series can only get worse by failing more or answering later, and each test above is monotone in both, so that a worse
series never gets a milder class (tests/classifiers/test_client.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from classifiers import numbers
from classifiers.golden import Baseline, ClientBaseline
from classifiers.observation import Observation, ProbeKind
from classifiers.verdict import ClientFailure
from classifiers.windows import Phase, Traffic, error_rate, failures, hit_s, latency_quantile

__all__ = ["ClientView", "client_views", "worst"]

_GRAVEST_FIRST = list(ClientFailure)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """One client's class over the experiment, and what holds at its end (never `slower`). `service` is the path in
    words."""

    service: str
    kind: ProbeKind
    vantage: str
    failure: ClientFailure
    at_end: ClientFailure
    why: str


def client_views(observation: Observation, baseline: Baseline) -> tuple[ClientView, ...]:
    """One view for each client that could see and that golden runs had too, in order of path and vantage."""
    fault_s = hit_s(observation)
    views = []
    for series in sorted(observation.probes, key=lambda s: (s.path, s.vantage)):
        golden = baseline.clients.get((series.path, series.vantage))
        if series.blind is not None or not series.samples or golden is None:
            continue
        traffic = Traffic.of(observation, series, late_s=baseline.traffic_late_s, hit_s=fault_s)
        failure, why = _classify(traffic, golden)
        views.append(
            ClientView(
                service=series.path,
                kind=series.kind,
                vantage=series.vantage,
                failure=failure,
                at_end=_at_end(traffic, golden),
                why=why,
            )
        )
    return tuple(views)


def worst(views: Iterable[ClientView]) -> ClientFailure:
    """The gravest class of any client; `none` without clients (the judge asks for traffic beforehand)."""
    return min((v.failure for v in views), key=_GRAVEST_FIRST.index, default=ClientFailure.NONE)


def _classify(traffic: Traffic, golden: ClientBaseline) -> tuple[ClientFailure, str]:
    if _unreachable(traffic, golden):
        last = traffic.after[-1].outcome
        return ClientFailure.UNREACHABLE, f"all of the last {len(traffic.after)} requests failed, the last with {last}"
    for phase in (Phase.AFTER, Phase.DURING):
        if _failing(traffic, golden, phase):
            samples = traffic.samples(phase)
            when = "at the end" if phase is Phase.AFTER else "since the service had to be up"
            return ClientFailure.INTERMITTENT, f"{failures(samples)} of {len(samples)} requests failed {when}"
    if golden.latency_s is not None and _tells_latency(traffic, golden):
        p90 = latency_quantile(traffic.judged)
        bound = golden.latency_s.upper(floor=numbers.LATENCY_FLOOR_S, ratio=numbers.LATENCY_RATIO)
        if p90 > bound:
            usual = golden.latency_s.median
            return ClientFailure.SLOWER, f"p90 latency {p90:.3f} s, golden {usual:.3f} s (slower from {bound:.3f} s)"
    return ClientFailure.NONE, f"{failures(traffic.judged)} of {len(traffic.judged)} requests failed"


def _tells_latency(traffic: Traffic, golden: ClientBaseline) -> bool:
    """Whether there are requests enough for a p90, and golden ones do not fail so often that theirs is endless too."""
    requests = len(traffic.judged)
    endless = golden.tolerated(Phase.DURING, requests) >= 1 - numbers.LATENCY_QUANTILE
    return requests >= numbers.MIN_LATENCY_SAMPLES and not endless


def _at_end(traffic: Traffic, golden: ClientBaseline) -> ClientFailure:
    if _unreachable(traffic, golden):
        return ClientFailure.UNREACHABLE
    return ClientFailure.INTERMITTENT if _failing(traffic, golden, Phase.AFTER) else ClientFailure.NONE


def _unreachable(traffic: Traffic, golden: ClientBaseline) -> bool:
    expected = golden.tolerated(Phase.AFTER) < numbers.MOSTLY_FAILS
    return expected and len(traffic.after) == failures(traffic.after) >= numbers.MIN_FAILURES


def _failing(traffic: Traffic, golden: ClientBaseline, phase: Phase) -> bool:
    samples = traffic.samples(phase)
    rate = error_rate(samples)
    tolerated = golden.tolerated(phase, len(samples))
    return rate is not None and failures(samples) >= numbers.MIN_FAILURES and rate > tolerated
