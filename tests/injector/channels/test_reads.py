"""Which answer or event a rule fires on, what kube-apiserver is then told, and what becomes known of it."""

from __future__ import annotations

from typing import Any

import pytest

from injector.channels.evidence import Evidence
from injector.channels.reads import WATCH, ReadsChannel
from injector.codec import locate
from injector.errors import FaultError
from injector.rules import JSONValue, Rule
from injector.targets import Channel, Target
from injector.wire.inspection import Answer, Aside, Call, Drop, Hold, Replace, Several
from tests.injector.channels.delivering import WITH_DELIVERING
from tests.injector.conftest import etcdrpc
from tests.injector.stored import KEYS, golden
from tests.injector.test_identity import stored

RANGE, TXN = b"/etcdserverpb.KV/Range", b"/etcdserverpb.KV/Txn"
WEB, DEPLOYMENT = KEYS["deployment"], golden("deployment")
Event: Any = type(etcdrpc.WatchResponse().events.add())
KeyValue: Any = type(etcdrpc.RangeResponse().kvs.add())


def kv(key: str, value: bytes, *, created: int = 5, modified: int = 9) -> Any:
    return KeyValue(key=key.encode(), value=value, create_revision=created, mod_revision=modified, version=2)


def put(key: str, value: bytes, *, created: int = 5, modified: int = 9, before: bytes | None = None) -> Any:
    event = Event(kv=kv(key, value, created=created, modified=modified))
    if before is not None:
        event.prev_kv.CopyFrom(kv(key, before, created=created, modified=modified - 1))
    return event


def deleted(key: str, before: bytes, *, modified: int) -> Any:
    gone = KeyValue(key=key.encode(), mod_revision=modified)
    return Event(type=Event.DELETE, kv=gone, prev_kv=kv(key, before, modified=modified - 1))


def watch_response(*events: Any, watch_id: int = 3) -> Any:
    return etcdrpc.WatchResponse(header={"revision": 40, "member_id": 7}, watch_id=watch_id, events=events)


def rule(model: str = "value-set", *, field: str | None = None, times: int | None = 1, occurrence: int = 1,
         operation: str | None = None, kind: str = "Deployment", identity: str = "Deployment/default/web",
         group: str = "apps", **parameters: JSONValue) -> Rule:  # fmt: skip
    if model == "value-set":
        field, parameters = field or "spec.replicas", parameters or {"value": 67}
    target = Target(kind=kind, identity=identity, group=group, field=field, occurrence=occurrence, operation=operation)
    return Rule(
        id="r", channel=Channel.ETCD_TO_APISERVER, model=model, target=target, parameters=parameters, times=times
    )


def pods(identity: str, **options: Any) -> Rule:
    return rule("drop", kind="Pod", identity=identity, group="", **options)


def channel_of(waiting: Rule, **options: Any) -> ReadsChannel:
    return ReadsChannel(waiting, clock=lambda: 12.5, models=WITH_DELIVERING, **options)


def call_of(channel: ReadsChannel, path: bytes) -> Call:
    call = channel.call(path)
    assert call is not None
    return call


def told(decision: object, kind: Any = etcdrpc.WatchResponse) -> Any:
    assert isinstance(decision, Replace)
    return kind.FromString(decision.message)


def replicas(value: bytes) -> object:
    return locate(value, "spec.replicas").value


def test_an_event_is_changed_and_nothing_else_of_its_response() -> None:
    channel = channel_of(rule())
    response = watch_response(
        put(KEYS["service"], golden("service")), put(WEB, DEPLOYMENT, before=DEPLOYMENT), put("/x", b"y")
    )
    decision = call_of(channel, WATCH).response(response.SerializeToString())
    found = told(decision)
    assert replicas(found.events[1].kv.value) == 67
    found.events[1].kv.value = DEPLOYMENT
    assert found == response
    (firing,) = channel.firings()
    assert (firing.operation, firing.key, firing.identity) == ("watch", WEB, "Deployment/default/web")
    assert (firing.field_after, firing.accepted, firing.revision, firing.at_s) == (67, None, 9, 12.5)
    assert channel.done and channel.call(WATCH) is None and channel.near_misses() == ()


