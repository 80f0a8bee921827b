"""Requests through the HTTP/2 proxy, between h2's own client and server."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator

import h2.settings
import pytest

from injector.wire.exchange import Deny, Forward, Held, HttpAnswer, MessageDecision, RequestDecision
from injector.wire.http2_end import WINDOW_BYTES
from injector.wire.http2_proxy import Http2Proxy
from injector.wire.inspection import Aside, Gate, Replace, Several
from injector.wire.passage import MAX_REQUEST_BYTES
from tests.injector.wire.http_peers import LINES, PREFIXED, WATCH, Got, Inspecting, World

REFUSED = Deny(HttpAnswer(503, "application/json", b'{"reason":"dropped"}'))


def event(number: int) -> bytes:
    return json.dumps({"type": "MODIFIED", "number": number}).encode()


def lines(*messages: bytes) -> bytes:
    return b"".join(message + b"\n" for message in messages)


def prefixed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def watch(world: World, headers: tuple[tuple[str, str], ...] = LINES) -> tuple[int, Got]:
    """A watch under way: upstream's stream, and what the client got so far."""
    stream = world.client.request("GET", WATCH)
    world.carry()
    asked = max(world.server.got)
    world.server.answer(asked, b"", *headers, ends=False)
    world.carry()
    return asked, world.client.got[stream]


def say(world: World, stream: int, content: bytes, *, ends: bool = False, padding: int | None = None) -> None:
    world.server.send(stream, content, ends=ends, padding=padding)
    world.carry()


# Nobody looks


def test_a_request_and_its_answer_pass_with_their_fields_in_order() -> None:
    world = World()
    headers = [("b", "2"), ("authorization", "Bearer x"), ("accept-encoding", "gzip"), ("a", "1"), ("b", "3")]
    got = world.ask("PUT", "/apis/x?y=%2F", b"body", *headers, answer=b"said", headers=(("z", "1"), ("c", "2")))
    came = world.server.got[1]
    assert came.raw == [
        (":method", "PUT"), (":scheme", "https"), (":authority", "k:1"), (":path", "/apis/x?y=%2F"), *headers,
    ]  # fmt: skip
    assert (bytes(came.body), came.ended) == (b"body", True)
    assert got.raw == [(":status", "200"), ("z", "1"), ("c", "2")]
    assert (bytes(got.body), got.ended) == (b"said", True)
    assert world.proxy.requests == 1


def test_a_secret_header_field_stays_out_of_every_table() -> None:
    import hpack

    world = World()
    connection = world.client.connection
    secret = hpack.NeverIndexedHeaderTuple("authorization", "Bearer hidden")
    stream = connection.get_next_available_stream_id()
    pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "k:1"), (":path", "/")]
    connection.send_headers(stream, [*pseudo, secret, ("user-agent", "me")], end_stream=True)
    world.carry()
    (found,) = [field for field in world.server.got[1].raw if field[0] == "authorization"]
    (other,) = [field for field in world.server.got[1].raw if field[0] == "user-agent"]
    assert isinstance(found, hpack.NeverIndexedHeaderTuple) and not isinstance(other, hpack.NeverIndexedHeaderTuple)


def test_twenty_megabytes_pass_to_a_slow_reader_and_little_of_them_waits_in_between() -> None:
    world = World(greedy=False)
    stream = world.client.request()
    world.carry()
    body = random.Random(1).randbytes(20 << 20)
    world.server.answer(1, body)
    world.carry()
    said = len(body) - len(world.server.waiting[1][0])
    assert said <= 65_535 + WINDOW_BYTES  # the client's window, and what may wait
    got = world.client.got[stream]
    while not got.ended:
        before = len(got.body)
        world.client.acknowledge()
        world.carry()
        said = len(body) - len(world.server.waiting.get(1, (b"", True))[0])
        assert before < len(got.body) and said - len(got.body) <= WINDOW_BYTES
    assert got.body == body
    assert world.largest < 1 << 20


def test_a_stream_whose_client_does_not_read_does_not_stop_the_others() -> None:
    world = World(greedy=False)
    slow = world.client.request()
    world.client.connection.increment_flow_control_window(1 << 24)  # the connection's; the stream's stays
    world.carry()
    world.server.answer(1, bytes(4 << 20))
    world.carry()
    for _ in range(30):  # more than two windows of ours
        got = world.ask("GET", "/other", answer=bytes(65_535))
        assert got.ended
    assert not world.client.got[slow].ended


