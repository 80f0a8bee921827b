"""What is changed, dropped or held, and that both peers' windows stay right whatever is done."""

from __future__ import annotations

import itertools

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.wire import frames as h2
from injector.wire.inspection import Answer, Decision, Drop, Place, Replace
from injector.wire.relay import MAX_MESSAGE_BYTES, Relay
from tests.injector.wire.peers import (
    Client,
    Inspecting,
    Server,
    converse,
    frames_of,
    grpc_body,
    padded,
    request_headers,
)

WHOLE = itertools.repeat(1 << 20)


def relay_with(inspector: Inspecting) -> Relay:
    relay = Relay(lambda: inspector)
    relay.from_client(h2.PREFACE)
    return relay


def by_first_byte(message: bytes) -> Decision:
    """g: grows, s: shrinks, d: dropped with an error, l: dropped with a made-up success, else as it is."""
    changes: dict[bytes, Decision] = {
        b"g": Replace(message + b"+" * 1000),
        b"s": Replace(message[:1]),
        b"d": Drop(Answer(14, "lost")),
        b"l": Drop(Answer(0, message=b"made up")),
    }
    return changes.get(message[:1])


def expected(message: bytes) -> bytes | None:
    decision = by_first_byte(message)
    if isinstance(decision, Drop):
        return None
    return decision.message if isinstance(decision, Replace) else message


@settings(deadline=None, max_examples=150)
@given(
    messages=st.lists(
        st.tuples(st.sampled_from([b"g", b"s", b"d", b"l", b"-"]), st.integers(1, 90_000)), min_size=1, max_size=6
    ),
    initial=st.sampled_from([50, 1000, 20_000, 65_535, 200_000]),
    lazy_bytes=st.sampled_from([0, 500, 30_000]),
    frame_bytes=st.sampled_from([700, 5000, 16_000]),
    padding=st.sampled_from([0, 0, 100]),
    cuts=st.lists(st.integers(1, 40_000), max_size=6),
)
def test_windows_hold_and_return_to_what_they_were_whatever_is_done_to_messages(
    messages: list[tuple[bytes, int]], initial: int, lazy_bytes: int, frame_bytes: int, padding: int, cuts: list[int]
) -> None:
    relay = Relay(lambda: inspector)
    inspector = Inspecting(by_first_byte, listening=False)
    client, server = Client(), Server(initial=initial, lazy_bytes=lazy_bytes)
    bodies = {2 * n + 1: kind + b"x" * (size - 1) for n, (kind, size) in enumerate(messages)}
    opening = h2.PREFACE + b"".join(client.request(stream, grpc_body(body)) for stream, body in bodies.items())
    padding = min(padding, initial - 10) if padding else 0
    converse(relay, client, server, opening, itertools.cycle([*cuts, 9000]), frame_bytes=frame_bytes, padding=padding)
    for stream, body in bodies.items():
        if expected(body) is None:
            assert server.reset == server.reset | {stream: h2.ErrorCode.CANCEL}
        else:
            assert server.messages(stream) == [expected(body)] and stream in server.ended
    assert not client.queue and not server.rest
    client.receive(b"".join(relay.from_upstream(server.give_all_back()).to_client))
    assert client.windows.connection == server.windows.connection == h2.DEFAULT_WINDOW_BYTES


def test_a_changed_message_gets_new_lengths_and_nothing_else_changes() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"longer than before")))
    headers = request_headers(hpack.Encoder(), 1)
    output = relay.from_client(headers + padded(h2.DATA, h2.END_STREAM, 1, grpc_body(b"before"), 9))
    assert b"".join(output.to_upstream) == headers + h2.frame(0, 1, 1, grpc_body(b"longer than before"))


