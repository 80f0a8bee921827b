"""Which request or answer a rule fires on, who is in them, what goes on instead, and what becomes known of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from injector.channels.bodies import PROTOBUF, event_in, objects_in, status_answer, status_in
from injector.channels.component_requests import RequestsChannel
from injector.channels.components import AnswersChannel, component_channel
from injector.channels.controlling import Armory
from injector.channels.exchanges import ExchangeChannel
from injector.channels.protobuf import delimited
from injector.codec import Storage, locate, raw_span, read_meta, to_bytes
from injector.errors import FaultError
from injector.rules import JSONValue, Rule, Told
from injector.targets import Channel, Target
from injector.wire.exchange import AnswerHead, Deny, Forward, Held, HttpAnswer, RequestHead
from injector.wire.inspection import Aside, Replace, Several
from tests.injector.channels.delivering import WITH_DELIVERING
from tests.injector.channels.exchanges import NAMES, Captured, captured, played
from tests.injector.stored import KEYS, golden
from tests.injector.wire.http_peers import PREFIXED, World

TO, FROM = Channel.COMPONENT_TO_APISERVER, Channel.APISERVER_TO_COMPONENT
PODS = "/api/v1/namespaces/default/pods"
WATCH = "/api/v1/pods?watch=true"
MINUTES = itertools.count()
Tree = dict[str, Any]


def rule(
    model: str = "delivering", *, channel: Channel = TO, kind: str = "Pod", identity: str = "Pod/default/web#1",
    group: str = "", field: str | None = None, operation: str | None = None, component: str = "",
    occurrence: int = 1, times: int | None = 1, **parameters: JSONValue,
) -> Rule:  # fmt: skip
    target = Target(
        kind=kind, identity=identity, group=group, field=field, operation=operation, component=component,
        occurrence=occurrence,
    )  # fmt: skip
    return Rule(id="r", channel=channel, model=model, target=target, parameters=parameters, times=times)


def channel_of(waiting: Rule, **options: Any) -> ExchangeChannel:
    return component_channel(waiting, clock=lambda: 12.5, models=WITH_DELIVERING, **options)


def pod(name: str = "", *, revision: int = 0, uid: str = "", node: str = "", **metadata: JSONValue) -> bytes:
    """As a controller sends it, or, with a revision, as kube-apiserver tells it."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5c6b7f", "uid": "u", "controller": True}
    meta: Tree = {"name": name, "generateName": "web-5c6b7f-", "ownerReferences": [owner], **metadata}
    if revision:
        meta |= {"namespace": "default", "resourceVersion": str(revision)}
    if revision or uid:
        meta |= {"uid": uid or f"uid-{name}"}
    return to_bytes({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node}})


def prefixed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def said(value: bytes, kind: str = "ADDED") -> bytes:
    return delimited(0x0A, kind.encode()) + delimited(0x12, delimited(0x0A, value))


def exchange(
    target: str, body: bytes = b"", *answers: bytes, method: str = "GET", status: int = 200,
    component: str = "kube-controller-manager", content_type: str = PROTOBUF,
) -> Captured:  # fmt: skip
    headers = (("accept", f"{PROTOBUF}, */*"), ("content-type", content_type))
    head = RequestHead(
        component=component, connection=1, stream=next(MINUTES), method=method, target=target, headers=headers
    )
    stream = ";stream=watch" if "watch=true" in target else ""
    return Captured(
        head, body, AnswerHead(status=status, headers=(("content-type", PROTOBUF + stream),)), answers or (b"",)
    )


def creation(name: str, revision: int, **options: Any) -> Captured:
    return exchange(PODS, pod(), pod(name, revision=revision), method="POST", status=201, **options)


REFUSED = status_answer(409, PROTOBUF, reason="AlreadyExists", message='pods "x" already exists')
CONFLICT = status_answer(409, PROTOBUF, reason="Conflict", message="the object has been modified")


# Requests


def test_a_binding_goes_to_another_node() -> None:
    channel = channel_of(
        rule("value-set", field="target.name", value="node-3", operation="bind", component="kube-scheduler")
    )
    assert played(channel, captured("create-pod")).request is None
    bind = captured("bind", target=f"{PODS}/web-5b7df8b546-5p5c2/binding")
    found = played(channel, bind)
    assert isinstance(found.request, Replace)
    assert locate(found.request.message, "target.name").value == "node-3"
    assert len(found.request.message) == len(bind.body)
    (firing,) = channel.firings()
    assert (firing.operation, firing.identity, firing.at_s) == ("bind", "Pod/default/web#1", 12.5)
    assert firing.key == "/registry/pods/default/web-5b7df8b546-5p5c2"
    assert (firing.before, firing.after) == (bind.body, found.request.message)
    assert (firing.field_before, firing.field_after, firing.accepted) == ("node-1", "node-3", True)
    assert channel.done and channel.exchange(bind.head) is None and channel.near_misses() == ()