def test_a_large_upload_waits_for_an_upstream_that_does_not_read() -> None:
    world = World(server_greedy=False)
    stream = world.client.request("POST", "/", bytes(4 << 20))
    world.carry()
    waiting = len(world.client.waiting[stream][0])
    assert 4 << 20 > waiting >= (4 << 20) - 65_535 - WINDOW_BYTES
    while world.client.waiting:
        world.server.acknowledge()
        world.carry()
    for _ in range(40):
        world.server.acknowledge()
        world.carry()
    assert len(world.server.got[1].body) == 4 << 20 and world.server.got[1].ended


def test_trailers_pass_both_ways_and_interim_answers_too() -> None:
    world = World()
    stream = world.client.request("POST", "/", b"body", ends=False)
    world.client.connection.send_headers(stream, [("checksum", "1")], end_stream=True)
    world.carry()
    assert world.server.got[1].trailers == {"checksum": "1"}
    world.server.connection.send_headers(1, [(":status", "103"), ("link", "x")])
    world.server.answer(1, b"said", ends=False)
    world.server.connection.send_headers(1, [("took", "2")], end_stream=True)
    world.carry()
    got = world.client.got[stream]
    assert [head[":status"] for head in got.heads] == ["103", "200"]
    assert (bytes(got.body), got.trailers, got.ended) == (b"said", {"took": "2"}, True)


def test_resets_pass_either_way_and_other_streams_go_on() -> None:
    world = World()
    inspecting = world.inspect()
    first, second = world.client.request(), world.client.request()
    world.carry()
    world.client.connection.reset_stream(first, 8)
    world.carry()
    assert world.server.got[1].reset == 8
    world.server.connection.reset_stream(3, 7)
    world.carry()
    assert world.client.got[second].reset == 7
    assert world.ask().ended
    assert [exchange.ends for exchange in inspecting.exchanges] == [[None], [None], [200]]


def test_an_answer_that_ends_before_the_request_goes_through_with_upstreams_reset() -> None:
    world = World()
    stream = world.client.request("POST", "/", b"part", ends=False)
    world.carry()
    world.server.answer(1, b"too much", status=413)
    world.server.connection.reset_stream(1, 0)
    world.carry()
    got = world.client.got[stream]
    assert (got.head[":status"], bytes(got.body), got.ended, got.reset) == ("413", b"too much", True, 0)
    assert world.ask().ended


def test_pings_are_upstreams_to_answer() -> None:
    world = World()
    world.client.connection.ping(b"12345678")
    said = world.client.taken()
    for part in (said[:5], said[5:]):
        world._take(world.proxy.from_client(part))
    assert b"12345678" in world.to_upstream and world.client.pings == 0
    world.carry()
    assert world.client.pings == 1


def test_upstreams_goaway_lets_what_is_under_way_finish_and_refuses_the_rest() -> None:
    world = World()
    kept, lost = world.client.request(), world.client.request()
    world.carry()
    goaway = b"\0\0\x08\x07\0\0\0\0\0" + (1).to_bytes(4, "big") + bytes(4)
    world._take(world.proxy.from_upstream(goaway[:11]))
    world._take(world.proxy.from_upstream(goaway[11:]))
    inspecting = world.inspect()
    late = world.client.request()
    world._take(world.proxy.from_client(world.client.connection.data_to_send()))
    frames = world.to_client
    assert goaway[:9] + (lost).to_bytes(4, "big") + bytes(4) in frames
    refused = {number for number in (kept, lost, late) if b"\0\0\x04\x03\0" + number.to_bytes(4, "big") in frames}
    assert refused == {lost, late} and not world.over
    assert inspecting.exchanges == []
    world.server.answer(1, b"last")
    output = world.proxy.from_upstream(world.server.connection.data_to_send())
    assert b"last" in output.to_client and output.over and output.error is None


def test_upstreams_end_breaks_off_what_is_not_answered() -> None:
    world = World()
    inspecting = world.inspect(prefix="/a")
    world.client.request("GET", "/a")
    world.carry()
    output = world.proxy.from_upstream(b"")
    assert output.over and inspecting.exchanges[0].ends == [None]
    world.proxy.closed()
    assert inspecting.exchanges[0].ends == [None]


