"""What a workload's namespaces hold at the end, and what its user would see there."""

from __future__ import annotations

from typing import Any

from campaigns.running.end_state import EndState
from tests.campaigns.workloads.stored_state import state


def thing(kind: str, name: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **more}


def conditions(**statuses: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status, "reason": "R"} for name, status in statuses.items()]}


def test_pods_and_counts_are_of_all_its_namespaces_and_of_no_other() -> None:
    end = EndState.of(
        state(
            thing("Pod", "a", status={"phase": "Succeeded"}, spec={"nodeName": "node-1"}),
            thing("Pod", "b", "shop"),
            thing("Pod", "c", "other"),
            thing("Service", "s", "shop"),
        ),
        ("default", "shop"),
    )
    assert [(pod.identity, pod.phase, pod.node, pod.ready) for pod in end.pods] == [
        ("Pod/default/a", "Succeeded", "node-1", False),
        ("Pod/shop/b", "", "", False),
    ]
    assert end.counts == end.peaks == {"Pod": 2, "Service": 1}


def test_conditions_that_tell_of_trouble_and_warnings_are_signs() -> None:
    about = {"kind": "Pod", "namespace": "default"}
    end = EndState.of(
        state(
            thing("Deployment", "web", status=conditions(Available="False", Progressing="True", ReplicaFailure="True")),
            thing("Job", "j", status=conditions(Failed="True", Complete="False")),
            thing("HorizontalPodAutoscaler", "h", status=conditions(ScalingActive="False", ScalingLimited="True")),
            thing("Event", "e", type="Warning", reason="BackOff", involvedObject=about),
            thing("Event", "f", type="Warning", reason="BackOff", involvedObject=about),
            thing("Event", "g", type="Normal", reason="Pulled", involvedObject=about),
            thing("Event", "h", type="Warning", reason="Other", involvedObject={"kind": "Node"}),
            thing("Deployment", "odd", status={"conditions": ["x", None]}),
        ),
        ("default",),
    )
    assert tuple(end.signs) == (
        "Deployment web: condition Available=False (R)",
        "Deployment web: condition ReplicaFailure=True (R)",
        "Job j: condition Failed=True (R)",
        "HorizontalPodAutoscaler h: condition ScalingActive=False (R)",
        "warning event BackOff on a Pod",
    )
    assert set(end.signs.values()) == {1.5}


def test_a_warning_from_before_time_zero_is_no_sign_of_the_fault() -> None:
    about = {"kind": "Pod", "namespace": "default"}
    before = state(thing("Event", "e", type="Warning", reason="Unhealthy", involvedObject=about))
    before.writes.clear()
    assert EndState.of(before, ("default",)).signs == {}