def test_a_deletion_tells_another_object_than_there_was() -> None:
    channel = channel_of(rule(), baseline=[(WEB.encode(), DEPLOYMENT)])
    found = told(
        call_of(channel, WATCH).response(watch_response(deleted(WEB, DEPLOYMENT, modified=11)).SerializeToString())
    )
    assert replicas(found.events[0].prev_kv.value) == 67 and found.events[0].kv.value == b""


@pytest.mark.parametrize("operation", ["range", "txn-range"])
def test_an_object_in_an_answer_is_changed_and_lengths_around_it_are_right(operation: str) -> None:
    listed = etcdrpc.RangeResponse(
        header={"revision": 50}, kvs=[kv("/a", b"a" * 200), kv(WEB, DEPLOYMENT), kv("/z", b"z")], count=3, more=True
    )
    if operation == "range":
        path, response = RANGE, listed
    else:
        path, response = TXN, etcdrpc.TxnResponse(header={"revision": 50}, responses=[{"response_range": listed}])
    channel = channel_of(rule(field="metadata.name", value="w" * 300))
    found = told(call_of(channel, path).response(response.SerializeToString()), type(response))
    changed = found if operation == "range" else found.responses[0].response_range
    assert locate(changed.kvs[1].value, "metadata.name").value == "w" * 300
    changed.kvs[1].value = DEPLOYMENT
    assert found == response and channel.firings()[0].operation == operation


def test_a_rule_for_one_operation_passes_the_others_over_and_says_so() -> None:
    channel = channel_of(rule(operation="watch"))
    listed = etcdrpc.RangeResponse(kvs=[kv(WEB, DEPLOYMENT)]).SerializeToString()
    assert call_of(channel, RANGE).response(listed) is None
    assert channel.near_misses()[0].why == "a range, but the rule waits for a watch"
    assert call_of(channel, WATCH).response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString()) is not None


def test_a_lost_event_is_taken_out_and_a_response_without_others_is_swallowed() -> None:
    channel = channel_of(rule("drop", times=2))
    call = call_of(channel, WATCH)
    both = watch_response(put(WEB, DEPLOYMENT), put("/b", b"b"))
    found = told(call.response(both.SerializeToString()))
    assert [e.kv.key for e in found.events] == [b"/b"] and (found.watch_id, found.header.revision) == (3, 40)
    assert call.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString()) == Several(())
    assert [(f.told, f.after) for f in channel.firings()] == [(None, b"")] * 2 and channel.done


def test_responses_without_events_pass() -> None:
    call = call_of(channel_of(rule("drop")), WATCH)
    for control in ({"created": True}, {}, {"canceled": True, "cancel_reason": "x"}):
        response = etcdrpc.WatchResponse(header={"revision": 3}, watch_id=1, **control)
        assert call.response(response.SerializeToString()) is None


@pytest.mark.parametrize(
    ("how", "decision"),
    [("error", Drop(Answer(14, "mutineer: the answer was dropped by rule r"))), ("timeout", Drop(None))],
)
def test_a_lost_answer_ends_as_the_rule_says(how: str, decision: Drop) -> None:
    listed = etcdrpc.RangeResponse(kvs=[kv(WEB, DEPLOYMENT)], count=1).SerializeToString()
    assert call_of(channel_of(rule("drop", told=how)), RANGE).response(listed) == decision


def test_an_object_lost_from_a_right_answer_does_not_seem_to_exist() -> None:
    listed = etcdrpc.RangeResponse(header={"revision": 5}, kvs=[kv("/a", b"a"), kv(WEB, DEPLOYMENT)], count=2)
    found = told(
        call_of(channel_of(rule("drop", told="success")), RANGE).response(listed.SerializeToString()),
        etcdrpc.RangeResponse,
    )
    assert ([k.key for k in found.kvs], found.count, found.header.revision) == ([b"/a"], 1, 5)


