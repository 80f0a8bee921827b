"""More resources: more objects than any golden run, at the end or at the peak.

At the end one object of any kind too many is enough. At the peak a surplus within a Deployment's default surge
(numbers.PEAK_SURGE) is how Kubernetes replaces pods and does not count. Objects that are made and removed again and
again may show in neither; they hold when they are created faster than numbers.RUNAWAY_PER_S to the very end and more
than numbers.RUNAWAY_FACTOR times as often as in golden runs. The same rate turns the words of the first two into
"runaway": a controller without a reason to stop, where only a quota ends it.

What is not known here is how many of them are in use: a superseded ReplicaSet with no replicas counts, as the object
that it is.
"""

from __future__ import annotations

import math

from classifiers import numbers
from classifiers.golden import Baseline, created_per_kind
from classifiers.observation import Observation
from classifiers.verdict import OrchestratorFailure, Symptom

_POD = "Pod"
__all__ = ["absent", "detect"]


def detect(observation: Observation, baseline: Baseline) -> Symptom | None:
    signs = []
    kinds = {*observation.final_counts, *observation.peak_counts} - numbers.VOLATILE_KINDS
    for kind in sorted(kinds | set(created_per_kind(observation))):
        words = _at_end(observation, baseline, kind) or _at_peak(observation, baseline, kind)
        runaway = _runaway(observation, baseline, kind)
        signs += [", ".join(w for w in (words, runaway) if w)] if words or runaway else []
    return Symptom(orchestrator=OrchestratorFailure.MORE_RESOURCES, why="; ".join(signs)) if signs else None


def absent(observation: Observation, baseline: Baseline) -> str:
    """Why it does not hold, in words."""
    final, peak = baseline.final_counts.get(_POD), baseline.peak_counts.get(_POD)
    pods = f"{observation.final_counts.get(_POD, 0)} of {_POD} at the end (golden {final.describe() if final else '0'})"
    most = f"{observation.peak_counts.get(_POD, 0)} at the peak (golden {peak.describe() if peak else '0'})"
    return f"no kind has more objects than golden runs: {pods}, {most}"


def _at_end(observation: Observation, baseline: Baseline, kind: str) -> str:
    count, golden = observation.final_counts.get(kind, 0), baseline.final_counts.get(kind)
    if count <= (golden.high if golden else 0):
        return ""
    return f"{count} of {kind} at the end, golden {golden.describe() if golden else '0'}"


def _at_peak(observation: Observation, baseline: Baseline, kind: str) -> str:
    count, golden = observation.peak_counts.get(kind, 0), baseline.peak_counts.get(kind)
    usual = golden.high if golden else 0
    if count <= usual + math.ceil(numbers.PEAK_SURGE * usual):
        return ""
    return f"{count} of {kind} at the peak, golden {golden.describe() if golden else '0'}"


def _runaway(observation: Observation, baseline: Baseline, kind: str) -> str:
    golden = baseline.created.get(kind)
    total = created_per_kind(observation).get(kind, 0)
    if total <= numbers.RUNAWAY_FACTOR * (golden.high if golden else 0):
        return ""
    start_s = observation.seconds - numbers.FINAL_WINDOW_S
    late = sum(1 for w in observation.writes if w.kind == kind and w.operation == "create" and w.at_s > start_s)
    rate = late / numbers.FINAL_WINDOW_S
    if rate < numbers.RUNAWAY_PER_S:
        return ""
    return f"runaway: {rate:.1f} of {kind} created per second to the end, {total} in all"