def test_the_node_that_a_binding_names_is_found_by_its_role() -> None:
    asked = rule("value-set", operation="bind", value="node-3")
    channel = channel_of(replace(asked, target=replace(asked.target, role="node-name")))
    played(channel, captured("create-pod"))
    found = played(channel, captured("bind", target=f"{PODS}/web-5b7df8b546-5p5c2/binding"))
    assert isinstance(found.request, Replace)
    (firing,) = channel.firings()
    assert (firing.field, firing.field_before) == ("target.name", "node-1")


def test_a_kubelet_s_status_patch_is_changed_in_its_own_bytes() -> None:
    one = captured("patch-node-status")
    path = "status.conditions[type=Ready].lastHeartbeatTime"
    channel = channel_of(
        rule("value-set", kind="Node", identity="Node/node-1", field=path, value="1970-01-01T00:00:00Z",
             operation="patch/status", component="kubelet-*")
    )  # fmt: skip
    found = played(channel, one)
    assert isinstance(found.request, Replace)
    conditions = json.loads(found.request.message)["status"]["conditions"]
    assert conditions[-1] == {"type": "Ready", "lastHeartbeatTime": "1970-01-01T00:00:00Z"}
    (firing,) = channel.firings()
    assert (firing.before, firing.after, firing.key) == (one.body, found.request.message, "/registry/minions/node-1")
    assert firing.span is not None and one.body[slice(*firing.span)] == b'"2026-11-23T00:45:45Z"'
    assert firing.accepted is True and firing.revision == int(read_meta(one.messages[0]).resource_version)


def test_a_patch_that_does_not_carry_the_field_is_a_near_miss() -> None:
    channel = channel_of(rule("bit-flip", kind="Node", identity="Node/node-1", field="spec.podCIDR"))
    assert played(channel, captured("patch-node-status")).request is None
    assert "does not carry spec.podCIDR" in channel.near_misses()[0].why


@pytest.mark.parametrize(
    ("wanted", "target", "fires"),
    [
        ("update", "/status", True),
        ("update", "", True),
        ("update/status", "/status", True),
        ("update/status", "", False),
        ("update/scale", "/status", False),
        ("patch", "/status", False),
        (None, "/status", True),
    ],
)
def test_an_operation_without_a_subresource_stands_for_all(wanted: str | None, target: str, fires: bool) -> None:
    waiting = rule("drop", kind="Deployment", group="apps", identity="Deployment/default/web", operation=wanted)
    channel = channel_of(waiting)
    put = exchange(f"/apis/apps/v1/namespaces/default/deployments/web{target}", golden("deployment"), method="PUT")
    assert isinstance(played(channel, put).request, Deny) is fires
    assert [firing.operation for firing in channel.firings()] == ([f"update{target}"] if fires else [])
    assert fires or channel.near_misses()[0].why.endswith(("a ", "an ")[wanted[0] in "aeiou"] + wanted)


def test_a_scale_is_a_message_about_its_object() -> None:
    waiting = rule("value-set", kind="Deployment", group="apps", identity="Deployment/default/web",
                   field="spec.replicas", value=0)  # fmt: skip
    scale = captured("get-scale").messages[0]
    found = played(
        channel_of(waiting),
        exchange("/apis/apps/v1/namespaces/default/deployments/web/scale", scale, scale, method="PUT"),
    )
    assert isinstance(found.request, Replace) and locate(found.request.message, "spec.replicas").value == 0


@pytest.mark.parametrize(
    ("component", "fires"),
    [("kubelet-*", True), ("kubelet-node-1", True), ("kubelet-node-2", False), ("kube-scheduler", False), ("", True)],
)
def test_only_messages_of_the_component_that_is_meant_count(component: str, fires: bool) -> None:
    channel = channel_of(rule("drop", kind="Node", identity="Node/node-1", component=component))
    assert isinstance(played(channel, captured("patch-node-status")).request, Deny) is fires
    assert fires or channel.near_misses()[0].why == f"of kubelet-node-1, but the rule waits for {component}"


def test_reads_and_collections_are_no_requests_that_fire() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/x"))
    assert played(channel, exchange(f"{PODS}/x")).request is None
    assert played(channel, exchange(PODS, b"{}", method="DELETE")).request is None
    assert channel.near_misses()[0].why == "a deletecollection that names no object"


def test_a_json_patch_can_be_hit_by_bytes_alone() -> None:
    one = captured("json-patch")
    options: Tree = {"kind": "Service", "identity": "Service/default/web"}
    channel = channel_of(rule("bit-flip", field="spec.clusterIP", **options))
    assert played(channel, one).request is None
    assert "no object that can be read" in channel.near_misses()[0].why
    flipped = channel_of(rule("byte-flip", offset=2, bit=0, **options))
    found = played(flipped, one)
    assert found.request == Replace(one.body[:2] + bytes((one.body[2] ^ 1,)) + one.body[3:])
    (firing,) = flipped.firings()
    assert (firing.before, firing.span, firing.accepted) == (one.body, (2, 3), True)


def test_what_was_refused_is_not_accepted_and_the_note_says_why() -> None:
    waiting = rule("value-set", kind="Deployment", group="apps", identity="Deployment/default/web",
                   field="status.replicas", value=7)  # fmt: skip
    channel = channel_of(waiting)
    played(channel, captured("conflict"))
    (firing,) = channel.firings()
    assert firing.accepted is False and firing.revision is None
    assert firing.note.startswith("kube-apiserver answered 409 Conflict: Operation cannot be fulfilled on deployments")


