"""What a workload waits for, asked of a stored state."""

from __future__ import annotations

from typing import Any

import pytest

from campaigns.workloads.goals import Condition, Field, Goal, Gone, PodsReady, RolledOut, all_hold, missing
from tests.campaigns.workloads.stored_state import state

READY = [{"type": "Ready", "status": "True"}]


def pod(name: str, *, node: str = "node-1", app: str = "web", ready: bool = True, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}, **metadata},
        "spec": {"nodeName": node},
        "status": {"conditions": READY if ready else []},
    }


PODS = (
    pod("a"),
    pod("b", node="node-2"),
    pod("c", app="db"),
    pod("d", ready=False),
    pod("e", deletionTimestamp="2026-01-01T00:00:00Z"),
)


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        (PodsReady(3), True),
        (PodsReady(4), False),
        (PodsReady(2, selector="app=web"), True),
        (PodsReady(3, selector="app=web"), False),
        (PodsReady(1, selector="app!=web"), True),
        (PodsReady(2, not_on="node-2"), True),
        (PodsReady(3, not_on="node-2"), False),
        (PodsReady(1, namespace="shop"), False),
        (PodsReady(0, namespace="shop"), True),
    ],
)
def test_only_ready_pods_that_stay_and_that_are_meant_count(goal: Goal, holds: bool) -> None:
    assert goal.holds(state(*PODS)) is holds


def rollout(kind: str, **changes: Any) -> dict[str, Any]:
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    if kind == "DaemonSet":
        counts = dict.fromkeys(
            ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable"), 2
        )
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default", "generation": 3},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 3, **counts, **changes},
    }


@pytest.mark.parametrize(
    ("kind", "changes", "holds"),
    [
        ("Deployment", {}, True),
        ("StatefulSet", {}, True),
        ("DaemonSet", {}, True),
        ("Deployment", {"observedGeneration": 2}, False),
        ("Deployment", {"replicas": 3}, False),
        ("Deployment", {"updatedReplicas": 1}, False),
        ("Deployment", {"readyReplicas": 1}, False),
        ("StatefulSet", {"availableReplicas": 1}, False),
        ("DaemonSet", {"observedGeneration": 2}, False),
        ("DaemonSet", {"updatedNumberScheduled": 1}, False),
        ("DaemonSet", {"numberAvailable": 1}, False),
        ("DaemonSet", {"desiredNumberScheduled": 0, "currentNumberScheduled": 0, "updatedNumberScheduled": 0,
                       "numberAvailable": 0}, False),
    ],
)  # fmt: skip
def test_a_rollout_is_complete_when_every_pod_is_of_the_newest_template_and_available(
    kind: str, changes: dict[str, int], holds: bool
) -> None:
    assert RolledOut(f"{kind}/default/web").holds(state(rollout(kind, **changes))) is holds
    assert not RolledOut(f"{kind}/default/other").holds(state(rollout(kind)))
    assert not RolledOut(f"{kind}/default/web").holds(state(rollout(kind) | {"status": None}))


def owned(kind: str, name: str, **more: Any) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "report", "uid": "u", "controller": True}
    return {
        "apiVersion": "batch/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "ownerReferences": [owner]},
        **more,
    }


def test_an_object_is_found_by_its_name_and_by_its_identity() -> None:
    done = owned("Job", "report-29", status={"conditions": [{"type": "Complete", "status": "True"}]})
    stored = state(done)
    for name in ("Job/default/report-29", "Job/default/report#1"):
        assert Condition(f"{name} Complete").holds(stored) and Condition(f"{name} exists").holds(stored)
        assert not Condition(f"{name} Failed").holds(stored) and not Gone(name).holds(stored)
    assert Gone("Job/default/report#2").holds(stored) and Gone("Job/report-29").holds(stored)


def test_a_field_has_a_value_or_is_not_set() -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "status": {"phase": "Bound"},
    }
    name = "PersistentVolumeClaim/default/data"
    assert Field(name, "status.phase", "Bound").holds(state(claim))
    assert not Field(name, "status.phase", "Pending").holds(state(claim))
    assert not Field(name, "status.phase", None).holds(state(claim))
    assert Field(name, "spec.volumeName", None).holds(state(claim))
    assert not Field("PersistentVolumeClaim/default/other", "spec.volumeName", None).holds(state(claim))


def test_of_what_cannot_be_decoded_nothing_holds_but_that_it_is_there() -> None:
    stored = state(b"k8s\0\xff\xff")
    name = "Pod/default/broken-0"
    assert not Gone(name).holds(stored) and Condition(f"{name} exists").holds(stored)
    assert not Condition(f"{name} Ready").holds(stored) and not PodsReady(1).holds(stored)
    assert not Field(name, "spec.nodeName", None).holds(stored) and not RolledOut(name).holds(stored)


def test_what_is_missing_is_told_in_words() -> None:
    goals = (PodsReady(3), PodsReady(9, "default", "app=web", "node-2"), Gone("Pod/default/a"))
    assert not all_hold(goals, state(*PODS)) and all_hold(goals[:1], state(*PODS))
    assert missing(goals, state(*PODS)) == (
        "9 pods with app=web in default are ready on nodes other than node-2",
        "Pod/default/a is gone",
    )
