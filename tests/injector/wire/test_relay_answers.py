"""Answers that are changed, swallowed, doubled, held or overtaken, on calls that are under way too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.wire import frames as h2
from injector.wire.inspection import Answer, Aside, Decision, Drop, Gate, Hold, Replace, Several
from injector.wire.relay import Output, Relay
from tests.injector.wire.peers import (
    PATH,
    Client,
    Inspecting,
    Windows,
    cut,
    frames_of,
    grpc_body,
    parse,
    request_headers,
)


class Upstream:
    """Answers streams as far as its windows let it."""

    def __init__(self) -> None:
        self.windows, self.encoder, self.queue = Windows(), hpack.Encoder(), list[tuple[int, bytes]]()
        self.rest = b""

    def answer(self, stream: int, body: bytes) -> bytes:
        self.queue.append((stream, body))
        return h2.frame(1, h2.END_HEADERS, stream, self.encoder.encode([(":status", "200"), ("x-s", str(stream))]))

    def send(self, frame_bytes: int) -> bytes:
        out = b""
        for number, (stream, body) in enumerate(self.queue):
            while body and (room := min(frame_bytes, self.windows.room(stream), len(body))) > 0:
                self.windows.spend(stream, room)
                out += h2.frame(0, 0, stream, body[:room])
                body = body[room:]
            if not body:
                trailers = [("grpc-status", "0"), ("x-trailer", str(stream))]
                out += h2.frame(1, 5, stream, self.encoder.encode(trailers))
            self.queue[number] = (stream, body)
        self.queue = [(stream, body) for stream, body in self.queue if body]
        return out

    def receive(self, data: bytes) -> None:
        frames, self.rest = parse(self.rest + data.removeprefix(h2.PREFACE))
        for frame in frames:
            if frame.kind == h2.WINDOW_UPDATE:
                self.windows.grant(frame.stream, int.from_bytes(frame.payload, "big"))


class Reader(Client):
    """A client that counts what it lets upstream send, and gives it back once it has read it."""

    def __init__(self, initial: int) -> None:
        super().__init__()
        self.granted = Windows(initial=initial)

    def hello(self) -> bytes:
        setting = h2.Setting.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + self.granted.initial.to_bytes(4, "big")
        return h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0, setting)

    def read(self, data: bytes) -> bytes:
        """What to say in return."""
        frames, _ = parse(self.rest + data)
        self.receive(data)
        back = b""
        for frame in frames:
            if frame.kind == h2.DATA and frame.payload:
                self.granted.spend(frame.stream, len(frame.payload))
                for level in (0, frame.stream):
                    self.granted.grant(level, len(frame.payload))
                    back += h2.window_update(level, len(frame.payload))
        return back


class Talk:
    """A client and an upstream with a relay between them; bytes are cut at random places."""

    def __init__(self, relay: Relay, initial: int, sizes: Iterator[int]) -> None:
        self.relay, self.client, self.upstream, self.sizes = relay, Reader(initial), Upstream(), sizes
        self.gates: list[Gate] = []
        self.saying = b""
        self.up(self.client.hello())
        self.upstream.windows.initial = initial

    def up(self, data: bytes) -> None:
        self.saying = data
        while self.saying:
            saying, self.saying = self.saying, b""
            for part in cut(saying, self.sizes):
                self.carry(self.relay.from_client(part))

    def down(self, data: bytes) -> None:
        for part in cut(data, self.sizes):
            self.carry(self.relay.from_upstream(part))
            self.up(self.saying)

    def carry(self, output: Output) -> None:
        assert output.error is None
        self.gates += output.gates
        self.upstream.receive(b"".join(output.to_upstream))
        self.saying += self.client.read(b"".join(output.to_client))

    def run(self, frame_bytes: int) -> None:
        """Until nothing moves any more; gates are opened one after the other once it does not."""
        while True:
            if data := self.upstream.send(frame_bytes):
                self.down(data)
            elif self.gates:
                self.gates.pop(0).open()
                self.carry(self.relay.released())
                self.up(self.saying)
            else:
                return


def by_first_byte(message: bytes) -> Decision:
    """g grows, s shrinks, x is swallowed, t comes twice, h is held, H held and grown, a put aside, else as it is."""
    kind = message[:1]
    if kind == b"h":
        return Hold(Gate())
    if kind == b"H":
        return Hold(Gate(), Replace(message + b"+" * 3000))
    if kind == b"a":
        return Aside(Gate(), (message,))
    changes: dict[bytes, Decision] = {
        b"g": Replace(message + b"+" * 70_000),
        b"s": Replace(message[:1]),
        b"x": Several(),
        b"t": Several((message, message)),
    }
    return changes.get(kind)


def arrived(message: bytes) -> list[bytes]:
    decision = by_first_byte(message)
    match decision:
        case Replace(changed) | Hold(_, Replace(changed)):
            return [changed]
        case Several(messages):
            return list(messages)
    return [message]


@settings(deadline=None, max_examples=80)
@given(
    calls=st.lists(
        st.lists(st.tuples(st.sampled_from(b"gsxthHa--"), st.integers(1, 40_000)), max_size=5), min_size=1, max_size=4
    ),
    initial=st.sampled_from([60, 20_000, 65_535, 200_000]),
    frame_bytes=st.sampled_from([700, 16_000]),
    cuts=st.lists(st.integers(1, 40_000), max_size=4),
    lasting=st.booleans(),
)
def test_windows_and_header_tables_hold_whatever_is_done_to_answers(
    calls: list[list[tuple[int, int]]], initial: int, frame_bytes: int, cuts: list[int], lasting: bool
) -> None:
    inspector = Inspecting(answers=by_first_byte)
    relay = Relay(lambda: inspector, lasting=[PATH.encode()] if lasting else [])
    talk = Talk(relay, initial, itertools.cycle([*cuts, 9000]))
    said = {2 * n + 1: [bytes([k]) + b"x" * (size - 1) for k, size in call] for n, call in enumerate(calls)}
    for stream in said:
        talk.up(request_headers(talk.client.encoder, stream) + h2.frame(0, 1, stream, grpc_body(b"ask")))
    for stream, messages in said.items():
        talk.down(talk.upstream.answer(stream, grpc_body(*messages)))
    talk.run(frame_bytes)
    for stream, messages in said.items():
        expected = [part for message in messages for part in arrived(message)]
        got = grpc_messages(bytes(talk.client.bodies.get(stream, b"")))
        assert sorted(got) == sorted(expected)
        in_order = [m for m in expected if m[:1] != b"a"]
        assert [m for m in got if m[:1] != b"a"] == in_order
        assert [h.get("x-trailer") for h in talk.client.headers[stream]] == [None, str(stream)]
    assert talk.upstream.windows.connection == talk.client.granted.connection == h2.DEFAULT_WINDOW_BYTES
    assert not talk.upstream.queue and not relay._watched and not relay._down.streams and not relay._down.pending


def grpc_messages(body: bytes) -> list[bytes]:
    from injector.wire.messages import split

    messages, missing = split(body)
    assert missing == 0
    return [message.content for message in messages]


def begun(relay: Relay, stream: int = 1) -> tuple[hpack.Encoder, hpack.Encoder]:
    """A watch that is under way."""
    client, upstream = hpack.Encoder(), hpack.Encoder()
    relay.from_client(h2.PREFACE + request_headers(client, stream) + h2.frame(0, 0, stream, grpc_body(b"create")))
    relay.from_upstream(h2.frame(1, 4, stream, upstream.encode([(":status", "200")])))
    return client, upstream


def test_a_lasting_call_is_looked_at_from_the_next_whole_message_on_and_left_alone_after_disarming() -> None:
    armed: list[Inspecting] = []
    relay = Relay(lambda: armed[0] if armed else None, lasting=[PATH.encode()])
    begun(relay)
    first = grpc_body(b"first one")
    data = h2.frame(0, 0, 1, first[:3])
    assert relay.from_upstream(data).to_client == [data]
    armed.append(Inspecting(answers=lambda m: Replace(m.upper()), listening=False))
    output = relay.from_upstream(h2.frame(0, 0, 1, first[3:] + grpc_body(b"second") + grpc_body(b"third")[:4]))
    assert b"".join(f.payload for f in frames_of(output.to_client)) == first[3:] + grpc_body(b"SECOND")
    assert armed[0].calls[0].responses == [b"second"]
    armed.clear()
    output = relay.from_upstream(h2.frame(0, 0, 1, grpc_body(b"third")[4:]))
    assert b"".join(f.payload for f in frames_of(output.to_client)) == grpc_body(b"third")
    armed.append(Inspecting(answers=lambda m: Several()))
    assert relay.from_upstream(h2.frame(0, 0, 1, grpc_body(b"fourth"))).to_client == []


def test_trailers_wait_behind_a_held_answer_while_other_calls_headers_pass_and_stay_readable() -> None:
    gate = Gate(after_s=3.0)
    relay = Relay(lambda: Inspecting(answers=lambda m: Hold(gate) if m == b"late" else None))
    client, upstream, table = hpack.Encoder(), hpack.Encoder(), hpack.Decoder()
    relay.from_client(h2.PREFACE)
    for stream in (1, 3):
        relay.from_client(request_headers(client, stream) + h2.frame(0, 1, stream, grpc_body(b"ask")))

    def answer(stream: int, content: bytes) -> Output:
        said = h2.frame(1, 4, stream, upstream.encode([(":status", "200"), ("x-new", "a")]))
        return relay.from_upstream(
            said
            + h2.frame(0, 0, stream, grpc_body(content))
            + h2.frame(1, 5, stream, upstream.encode([("x-end", "b")]))
        )

    held = answer(1, b"late")
    assert held.gates == [gate]
    frames = frames_of([*held.to_client, *answer(3, b"prompt").to_client])
    assert [(f.kind, f.stream) for f in frames] == [(1, 1), (1, 3), (0, 3), (1, 3)]
    assert [table.decode(f.payload) for f in frames if f.kind == 1][1:] == [
        [(":status", "200"), ("x-new", "a")],
        [("x-end", "b")],
    ]
    gate.open()
    data, trailers = frames_of(relay.released().to_client)
    assert (data.payload, table.decode(trailers.payload), trailers.flags) == (grpc_body(b"late"), [("x-end", "b")], 5)


def test_an_answer_can_end_as_an_error_instead_and_the_rest_of_it_is_swallowed() -> None:
    inspector = Inspecting(answers=lambda _: Drop(Answer(14, "lost")))
    relay = Relay(lambda: inspector)
    client, upstream, table = hpack.Encoder(), hpack.Encoder(), hpack.Decoder()
    relay.from_client(h2.PREFACE + request_headers(client, 1) + h2.frame(0, 1, 1, grpc_body(b"ask")))
    said = h2.frame(1, 4, 1, upstream.encode([(":status", "200")])) + h2.frame(0, 0, 1, grpc_body(b"answer"))
    output = relay.from_upstream(said + h2.frame(1, 5, 1, upstream.encode([("grpc-status", "0")])))
    opening, end = frames_of(output.to_client)
    assert table.decode(opening.payload) == [(":status", "200")]
    assert table.decode(end.payload) == [("grpc-status", "14"), ("grpc-message", "lost")] and end.flags == 5
    assert frames_of(output.to_upstream) == frames_of([h2.window_update(0, 11), h2.rst_stream(1, h2.ErrorCode.CANCEL)])
    assert inspector.calls[0].statuses == [None]


def test_an_answer_can_be_lost_without_a_word() -> None:
    relay = Relay(lambda: Inspecting(answers=lambda _: Drop(None)))
    client, upstream = hpack.Encoder(), hpack.Encoder()
    relay.from_client(h2.PREFACE + request_headers(client, 1) + h2.frame(0, 1, 1, grpc_body(b"ask")))
    said = h2.frame(1, 4, 1, upstream.encode([(":status", "200")])) + h2.frame(0, 0, 1, grpc_body(b"answer"))
    output = relay.from_upstream(said + h2.frame(1, 5, 1, upstream.encode([("grpc-status", "0")])))
    assert [f.kind for f in frames_of(output.to_client)] == [1]
    reset = h2.rst_stream(1, 8)
    assert relay.from_client(reset).to_upstream == []


def test_what_was_put_aside_goes_right_behind_the_message_that_opens_its_gate() -> None:
    gate = Gate()

    def decide(message: bytes) -> Decision:
        if message == b"2":
            gate.open()
        return Aside(gate, (b"later",), (b"now",)) if message == b"0" else None

    relay = Relay(lambda: Inspecting(answers=decide))
    begun(relay)
    output = relay.from_upstream(h2.frame(0, 0, 1, grpc_body(b"0", b"1", b"2", b"3")))
    got = grpc_messages(b"".join(f.payload for f in frames_of(output.to_client)))
    assert got == [b"now", b"1", b"2", b"later", b"3"]


def test_a_held_request_goes_with_its_end_once_the_gate_opens_and_other_calls_pass() -> None:
    gate = Gate()
    relay = Relay(lambda: Inspecting(lambda m: Hold(gate, Replace(b"changed")) if m == b"late" else None))
    client = hpack.Encoder()
    headers = [request_headers(client, stream) for stream in (1, 3)]
    output = relay.from_client(h2.PREFACE + headers[0] + h2.frame(0, 0, 1, grpc_body(b"late")) + h2.frame(0, 1, 1, b""))
    assert b"".join(output.to_upstream) == h2.PREFACE + headers[0] and output.gates == [gate]
    other = h2.frame(0, 1, 3, grpc_body(b"other"))
    assert b"".join(relay.from_client(headers[1] + other).to_upstream) == headers[1] + other
    assert relay.released().to_upstream == []
    gate.open()
    assert relay.released().to_upstream == [h2.frame(0, 1, 1, grpc_body(b"changed"))]


@pytest.mark.parametrize("who", ["client", "upstream", "nobody"])
def test_a_reset_or_a_lost_connection_while_a_message_is_held_ends_the_call_once(who: str) -> None:
    gate, inspector = Gate(), Inspecting(lambda _: Hold(Gate()))
    relay = Relay(lambda: inspector)
    relay.from_client(h2.PREFACE + request_headers(hpack.Encoder(), 1) + h2.frame(0, 1, 1, grpc_body(b"late")))
    reset = h2.rst_stream(1, 8)
    if who == "client":
        assert relay.from_client(reset).to_upstream == [reset]
    elif who == "upstream":
        assert relay.from_upstream(h2.frame(h2.GOAWAY, 0, 0, bytes(8)) + reset).to_client[-1].endswith(reset)
    gate.open()
    assert relay.released().to_upstream == []
    relay.closed()
    assert inspector.calls[0].statuses == [None]


def test_a_list_of_many_megabytes_is_looked_at_and_sent_on_in_time_that_grows_with_its_size_only() -> None:
    content = bytes(8 << 20)
    inspector = Inspecting(answers=lambda m: Replace(m + b"!"))
    talk = Talk(Relay(lambda: inspector), 1 << 20, itertools.repeat(1 << 22))
    talk.up(request_headers(talk.client.encoder, 1) + h2.frame(0, 1, 1, grpc_body(b"list")))
    talk.down(talk.upstream.answer(1, grpc_body(content)))
    talk.run(16_384)
    assert len(talk.client.bodies[1]) == len(content) + 6 and inspector.calls[0].unread_whys == []