def test_a_request_without_an_answer_is_neither_accepted_nor_refused() -> None:
    channel = channel_of(rule("byte-flip", kind="Node", identity="Node/node-1", offset=0, bit=0))
    begun = played(channel, captured("patch-node-status"), end=False).exchange
    assert begun is not None
    begun.ended(None)
    assert (channel.firings()[0].accepted, channel.firings()[0].note) == (None, "there was no answer")


# Who is who


def test_objects_are_numbered_as_their_creation_is_sent_and_get_their_names_by_the_answer() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/web#2", operation="delete"))
    assert played(channel, creation("web-5c6b7f-aaaaa", 11)).looked
    played(channel, creation("web-5c6b7f-bbbbb", 12))
    assert played(channel, exchange(f"{PODS}/web-5c6b7f-aaaaa", method="DELETE")).request is None
    assert isinstance(played(channel, exchange(f"{PODS}/web-5c6b7f-bbbbb", method="DELETE")).request, Deny)


def test_a_creation_that_failed_gives_its_number_back() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/web#2"))
    assert played(channel, exchange(PODS, pod(), REFUSED.body, method="POST", status=403)).request is None
    assert played(channel, creation("web-5c6b7f-aaaaa", 11)).request is None
    assert isinstance(played(channel, creation("web-5c6b7f-bbbbb", 12)).request, Deny)
    assert channel.firings()[0].key == "/registry/pods/default/web-5c6b7f-"


def test_an_object_that_somebody_was_told_of_keeps_its_number_though_its_creation_had_no_answer() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/web#2", operation="delete"))
    named = exchange(PODS, pod("a"), method="POST")
    waiting = channel.exchange(named.head)
    assert waiting is not None and waiting.request(named.body) is None
    events(channel, said(pod("a", revision=20)))
    waiting.ended(None)  # its client gave up
    events(channel, said(pod("b", revision=21)))
    assert not fires_on(channel, "a") and fires_on(channel, "b")


def test_a_create_that_fires_learns_its_key_and_revision() -> None:
    channel = channel_of(rule("value-set", field="spec.nodeName", value="node-9"))
    found = played(channel, creation("web-5c6b7f-aaaaa", 11))
    assert isinstance(found.request, Replace)
    (firing,) = channel.firings()
    assert (firing.key, firing.revision) == ("/registry/pods/default/web-5c6b7f-aaaaa", 11)
    assert (firing.accepted, firing.operation) == (True, "create")


def begun(channel: ExchangeChannel) -> Any:
    found = channel.exchange(creation("", 0).head)
    assert found is not None and found.request(pod()) is None
    return found


def confirmed(each: Any, name: str, revision: int) -> None:
    assert each.answered(AnswerHead(status=201, headers=(("content-type", PROTOBUF),)))
    each.message(pod(name, revision=revision))
    each.ended(201)


def fires_on(channel: ExchangeChannel, name: str) -> bool:
    return isinstance(played(channel, exchange(f"{PODS}/{name}", method="DELETE")).request, Deny)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("answers", [(0, 1), (1, 0)])
@pytest.mark.parametrize("heard", [(), ("a",), ("b",), ("a", "b"), ("b", "a")])
def test_whoever_hears_of_creations_before_they_are_answered_the_answers_say_who_is_who(
    number: int, answers: tuple[int, ...], heard: tuple[str, ...]
) -> None:
    channel = channel_of(rule("drop", identity=f"Pod/default/web#{number}", operation="delete"))
    waiting = [begun(channel), begun(channel)]
    for name in heard:
        played(channel, exchange(WATCH, b"", said(pod(name, revision=20)), component="kubelet-node-1"), end=False)
    for index in answers:
        confirmed(waiting[index], "ab"[index], 30)
    played(channel, exchange(WATCH, b"", *(said(pod(n, revision=40), "MODIFIED") for n in "ab")), end=False)
    assert not fires_on(channel, "ab"[2 - number])
    assert fires_on(channel, "ab"[number - 1])


def test_an_event_that_many_are_told_of_is_one_creation_and_late_news_are_of_the_old_life() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/web#3", operation="delete"))
    for component in ("kube-scheduler", "kubelet-node-1", "kube-controller-manager"):
        events = (said(pod("a", revision=3)), said(pod("b", revision=4)), said(pod("a", revision=5), "DELETED"))
        played(channel, exchange(WATCH, b"", *events, component=component), end=False)
    played(channel, exchange(WATCH, b"", said(pod("a", revision=6, uid="again"))), end=False)
    played(channel, exchange(WATCH, b"", said(pod("a", revision=5), "DELETED"), component="late"), end=False)
    assert not fires_on(channel, "b") and fires_on(channel, "a")


