"""Which write a rule fires on, and what it says of those it did not."""

from __future__ import annotations

from typing import Any

import pytest

from injector.channels.etcd import EtcdChannel
from injector.channels.listening import WATCH
from injector.channels.txn import writes_of
from injector.codec import locate
from injector.errors import FaultError
from injector.rules import Firing, JSONValue, NearMiss, Rule, Told
from injector.targets import Channel, Target
from injector.wire.inspection import Answer, Call, Decision, Drop, Replace
from tests.injector.conftest import delete_request, etcdrpc, put_request
from tests.injector.stored import KEYS, golden
from tests.injector.test_identity import stored

TXN = b"/etcdserverpb.KV/Txn"
WEB, POD = KEYS["deployment"], KEYS["pod"]
ANSWERED = etcdrpc.TxnResponse(header=etcdrpc.ResponseHeader(revision=50), succeeded=True).SerializeToString()
REFUSED = etcdrpc.TxnResponse(header=etcdrpc.ResponseHeader(revision=50)).SerializeToString()


def rule(
    model: str = "value-set",
    *,
    kind: str = "Deployment",
    identity: str = "Deployment/default/web",
    group: str = "apps",
    field: str | None = "spec.replicas",
    occurrence: int = 1,
    **parameters: JSONValue,
) -> Rule:
    target = Target(kind=kind, identity=identity, group=group, field=field, occurrence=occurrence)
    if model == "value-set" and not parameters:
        parameters = {"value": 67}
    return Rule(id="r1", channel=Channel.APISERVER_TO_ETCD, model=model, target=target, parameters=parameters)


def pods(**options: Any) -> Rule:
    return rule("drop", kind="Pod", group="", field=None, **options)


def ask(channel: EtcdChannel, request: Any, answer: bytes | None = ANSWERED, status: int = 0) -> Decision:
    """One Txn through the channel and its answer, if the channel listens for it."""
    call = channel.call(TXN)
    if call is None:
        return None
    decision = call.request(request.SerializeToString())
    if not isinstance(decision, Drop):
        finish(call, answer, status)
    return decision


def finish(call: Call, answer: bytes | None, status: int) -> None:
    if call.listening:
        if answer is not None:
            call.response(answer)
        call.ended(status)


def sent_value(decision: Decision) -> bytes:
    assert isinstance(decision, Replace)
    return writes_of(decision.message)[0].value


def test_a_matching_write_is_changed_and_the_firing_holds_all_the_evidence() -> None:
    channel = EtcdChannel(rule(), clock=lambda: 12.5)
    before = golden("deployment")
    assert ask(channel, put_request(KEYS["service"], golden("service"))) is None
    after = sent_value(ask(channel, put_request(WEB, before, mod_revision=3)))
    found = locate(before, "spec.replicas")
    assert locate(after, "spec.replicas").value == 67
    assert channel.firings() == (
        Firing(
            rule_id="r1",
            at_s=12.5,
            key=WEB,
            identity="Deployment/default/web",
            operation="put",
            before=before,
            after=after,
            span=found.span,
            field_before=found.value,
            field_after=67,
            accepted=True,
            revision=50,
            actor="kube-controller-manager",
        ),
    )
    assert channel.near_misses() == ()


def test_a_rule_fires_at_most_once_and_looks_at_nothing_afterwards() -> None:
    now = [1.0]
    channel = EtcdChannel(rule(), clock=lambda: now[0])
    early = channel.call(TXN)
    assert early is not None
    assert ask(channel, put_request(WEB, golden("deployment"))) is not None
    assert channel.call(TXN) is None and not channel.done, "it listens for who reads what was written"
    now[0] += 2.1
    assert channel.call(TXN) is None and channel.call(WATCH) is None and channel.done
    assert early.request(put_request(WEB, golden("deployment")).SerializeToString()) is None
    assert not early.listening


