"""Writes that come late, twice, in another order or under another key, and messages to etcd that are no writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from injector.channels.copies import Copies
from injector.channels.etcd import EtcdChannel
from injector.channels.txn import writes_of
from injector.errors import FaultError
from injector.rules import JSONValue, Rule
from injector.targets import Channel, Target
from injector.wire.inspection import Answer, Call, Drop, Hold, Replace
from tests.injector.channels.delivering import WITH_DELIVERING
from tests.injector.conftest import Etcd, connected, delete_request, etcdrpc, put_request
from tests.injector.stored import KEYS, golden

TXN, COMPACT, GRANT = b"/etcdserverpb.KV/Txn", b"/etcdserverpb.KV/Compact", b"/etcdserverpb.Lease/LeaseGrant"
WEB, DEPLOYMENT = KEYS["deployment"], golden("deployment")
PUT = put_request(WEB, DEPLOYMENT, mod_revision=3).SerializeToString()
OTHER = put_request(KEYS["service"], golden("service")).SerializeToString()
ANSWERED = etcdrpc.TxnResponse(header=etcdrpc.ResponseHeader(revision=50), succeeded=True).SerializeToString()
REFUSED = etcdrpc.TxnResponse(header=etcdrpc.ResponseHeader(revision=51)).SerializeToString()


def rule(
    model: str = "delivering", *, kind: str = "Deployment", times: int | None = 1, **parameters: JSONValue
) -> Rule:
    identity, group = ("Deployment/default/web", "apps") if kind == "Deployment" else (kind, "")
    target = Target(kind=kind, identity=identity, group=group)
    return Rule(
        id="r", channel=Channel.APISERVER_TO_ETCD, model=model, target=target, parameters=parameters, times=times
    )


class Sent:
    """A sender that remembers, and is answered by the test."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bytes, Callable[[bytes | None, int | None], None]]] = []

    def __call__(self, path: bytes, message: bytes, answered: Callable[[bytes | None, int | None], None]) -> None:
        self.calls.append((path, message, answered))


def begin(channel: EtcdChannel, path: bytes = TXN) -> Call:
    call = channel.call(path)
    assert call is not None
    return call


def finish(call: Call, answer: bytes = ANSWERED, status: int = 0) -> None:
    assert call.listening
    call.response(answer)
    call.ended(status)


def channel_of(waiting: Rule, sender: Sent | None = None) -> EtcdChannel:
    return EtcdChannel(waiting, models=WITH_DELIVERING, sender=sender)


def test_a_late_write_waits_and_is_accepted_when_etcd_says_so() -> None:
    channel = channel_of(rule(delay_s=1.5))
    call = begin(channel)
    decision = call.request(PUT)
    assert isinstance(decision, Hold) and decision.gate.after_s == 1.5 and decision.then is None
    assert channel.firings()[0].accepted is None
    decision.gate.open()
    finish(call)
    (firing,) = channel.firings()
    assert (firing.accepted, firing.revision, firing.operation, firing.note) == (True, 50, "put", "")


def test_a_late_write_whose_client_gave_up_never_arrives_and_the_firing_says_so() -> None:
    channel = channel_of(rule(delay_s=60))
    call = begin(channel)
    call.request(PUT)
    call.ended(None)
    (firing,) = channel.firings()
    assert firing.accepted is False and "never arrived" in firing.note


@pytest.mark.parametrize(
    ("response", "status", "words"),
    [
        (REFUSED, 0, "etcd did nothing: its guard did not hold any more"),
        (ANSWERED, 0, "etcd did it at revision 50"),
        (None, 14, "etcd refused it with status 14"),
        (None, None, "etcd did not answer"),
    ],
)
def test_a_copy_goes_after_the_first_was_answered_and_its_own_answer_is_noted(
    response: bytes | None, status: int | None, words: str
) -> None:
    sent = Sent()
    channel = channel_of(rule(copies=2), sent)
    call = begin(channel)
    assert call.request(PUT) is None and sent.calls == []
    finish(call)
    ((path, message, answered),) = sent.calls
    assert (path, message) == (TXN, PUT)
    answered(response, status)
    assert words in channel.firings()[0].note and len(sent.calls) == 1


def test_copies_go_one_after_the_other_and_none_where_the_first_failed() -> None:
    sent = Sent()
    call = begin(channel_of(rule(copies=3), sent))
    call.request(PUT)
    finish(call)
    sent.calls[0][2](REFUSED, 0)
    sent.calls[1][2](REFUSED, 0)
    assert len(sent.calls) == 2
    failed = begin(channel_of(rule(copies=3), sent))
    failed.request(PUT)
    failed.ended(14)
    assert len(sent.calls) == 2


def test_a_write_is_overtaken_by_so_many_others() -> None:
    channel = channel_of(rule(behind=2))
    late = begin(channel)
    decision = late.request(PUT)
    assert isinstance(decision, Hold) and decision.gate.after_s is None and not channel.done
    for opened in (False, True):
        other = begin(channel)
        assert other.request(OTHER) is None
        finish(other)
        assert decision.gate.is_open is opened
    assert channel.decided
    finish(late)
    assert channel.firings()[0].accepted is True


def test_disarming_lets_an_overtaken_write_go() -> None:
    channel = channel_of(rule(behind=2))
    decision = begin(channel).request(PUT)
    assert isinstance(decision, Hold)
    channel.disarmed()
    assert decision.gate.is_open and channel.decided


