"""Steps carried out: in order, by whom, and what is not waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from campaigns.clusters.actions import Action
from campaigns.clusters.protocol import Cluster
from campaigns.observers.history import History
from campaigns.workloads.driving import drive, learn
from campaigns.workloads.failover import FAILOVER
from campaigns.workloads.goals import Condition
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Apply, Create, Delete, ObjectName, Step, ToComponent, ToNode, Wait, scale
from campaigns.workloads.user import User

WEB = ObjectName("apps/v1", "Deployment", "default", "web")


class Doing:
    """User, cluster and history in one; keeps what was asked of it. `refusals`: what the user is told instead."""

    def __init__(self, *refusals: str, holds: Callable[[], bool] = lambda: True) -> None:
        self.done: list[Any] = []
        self.told: list[str] = []
        self._refusals, self._holds = list(refusals), holds

    def _request(self, *what: Any) -> bool:
        self.done.append(what)
        if self._refusals:
            self.told.append(self._refusals.pop(0))
            return False
        return True

    def create(self, manifest: Any) -> bool:
        return self._request("create", manifest["kind"])

    def apply(self, manifest: Any) -> bool:
        return self._request("apply", manifest["kind"])

    def patch(self, step: Any) -> bool:
        return self._request("patch", step.why)

    def delete(self, target: Any) -> bool:
        return self._request("delete", str(target))

    def learn(self, api_version: str) -> None:
        self.done.append(api_version)

    def node(self, name: str, action: Action) -> None:
        self.done.append((name, action))

    component = node

    def caught_up(self, *, within_s: float) -> bool:
        self.done.append("caught up")
        return True

    def of_kind(self, kind: str) -> list[Any]:
        return []

    def wait(self, condition: Callable[[], bool], *, deadline: float) -> bool:
        self.done.append(("wait", round(deadline - time.monotonic(), 1)))
        assert condition() is False
        return False


def driven(doing: Doing, *steps: Step, within_s: float = 10, patient: bool = False) -> list[Any]:
    drive(
        steps,
        cast(User, doing),
        cast(Cluster, doing),
        cast(History, doing),
        deadline=time.monotonic() + within_s,
        patient=patient,
    )
    return doing.done


def test_steps_are_done_in_order_by_the_user_or_by_the_cluster() -> None:
    wait = Wait(Condition("Node/node-2 Ready=Unknown"))
    found = driven(
        Doing(),
        Create(service("web", "default")),
        Apply(deployment("web", "default", 1)),
        scale(WEB, 4),
        Delete(WEB),
        ToNode("node-2", Action.KILL),
        ToComponent("etcd", Action.RESTART),
        wait,
        Wait(wait.goal, within_s=3),
        Wait(wait.goal, within_s=30),
    )
    assert found == [
        ("create", "Service"),
        ("apply", "Deployment"),
        ("patch", "4 replicas"),
        ("delete", "Deployment/default/web"),
        ("node-2", Action.KILL),
        ("etcd", Action.RESTART),
        "caught up",
        ("wait", 10.0),
        "caught up",
        ("wait", 3.0),
        "caught up",
        ("wait", 10.0),
    ]


def test_what_is_refused_is_told_and_gone_on_from() -> None:
    doing = Doing("Service web: HTTP 404 no namespace")
    assert len(driven(doing, Create(service("web", "default")), Delete(WEB))) == 2
    assert doing.told == ["Service web: HTTP 404 no namespace"]


@pytest.mark.parametrize(
    ("refusal", "tries"), [("HTTP 404 no namespace", 3), ("the API has no kind Site", 3), ("HTTP 403 quota", 1)]
)
def test_in_preparation_what_is_not_there_yet_is_tried_again_and_nothing_else(refusal: str, tries: int) -> None:
    doing = Doing(refusal, refusal)
    assert len(driven(doing, Create(service("web", "default")), patient=True)) == tries
    assert doing.told == ([] if tries == 3 else [refusal])


def test_nothing_is_tried_again_past_the_deadline() -> None:
    doing = Doing(*["HTTP 404"] * 9)
    assert len(driven(doing, Create(service("web", "default")), within_s=0.15, patient=True)) <= 3
    assert doing.told == ["HTTP 404"]


def test_kinds_are_learnt_once_each_before_they_are_needed() -> None:
    doing = Doing()
    learn((*FAILOVER.prepare, *FAILOVER.steps), cast(User, doing))
    assert doing.done == ["apps/v1", "v1"]