def test_no_more_streams_are_begun_than_upstream_takes() -> None:
    world = World(streams=2)
    streams = [world.client.request() for _ in range(2)]
    world.carry()
    assert world.client.connection.remote_settings.max_concurrent_streams == 2
    world.client.connection.reset_stream(streams[0])
    world.client.request()
    world.carry()
    world.server.answer(3)
    world.carry()
    assert sorted(world.server.got) == [1, 3, 5]


def test_a_request_waits_where_upstream_takes_fewer_at_a_time_than_it_said() -> None:
    world = World()
    streams = [world.client.request() for _ in range(2)]
    fewer = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    world.server.connection.update_settings(fewer)
    world._take(world.proxy.from_upstream(world.server.connection.data_to_send()))
    world.carry()
    assert list(world.server.got) == [1]
    world.server.answer(1)
    world.carry()
    world.server.answer(3)
    world.carry()
    assert all(world.client.got[stream].ended for stream in streams)


def test_a_client_that_gives_up_what_it_does_not_read_goes_on_with_the_rest() -> None:
    world = World(greedy=False)
    stream = world.client.request()
    world.carry()
    world.server.answer(1, bytes(3 << 20))
    world.carry()
    world.client.connection.reset_stream(stream, 8)
    world._take(world.proxy.from_client(world.client.connection.data_to_send()))
    world.server.waiting.clear()
    world.client.acknowledge()
    world.carry()
    assert world.server.got[1].reset == 8
    for _ in range(100):  # far more than what was given up
        world.client.greedy = True
        assert world.ask("GET", "/other", answer=bytes(60_000)).ended


# Requests


def test_a_changed_request_has_its_length_corrected_and_nothing_asks_for_compression() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: Replace(b"a longer body"))
    world.ask("POST", "/x", b"body", ("content-length", "4"), ("accept-encoding", "gzip"), ("z", "1"))
    came = world.server.got[1]
    assert came.raw[4:] == [("content-length", "13"), ("z", "1")]
    assert (bytes(came.body), came.ended) == (b"a longer body", True)
    (looked,) = inspecting.exchanges
    assert (looked.bodies, looked.messages, looked.ends) == ([b"body"], [b"{}"], [200])
    head = looked.head
    assert (head.component, head.connection, head.stream, head.method, head.target) == (
        "kube-scheduler", 1, 1, "POST", "/x",
    )  # fmt: skip
    assert ("accept-encoding", "gzip") in head.headers


def test_a_request_that_is_looked_at_and_left_alone_passes_as_it_came() -> None:
    world = World()
    world.inspect()
    world.ask("POST", "/x", b"body" * 50_000, ("content-length", "200000"))
    assert world.server.got[1].raw[4:] == [("content-length", "200000")]
    assert world.server.got[1].body == b"body" * 50_000


def test_a_request_may_be_sent_to_another_target_and_without_its_body() -> None:
    world = World()
    world.inspect(decide=lambda _: Forward("/other?x=1", b""))
    world.ask("POST", "/x", b"body", ("content-length", "4"))
    came = world.server.got[1]
    assert dict(came.raw)[":path"] == "/other?x=1" and dict(came.raw)["content-length"] == "0"
    assert (came.body, came.ended) == (b"", True)


def test_a_request_without_a_body_is_asked_about_and_may_be_given_one() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: Replace(b"new"))
    world.ask("GET", "/x")
    assert inspecting.exchanges[0].bodies == [b""]
    assert dict(world.server.got[1].raw)["content-length"] == "3" and world.server.got[1].body == b"new"


def test_a_denied_request_never_reaches_upstream_and_the_client_is_told() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: REFUSED)
    stream = world.client.request("POST", "/x", b"body")
    world.carry()
    got = world.client.got[stream]
    assert got.raw == [(":status", "503"), ("content-type", "application/json"), ("content-length", "20")]
    assert (bytes(got.body), got.ended) == (b'{"reason":"dropped"}', True)
    assert world.server.got == {} and inspecting.exchanges[0].ends == [None]


def test_a_request_denied_without_a_word_leaves_the_client_waiting_until_it_resets() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: Deny(None))
    stream = world.client.request("POST", "/x", b"body")
    world.carry()
    assert world.client.got[stream] == Got()
    world.inspector = None
    assert world.ask().ended
    world.client.connection.reset_stream(stream, 8)
    world.carry()
    assert list(world.server.got) == [1] and inspecting.exchanges[0].ends == [None]


