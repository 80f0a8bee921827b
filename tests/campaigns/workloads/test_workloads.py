"""The workloads that ship: that what they say of themselves fits together."""

from __future__ import annotations

import json

import pytest

from campaigns.clusters.actions import Action
from campaigns.clusters.sandbox.cri.images import BUILT_IN
from campaigns.spec.cluster_spec import FURNITURE
from campaigns.workloads import WORKLOADS, Workload
from campaigns.workloads.goals import PodsReady, RolledOut, missing
from campaigns.workloads.steps import Create, ObjectName, Patch, ToNode
from tests.campaigns.workloads.stored_state import state

ALL = [WORKLOADS[name] for name in WORKLOADS]
EACH = pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)


def created(workload: Workload) -> dict[str, Create]:
    found = [step for step in (*workload.prepare, *workload.steps) if isinstance(step, Create)]
    return {str(ObjectName.of(step.manifest)): step for step in found}


def test_the_issue_s_workloads_are_there() -> None:
    assert WORKLOADS.names() == (
        "deploy", "scale", "failover", "rolling-update", "rollback", "stateful", "daemonset", "job", "cronjob",
        "autoscale", "namespace-delete", "config-change",
    )  # fmt: skip


@EACH
def test_what_is_probed_patched_and_waited_for_is_created_by_it(workload: Workload) -> None:
    there = created(workload)
    assert {f"Service/{s.namespace}/{s.name}" for s in workload.services} <= there.keys()
    system = {"Deployment/kube-system/coredns"}
    patched = {str(step.target) for step in (*workload.prepare, *workload.steps) if isinstance(step, Patch)}
    rolled_out = {goal.object for goal in (*workload.ready, *workload.done) if isinstance(goal, RolledOut)}
    assert patched | rolled_out <= there.keys() | system
    assert {ObjectName.of(step.manifest).namespace for step in there.values()} - {""} <= set(workload.namespaces)


@EACH
def test_its_pods_run_images_that_every_sandbox_has_and_its_furniture_exists(workload: Workload) -> None:
    text = repr(workload)
    assert set(workload.furniture) <= set(FURNITURE)
    images = {part.split("'")[0] for part in text.split("'image': '")[1:]}
    assert images <= BUILT_IN.keys()


@EACH
def test_it_asks_for_something_and_tells_it_in_one_line(workload: Workload) -> None:
    assert workload.done and workload.steps and 20 < len(workload.summary) <= 110
    assert bool(workload.ready) == bool(workload.prepare)
    assert workload.asked_for or any(isinstance(step, ToNode) for step in workload.steps)


def test_deploy_asks_for_what_it_always_did() -> None:
    deploy = WORKLOADS["deploy"]
    assert deploy.asked_for == ("Deployment/default/web", "Service/default/web")
    assert (deploy.prepare, deploy.done, deploy.wanted_pods) == ((), (PodsReady(6),), 6)
    assert deploy.steps[0].manifest["spec"]["replicas"] == 6  # type: ignore[union-attr,index,call-overload]


def test_a_node_that_is_switched_off_is_lost_unless_it_is_switched_on_again() -> None:
    failover = WORKLOADS["failover"]
    assert failover.lost_nodes == {"node-2"} and WORKLOADS["deploy"].lost_nodes == frozenset()
    back = Workload(
        name="x", summary="", done=(), steps=(ToNode("a", Action.PAUSE), ToNode("b", Action.STOP),
                                               ToNode("a", Action.RESUME), ToNode("c", Action.RESTART)),
    )  # fmt: skip
    assert back.lost_nodes == {"b"}


def test_pods_wanted_on_every_node_follow_the_number_of_nodes() -> None:
    assert [WORKLOADS["daemonset"].pods_on(nodes) for nodes in (1, 3)] == [1, 3]
    assert WORKLOADS["deploy"].pods_on(10) == 6


@pytest.mark.parametrize("name", ["rolling-update", "rollback", "config-change"])
def test_a_rollout_that_is_asked_for_and_lost_is_not_done(name: str) -> None:
    workload = WORKLOADS[name]
    text = json.dumps(created(workload)["Deployment/default/web"].manifest)
    if name == "rollback":  # its second version is what it goes back from
        text = text.replace('"name": "VERSION", "value": "1"', '"name": "VERSION", "value": "2"')
    web = json.loads(text)
    there = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    stored = state(web | {"status": dict.fromkeys(there, web["spec"]["replicas"])})
    assert RolledOut("Deployment/default/web").holds(stored)
    assert str(workload.done[0]) in missing(workload.done, stored)