def test_under_another_key_the_guard_stays_the_objects_own() -> None:
    channel = channel_of(rule(key="/registry/deployments/default/another-one"))
    decision = begin(channel).request(PUT)
    assert isinstance(decision, Replace)
    expected = put_request(WEB, DEPLOYMENT, mod_revision=3)
    expected.success[0].request_put.key = b"/registry/deployments/default/another-one"
    assert decision.message == expected.SerializeToString()
    assert [w.key for w in writes_of(decision.message)] == [b"/registry/deployments/default/another-one"]
    assert channel.firings()[0].note == "written under /registry/deployments/default/another-one"


def test_a_rule_fires_n_times_and_then_looks_at_nothing() -> None:
    channel = channel_of(rule("drop", times=2))
    for _ in range(2):
        assert isinstance(begin(channel).request(PUT), Drop)
    assert channel.call(TXN) is None and len(channel.firings()) == 2


def test_a_delete_can_be_late_but_not_under_another_key() -> None:
    gone = delete_request(WEB).SerializeToString()
    assert isinstance(begin(channel_of(rule(delay_s=1))).request(gone), Hold)
    channel = channel_of(rule(key="/x"))
    assert begin(channel).request(gone) is None
    assert "without a value" in channel.near_misses()[0].why


def test_what_a_model_may_take_over_is_what_etcd_accepted() -> None:
    channel = EtcdChannel(rule(copies=2), models=WITH_DELIVERING, sender=Sent(), baseline=[(WEB.encode(), b"old")])
    service = KEYS["service"].encode()
    for answer, known in ((REFUSED, None), (ANSWERED, golden("service"))):
        other = begin(channel)
        other.request(OTHER)
        finish(other, answer)
        assert channel._memory.before(service, b"") == known
    assert channel._memory.before(WEB.encode(), DEPLOYMENT) == b"old"


@pytest.mark.parametrize(
    ("path", "kind", "operation", "request_", "response"),
    [
        (COMPACT, "etcd:Compact", "compact", etcdrpc.CompactionRequest(revision=700), etcdrpc.CompactionResponse()),
        (GRANT, "etcd:LeaseGrant", "lease-grant", etcdrpc.LeaseGrantRequest(TTL=70), etcdrpc.LeaseGrantResponse()),
    ],
)
def test_compactions_and_leases_are_targets_of_their_own(
    path: bytes, kind: str, operation: str, request_: Any, response: Any
) -> None:
    message = request_.SerializeToString()
    late = channel_of(rule(kind=kind, delay_s=3))
    assert late.call(TXN) is None
    call = begin(late, path)
    decision = call.request(message)
    assert isinstance(decision, Hold) and call.listening
    decision.gate.open()
    finish(call, response.SerializeToString())
    (firing,) = late.firings()
    assert (firing.operation, firing.identity, firing.before, firing.accepted) == (operation, kind, message, True)
    flipped = channel_of(rule("byte-flip", kind=kind, offset=1, bit=0))
    decision = begin(flipped, path).request(message)
    assert decision == Replace(message[:1] + bytes((message[1] ^ 1,)) + message[2:])
    assert flipped.firings()[0].span == (1, 2)
    lost = begin(channel_of(rule("drop", kind=kind, told="success")), path).request(message)
    assert isinstance(lost, Drop) and lost.answer is not None and lost.answer.status == 0
    granted = type(response).FromString(lost.answer.message)
    assert kind == "etcd:Compact" or (granted.TTL, granted.ID > 0) == (70, True)
    failed = begin(channel_of(rule("drop", kind=kind)), path).request(message)
    assert failed == Drop(Answer(14, "mutineer: the request was dropped by rule r"))


def test_a_compaction_can_t_be_put_behind_others_and_other_identities_are_near_misses() -> None:
    channel = channel_of(rule(kind="etcd:Compact", behind=1))
    assert begin(channel, COMPACT).request(b"\x08\x05") is None
    assert "is not done to etcd:Compact" in channel.near_misses()[0].why


def test_nobody_to_send_a_copy_is_said() -> None:
    channel = channel_of(rule(copies=2))
    assert begin(channel).request(PUT) is None
    assert channel.near_misses()[0].why == "nobody is there to send a copy"


def test_an_operation_that_is_none_of_this_channels_is_refused() -> None:
    target = Target(kind="Pod", identity="Pod/default/x", operation="watch")
    with pytest.raises(FaultError, match="apiserver-to-etcd has put, delete"):
        EtcdChannel(Rule(id="r", channel=Channel.APISERVER_TO_ETCD, model="drop", target=target))


def test_a_copy_reaches_a_real_etcd_and_does_nothing_where_its_guard_does_not_hold(etcd: Etcd) -> None:
    large = put_request("/copied", b"v" * 300_000).SerializeToString()  # more than the windows of a new connection

    async def send() -> list[tuple[bool, int | None]]:
        heard: asyncio.Queue[tuple[bytes | None, int | None]] = asyncio.Queue()
        copies, found = Copies(etcd.address), []
        for _ in range(2):
            copies.send(TXN, large, lambda answer, status: heard.put_nowait((answer, status)))
            answer, status = await heard.get()
            assert answer is not None
            found.append((etcdrpc.TxnResponse.FromString(answer).succeeded, status))
        Copies(("127.0.0.1", 1)).send(TXN, b"", lambda answer, status: heard.put_nowait((answer, status)))
        assert await heard.get() == (None, None)
        copies.send(b"/none/Such", b"", lambda answer, status: heard.put_nowait((answer, status)))
        assert await heard.get() == (None, 12)
        return found

    assert asyncio.run(send()) == [(True, 0), (False, 0)]
    with connected(etcd.address) as client:
        assert client.get("/copied")[0] == b"v" * 300_000