def test_several_messages_over_frames_that_do_not_end_where_they_do_are_each_asked_for() -> None:
    inspector = Inspecting(lambda message: Replace(b"B" * 40_000) if message == b"b" * 50 else None)
    relay, body = relay_with(inspector), grpc_body(b"a" * 30, b"b" * 50, b"c" * 20)
    sent = request_headers(hpack.Encoder(), 1)
    pieces = [body[:3], body[3:50], body[50:]]
    out = [relay.from_client(sent)]
    out += [relay.from_client(h2.frame(0, n == 2, 1, piece)) for n, piece in enumerate(pieces)]
    assert out[1].to_upstream == out[2].to_upstream == []
    frames = frames_of(out[3].to_upstream)
    assert b"".join(f.content for f in frames) == grpc_body(b"a" * 30, b"B" * 40_000, b"c" * 20)
    assert [f.flags for f in frames] == [0, 0, 1] and max(len(f.payload) for f in frames) == 16_384
    assert inspector.calls[0].requests == [b"a" * 30, b"b" * 50, b"c" * 20]


def test_what_is_held_is_given_back_at_once_and_taken_off_upstreams_later_updates() -> None:
    relay = relay_with(Inspecting())
    body = grpc_body(b"x" * 20_000)
    first = relay.from_client(request_headers(hpack.Encoder(), 1) + h2.frame(0, 0, 1, body[:15_000]))
    assert frames_of(first.to_client) == frames_of([h2.window_update(0, 15_000), h2.window_update(1, 15_000)])
    relay.from_client(h2.frame(0, 0, 1, body[15_000:]))
    assert relay.from_upstream(h2.window_update(0, 9_000)).to_client == []
    assert relay.from_upstream(h2.window_update(0, 9_000)).to_client == [h2.window_update(0, 3_000)]
    assert relay.from_upstream(h2.window_update(1, 16_000)).to_client == [h2.window_update(1, 1_000)]
    passed = h2.window_update(1, 5)
    assert relay.from_upstream(passed).to_client == [passed]


def test_other_calls_wait_when_a_grown_message_has_used_up_the_connections_window() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"y" * 70_000)))
    encoder = hpack.Encoder()
    sent = relay.from_client(request_headers(encoder, 1) + h2.frame(0, 1, 1, grpc_body(b"x")))
    assert sum(len(f.payload) for f in frames_of(sent.to_upstream) if f.kind == 0) == h2.DEFAULT_WINDOW_BYTES
    other = request_headers(encoder, 3, "/etcdserverpb.KV/Range")
    assert relay.from_client(other + h2.frame(0, 1, 3, b"range")).to_upstream == [other]
    sent = relay.from_upstream(h2.window_update(1, 100_000) + h2.window_update(0, 100_000))
    assert b"".join(f.payload for f in frames_of(sent.to_upstream) if f.stream == 3) == b"range"
    assert len(b"".join(f.payload for f in frames_of(sent.to_upstream) if f.stream == 1)) == 70_005 - 65_535


def test_what_upstream_grants_one_call_that_passes_is_no_room_on_the_connection() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"y" * 90_000)))
    encoder = hpack.Encoder()
    relay.from_client(request_headers(encoder, 1, "/other"))
    relay.from_upstream(h2.window_update(1, 100_000))
    relay.from_client(request_headers(encoder, 3))
    relay.from_upstream(h2.window_update(3, 100_000))
    sent = relay.from_client(h2.frame(0, 1, 3, grpc_body(b"x")))
    assert sum(len(f.payload) for f in frames_of(sent.to_upstream) if f.kind == 0) == h2.DEFAULT_WINDOW_BYTES
    sent = relay.from_upstream(h2.window_update(0, 2_000))
    assert sum(len(f.payload) for f in frames_of(sent.to_upstream) if f.kind == 0) == 2_000


def test_a_client_that_ignores_its_window_is_cut_off_instead_of_filling_the_queue() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"y" * 70_000)))
    encoder = hpack.Encoder()
    relay.from_client(request_headers(encoder, 1) + h2.frame(0, 1, 1, grpc_body(b"x")))
    relay.from_client(request_headers(encoder, 3, "/other"))
    outputs = [relay.from_client(h2.frame(0, 0, 3, bytes(16_384))) for _ in range(5)]
    error = outputs[3].error
    assert [o.error for o in outputs[:3]] == [None] * 3
    assert error is not None and error.code == h2.ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("initial", [10, 65_535])