def test_only_txns_are_looked_at() -> None:
    assert EtcdChannel(rule()).call(b"/etcdserverpb.KV/Range") is None


def test_the_nth_write_that_carries_the_field_is_the_one() -> None:
    channel = EtcdChannel(rule(occurrence=2))
    without = stored("Deployment", "web", api_version="apps/v1")
    assert ask(channel, put_request(WEB, without)) is None
    assert ask(channel, put_request(WEB, golden("deployment"))) is None
    assert ask(channel, put_request(WEB, without)) is None
    assert ask(channel, put_request(WEB, golden("deployment"))) is not None


def test_writes_that_etcd_refuses_count_as_occurrences() -> None:
    channel = EtcdChannel(rule(occurrence=2), baseline=[(WEB.encode(), golden("deployment"))])
    assert ask(channel, put_request(WEB, golden("deployment")), REFUSED) is None
    assert ask(channel, put_request(WEB, golden("deployment"))) is not None


def test_a_rule_that_never_fired_tells_its_near_misses() -> None:
    channel = EtcdChannel(rule(occurrence=3))
    for _ in range(2):
        ask(channel, put_request(WEB, golden("deployment")))
    ask(channel, put_request(WEB, stored("Deployment", "web", api_version="apps/v1")))
    (counted, absent) = channel.near_misses()
    assert counted == NearMiss(
        identity="Deployment/default/web", why="matched, but the rule waits for occurrence 3", times=2
    )
    assert (absent.identity, absent.times) == ("Deployment/default/web", 1)
    assert absent.why.startswith("does not carry spec.replicas")


def test_another_ordinal_of_the_same_name_is_a_near_miss() -> None:
    channel = EtcdChannel(pods(identity="Pod/default/web#2"))
    ask(channel, put_request(POD, golden("pod")))
    ask(channel, put_request(POD, golden("pod")))
    why = "same name, but the rule waits for Pod/default/web#2"
    assert channel.near_misses() == (NearMiss(identity="Pod/default/web#1", why=why, times=2),)


def test_ordinals_follow_the_order_of_creation_and_the_owner_chain_given_as_baseline() -> None:
    known = [(KEYS[name].encode(), golden(name)) for name in ("replicaset", "deployment")]
    channel = EtcdChannel(pods(identity="Pod/default/web#2"), baseline=known)
    owner = ("ReplicaSet", KEYS["replicaset"].rpartition("/")[2])
    for name, fires in (("web-a", False), ("web-a", False), ("web-b", True)):
        value = stored("Pod", name, owner=owner)
        assert (ask(channel, put_request(f"/registry/pods/default/{name}", value)) is not None) is fires


def test_a_creation_that_etcd_refuses_gives_its_number_back() -> None:
    channel = EtcdChannel(pods(identity="Pod/default/x#2"))

    def create(name: str, answer: bytes | None, status: int = 0) -> Decision:
        request = put_request(f"/registry/pods/default/{name}", stored("Pod", name, generate_name="x-"))
        return ask(channel, request, answer, status)

    assert create("x-a", REFUSED) is None
    assert create("x-b", None, status=8) is None
    assert create("x-c", ANSWERED) is None
    assert create("x-d", ANSWERED) is not None


def test_a_delete_ends_an_identity_only_once_etcd_accepted_it() -> None:
    channel = EtcdChannel(pods(identity="Pod/default/x#2"))
    key, value = "/registry/pods/default/x-a", stored("Pod", "x-a", generate_name="x-")
    assert ask(channel, put_request(key, value)) is None
    assert ask(channel, delete_request(key), REFUSED) is None
    assert ask(channel, put_request(key, value)) is None
    assert ask(channel, delete_request(key), ANSWERED) is None
    assert ask(channel, put_request(key, value)) is not None