def test_an_event_comes_twice_right_behind_itself() -> None:
    channel = channel_of(rule("delivering", copies=3))
    response = watch_response(put("/a", b"a"), put(WEB, DEPLOYMENT), put("/b", b"b"))
    found = told(call_of(channel, WATCH).response(response.SerializeToString()))
    assert [e.kv.key.decode() for e in found.events] == ["/a", WEB, WEB, WEB, "/b"]
    assert len(channel.firings()) == 1


def test_a_late_event_holds_its_watch_up() -> None:
    decision = call_of(channel_of(rule("delivering", delay_s=2.5)), WATCH).response(
        watch_response(put(WEB, DEPLOYMENT)).SerializeToString()
    )
    assert isinstance(decision, Hold) and decision.gate.after_s == 2.5 and decision.then is None


@pytest.mark.parametrize("disarmed", [False, True])
def test_an_overtaken_event_comes_after_the_nth_one_of_its_watch_or_at_disarming(disarmed: bool) -> None:
    channel = channel_of(rule("delivering", behind=2))
    call = call_of(channel, WATCH)
    decision = call.response(watch_response(put(WEB, DEPLOYMENT), put("/a", b"a")).SerializeToString())
    assert isinstance(decision, Aside) and channel.done and call.listening
    (later,), (now,) = decision.later, decision.now
    later, now = etcdrpc.WatchResponse.FromString(later), etcdrpc.WatchResponse.FromString(now)
    assert ([e.kv.key for e in later.events], later.watch_id) == ([WEB.encode()], 3)
    assert [e.kv.key for e in now.events] == [b"/a"]
    if disarmed:
        channel.disarmed()
    else:
        for watch_id, opened in ((9, False), (3, False), (3, True)):
            other = watch_response(put("/o", b"o"), watch_id=watch_id)
            assert call.response(other.SerializeToString()) is None
            assert decision.gate.is_open is opened
    assert decision.gate.is_open


def test_an_answer_can_t_come_twice_and_the_rule_says_so() -> None:
    channel = channel_of(rule("delivering", copies=2))
    listed = etcdrpc.RangeResponse(kvs=[kv(WEB, DEPLOYMENT)]).SerializeToString()
    assert call_of(channel, RANGE).response(listed) is None
    assert "it can't come twice" in channel.near_misses()[0].why


def test_an_event_under_another_key() -> None:
    channel = channel_of(rule("delivering", key="/registry/deployments/default/a-longer-name-than-before"))
    found = told(call_of(channel, WATCH).response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString()))
    assert found.events[0].kv.key.endswith(b"a-longer-name-than-before")
    assert found.events[0].kv.value == DEPLOYMENT and channel.firings()[0].note.startswith("told under /registry")


def test_objects_are_numbered_in_order_of_creation_whatever_tells_of_them_first() -> None:
    channel = channel_of(pods("Pod/default/x#3", occurrence=1))
    call = call_of(channel, WATCH)

    def pod(name: str) -> bytes:
        return stored("Pod", name, generate_name="x-")

    names = {"x-b": 20, "x-a": 10}
    listed = etcdrpc.RangeResponse(
        kvs=[kv(f"/registry/pods/default/{n}", pod(n), created=c, modified=c) for n, c in sorted(names.items())]
    )
    assert call_of(channel, RANGE).response(listed.SerializeToString()) is None
    gone = watch_response(deleted("/registry/pods/default/x-a", pod("x-a"), modified=25))
    again = watch_response(put("/registry/pods/default/x-a", pod("x-a"), created=10, modified=24))
    for response in (gone, gone, again):  # told twice, by two watches, one of them behind the other
        assert call.response(response.SerializeToString()) is None
    new = watch_response(put("/registry/pods/default/x-a", pod("x-a"), created=30, modified=30))
    assert call.response(new.SerializeToString()) == Several(())
    assert channel.firings()[0].identity == "Pod/default/x#3"


