"""Who reads what was written, as far as etcd's messages to kube-apiserver tell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from injector.channels.etcd import EtcdChannel
from injector.channels.listening import LISTEN_S, RANGE, WATCH, Heard, Listening, in_words
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.conftest import wait_until
from tests.injector.channels.test_etcd import ANSWERED, REFUSED, TXN, finish
from tests.injector.channels.test_forwarder import watching
from tests.injector.channels.test_reads import deleted, kv, put, watch_response
from tests.injector.conftest import RunningForwarder, etcdrpc, put_request
from tests.injector.stored import KEYS, golden

WEB, VALUE = KEYS["deployment"], golden("deployment")
RULE = Rule(
    id="r",
    channel=Channel.APISERVER_TO_ETCD,
    model="value-set",
    parameters={"value": 67},
    target=Target(kind="Deployment", group="apps", identity="Deployment/default/web", field="spec.replicas"),
)


@pytest.fixture
def now() -> list[float]:
    return [10.0]


@pytest.fixture
def listening(now: list[float]) -> Listening:
    return Listening(lambda: now[0])


def event(revision: int, *, key: str = WEB) -> bytes:
    message: bytes = watch_response(put("/a", b"b"), put(key, VALUE, modified=revision)).SerializeToString()
    return message


def test_a_watchs_event_and_a_ranges_answer_are_heard_with_their_revisions_and_times(
    listening: Listening, now: list[float]
) -> None:
    watch = listening.call(WATCH)
    assert watch is not None and listening.call(RANGE) is None, "nobody reads what was not written yet"
    assert watch.response(event(8)) is None
    listening.listen(WEB.encode())
    read = listening.call(RANGE)
    assert read is not None and read.listening and listening.call(TXN) is None
    now[0] += 0.0008
    watch.response(event(9))
    watch.response(event(9, key="/other"))
    now[0] += 1
    watch.response(event(9))
    read.response(etcdrpc.RangeResponse(kvs=[kv(WEB, VALUE, modified=9)]).SerializeToString())
    watch.response(watch_response(deleted(WEB, VALUE, modified=12)).SerializeToString())
    watch.response(WEB.encode() + b"\xff")
    heard = listening.heard(WEB.encode())
    assert [(each.how, each.revision) for each in heard] == [("watch", 9), ("range", 9), ("watch", 12)]
    assert in_words(heard, revision=9, since_s=10.0) == (
        "kube-apiserver's watch, 0.8 ms later",
        "kube-apiserver's read, 1.0 s later",
    )
    assert in_words(heard, revision=None, since_s=10.0) == ()


def test_listening_ends_after_a_while(listening: Listening, now: list[float]) -> None:
    assert listening.over
    listening.listen(WEB.encode())
    watch = listening.call(WATCH)
    assert watch is not None and watch.listening and not listening.over
    now[0] += LISTEN_S + 0.1
    watch.response(event(9))
    assert listening.over and not watch.listening and listening.heard(WEB.encode()) == ()


@pytest.mark.parametrize("answer", [ANSWERED, REFUSED])
def test_a_firing_tells_who_read_it_even_if_the_event_comes_before_the_answer(now: list[float], answer: bytes) -> None:
    channel = EtcdChannel(RULE, clock=lambda: now[0])
    watch, call = channel.call(WATCH), channel.call(TXN)
    assert watch is not None and call is not None
    call.request(put_request(WEB, VALUE).SerializeToString())
    now[0] += 0.002
    watch.response(event(50))
    assert channel.firings()[0].consumed == ()
    finish(call, answer, 0)
    watch.response(event(51))
    expected = ("kube-apiserver's watch, 2.0 ms later",) if answer == ANSWERED else ()
    assert channel.firings()[0].consumed == expected


def test_what_is_written_under_another_key_is_read_there(now: list[float]) -> None:
    other = KEYS["service"]
    wrong = replace(
        RULE, model="wrong-key", parameters={"identity": "Service/default/web"}, target=replace(RULE.target, field=None)
    )
    channel = EtcdChannel(wrong, clock=lambda: now[0], baseline=[(other.encode(), golden("service"))])
    watch, call = channel.call(WATCH), channel.call(TXN)
    assert watch is not None and call is not None
    call.request(put_request(WEB, VALUE).SerializeToString())
    finish(call, ANSWERED, 0)
    watch.response(event(50, key=other))
    assert channel.firings()[0].consumed == ("kube-apiserver's watch, 0.0 ms later",)


def watched(forwarder: RunningForwarder, write: Callable[[Any], None]) -> None:
    """What `write` does to the Deployment, seen by a watch through the forwarder that was there before."""
    over = threading.Event()
    channel, watch = watching(forwarder, WEB.encode(), over)
    try:
        with forwarder.etcd() as client:
            write(client)
        next(watch)
    finally:
        over.set()
        watch.cancel()  # type: ignore[attr-defined]
        channel.close()  # type: ignore[attr-defined]


def test_a_real_watch_is_listened_to_without_a_rule(forwarder: RunningForwarder) -> None:
    assert forwarder.control.heard() == ()

    def write(client: Any) -> None:
        forwarder.control.listen(WEB.encode())
        client.put(WEB, VALUE)
        client.get(WEB)

    watched(forwarder, write)
    wait_until(lambda: len(forwarder.control.heard()) == 2, within_s=5, what="both to be heard")
    assert {each.how for each in forwarder.control.heard()} == {"watch", "range"}
    assert len({each.revision for each in forwarder.control.heard()}) == 1
    assert all(isinstance(each, Heard) and each.at_s > 0 for each in forwarder.control.heard())


def test_a_real_firing_tells_its_stream_and_its_reader(forwarder: RunningForwarder) -> None:
    def write(client: Any) -> None:
        forwarder.control.arm(RULE)
        client.transaction(compare=[], success=[client.transactions.put(WEB, VALUE)], failure=[])

    watched(forwarder, write)

    def read() -> bool:
        return bool(forwarder.control.collect().firings[0].consumed)

    wait_until(read, within_s=5, what="the watch's event to be heard")
    (firing,) = forwarder.control.collect().firings
    (reader,) = firing.consumed
    assert reader.startswith("kube-apiserver's watch, ") and firing.stream.startswith("connection 1, stream ")