def test_a_list_is_numbered_by_revision_after_the_baseline() -> None:
    listed = delimited(0x0A, b"") + b"".join(
        delimited(0x12, _raw(pod(name, revision=revision))) for name, revision in (("a", 9), ("b", 8))
    )
    named = delimited(0x0A, delimited(0x0A, b"v1") + delimited(0x12, b"PodList"))
    answer = b"k8s\0" + named + delimited(0x12, listed)
    channel = channel_of(
        rule("drop", identity="Pod/default/web#2", operation="delete"),
        baseline=[(b"/registry/pods/default/0", pod("0", namespace="default", uid="old"))],
    )
    played(channel, exchange("/api/v1/pods", b"", answer))
    assert not fires_on(channel, "0") and not fires_on(channel, "a") and fires_on(channel, "b")


def _raw(value: bytes) -> bytes:
    return value[slice(*raw_span(value))]


def test_metadata_alone_tells_who_is_who() -> None:
    waiting = rule("drop", kind="ReplicaSet", group="apps", identity="ReplicaSet/default/web#1", operation="delete")
    channel = channel_of(waiting)
    played(channel, captured("list-metadata-protobuf"))
    first = "/apis/apps/v1/namespaces/default/replicasets/web-5b7df8b546"  # the older one: its revision is less
    metas = [read_meta(part.value) for part in objects_in(captured("list-metadata-protobuf").messages[0], PROTOBUF)]
    oldest = min(metas, key=lambda meta: int(meta.resource_version))
    found = played(channel, exchange(first.replace("web-5b7df8b546", oldest.name), method="DELETE"))
    assert isinstance(found.request, Deny)


def test_a_creation_that_is_heard_of_early_fires_by_its_own_number() -> None:
    channel = channel_of(rule("drop", channel=FROM, identity="Pod/default/web#1", operation="watch"))
    begun(channel)
    assert events(channel, said(pod("a", revision=20))).messages == (Several(()),)


def test_an_old_life_that_nobody_saw_does_not_end_the_one_that_is() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/web#1", operation="delete"))
    events(channel, said(pod("a", revision=9)), said(pod("a", revision=5, uid="before"), "DELETED"))
    assert fires_on(channel, "a")


# Requests delivered otherwise


@pytest.mark.parametrize("accept", [f"{PROTOBUF}, */*", "application/json"])
def test_a_dropped_request_s_sender_is_told_an_error_in_its_own_form(accept: str) -> None:
    channel = channel_of(rule("drop", kind="Node", identity="Node/node-1"))
    one = captured("patch-node-status", headers=(("accept", accept), ("content-type", "application/merge-patch+json")))
    decision = played(channel, one, end=False).request
    assert isinstance(decision, Deny) and decision.answer is not None and decision.answer.status == 503
    assert decision.answer.content_type == accept.partition(",")[0]
    assert status_in(decision.answer.body) == (
        "Failure", "ServiceUnavailable", "mutineer: the request was dropped by rule r"
    )  # fmt: skip
    (firing,) = channel.firings()
    assert (firing.told, firing.accepted, firing.after, firing.operation) == (Told.ERROR, False, b"", "patch/status")


def test_a_dropped_request_s_sender_may_be_told_nothing() -> None:
    channel = channel_of(rule("drop", kind="Node", identity="Node/node-1", told="timeout"))
    assert played(channel, captured("patch-node-status")).request == Deny(None)
    assert channel.firings()[0].note == ""


def success(channel: ExchangeChannel, one: Captured) -> HttpAnswer:
    decision = played(channel, one, end=False).request
    assert isinstance(decision, Deny) and decision.answer is not None, channel.near_misses()
    return decision.answer


def test_a_lost_write_s_success_is_plausible_and_what_it_lacks_is_said() -> None:
    created = channel_of(rule("drop", told="success"))
    assert success(created, creation("x", 9)) == HttpAnswer(201, PROTOBUF, pod())
    assert "lacks name, resourceVersion, uid" in created.firings()[0].note
    slice_ = {"kind": "EndpointSlice", "group": "discovery.k8s.io", "identity": "EndpointSlice/default/web#1"}
    updated = channel_of(rule("drop", told="success", **slice_))
    played(updated, captured("create-slice"))  # is dropped itself
    updated = channel_of(rule("drop", told="success", operation="update", **slice_))
    played(updated, captured("create-slice"))
    one = captured("update-slice")
    assert success(updated, one) == HttpAnswer(200, PROTOBUF, one.body)
    assert "the resourceVersion that the client sent" in updated.firings()[0].note
    bound = channel_of(rule("drop", told="success", operation="bind"))
    played(bound, captured("create-pod"))
    bind = captured("bind", target=f"{PODS}/web-5b7df8b546-5p5c2/binding")
    assert success(bound, bind) == HttpAnswer(201, PROTOBUF, captured("bind").messages[0])


def test_a_lost_patch_s_success_is_the_object_as_it_was_last_told() -> None:
    node = captured("patch-node-status").messages[0]
    channel = channel_of(rule("drop", kind="Node", identity="Node/node-1", told="success", times=2))
    assert played(channel, captured("patch-node-status")).request is None
    assert "was not seen yet" in channel.near_misses()[0].why
    # what a watch told counts
    played(channel, exchange("/api/v1/nodes?watch=true", b"", said(node, "MODIFIED")), end=False)
    assert success(channel, captured("patch-node-status")) == HttpAnswer(200, PROTOBUF, node)