def test_baseline_objects_come_first_and_occurrences_count_every_sighting() -> None:
    value = stored("Pod", "x-a", generate_name="x-")
    channel = channel_of(pods("Pod/default/x#1", occurrence=2), baseline=[(b"/registry/pods/default/x-a", value)])
    call = call_of(channel, WATCH)
    response = watch_response(put("/registry/pods/default/x-a", value)).SerializeToString()
    assert call.response(response) is None
    assert call.response(response) == Several(())


def test_a_rule_without_limit_fires_until_it_is_disarmed() -> None:
    channel = channel_of(rule("drop", times=None))
    call = call_of(channel, WATCH)
    for _ in range(3):
        assert call.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString()) == Several(())
    assert len(channel.firings()) == 3 and not channel.done
    channel.disarmed()
    assert call.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString()) is None and channel.done


def test_a_watch_that_is_cancelled_after_it_was_told_a_fault_is_noted() -> None:
    channel = channel_of(rule())
    call = call_of(channel, WATCH)
    call.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString())
    for watch_id in (8, 3):
        cancel = etcdrpc.WatchRequest(cancel_request=etcdrpc.WatchCancelRequest(watch_id=watch_id))
        assert call.request(cancel.SerializeToString()) is None
        assert channel.firings()[0].note == ("" if watch_id == 8 else "the watch was cancelled 0.000 s later")


def test_what_a_model_may_take_over_is_what_was_told_before() -> None:
    older = stored("Deployment", "web", api_version="apps/v1")
    other = (KEYS["service"].encode(), golden("service"))
    channel = channel_of(rule(occurrence=9), baseline=[(WEB.encode(), older), other])
    call = call_of(channel, WATCH)
    call.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString())
    memory = channel._memory
    assert memory.before(WEB.encode(), DEPLOYMENT, 9) == older
    assert memory.before(WEB.encode(), older, 0) == DEPLOYMENT
    assert memory.other("Service/default/web") == other or memory.other("Service/default/kubernetes") == other


def test_bytes_that_are_no_response_pass_and_are_near_misses() -> None:
    channel = channel_of(rule())
    for path in (WATCH, RANGE, TXN):
        assert call_of(channel, path).response(b"\xff\xff\xff") is None
    assert len(channel.near_misses()) == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (rule(operation="put"), "operation: etcd-to-apiserver has range, watch, txn-range"),
        (rule(times=0), "times"),
        (rule("drop", kind="etcd:Compact", identity="etcd:Compact"), "its channel is apiserver-to-etcd"),
    ],
)
def test_a_rule_that_can_never_fire_is_refused_when_it_is_armed(wrong: Rule, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        channel_of(wrong)


def test_evidence_keeps_what_it_can_of_very_many_firings() -> None:
    channel = channel_of(rule("drop", times=None))
    call, response = call_of(channel, WATCH), watch_response(put(WEB, DEPLOYMENT)).SerializeToString()
    for _ in range(1005):
        call.response(response)
    assert len(channel.firings()) == 1000
    assert isinstance(channel._evidence, Evidence) and channel._evidence.fired_count == 1005


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "the watch stream was reset 1.250 s later"),
        (14, "the watch stream was ended by etcd with status 14 1.250 s later"),
    ],
)
def test_a_watch_stream_that_breaks_off_after_a_firing_is_told(status: int | None, words: str) -> None:
    now = [1.0]
    channel = ReadsChannel(rule(), clock=lambda: now[0])
    watch, other = call_of(channel, WATCH), call_of(channel, WATCH)
    watch.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString())
    now[0] = 2.25
    other.ended(None)
    assert watch.listening and channel.firings()[0].note == ""
    watch.ended(status)
    watch.ended(status)
    assert channel.firings()[0].note == words and not watch.listening


def test_what_becomes_of_a_watch_once_the_rule_is_disarmed_is_not_told() -> None:
    channel = channel_of(rule())
    watch = call_of(channel, WATCH)
    watch.response(watch_response(put(WEB, DEPLOYMENT)).SerializeToString())
    channel.disarmed()
    watch.ended(None)
    assert channel.firings()[0].note == ""