@pytest.mark.parametrize(("then", "arrives"), [(None, b"body"), (Replace(b"other"), b"other"), (REFUSED, None)])
def test_a_held_request_goes_on_when_its_gate_opens_and_others_pass_it(
    then: Replace | Deny | None, arrives: bytes | None
) -> None:
    gate, world = Gate(2.5), World()
    world.inspect(decide=lambda _: Held(gate, then))
    stream = world.client.request("POST", "/x", b"body")
    world.carry()
    assert world.gates == [gate] and world.server.got == {}
    world.inspector = None
    assert world.ask().ended
    world.release(gate)
    if arrives is None:
        assert world.client.got[stream].head[":status"] == "503" and len(world.server.got) == 1
    else:
        assert world.server.got[3].body == arrives


def test_a_held_request_that_the_client_gives_up_never_goes() -> None:
    gate, world = Gate(), World()
    inspecting = world.inspect(decide=lambda _: Held(gate))
    stream = world.client.request("POST", "/x", b"body")
    world.carry()
    world.client.connection.reset_stream(stream, 8)
    world.carry()
    world.release(gate)
    assert world.server.got == {} and inspecting.exchanges[0].ends == [None]


def test_a_compressed_request_passes_unread() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: Replace(b"x"))
    body = gzip.compress(b"body")
    world.ask("POST", "/x", body, ("content-encoding", "gzip"))
    (looked,) = inspecting.exchanges
    assert world.server.got[1].body == body and looked.bodies == []
    assert looked.whys == ["the request's body is compressed"] and looked.ends == [200]


def test_a_request_too_long_to_look_at_passes_unread() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: Replace(b"x"))
    body = random.Random(2).randbytes(MAX_REQUEST_BYTES + 100_000)
    world.ask("POST", "/x", body)
    assert world.server.got[1].body == body and world.server.got[1].ended
    (looked,) = inspecting.exchanges
    assert looked.bodies == [] and "at most 16777216 are looked at" in looked.whys[0]


def test_a_client_that_waits_to_be_told_to_send_its_body_is_told() -> None:
    world = World()
    world.inspect()
    stream = world.client.request("POST", "/x", None, ("expect", "100-continue"), ends=False)
    world.carry()
    assert world.client.got[stream].head[":status"] == "100" and world.server.got == {}
    world.client.send(stream, b"body")
    world.carry()
    assert world.server.got[1].raw[4:] == [] and world.server.got[1].body == b"body"


# Whole answers


@pytest.mark.parametrize(
    ("decision", "length", "body"),
    [
        (None, "4", b"said"),
        (Replace(b"something else"), "14", b"something else"),
        (Replace(b"x"), "1", b"x"),
        (Several(), "0", b""),
        (Several((b"a", b"b")), "2", b"ab"),
        (Aside(Gate(), (b"b",), (b"a",)), "2", b"ab"),
    ],
)
def test_a_whole_answer_is_decided_at_its_end_with_its_length_corrected(
    decision: MessageDecision, length: str, body: bytes
) -> None:
    world = World()
    inspecting = world.inspect(answers=lambda _: decision)
    stream = world.client.request()
    world.carry()
    world.server.answer(1, b"sa", ("content-length", "4"), ("x", "y"), ends=False)
    world.carry()
    assert world.client.got[stream].heads == []
    world.server.send(1, b"id")
    world.carry()
    got = world.client.got[stream]
    assert got.raw == [(":status", "200"), ("content-length", length), ("x", "y")]
    assert (bytes(got.body), got.ended, got.reset) == (body, True, None)
    assert inspecting.exchanges[0].messages == [b"said"] and inspecting.exchanges[0].ends == [200]


def test_an_answer_larger_than_every_window_is_looked_at() -> None:
    world = World()
    world.inspect(answers=lambda body: Replace(body + b"!"))
    body = random.Random(3).randbytes(5 << 20)
    assert world.ask(answer=body).body == body + b"!"
    world.inspector = None
    assert world.ask(answer=body).body == body


def test_a_denied_answer_is_another_one() -> None:
    world = World()
    inspecting = world.inspect(answers=lambda _: REFUSED)
    got = world.ask("POST", "/x", b"body")
    assert (got.head[":status"], got.ended, got.reset) == ("503", True, None)
    assert inspecting.exchanges[0].ends == [200]
    world.inspector = None
    assert world.ask().ended