def test_a_number_that_was_dropped_is_given_to_the_next() -> None:
    channel = channel_of(rule("drop", times=2))
    for _ in range(2):
        assert isinstance(played(channel, creation("x", 9), end=False).request, Deny)
    assert channel.done


def test_a_late_request_waits_and_one_whose_client_gave_up_never_arrives() -> None:
    for gives_up in (False, True):
        channel = channel_of(rule(kind="Node", identity="Node/node-1", delay_s=2))
        one = captured("patch-node-status")
        found = played(channel, one, end=False)
        assert isinstance(found.request, Held) and found.request.gate.after_s == 2 and found.request.then is None
        assert found.exchange is not None
        if not gives_up:
            found.request.gate.open()
        found.exchange.ended(None if gives_up else 200)
        (firing,) = channel.firings()
        assert firing.accepted is not gives_up and ("never arrived" in firing.note) is gives_up


class Sent:
    """A sender that remembers, and is answered by the test."""

    def __init__(self) -> None:
        self.calls: list[tuple[RequestHead, bytes, Callable[[int | None, bytes], None]]] = []

    def __call__(self, head: RequestHead, body: bytes, answered: Callable[[int | None, bytes], None]) -> None:
        self.calls.append((head, body, answered))


def test_copies_go_one_after_the_other_and_what_each_was_answered_is_noted() -> None:
    sent = Sent()
    channel = channel_of(rule(copies=3, operation="bind"), sender=sent)
    played(channel, captured("create-pod"))
    bind = captured("bind", target=f"{PODS}/web-5b7df8b546-5p5c2/binding")
    assert played(channel, bind).request is None
    ((head, body, answered),) = sent.calls
    assert (head, body) == (bind.head, bind.body)
    answered(409, CONFLICT.body)
    sent.calls[1][2](None, b"")
    assert len(sent.calls) == 2
    assert channel.firings()[0].note == (
        "a copy was sent; kube-apiserver answered 409 Conflict: the object has been modified; "
        "a copy was sent; kube-apiserver did not answer"
    )


def test_no_copies_of_what_was_refused_and_none_without_a_sender() -> None:
    sent = Sent()
    waiting = rule(kind="Deployment", group="apps", identity="Deployment/default/web", copies=2)
    played(channel_of(waiting, sender=sent), captured("conflict"))
    assert sent.calls == []
    channel = channel_of(waiting)
    assert played(channel, captured("conflict")).request is None
    assert channel.near_misses()[0].why == "nobody is there to send a copy"


def test_a_request_is_overtaken_by_other_writes_of_its_component_and_by_nothing_else() -> None:
    channel = channel_of(rule("reorder", kind="Node", identity="Node/node-1", behind=2))
    decision = played(channel, captured("patch-node-status"), end=False).request
    assert isinstance(decision, Held) and not channel.done and not decision.gate.is_open
    renew = captured("renew-lease")
    assert played(channel, renew).exchange is None  # of the scheduler
    own = replace(renew, head=replace(renew.head, component="kubelet-node-1"))
    assert played(channel, replace(own, head=replace(own.head, method="GET"))).exchange is None
    for opened in (False, True):
        assert played(channel, own).request is None
        assert decision.gate.is_open is opened
    assert channel.done


def test_a_write_of_another_component_lets_nothing_overtake_and_the_late_one_itself_is_no_other() -> None:
    channel = channel_of(rule("reorder", kind="Node", identity="Node/node-1", behind=1))
    one = captured("patch-node-status")
    found = played(channel, one, end=False)
    assert isinstance(found.request, Held) and found.exchange is not None
    renew = captured("renew-lease")
    own = replace(renew, head=replace(renew.head, component="kubelet-node-1"))
    exchange_of_own, stranger = channel.exchange(own.head), channel_of(rule(kind="Node", identity="Node/node-1"))
    assert exchange_of_own is not None and stranger.exchange(renew.head) is None
    assert not found.request.gate.is_open
    exchange_of_own.ended(200)
    assert found.request.gate.is_open


def test_a_request_whose_client_gives_up_waits_for_nobody_and_is_no_other() -> None:
    channel = channel_of(rule("reorder", kind="Node", identity="Node/node-1", behind=1))
    found = played(channel, captured("patch-node-status"), end=False)
    assert isinstance(found.request, Held) and found.exchange is not None and not channel.done
    found.exchange.ended(None)
    assert not found.request.gate.is_open and channel.done
    assert "never arrived" in channel.firings()[0].note


def test_a_fault_that_can_t_be_sent_is_a_misfit_and_fires_nothing() -> None:
    waiting = rule("byte-flip", channel=FROM, kind="Service", identity="Service/default/web", part="envelope",
                   offset=6, bit=0)  # fmt: skip
    channel = channel_of(waiting)
    assert played(channel, captured("list-services-protobuf")).messages == (None,)
    assert channel.firings() == () and "which this message does not carry" in channel.near_misses()[0].why