def test_a_dropped_call_is_reset_upstream_and_its_error_read_by_the_client_without_harm_to_its_table(
    initial: int,
) -> None:
    relay = relay_with(Inspecting(lambda _: Drop(Answer(14, "gone: 100 %"))))
    client, upstream = Client(), hpack.Encoder()
    relay.from_client(h2.frame(h2.SETTINGS, 0, 0, b"\0\4" + initial.to_bytes(4, "big")))
    block = upstream.encode([(":status", "200"), ("x-known", "to the table")])
    client.receive(b"".join(relay.from_upstream(h2.frame(1, h2.END_HEADERS, 99, block)).to_client))
    headers = request_headers(client.encoder, 1)
    output = relay.from_client(headers + h2.frame(0, 1, 1, grpc_body(b"write")))
    assert output.to_upstream == [headers, h2.rst_stream(1, h2.ErrorCode.CANCEL)]
    client.receive(b"".join(output.to_client))
    (answer,) = client.headers[1]
    assert (answer[":status"], answer["grpc-status"], answer["grpc-message"]) == ("200", "14", "gone: 100 %25")
    again = upstream.encode([(":status", "200"), ("x-known", "to the table")])
    client.receive(b"".join(relay.from_upstream(h2.frame(1, h2.END_HEADERS, 101, again)).to_client))
    assert client.headers[101] == [{":status": "200", "x-known": "to the table"}]


def test_a_made_up_success_waits_for_the_clients_window_and_its_trailers_come_after_it() -> None:
    relay = relay_with(Inspecting(lambda _: Drop(Answer(0, message=b"made up"))))
    client = Client()
    relay.from_client(h2.frame(h2.SETTINGS, 0, 0, b"\0\4" + (10).to_bytes(4, "big")))
    output = relay.from_client(request_headers(client.encoder, 1) + h2.frame(0, 1, 1, grpc_body(b"write")))
    assert [(f.kind, f.flags) for f in frames_of(output.to_client) if f.stream] == [(1, 4), (0, 0)]
    client.receive(b"".join(output.to_client))
    client.receive(b"".join(relay.from_client(h2.window_update(1, 10)).to_client))
    assert bytes(client.bodies[1]) == grpc_body(b"made up")
    assert client.headers[1][1] == {"grpc-status": "0"}
    update = h2.window_update(0, 20)
    assert relay.from_client(update).to_upstream == [h2.window_update(0, 20 - len(grpc_body(b"made up")))]


def test_what_upstream_still_says_of_a_dropped_call_is_swallowed_without_harm_to_the_clients_table() -> None:
    relay = relay_with(Inspecting(lambda _: Drop(None)))
    relay.from_client(request_headers(hpack.Encoder(), 1) + h2.frame(0, 1, 1, grpc_body(b"write")))
    upstream, client = hpack.Encoder(), hpack.Decoder()
    headers = h2.frame(1, h2.END_HEADERS, 1, upstream.encode([("x-new", "entry")]))
    output = relay.from_upstream(headers + h2.frame(0, 0, 1, bytes(60)) + h2.rst_stream(1, 8) + h2.window_update(1, 5))
    assert output.to_client == []
    assert output.to_upstream == [h2.window_update(0, 60)]
    later = relay.from_upstream(h2.frame(1, h2.END_HEADERS, 3, upstream.encode([("x-new", "entry"), ("x-b", "2")])))
    (block,) = frames_of(later.to_client)
    assert client.decode(block.payload) == [("x-new", "entry"), ("x-b", "2")]
    assert relay.from_client(h2.window_update(1, 9) + h2.rst_stream(1, 8)).to_upstream == []


def test_a_call_that_is_dropped_while_it_was_held_leaves_no_data_upstream() -> None:
    relay = relay_with(Inspecting(lambda _: Drop(None)))
    body, headers = grpc_body(b"x" * 20_000), request_headers(hpack.Encoder(), 1)
    relay.from_client(headers + h2.frame(0, 0, 1, body[:15_000]))
    output = relay.from_client(h2.frame(0, 0, 1, body[15_000:]) + h2.frame(0, 1, 1, b""))
    assert output.to_upstream == [h2.rst_stream(1, h2.ErrorCode.CANCEL)]
    assert output.to_client == [h2.window_update(0, 5_005)]