def test_an_answer_denied_without_a_word_never_comes() -> None:
    world = World()
    world.inspect(answers=lambda _: Deny(None))
    assert world.ask() == Got()
    world.inspector = None
    assert world.ask().ended


def test_a_held_answer_outlasts_upstream_and_a_reset_of_what_it_did_not_read() -> None:
    gate, world = Gate(), World()
    inspecting = world.inspect(answers=lambda _: Held(gate, Replace(b"late")))
    stream = world.client.request("POST", "/x", b"body")
    world.carry()
    world.server.answer(1, b"said")
    world.carry()
    assert world.client.got[stream].heads == [] and inspecting.exchanges[0].ends == []
    output = world.proxy.from_upstream(b"")
    assert not output.over
    gate.open()
    output = world.proxy.released()
    assert b"late" in output.to_client and output.over and inspecting.exchanges[0].ends == [200]


def test_upstreams_end_is_told_to_who_waits_beside_a_held_answer() -> None:
    gate, world = Gate(), World()
    world.inspect(answers=lambda _: Held(gate), prefix="/held")
    held, other = world.client.request("GET", "/held"), world.client.request("GET", "/other")
    world.carry()
    world.server.answer(1, b"said")
    world.carry()
    world.client.receive(world.proxy.from_upstream(b"").to_client)
    assert (world.client.got[other].reset, world.client.got[held]) == (2, Got())
    gate.open()
    output = world.proxy.released()
    world.client.receive(output.to_client)
    assert world.client.got[held].body == b"said" and output.over


def test_upstreams_reset_after_its_answer_waits_for_the_answer() -> None:
    gate, world = Gate(), World()
    inspecting = world.inspect(answers=lambda _: Held(gate))
    stream = world.client.request("POST", "/x", b"part", ("content-encoding", "gzip"), ends=False)
    world.carry()
    world.server.answer(1, b"said")
    world.server.connection.reset_stream(1, 0)
    world.carry()
    assert world.client.got[stream] == Got() and inspecting.exchanges[0].ends == []
    world.release(gate)
    got = world.client.got[stream]
    assert (got.body, got.ended, got.reset) == (b"said", True, 0) and inspecting.exchanges[0].ends == [200]


def test_an_answer_broken_off_while_it_is_held_breaks_off_for_the_client() -> None:
    world = World()
    inspecting = world.inspect()
    stream = world.client.request()
    world.carry()
    world.server.answer(1, b"part", ends=False)
    world.server.connection.reset_stream(1, 2)
    world.carry()
    assert (world.client.got[stream].heads, world.client.got[stream].reset) == ([], 2)
    assert inspecting.exchanges[0].ends == [None] and inspecting.exchanges[0].messages == []


def test_a_compressed_answer_passes_unread() -> None:
    world = World()
    inspecting = world.inspect(answers=lambda _: Replace(b"x"))
    body = gzip.compress(b"said" * 1000)
    got = world.ask(answer=body, headers=(("content-encoding", "gzip"),))
    assert got.body == body and inspecting.exchanges[0].whys == ["the answer's body is compressed"]
    assert inspecting.exchanges[0].messages == [] and inspecting.exchanges[0].ends == [200]


def test_an_exchange_may_look_at_the_request_alone_and_trailers_follow_a_held_answer() -> None:
    world = World()
    inspecting = world.inspect(listens=False, answers=lambda _: Replace(b"x"))
    assert world.ask(answer=b"said").body == b"said"
    assert inspecting.exchanges[0].messages == [] and inspecting.exchanges[0].ends == [200]
    world.inspect()
    stream = world.client.request()
    world.carry()
    world.server.answer(3, b"said", ends=False)
    world.server.connection.send_headers(3, [("took", "2")], end_stream=True)
    world.carry()
    assert (world.client.got[stream].body, world.client.got[stream].trailers) == (b"said", {"took": "2"})


def test_the_answer_to_head_is_left_alone() -> None:
    world = World()
    inspecting = world.inspect(answers=lambda _: Replace(b"x"))
    stream = world.client.request("HEAD")
    world.carry()
    world.server.answer(1, None, ("content-length", "7"))
    world.carry()
    assert world.client.got[stream].head["content-length"] == "7" and world.client.got[stream].body == b""
    assert inspecting.exchanges[0].ends == [200]