def test_disarming_lets_what_waits_go() -> None:
    channel = channel_of(rule(kind="Node", identity="Node/node-1", behind=2))
    decision = played(channel, captured("patch-node-status"), end=False).request
    assert isinstance(decision, Held)
    channel.disarmed()
    assert decision.gate.is_open and channel.done


def test_a_stale_update_has_the_object_as_it_was_before_the_version_that_it_was_read_at() -> None:
    channel = channel_of(rule("stale", identity="Pod/default/web#1", operation="update"))
    older = (pod("a", revision=5, node="one"), pod("a", revision=6, node="two"))
    played(channel, exchange(WATCH, b"", *(said(value, "MODIFIED") for value in older)), end=False)
    update = exchange(f"{PODS}/a", pod("a", revision=6, node="mine"), CONFLICT.body, method="PUT", status=409)
    found = played(channel, update)
    assert found.request == Replace(older[0])
    assert channel.firings()[0].note == "kube-apiserver answered 409 Conflict: the object has been modified"
    patched = channel_of(
        rule("stale", kind="Node", identity="Node/node-1"), baseline=[(b"/registry/minions/node-1", golden("node"))]
    )
    assert played(patched, captured("patch-node-status")).request is None
    assert "another form" in patched.near_misses()[0].why


def test_a_request_goes_to_another_object_s_path() -> None:
    pods = [(f"/registry/pods/default/{n}".encode(), pod(n, namespace="default", uid=n)) for n in "ab"]
    waiting = replace(rule(), model="wrong-key", parameters={"identity": "Pod/default/web#2"})
    channel = channel_of(waiting, baseline=pods)
    bind = captured("bind", target=f"{PODS}/a/binding")
    found = played(channel, bind)
    assert found.request == Forward(f"{PODS}/b/binding", bind.body)
    assert channel.firings()[0].note == f"sent to {PODS}/b/binding"
    misfit = channel_of(replace(waiting, target=replace(waiting.target, identity="Pod/default/web#3")), baseline=pods)
    assert played(misfit, creation("c", 9)).request is None
    assert "a create of pods names no object in its path" in misfit.near_misses()[0].why


def test_a_delete_s_body_is_its_options() -> None:
    one = captured("delete-pod")
    name = one.head.target.rpartition("/")[2]
    value = pod(name, namespace="default", uid="u")
    channel = channel_of(rule("byte-flip", offset=0, bit=0, operation="delete", part="envelope"),
                         baseline=[(f"/registry/pods/default/{name}".encode(), value)])  # fmt: skip
    decision = played(channel, one).request
    assert decision == Replace(bytes((one.body[0] ^ 1,)) + one.body[1:])


# Answers


def events(channel: ExchangeChannel, *messages: bytes, component: str = "kube-proxy", target: str = WATCH) -> Any:
    return played(channel, exchange(target, b"", *messages, component=component), end=False)


def test_an_event_is_told_otherwise_and_its_end_is_noted() -> None:
    one = captured("watch-services")
    channel = channel_of(
        rule("value-set", channel=FROM, kind="Service", identity="Service/default/web", field="spec.clusterIP",
             value="10.96.0.10", component="kube-proxy")
    )  # fmt: skip
    found = played(channel, one)
    changed = [decision for decision in found.messages if decision is not None]
    assert len(changed) == 1 and isinstance(changed[0], Replace)
    part = event_in(changed[0].message).part
    assert part is not None and locate(part.value, "spec.clusterIP").value == "10.96.0.10"
    (firing,) = channel.firings()
    assert (firing.operation, firing.key) == ("watch", "/registry/services/specs/default/web")
    assert (firing.accepted, firing.revision, firing.after) == (None, 1269, part.value)
    assert firing.note == "the watch ended 0.000 s later"


def test_a_lost_event_is_swallowed_and_bookmarks_pass() -> None:
    channel = channel_of(rule("drop", channel=FROM, kind="Service", identity="Service/default/web"))
    decisions = played(channel, captured("watch-services")).messages
    assert [decision for decision in decisions if decision is not None] == [Several(())]
    assert (channel.firings()[0].told, channel.firings()[0].after) == (None, b"")


def test_events_late_twice_and_out_of_order() -> None:
    first, *others = (said(pod("a", revision=n), "MODIFIED") for n in (4, 5, 6, 7))
    late = events(channel_of(rule(channel=FROM, delay_s=3)), first)
    assert isinstance(late.messages[0], Held) and late.messages[0].gate.after_s == 3
    assert events(channel_of(rule(channel=FROM, copies=2)), first).messages == (Several((first, first)),)
    again = channel_of(rule("reorder", channel=FROM, behind=2))
    found = events(again, first, others[0])
    assert isinstance(found.messages[0], Aside) and found.messages[0].later == (first,)
    assert not found.messages[0].gate.is_open
    bookmark = delimited(0x0A, b"BOOKMARK") + delimited(0x12, b"")
    assert found.exchange.message(bookmark) is None and not found.messages[0].gate.is_open
    assert found.exchange.message(others[1]) is None and found.messages[0].gate.is_open


