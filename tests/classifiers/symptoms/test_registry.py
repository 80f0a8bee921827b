from __future__ import annotations

import random

import pytest

from classifiers.golden import Baseline
from classifiers.observation import Observation
from classifiers.symptoms import SYMPTOMS, Detector, Registry
from classifiers.verdict import OrchestratorFailure, Symptom
from tests.builders import baseline, observation


def never(observation: Observation, baseline: Baseline) -> Symptom | None:
    return None


def test_a_name_that_is_taken_is_refused() -> None:
    registry = Registry([Detector("outage", OrchestratorFailure.OUTAGE, never)])
    with pytest.raises(ValueError, match="'outage' is registered already"):
        registry.register(Detector("outage", OrchestratorFailure.STALL, never))


def test_none_is_the_absence_of_symptoms_and_no_symptom() -> None:
    with pytest.raises(ValueError, match="absence"):
        Registry([Detector("fine", OrchestratorFailure.NONE, never)])


def test_the_order_is_the_precedence_whatever_was_registered_first() -> None:
    shipped = list(SYMPTOMS.detectors())
    random.Random(7).shuffle(shipped)
    order = [d.orchestrator for d in Registry(shipped).detectors()]
    assert order == [c for c in OrchestratorFailure if c is not OrchestratorFailure.NONE]


def test_nothing_holds_in_a_golden_run() -> None:
    assert SYMPTOMS.symptoms(observation(), baseline()) == ()