# Watches


@pytest.mark.parametrize(("headers", "framed"), [(LINES, lines), (PREFIXED, prefixed)], ids=["lines", "prefixed"])
def test_events_are_looked_at_one_by_one_however_they_come(headers: tuple, framed: object) -> None:  # type: ignore[type-arg]
    random_ = random.Random(4)
    for _ in range(20):
        world = World(sizes=iter(lambda: random_.randint(1, 40), None))
        events = [event(number) + bytes(random_.randint(0, 60)).replace(b"\0", b" ") for number in range(12)]
        inspecting = world.inspect(answers=lambda content: Replace(b"other") if b": 5" in content else None)
        asked, got = watch(world, headers)
        content = framed(*events)  # type: ignore[operator]
        while content:
            size = random_.randint(1, 200)
            say(world, asked, content[:size], padding=random_.choice([None, 0, 7]))
            content = content[size:]
        changed = [b"other" if b": 5" in each else each for each in events]
        assert got.body == framed(*changed)  # type: ignore[operator]
        assert inspecting.exchanges[0].messages == events
        say(world, asked, b"", ends=True)
        assert got.ended and inspecting.exchanges[0].ends == [200]


def test_an_event_passes_at_once_and_the_part_of_one_waits_only_if_somebody_looks() -> None:
    world = World()
    asked, got = watch(world)
    say(world, asked, event(1)[:9])
    assert got.body == event(1)[:9]
    world.inspect()
    say(world, asked, event(1)[9:] + b"\n" + event(2)[:9])
    assert got.body == lines(event(1))
    say(world, asked, event(2)[9:] + b"\n")
    assert got.body == lines(event(1), event(2))


@pytest.mark.parametrize(("headers", "framed"), [(LINES, lines), (PREFIXED, prefixed)], ids=["lines", "prefixed"])
@pytest.mark.parametrize("cut", range(0, 30, 3))
def test_a_rule_armed_in_the_middle_of_an_event_looks_at_the_next_one(
    cut: int, headers: tuple, framed: object  # type: ignore[type-arg]
) -> None:  # fmt: skip
    world = World()
    asked, got = watch(world, headers)
    content = framed(event(1), event(2), event(3))  # type: ignore[operator]
    say(world, asked, content[:cut])
    inspecting = world.inspect(answers=lambda _: Several())
    for piece in (content[cut : cut + 1], content[cut + 1 : 31], content[31:]):
        say(world, asked, piece)
    (looked,) = inspecting.exchanges
    seen = [event(1), event(2), event(3)][bool(cut) :]
    assert looked.messages == seen and got.body == (framed(event(1)) if cut else b"")  # type: ignore[operator]
    assert looked.bodies == [] and looked.head.target == WATCH and [head.status for head in looked.heads] == [200]


def test_another_rule_takes_over_and_each_is_told_its_end_once() -> None:
    world = World()
    asked, _ = watch(world)
    first = world.inspect()
    say(world, asked, lines(event(1)))
    world.inspector = None
    say(world, asked, lines(event(2)))
    second = world.inspect()
    say(world, asked, lines(event(3)))
    assert first.exchanges[0].messages == [event(1)] and first.exchanges[0].ends == [200]
    assert second.exchanges[0].messages == [event(3)] and second.exchanges[0].ends == []
    say(world, asked, b"", ends=True)
    assert first.exchanges[0].ends == second.exchanges[0].ends == [200]


def test_a_watch_that_may_be_looked_at_later_does_not_ask_for_compression() -> None:
    world = World()
    world.ask("GET", WATCH, None, ("accept-encoding", "gzip"))
    world.ask("GET", "/api/v1/pods?limit=500", None, ("accept-encoding", "gzip"))
    assert world.server.got[1].raw[4:] == [] and world.server.got[3].raw[4:] == [("accept-encoding", "gzip")]


def test_a_held_event_holds_back_what_follows_it_and_nothing_else() -> None:
    gate, world = Gate(), World()
    world.inspect(answers=lambda content: Held(gate, Replace(b"late")) if content == event(2) else None)
    asked, got = watch(world)
    say(world, asked, lines(event(1), event(2), event(3)))
    say(world, asked, lines(event(4)), ends=True)
    assert got.body == lines(event(1)) and not got.ended
    assert world.ask("GET", "/x").ended
    world.release(gate)
    assert got.body == lines(event(1), b"late", event(3), event(4)) and got.ended