def test_an_event_that_waits_for_others_is_overtaken_on_the_wire_and_the_rule_is_done_only_then() -> None:
    armory = Armory(lambda waiting, _: channel_of(waiting))
    world = World(armed=armory.inspector)
    watch = world.client.request("GET", WATCH)
    world.carry()
    world.server.answer(1, b"", *PREFIXED, ends=False)
    armory.arm(rule("reorder", channel=FROM, behind=2), ())
    first, second, third = (prefixed(said(pod("a", revision=n), "MODIFIED")) for n in (4, 5, 6))
    for sent, came in ((first, b""), (second, second), (third, second + third + first)):
        assert armory.inspector() is not None
        world.server.send(1, sent, ends=False)
        world.carry()
        assert bytes(world.client.got[watch].body) == came
    assert armory.inspector() is None


def test_a_rule_is_done_once_the_watch_is_over_on_which_its_event_waited() -> None:
    channel = channel_of(rule("reorder", channel=FROM, behind=2))
    found = events(channel, said(pod("a", revision=4)))
    assert not channel.done
    found.exchange.ended(200)
    assert channel.done


def test_disarming_lets_an_overtaken_event_go() -> None:
    channel = channel_of(rule("reorder", channel=FROM, behind=2))
    found = events(channel, said(pod("a", revision=4)))
    channel.disarmed()
    assert isinstance(found.messages[0], Aside) and found.messages[0].gate.is_open


def test_an_earlier_version_is_told_with_its_own_revision() -> None:
    old, new = pod("a", revision=4, node="one"), pod("a", revision=5, node="two")
    channel = channel_of(rule("stale", channel=FROM, occurrence=2))
    found = events(channel, said(old), said(new, "MODIFIED"))
    assert found.messages == (None, Replace(said(old, "MODIFIED")))
    assert channel.firings()[0].revision == 5


def test_what_does_not_fit_an_answer_is_said() -> None:
    pods = [(f"/registry/pods/default/{n}".encode(), pod(n, namespace="default", uid=f"uid-{n}")) for n in "ab"]
    waiting = replace(rule(channel=FROM), model="wrong-key", parameters={"identity": "Pod/default/web#2"})
    channel = channel_of(waiting, baseline=pods)
    assert events(channel, said(pod("a", revision=5), "MODIFIED")).messages == (None,)
    assert "no key but in the object's own name" in channel.near_misses()[0].why
    for parameters in ({"copies": 2}, {"behind": 1}):
        channel = channel_of(rule(channel=FROM, **parameters))  # type: ignore[arg-type]
        assert played(channel, exchange(f"{PODS}/a", b"", pod("a", revision=5))).messages == (None,)
    channel = channel_of(rule(channel=FROM, copies=2), baseline=pods)
    played(channel, exchange(f"{PODS}/a", b"", pod("a", revision=5)))
    assert "can't come twice" in channel.near_misses()[0].why
    channel = channel_of(rule("drop", channel=FROM, told="success"))
    assert played(channel, creation("a", 5)).messages == (None,)
    assert "can't be left out" in channel.near_misses()[0].why


SERVICE: Tree = {"kind": "Service", "identity": "Service/default/web", "channel": FROM}


@pytest.mark.parametrize("name", ["list-services-protobuf", "list-services-json"])
def test_an_object_in_a_list_is_told_otherwise_left_out_or_the_whole_answer_dropped(name: str) -> None:
    one = captured(name)
    channel = channel_of(rule("value-set", field="spec.clusterIP", value="10.96.0.99", **SERVICE))
    (decision,) = played(channel, one).messages
    assert isinstance(decision, Replace)
    parts = objects_in(decision.message, PROTOBUF)
    assert [locate(part.value, "spec.clusterIP").value for part in parts] == ["10.96.0.1", "10.96.0.99"]
    assert (channel.firings()[0].operation, channel.firings()[0].field_after) == ("list", "10.96.0.99")
    (left,) = played(channel_of(rule("drop", told="success", **SERVICE)), one).messages
    assert isinstance(left, Replace)
    assert [read_meta(part.value).name for part in objects_in(left.message, PROTOBUF)] == ["kubernetes"]
    (error,) = played(channel_of(rule("drop", **SERVICE)), one).messages
    assert isinstance(error, Deny) and error.answer is not None and error.answer.status == 503
    assert played(channel_of(rule("drop", told="timeout", **SERVICE)), one).messages == (Deny(None),)
    (late,) = played(channel_of(rule("delay", seconds=2, **SERVICE)), one).messages
    assert isinstance(late, Held) and late.then is None


