"""Whether the cluster came back, from what was seen after the fault had been removed."""

from __future__ import annotations

from typing import Any

import pytest

from classifiers.judge import judge
from classifiers.observation import Look
from classifiers.recovery import recovery
from classifiers.verdict import OrchestratorFailure, Recovered
from tests.builders import baseline, canary, counts, faulty, observation, pods

BROKEN = {"pods": pods(4), "final_counts": counts(Pod=4)}


def look(**changes: Any) -> Look:
    """As after a golden run's end, two seconds after the fault was removed."""
    golden = observation()
    built: dict[str, Any] = {
        "done": "the fault was removed", "since_s": 0.0, "seconds": golden.seconds, "rested_s": 2.0,
        "pods": golden.pods, "final_counts": golden.final_counts, "probes": golden.probes, "canary": golden.canary,
        "components": golden.components,
    }  # fmt: skip
    return Look(**{**built, **changes})


RESTARTED = {"done": "kube-scheduler were restarted", "rested_s": 3.5}


@pytest.mark.parametrize(
    ("looks", "how", "after_s"),
    [
        ((look(),), Recovered.BY_ITSELF, 2.0),
        ((look(**BROKEN), look(**RESTARTED)), Recovered.AFTER_RESTART, 3.5),
        ((look(**BROKEN), look(**{**RESTARTED, **BROKEN})), Recovered.NOT, None),
        ((look(canary=canary(pod_ready=None, endpoints=None, traffic=None)),), Recovered.NOT, None),
        ((look(final_counts=counts(Pod=9)),), Recovered.NOT, None),
        ((look(rested_s=None),), Recovered.BY_ITSELF, None),
    ],
)
def test_it_has_come_back_when_no_symptom_holds_any_more(
    looks: tuple[Look, ...], how: Recovered, after_s: float | None
) -> None:
    found = recovery(faulty(**BROKEN, looks=looks), baseline())
    assert found is not None and (found.how, found.after_s) == (how, after_s)
    assert found.why.startswith(looks[-1].done)


def test_what_still_holds_is_told() -> None:
    found = recovery(faulty(**BROKEN, looks=(look(**BROKEN),)), baseline())
    assert found is not None
    assert found.why.startswith("the fault was removed, and still less-resources: 4 pods ready at the end, golden 6")


def test_a_verdict_has_it_and_its_class_is_as_without() -> None:
    verdict = judge(faulty(**BROKEN, looks=(look(),)), baseline())
    assert verdict.orchestrator is OrchestratorFailure.LESS_RESOURCES
    assert verdict.recovery is not None and verdict.recovery.how is Recovered.BY_ITSELF
    assert judge(faulty(**BROKEN), baseline()).recovery is None
