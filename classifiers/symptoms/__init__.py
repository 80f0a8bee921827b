"""One file per symptom. `SYMPTOMS` holds those that ship; the judge takes any registry of the same shape.

A new symptom is a file with a pure `detect(observation, baseline) -> Symptom | None`, an `absent` that tells why it
does not hold, and one line here.
"""

from __future__ import annotations

from classifiers.symptoms import less_resources, more_resources, network, outage, stall, timing
from classifiers.symptoms.registry import Detector, Registry
from classifiers.verdict import OrchestratorFailure

__all__ = ["SYMPTOMS", "Detector", "Registry"]

SYMPTOMS = Registry(
    (
        Detector("outage", OrchestratorFailure.OUTAGE, outage.detect, outage.absent),
        Detector("stall", OrchestratorFailure.STALL, stall.detect, stall.absent),
        Detector("network", OrchestratorFailure.NETWORK, network.detect, network.absent),
        Detector("more-resources", OrchestratorFailure.MORE_RESOURCES, more_resources.detect, more_resources.absent),
        Detector("less-resources", OrchestratorFailure.LESS_RESOURCES, less_resources.detect, less_resources.absent),
        Detector("timing", OrchestratorFailure.TIMING, timing.detect, timing.absent),
    )
)