def test_answers_and_the_status_reach_the_call() -> None:
    inspector = Inspecting()
    relay, upstream = relay_with(inspector), hpack.Encoder()
    relay.from_client(request_headers(hpack.Encoder(), 1) + h2.frame(0, 1, 1, grpc_body(b"ask")))
    body = grpc_body(b"first", b"second")
    relay.from_upstream(h2.frame(1, 4, 1, upstream.encode([(":status", "200")])) + h2.frame(0, 0, 1, body[:8]))
    relay.from_upstream(h2.frame(0, 0, 1, body[8:]) + h2.frame(1, 5, 1, upstream.encode([("grpc-status", "9")])))
    assert inspector.calls[0].responses == [b"first", b"second"]
    assert inspector.calls[0].statuses == [9]


@pytest.mark.parametrize("how", ["client resets", "upstream resets", "connection ends"])
def test_a_call_that_breaks_off_is_told_so_once(how: str) -> None:
    inspector = Inspecting()
    relay = relay_with(inspector)
    relay.from_client(request_headers(hpack.Encoder(), 1) + h2.frame(0, 0, 1, grpc_body(b"x" * 99)[:50]))
    if how == "client resets":
        assert relay.from_client(h2.rst_stream(1, 8)).to_upstream == [h2.rst_stream(1, 8)]
    elif how == "upstream resets":
        assert relay.from_upstream(h2.rst_stream(1, 7)).to_client == [h2.rst_stream(1, 7)]
    relay.closed()
    assert inspector.calls[0].statuses == [None]


def test_compressed_messages_pass_and_are_reported() -> None:
    inspector = Inspecting(lambda _: Replace(b"never"))
    relay = relay_with(inspector)
    sent = request_headers(hpack.Encoder(), 1) + h2.frame(0, 1, 1, b"\1\0\0\0\2zz")
    assert relay.from_client(sent).to_upstream == [sent]
    assert inspector.calls[0].unread_whys == ["the message is compressed"]


def test_a_message_too_long_to_be_held_passes_and_is_reported() -> None:
    inspector = Inspecting(lambda _: Replace(b"never"))
    relay, length = relay_with(inspector), MAX_MESSAGE_BYTES + 1
    sent = request_headers(hpack.Encoder(), 1) + h2.frame(0, 0, 1, b"\0" + length.to_bytes(4, "big") + b"abc")
    assert relay.from_client(sent).to_upstream == [sent]
    more = h2.frame(0, 0, 1, b"more")
    assert relay.from_client(more).to_upstream == [more]
    assert len(inspector.calls[0].unread_whys) == 1


def test_request_trailers_reset_the_call_but_reach_upstreams_table() -> None:
    relay, encoder = relay_with(Inspecting()), hpack.Encoder()
    relay.from_client(request_headers(encoder, 1) + h2.frame(0, 0, 1, grpc_body(b"x" * 99)[:50]))
    trailers = h2.frame(1, 5, 1, encoder.encode([("x-trailer", "1")]))
    output = relay.from_client(trailers)
    assert b"".join(output.to_upstream) == trailers + h2.rst_stream(1, h2.ErrorCode.CANCEL)
    assert output.to_client[-1] == h2.rst_stream(1, h2.ErrorCode.PROTOCOL_ERROR)


def test_calls_that_began_before_a_rule_was_armed_are_not_looked_at() -> None:
    armed: list[Inspecting] = []
    relay, encoder = Relay(lambda: armed[0] if armed else None), hpack.Encoder()
    relay.from_client(h2.PREFACE + request_headers(encoder, 1))
    armed.append(Inspecting(lambda _: Replace(b"changed")))
    data = h2.frame(0, 1, 1, grpc_body(b"early"))
    assert relay.from_client(data).to_upstream == [data]
    late = relay.from_client(request_headers(encoder, 3) + h2.frame(0, 1, 3, grpc_body(b"late")))
    assert frames_of(late.to_upstream)[-1].payload == grpc_body(b"changed")