def test_little_waits_behind_a_held_event_and_all_of_it_comes() -> None:
    gate, world = Gate(), World()
    world.inspect(answers=lambda content: Held(gate) if content == b"0" else None)
    asked, got = watch(world)
    rows = [b"0", *(b"%d" % number * 1000 for number in range(1, 1500))]
    say(world, asked, lines(*rows), ends=True)
    assert len(lines(*rows)) - len(world.server.waiting[asked][0]) <= WINDOW_BYTES
    assert world.ask("GET", "/x", answer=bytes(3 << 20)).ended
    world.release(gate)
    assert got.body == lines(*rows) and got.ended


def test_an_event_put_aside_is_overtaken_and_comes_at_the_latest_at_the_end() -> None:
    gates = {event(1): Gate(), event(2): Gate()}
    world = World()
    world.inspect(answers=lambda content: Aside(gates[content], (content,)) if content in gates else None)
    asked, got = watch(world)
    say(world, asked, lines(event(1), event(2), event(3)))
    assert got.body == lines(event(3)) and world.gates == list(gates.values())
    world.release(gates[event(1)])
    say(world, asked, lines(event(4)))
    assert got.body == lines(event(3), event(1), event(4))
    say(world, asked, b"", ends=True)
    assert got.body == lines(event(3), event(1), event(4), event(2)) and got.ended


def test_an_event_put_aside_does_not_split_another() -> None:
    gate, world = Gate(), World()
    world.inspect(answers=lambda content: Aside(gate, (content,)) if content == event(1) else None)
    asked, got = watch(world)
    say(world, asked, lines(event(1)))
    world.inspector = None
    say(world, asked, event(2)[:7])
    world.release(gate)
    assert got.body == event(2)[:7]
    say(world, asked, event(2)[7:] + b"\n" + lines(event(3)))
    assert got.body == lines(event(2), event(1), event(3))


@pytest.mark.parametrize(("deny", "reset"), [(REFUSED, 2), (Deny(None), None)])
def test_a_watch_denied_in_its_middle_is_reset_or_falls_silent(deny: Deny, reset: int | None) -> None:
    world = World()
    inspecting = world.inspect(answers=lambda content: deny if content == event(2) else None)
    asked, got = watch(world)
    say(world, asked, lines(event(1), event(2), event(3)))
    assert (got.body, got.reset, got.ended) == (lines(event(1)), reset, False)
    assert world.server.got[asked].reset == 8 and inspecting.exchanges[0].ends == [None]
    world.inspector = None
    assert world.ask("GET", "/x").ended


def test_a_watch_swallowed_for_long_keeps_its_windows() -> None:
    world = World()
    world.inspect(answers=lambda _: Several())
    asked, got = watch(world)
    for _ in range(5):
        say(world, asked, lines(b"x" * 1_000_000))
    assert got.body == b"" and not world.server.waiting


def test_a_watch_that_breaks_off_while_an_event_is_held_breaks_off() -> None:
    gate, world = Gate(), World()
    inspecting = world.inspect(answers=lambda _: Held(gate))
    asked, got = watch(world)
    say(world, asked, lines(event(1)))
    world.server.connection.reset_stream(asked, 2)
    world.carry()
    assert got.reset == 2 and inspecting.exchanges[0].ends == [None]
    world.release(gate)
    assert got.body == b""


# What is wrong


def test_a_client_that_breaks_http2_is_told_and_only_its_connection_goes() -> None:
    world = World()
    inspecting = world.inspect()
    world.client.request()
    world.carry()
    output = world.proxy.from_client(b"\0\0\x04\x09\x04\0\0\0\x01abcd")  # a CONTINUATION out of place
    assert output.over and output.error is not None and output.error.startswith("the client broke HTTP/2")
    world._take(output)
    world._deliver()
    assert (world.client.gone, world.server.gone) == (1, 0)
    assert inspecting.exchanges[0].ends == [None]
    assert world.proxy.from_client(b"more").to_client == b""


def test_an_upstream_that_breaks_http2_is_told_and_the_client_too() -> None:
    world = World()
    output = world.proxy.from_upstream(b"\0\0\x04\x09\x04\0\0\0\x01abcd")
    world._take(output)
    world._deliver()
    assert output.error is not None and output.error.startswith("upstream broke HTTP/2")
    assert (world.client.gone, world.server.gone) == (2, 1)


