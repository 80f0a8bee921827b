"""Where symptoms are found: a registry instance that the judge is handed, and the shape of what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from classifiers.golden import Baseline
from classifiers.observation import Observation
from classifiers.verdict import OrchestratorFailure, Symptom

__all__ = ["Absent", "Detect", "Detector", "Registry"]

Detect = Callable[[Observation, Baseline], Symptom | None]
Absent = Callable[[Observation, Baseline], str]

_GRAVEST_FIRST = list(OrchestratorFailure)


@dataclass(frozen=True, slots=True)
class Detector:
    """One symptom: `detect(observation, baseline)` is pure and returns it with the evidence, or None; `absent`, where
    it returned None, tells why, in words."""

    name: str
    orchestrator: OrchestratorFailure
    detect: Detect
    absent: Absent = lambda observation, baseline: ""


class Registry:
    """Detectors by name; a duplicate name is a ValueError. Their order is OrchestratorFailure's, whatever the order of
    registration."""

    def __init__(self, detectors: Iterable[Detector] = ()) -> None:
        self._detectors: dict[str, Detector] = {}
        for detector in detectors:
            self.register(detector)

    def register(self, detector: Detector) -> None:
        if detector.name in self._detectors:
            raise ValueError(f"a symptom called {detector.name!r} is registered already")
        if detector.orchestrator is OrchestratorFailure.NONE:
            raise ValueError(f"symptom {detector.name!r} may not stand for `none`, which is the absence of symptoms")
        self._detectors[detector.name] = detector

    def without(self, orchestrator: OrchestratorFailure) -> Registry:
        """Those that stand for another class."""
        return Registry(d for d in self._detectors.values() if d.orchestrator is not orchestrator)

    def detectors(self) -> tuple[Detector, ...]:
        """Gravest first, then by name."""
        return tuple(sorted(self._detectors.values(), key=lambda d: (_GRAVEST_FIRST.index(d.orchestrator), d.name)))

    def symptoms(self, observation: Observation, baseline: Baseline) -> tuple[Symptom, ...]:
        """All that held, gravest first."""
        found = (detector.detect(observation, baseline) for detector in self.detectors())
        return tuple(symptom for symptom in found if symptom is not None)

    def ruled_out(self, observation: Observation, baseline: Baseline) -> tuple[Symptom, ...]:
        """All that did not hold, gravest first, with why not."""
        absent = (d for d in self.detectors() if d.detect(observation, baseline) is None)
        found = (Symptom(orchestrator=d.orchestrator, why=d.absent(observation, baseline)) for d in absent)
        return tuple(symptom for symptom in found if symptom.why)