def test_a_fault_that_does_not_fit_lets_the_write_through_and_says_why() -> None:
    replicas = locate(golden("deployment"), "spec.replicas").value
    channel = EtcdChannel(rule(value=replicas))
    assert ask(channel, put_request(WEB, golden("deployment"))) is None
    assert channel.firings() == ()
    (missed,) = channel.near_misses()
    assert "already has the value" in missed.why and missed.identity == "Deployment/default/web"
    assert channel.done


def test_a_value_that_can_t_be_decoded_is_a_near_miss_and_no_error() -> None:
    channel = EtcdChannel(rule())
    assert ask(channel, put_request(WEB, b"k8s\0\xff")) is None
    assert channel.near_misses()[0].why.startswith("does not carry spec.replicas")


def test_bytes_that_are_no_txn_pass_and_are_a_near_miss() -> None:
    channel = EtcdChannel(rule())
    call = channel.call(TXN)
    assert call is not None and call.request(b"\xff\xff") is None
    assert channel.near_misses()[0].why.startswith("a Txn that can't be read")


@pytest.mark.parametrize(
    ("answer", "status", "accepted"),
    [(ANSWERED, 0, True), (REFUSED, 0, False), (None, 3, False), (None, 8, False), (None, 14, None), (None, 4, None)],
)
def test_acceptance_is_what_etcd_said_and_unknown_where_it_did_not(
    answer: bytes | None, status: int, accepted: bool | None
) -> None:
    channel = EtcdChannel(rule())
    ask(channel, put_request(WEB, golden("deployment")), answer, status)
    (firing,) = channel.firings()
    assert (firing.accepted, firing.revision) == (accepted, 50 if accepted else None)


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ("error", Answer(14, "mutineer: the request was dropped by rule r1")),
        ("timeout", None),
    ],
)
def test_a_dropped_write_is_answered_as_the_rule_says(told: str, answer: Answer | None) -> None:
    channel = EtcdChannel(rule("drop", field=None, told=told))
    assert ask(channel, put_request(WEB, golden("deployment"))) == Drop(answer)
    (firing,) = channel.firings()
    assert (firing.operation, firing.after, firing.accepted, firing.told) == ("drop", b"", False, Told(told))
    assert firing.before == golden("deployment")


def test_an_acknowledged_write_that_is_lost_gets_the_revision_after_the_last_one_seen() -> None:
    channel = EtcdChannel(rule("drop", field=None, told="success"))
    ask(channel, put_request(KEYS["service"], golden("service"), mod_revision=9))
    decision = ask(channel, put_request(WEB, golden("deployment")))
    assert isinstance(decision, Drop) and decision.answer is not None and decision.answer.message is not None
    answer = etcdrpc.TxnResponse.FromString(decision.answer.message)
    assert (decision.answer.status, answer.succeeded, answer.header.revision) == (0, True, 51)


def test_a_delete_can_be_dropped_and_counts_as_a_write_of_the_whole_object() -> None:
    channel = EtcdChannel(rule("drop", field=None, occurrence=2))
    assert ask(channel, put_request(WEB, golden("deployment"))) is None
    assert isinstance(ask(channel, delete_request(WEB)), Drop)
    assert channel.firings()[0].before == b""


def test_a_delete_has_no_bytes_to_flip() -> None:
    channel = EtcdChannel(rule("byte-flip", field=None), baseline=[(WEB.encode(), golden("deployment"))])
    assert ask(channel, delete_request(WEB)) is None
    assert channel.near_misses()[0].why == "this write is a delete without a value; byte-flip needs one"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (rule("bit-flop"), "no fault model 'bit-flop'"),
        (rule("drop", field=None, told="nothing"), "parameters.told"),
        (rule(occurrence=0), "at least 1"),
        (Rule(id="r", channel=Channel.AT_REST_WRITE, model="drop", target=rule().target), "expected channel"),
    ],
)
def test_a_rule_that_can_never_fire_is_refused_when_it_is_armed(wrong: Rule, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        EtcdChannel(wrong)