@pytest.mark.parametrize("watched", [False, True])
def test_header_blocks_keep_their_order_behind_data_that_waits_for_the_clients_window(watched: bool) -> None:
    relay = relay_with(Inspecting(lambda m: Drop(Answer(0, message=b"made up")) if m == b"write" else None))
    client, upstream = Client(), hpack.Encoder()
    lost = relay.from_client(request_headers(client.encoder, 1) + h2.frame(0, 1, 1, grpc_body(b"write")))
    client.receive(b"".join(lost.to_client))
    if watched:
        relay.from_client(request_headers(client.encoder, 3) + h2.frame(0, 1, 3, grpc_body(b"read")))
    answer = bytes(65_535)  # all that upstream thinks the client can take; the made-up answer took 12 of it
    said = h2.frame(1, 4, 3, upstream.encode([("x-first", "1")]))
    said += b"".join(h2.data_frames(3, answer, end_stream=False, max_frame_bytes=16_384))
    said += h2.frame(1, 5, 3, upstream.encode([("x-second", "2")]))
    said += h2.frame(1, 4, 5, upstream.encode([("x-second", "2"), ("x-third", "3")]))
    first = relay.from_upstream(said)
    client.receive(b"".join(first.to_client))
    assert len(client.bodies[3]) == 65_535 - 12 and client.headers[3] == [{"x-first": "1"}] and 5 not in client.headers
    output = relay.from_client(h2.window_update(0, 1))
    assert [(f.stream, len(f.payload)) for f in frames_of(output.to_client)] == [(3, 1)]
    client.receive(b"".join(output.to_client))
    output = relay.from_client(h2.window_update(0, 65_546))
    assert [f.stream for f in frames_of(output.to_client)] == [3, 3, 5]
    client.receive(b"".join(output.to_client))
    assert bytes(client.bodies[3]) == answer
    assert client.headers[3][1] == {"x-second": "2"} and client.headers[5] == [{"x-second": "2", "x-third": "3"}]
    given_back = [f.payload for f in frames_of([*first.to_upstream, *output.to_upstream]) if f.stream == 0]
    assert sum(int.from_bytes(increment, "big") for increment in given_back) == 65_535


def test_what_a_shrunk_message_leaves_over_goes_back_to_the_client_at_once() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"")))
    output = relay.from_client(request_headers(hpack.Encoder(), 1) + h2.frame(0, 0, 1, grpc_body(b"x" * 300)))
    assert sorted(output.to_client) == [h2.window_update(0, 300), h2.window_update(1, 300)]
    output = relay.from_client(h2.frame(0, 1, 1, grpc_body(b"x" * 300)))
    assert output.to_client == [h2.window_update(0, 300)]


def test_a_message_that_is_cut_off_by_the_end_of_the_call_stays_as_it_is_behind_a_changed_one() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"changed")))
    cut_off = grpc_body(b"never whole")[:-3]
    output = relay.from_client(request_headers(hpack.Encoder(), 1) + h2.frame(0, 1, 1, grpc_body(b"whole") + cut_off))
    assert frames_of(output.to_upstream)[-1].payload == grpc_body(b"changed") + cut_off


def test_open_calls_windows_move_with_upstreams_initial_window_size() -> None:
    relay = relay_with(Inspecting(lambda _: Replace(b"y" * 60_000)))
    relay.from_client(request_headers(hpack.Encoder(), 1))
    relay.from_upstream(h2.frame(h2.SETTINGS, 0, 0, b"\0\4" + (30_000).to_bytes(4, "big")))
    output = relay.from_client(h2.frame(0, 1, 1, grpc_body(b"x")))
    assert sum(len(f.payload) for f in frames_of(output.to_upstream)) == 30_000
    output = relay.from_upstream(
        h2.frame(h2.SETTINGS, 0, 0, b"\0\4" + (40_000).to_bytes(4, "big")) + h2.window_update(0, 1)
    )
    assert sum(len(f.payload) for f in frames_of(output.to_upstream)) == 10_000


def test_an_inspector_is_told_where_a_call_is() -> None:
    inspector = Inspecting()
    relay = relay_with(inspector)
    relay.connection = 4
    encoder = hpack.Encoder()
    relay.from_client(request_headers(encoder, 1) + request_headers(encoder, 17))
    assert inspector.places == [Place(4, 1), Place(4, 17)]
    assert (str(Place(4, 17)), str(Place())) == ("connection 4, stream 17", "")
