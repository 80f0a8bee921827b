"""Recovery: whether the cluster came back once the fault had been removed, and what it took.

Each look at it (classifiers.observation.Look) is judged like the experiment's end, by the same symptoms but timing: a
cluster has recovered when none of them holds any more.
"""

from __future__ import annotations

import dataclasses

from classifiers.golden import Baseline
from classifiers.observation import Look, Observation
from classifiers.symptoms import SYMPTOMS, Registry
from classifiers.verdict import OrchestratorFailure, Recovered, Recovery, Symptom

__all__ = ["recovery"]


def recovery(observation: Observation, baseline: Baseline, *, symptoms: Registry = SYMPTOMS) -> Recovery | None:
    """None where nobody looked."""
    if not observation.looks:
        return None
    held: tuple[Symptom, ...] = ()
    for look, how in zip(observation.looks, (Recovered.BY_ITSELF, Recovered.AFTER_RESTART), strict=False):
        held = _held(observation, look, baseline, symptoms)
        if not held:
            return Recovery(how=how, after_s=look.rested_s, why=look.done)
    why = "; ".join(f"{symptom.orchestrator.value}: {symptom.why}" for symptom in held)
    return Recovery(how=Recovered.NOT, after_s=None, why=f"{observation.looks[-1].done}, and still {why}")


def _held(observation: Observation, look: Look, baseline: Baseline, symptoms: Registry) -> tuple[Symptom, ...]:
    seen = dataclasses.replace(
        observation,
        seconds=look.seconds,
        milestones={**observation.milestones, "settled": look.rested_s},
        pods=look.pods,
        final_counts=look.final_counts,
        peak_counts=look.final_counts,
        probes=look.probes,
        canary=look.canary,
        components=look.components,
        writes=(),
    )
    found = symptoms.symptoms(seen, baseline)
    return tuple(symptom for symptom in found if symptom.orchestrator is not OrchestratorFailure.TIMING)
