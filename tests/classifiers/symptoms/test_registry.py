from __future__ import annotations

import random
from typing import Any

import pytest

from classifiers.golden import Baseline
from classifiers.observation import Observation
from classifiers.symptoms import SYMPTOMS, Detector, Registry
from classifiers.verdict import OrchestratorFailure, Symptom
from tests.builders import baseline, canary, counts, faulty, observation, pods


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


def test_each_that_does_not_hold_tells_why() -> None:
    told = {each.orchestrator.value: each.why for each in SYMPTOMS.ruled_out(faulty(), baseline())}
    assert list(told) == ["outage", "stall", "network", "more-resources", "less-resources", "timing"]
    assert told["outage"] == "etcd and kube-apiserver serve; 3 of 3 clients are answered at the end"
    assert told["stall"].startswith("a new workload got to `endpoints` in ")
    assert told["network"] == "3 of 3 clients are served at the end as in golden runs"
    assert "6 of Pod at the end (golden 6), 6 at the peak (golden 6)" in told["more-resources"]
    assert told["less-resources"].endswith("and 6 pods are ready (golden 6)")
    assert told["timing"].startswith("nothing came late: ")


@pytest.mark.parametrize(
    ("changes", "held", "other"),
    [
        ({"pods": pods(0)}, "less-resources", ("network", "no pod is ready, so nobody could answer")),
        ({"final_counts": counts(Pod=9)}, "more-resources", ("less-resources", "no kind has fewer objects")),
        (
            {"canary": canary(pod_ready=None, endpoints=None, traffic=None)},
            "stall",
            ("outage", "etcd and kube-apiserver"),
        ),
        ({"final_counts": counts(Pod=5)}, "less-resources", ("timing", "nothing came late")),
    ],
)
def test_what_holds_is_not_ruled_out_and_its_neighbours_are(
    changes: dict[str, Any], held: str, other: tuple[str, str]
) -> None:
    told = {each.orchestrator.value: each.why for each in SYMPTOMS.ruled_out(faulty(**changes), baseline())}
    neighbour, why = other
    assert held not in told and told[neighbour].startswith(why)


def test_a_detector_that_can_not_tell_why_not_says_nothing() -> None:
    assert Registry([Detector("outage", OrchestratorFailure.OUTAGE, never)]).ruled_out(faulty(), baseline()) == ()
