"""Less resources: fewer ready pods at the end than any golden run, or fewer objects of a kind.

The first is the paper's under-provisioning: capacity that was asked for is not there, whether the pods were never made,
not scheduled, not started, or taken away.

The second is for objects that were lost or removed. A Service whose write was dropped leaves all six pods running
and no way to reach them. Someone who runs clusters would file that under networking (symptoms.network says why) and
so does the order of classes; but the Service *is* missing from what the user declared, so this symptom holds beside
it, and alone if no client happens to need the object. Fewer objects while the pods are as many as wanted is thus
never silently "none".
"""

from __future__ import annotations

from classifiers import numbers
from classifiers.golden import Baseline, ready_pods
from classifiers.observation import Observation
from classifiers.verdict import OrchestratorFailure, Symptom

__all__ = ["absent", "detect"]

_SHOWN = 3
"""Pods that are named (arbitrary: one line)."""


def detect(observation: Observation, baseline: Baseline) -> Symptom | None:
    signs = []
    ready, golden = ready_pods(observation), baseline.ready_pods
    if golden is not None and ready < golden.low:
        unready = [
            f"{p.identity} {p.phase}{' on ' + p.node if p.node else ''}"
            for p in observation.pods
            if not p.ready and p.phase != "Succeeded"
        ]
        which = (
            f" (not ready: {', '.join(unready[:_SHOWN])}{', …' if len(unready) > _SHOWN else ''})" if unready else ""
        )
        signs.append(f"{ready} pods ready at the end, golden {golden.describe()}{which}")
    for kind, spread in baseline.final_counts.items():
        count = observation.final_counts.get(kind, 0)
        if kind not in numbers.VOLATILE_KINDS and count < spread.low:
            signs.append(f"{count} of {kind} at the end, golden {spread.describe()}")
    return Symptom(orchestrator=OrchestratorFailure.LESS_RESOURCES, why="; ".join(signs)) if signs else None


def absent(observation: Observation, baseline: Baseline) -> str:
    """Why it does not hold, in words."""
    golden = baseline.ready_pods.describe() if baseline.ready_pods else "unknown"
    return f"no kind has fewer objects than golden runs, and {ready_pods(observation)} pods are ready (golden {golden})"