def test_a_get_and_the_answer_to_a_write_are_told_otherwise() -> None:
    get = exchange(f"{PODS}/a", b"", pod("a", revision=5))
    value = pod("a", namespace="default", uid="uid-a")
    options: Tree = {"baseline": [(b"/registry/pods/default/a", value)]}
    channel = channel_of(rule("value-set", channel=FROM, field="spec.nodeName", value="n", operation="get"), **options)
    (decision,) = played(channel, get).messages
    assert isinstance(decision, Replace) and locate(decision.message, "spec.nodeName").value == "n"
    (gone,) = played(channel_of(rule("drop", channel=FROM, told="success"), **options), get).messages
    assert isinstance(gone, Deny) and gone.answer is not None and gone.answer.status == 404
    channel = channel_of(rule("value-set", channel=FROM, field="spec.nodeName", value="n", operation="answer"))
    (decision,) = played(channel, creation("a", 5)).messages
    assert isinstance(decision, Replace) and locate(decision.message, "spec.nodeName").value == "n"
    (firing,) = channel.firings()
    assert (firing.operation, firing.key, firing.revision) == ("answer", "/registry/pods/default/a", 5)
    late = channel_of(rule(channel=FROM, delay_s=1, operation="answer"), **options)
    bind = captured("bind", target=f"{PODS}/a/binding")
    assert isinstance(played(late, bind).messages[0], Held) and late.firings()[0].operation == "answer/binding"


def test_metadata_told_of_an_object_is_that_object() -> None:
    waiting = rule("bit-flip", channel=FROM, kind="Deployment", group="apps", identity="Deployment/default/web",
                   field="metadata.uid", bit=0, operation="get")  # fmt: skip
    (decision,) = played(channel_of(waiting), captured("get-metadata")).messages
    assert isinstance(decision, Replace) and len(decision.message) == len(captured("get-metadata").messages[0])


def test_a_table_is_noted_as_not_looked_at() -> None:
    channel = channel_of(rule("drop", **SERVICE))
    assert played(channel, captured("table")).messages == (None,)
    assert channel.near_misses()[0].why == "a list that was not looked at: a Table is not looked at"


def test_custom_resources_are_objects_of_the_kind_that_their_bodies_name() -> None:
    box = golden("box")
    channel = channel_of(
        rule("drop", channel=FROM, kind="Box", group="example.test", identity="Box/default/b"),
        baseline=[(KEYS["box"].encode(), box)],
    )
    line = b'{"type":"MODIFIED","object":' + box.strip() + b"}"
    target = "/apis/example.test/v1/namespaces/default/boxes?watch=true"
    one = exchange(target, b"", line, component="kube-controller-manager")
    one = replace(one, answer=AnswerHead(status=200, headers=(("content-type", "application/json"),)))
    assert played(channel, one).messages == (Several(()),)


# Rules


@pytest.mark.parametrize(
    ("channel", "operation"), [(TO, "watch"), (TO, "put"), (TO, "update/nothing"), (FROM, "create"), (FROM, "bind")]
)
def test_an_operation_that_the_channel_does_not_have_is_refused(channel: Channel, operation: str) -> None:
    with pytest.raises(FaultError, match=r"operation: (expected a subresource|[a-z-]+ has)"):
        channel_of(rule("drop", channel=channel, operation=operation))


def test_each_channel_is_for_its_own_rules_and_etcd_s_requests_are_none_of_theirs() -> None:
    assert isinstance(channel_of(rule()), RequestsChannel) and isinstance(
        channel_of(rule(channel=FROM)), AnswersChannel
    )
    with pytest.raises(FaultError, match="its channel is apiserver-to-etcd"):
        channel_of(rule(kind="etcd:Compact", identity="etcd:Compact"))
    with pytest.raises(FaultError, match="expected channel component-to-apiserver"):
        RequestsChannel(rule(channel=FROM), models=WITH_DELIVERING)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_of_another_kind_is_not_looked_at(name: str) -> None:
    for channel in (TO, FROM):
        waiting = rule(channel=channel, kind="ConfigMap", identity="ConfigMap/default/x")
        assert channel_of(waiting).exchange(captured(name).head) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channel", [TO, FROM])
def test_nothing_is_changed_until_the_target_is_there(channel: Channel, name: str) -> None:
    one = captured(name)
    for kind, group in (("Service", ""), ("Pod", ""), ("Deployment", "apps"), ("Lease", "coordination.k8s.io")):
        found = played(channel_of(rule(channel=channel, kind=kind, group=group, identity=f"{kind}/d/none#7")), one)
        assert found.request is None and set(found.messages) <= {None}


def test_a_body_that_the_transport_did_not_read_is_a_near_miss() -> None:
    channel = channel_of(rule("drop", identity="Pod/default/x"))
    found = channel.exchange(creation("", 0).head)
    assert found is not None
    found.unread("compressed")
    assert channel.near_misses()[0].why == "a create that was not looked at: compressed"


def test_a_drop_of_another_s_request_does_not_listen_to_what_is_read() -> None:
    one = exchange(WATCH, b"", said(pod("a", revision=4)))
    assert not played(channel_of(rule("drop", identity="Pod/default/chosen")), one).looked
    assert played(channel_of(rule("drop")), one).looked


def test_json_is_answered_in_json() -> None:
    tree: Tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    body = to_bytes(tree, storage=Storage.JSON)
    channel = channel_of(rule("drop", told="success", identity="Pod/default/a"))
    one = exchange(PODS, body, method="POST", content_type="application/json")
    assert success(channel, one) == HttpAnswer(201, "application/json", body.rstrip())