def test_a_ping_inside_a_header_block_is_a_breach() -> None:
    world = World()
    headers = b"\0\0\x01\x01\0\0\0\0\x01\x82"  # HEADERS without END_HEADERS
    assert world.proxy.from_client(headers).error is None
    output = world.proxy.from_client(b"\0\0\x08\x06\0\0\0\0\0" + bytes(8))
    assert output.over and output.error is not None


def test_something_else_than_http2_is_refused() -> None:
    proxy = Http2Proxy("kube-scheduler", 1, lambda: None)
    proxy.begin()
    output = proxy.from_client(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert output.over and output.error is not None


def sizes(random_: random.Random) -> Iterator[int]:
    while True:
        yield random_.choice([1, 3, 9, 50, 5000])


def decide(random_: random.Random, gates: list[Gate]) -> RequestDecision:
    gate = Gate()
    gates.append(gate)
    return random_.choice([None, None, Replace(b"x" * 70_000), Forward("/b", b""), REFUSED, Deny(None), Held(gate)])


def decide_event(random_: random.Random, gates: list[Gate]) -> MessageDecision:
    gate = Gate()
    gates.append(gate)
    return random_.choice(
        [None, None, Replace(b"y" * 9000), Several(), Several((b"a", b"b")), REFUSED, Held(gate), Aside(gate, (b"z",))]
    )


@pytest.mark.parametrize("seed", range(150))
def test_cut_and_broken_bytes_end_in_words_and_every_exchange_is_told_its_end_once(seed: int) -> None:
    random_ = random.Random(seed)
    world, gates = World(sizes=sizes(random_)), list[Gate]()
    inspecting: Inspecting = world.inspect(
        decide=lambda _: decide(random_, gates), answers=lambda _: decide_event(random_, gates)
    )
    output = None
    for _ in range(25):
        kind = random_.random()
        world.client.request("POST", random_.choice(["/x", WATCH]), random_.randbytes(random_.randint(0, 3000)))
        said = world.client.taken()
        if kind < 0.2:
            said = bytes(byte ^ (1 << random_.randrange(8) if random_.random() < 0.02 else 0) for byte in said)
        output = world.proxy.from_client(said[: len(said) - random_.choice([0, 0, 0, 5])])
        if output.over:
            break
        world._take(output)
        world.server.receive(world.to_upstream)
        world.to_upstream = b""
        for asked, got in world.server.got.items():
            if got.heads and not got.trailers and got.reset is None:
                got.trailers = {"answered": "yes"}
                world.server.answer(asked, lines(b"1", b"22", b"333"), *LINES)
        heard = world.server.taken()
        if kind > 0.85:
            heard = bytes(byte ^ (1 << random_.randrange(8) if random_.random() < 0.02 else 0) for byte in heard)
        output = world.proxy.from_upstream(heard) if heard else output
        if output.over:
            break
        for gate in random_.sample(gates, len(gates) // 2):
            gate.open()
        output = world.proxy.released()
        if output.over:
            break
        world.to_upstream += output.to_upstream
    world.proxy.closed()
    assert all(len(exchange.ends) == 1 for exchange in inspecting.exchanges)


@pytest.mark.parametrize("seed", range(100))
def test_everything_arrives_whole_whatever_the_pieces_it_comes_in(seed: int) -> None:
    random_ = random.Random(seed)
    world = World(sizes=iter(lambda: random_.choice([1, 8, 9, 10, 200, 20_000]), None))
    world.inspect(prefix="/looked")
    bodies = {}
    for _ in range(6):
        target = random_.choice(["/x", "/looked"])
        body, answer = (random_.randbytes(random_.choice([0, 1, 900, 20_000])) for _ in range(2))
        stream = world.client.request("POST", target, body)
        bodies[stream] = body, answer
    world.carry()
    for asked, (body, answer) in bodies.items():
        assert world.server.got[asked].body == body and world.server.got[asked].ended
        world.server.answer(asked, answer, ("content-length", str(len(answer))))
    world.carry()
    assert {stream: (bytes(got.body), got.ended) for stream, got in world.client.got.items()} == {
        stream: (answer, True) for stream, (_, answer) in bodies.items()
    }
