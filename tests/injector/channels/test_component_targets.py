"""Targets of the component channels that are chosen, not named; and what a firing says of who sent it where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from injector.channels.components import component_channel
from injector.channels.exchanges import ExchangeChannel
from injector.codec import locate, to_bytes
from injector.rules import Rule
from injector.targets import Channel, Target
from injector.wire.inspection import Replace
from tests.injector.channels.exchanges import played
from tests.injector.channels.test_components import FROM, PODS, TO, WATCH, creation, exchange, pod, said


def channel_of(channel: Channel, model: str = "value-set", *, value: Any = "node-9", **target: Any) -> ExchangeChannel:
    parameters = {"value": value} if model == "value-set" else {}
    chosen = Target(kind="Pod", **target)
    return component_channel(
        Rule(id="r", channel=channel, model=model, target=chosen, parameters=parameters), clock=lambda: 1.0
    )


def deployment(available: str) -> bytes:
    meta = {"name": "web", "namespace": "default", "uid": "d", "resourceVersion": "7"}
    conditions = [{"type": "Available", "status": available}]
    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "status": {"conditions": conditions}}
    return to_bytes(document)


def test_labels_choose_among_what_is_told_and_a_patch_has_those_that_its_object_has() -> None:
    channel = channel_of(TO, labels="app=web", field="status.podIP", value="10.0.0.9")
    played(channel, creation("web-5c6b7f-a", 10))
    told = [
        said(pod(name, revision=20 + at, labels={"app": app}))
        for at, (name, app) in enumerate((("a", "api"), ("b", "web")))
    ]
    played(channel, exchange(WATCH, b"", *told, component="kubelet-node-1"))
    patch = b'{"status":{"podIP":"10.0.0.1"}}'
    kind = "application/strategic-merge-patch+json"
    sent = [
        played(channel, exchange(f"{PODS}/{name}/status", patch, method="PATCH", content_type=kind)).request
        for name in ("a", "b")
    ]
    assert sent[0] is None and isinstance(sent[1], Replace) and b"10.0.0.9" in sent[1].message
    (firing,) = channel.firings()
    assert firing.key.endswith("/b")


def test_nothing_counts_before_the_condition_was_told_to_anybody() -> None:
    channel = channel_of(FROM, field="spec.nodeName", after="Deployment/default/web Available", operation="watch")
    deployments = "/apis/apps/v1/deployments?watch=true"
    for available, fires in (("False", 0), ("True", 1)):
        played(channel, exchange(deployments, b"", said(deployment(available), "MODIFIED")))
        played(channel, exchange(WATCH, b"", said(pod(f"x-{available}", revision=30, node="node-1"))))
        assert len(channel.firings()) == fires
    assert channel.firings()[0].field_before == "node-1"


def test_a_role_chooses_the_field_and_the_firing_names_it() -> None:
    channel = channel_of(FROM, role="node-name", operation="watch")
    found = played(channel, exchange(WATCH, b"", said(pod("x", revision=30, node="node-1"))))
    assert found is not None
    (firing,) = channel.firings()
    assert (firing.field, firing.field_after) == ("spec.nodeName", "node-9")


AGENT = "NAME/v1.36.3 (linux/amd64) kubernetes/0abc"


@pytest.mark.parametrize(
    ("component", "agent", "actor"),
    [
        (
            "kube-controller-manager",
            f"{AGENT}/system:serviceaccount:kube-system:replicaset-controller",
            "kube-controller-manager (replicaset-controller)",
        ),
        ("kube-scheduler", f"{AGENT}/scheduler", "kube-scheduler"),
        ("kubelet-node-1", AGENT, "kubelet-node-1"),
        ("kubelet-node-1", "", "kubelet-node-1"),
    ],
)
def test_a_firing_says_who_sent_it_and_where(component: str, agent: str, actor: str) -> None:
    channel = channel_of(TO, labels="", field="spec.nodeName")
    one = exchange(
        f"{PODS}/x", pod("x", uid="u", node="node-1", namespace="default"), method="PUT", component=component
    )
    headers = (*one.head.headers, ("user-agent", agent))
    played(channel, replace(one, head=replace(one.head, headers=headers, connection=3, stream=17)))
    (firing,) = channel.firings()
    assert (firing.actor, firing.stream) == (actor, f"{component}, connection 3, stream 17")
    assert locate(firing.after, "spec.nodeName").value == "node-9"
