"""One file per symptom. `SYMPTOMS` holds those that ship; the judge takes any registry of the same shape.

A new symptom is a file with a pure `detect(observation, baseline) -> Symptom | None` and one line here.
"""

from __future__ import annotations

from classifiers.symptoms import less_resources, more_resources, network, outage, stall, timing
from classifiers.symptoms.registry import Detector, Registry
from classifiers.verdict import OrchestratorFailure

__all__ = ["SYMPTOMS", "Detector", "Registry"]

SYMPTOMS = Registry(
    (
        Detector("outage", OrchestratorFailure.OUTAGE, outage.detect),
        Detector("stall", OrchestratorFailure.STALL, stall.detect),
        Detector("network", OrchestratorFailure.NETWORK, network.detect),
        Detector("more-resources", OrchestratorFailure.MORE_RESOURCES, more_resources.detect),
        Detector("less-resources", OrchestratorFailure.LESS_RESOURCES, less_resources.detect),
        Detector("timing", OrchestratorFailure.TIMING, timing.detect),
    )
)
