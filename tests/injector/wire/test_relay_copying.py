"""Whatever is not asked for comes out as it went in, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.wire import frames as h2
from injector.wire.relay import Relay
from tests.injector.wire.peers import PATH, Frame, Inspecting, cut, frames_of, grpc_body, padded, request_headers

SIZES = st.lists(st.integers(1, 700), min_size=1, max_size=20)
Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def header_unit(draw: Draw, encoder: hpack.Encoder, stream: int, path: str, end_stream: bool) -> bytes:
    """HEADERS with any of padding, priority and CONTINUATION frames."""
    fields = [(":method", "POST"), (":path", path), ("grpc-timeout", f"{draw(st.integers(0, 99999))}m")]
    block = encoder.encode(fields, huffman=draw(st.booleans()))
    cuts = sorted(draw(st.lists(st.integers(0, len(block)), max_size=3)))
    parts = [block[a:b] for a, b in zip([0, *cuts], [*cuts, len(block)], strict=True)]
    flags = (h2.END_STREAM if end_stream else 0) | (0 if len(parts) > 1 else h2.END_HEADERS)
    first = parts[0]
    if draw(st.booleans()):
        flags, first = flags | h2.PRIORITY, b"\0\0\0\0\x10" + first
    padding = draw(st.integers(0, 20))
    unit = padded(1, flags, stream, first, padding) if padding else h2.frame(1, flags, stream, first)
    for number, part in enumerate(parts[1:], 2):
        unit += h2.frame(h2.CONTINUATION, h2.END_HEADERS if number == len(parts) else 0, stream, part)
    return unit


@st.composite
def traffic(draw: Draw, *, from_client: bool) -> bytes:
    """A side's frames: any mixture that a peer may send, of calls that end or do not."""
    encoder, out = hpack.Encoder(), b""
    for number in range(draw(st.integers(0, 8))):
        stream = 2 * number + 1
        path = draw(st.sampled_from([PATH, "/etcdserverpb.KV/Range"]))
        out += draw(header_unit(encoder, stream, path, end_stream=False))
        body = grpc_body(*draw(st.lists(st.binary(max_size=400), max_size=3)))
        at = draw(st.integers(0, len(body)))
        if draw(st.booleans()):
            out += padded(h2.DATA, 0, stream, body[:at], draw(st.integers(0, 30)))
        else:
            out += h2.frame(h2.DATA, 0, stream, body[:at])
        out += draw(st.sampled_from([h2.frame(6, 0, 0, bytes(8)), h2.frame(h2.SETTINGS, h2.ACK, 0, b""), b""]))
        out += h2.frame(h2.DATA, h2.END_STREAM if from_client else 0, stream, body[at:])
        if not from_client:
            out += draw(header_unit(encoder, stream, PATH, end_stream=True))
        out += draw(
            st.sampled_from(
                [
                    b"",
                    h2.window_update(0, 77),
                    h2.window_update(stream, 5),
                    h2.frame(0x2, 0, stream, bytes(5)),  # PRIORITY
                    h2.frame(0xEE, 0xFF, stream, b"a type that nobody knows"),
                    h2.frame(h2.SETTINGS, 0, 0, b"\0\4\0\1\0\0\0\5\0\1\0\0"),
                ]
            )
        )
    return out + draw(st.sampled_from([b"", h2.goaway(1, 0, "bye"), h2.rst_stream(1, 8)]))


def carried(relay: Relay, up: bytes, down: bytes, sizes: list[int]) -> tuple[bytes, bytes, bytes, bytes]:
    """(to upstream, answered to the client, to the client, answered to upstream) for both sides' bytes, cut up."""
    out = [b"", b"", b"", b""]
    for part in cut(h2.PREFACE + up, iter(sizes * (len(up) + 25))):
        output = relay.from_client(part)
        assert output.error is None
        out[0] += b"".join(output.to_upstream)
        out[1] += b"".join(output.to_client)
    for part in cut(down, iter(sizes * (len(down) + 1))):
        output = relay.from_upstream(part)
        assert output.error is None
        out[2] += b"".join(output.to_client)
        out[3] += b"".join(output.to_upstream)
    return out[0].removeprefix(h2.PREFACE), out[1], out[2], out[3]


@settings(deadline=None)
@given(up=traffic(from_client=True), down=traffic(from_client=False), sizes=SIZES)
def test_unarmed_frames_come_out_byte_for_byte_wherever_they_are_cut(up: bytes, down: bytes, sizes: list[int]) -> None:
    assert carried(Relay(lambda: None), up, down, sizes) == (up, b"", down, b"")


@settings(deadline=None)
@given(up=traffic(from_client=True), down=traffic(from_client=False), sizes=SIZES)
def test_calls_that_are_looked_at_come_out_byte_for_byte_and_in_order_too(
    up: bytes, down: bytes, sizes: list[int]
) -> None:
    inspector = Inspecting()
    to_upstream, credit, to_client, nothing = carried(Relay(lambda: inspector), up, down, sizes)
    reset = h2.rst_stream(1, 8) in up  # what was held of a call that is reset never goes on
    if not reset:
        assert by_stream(to_upstream) == by_stream(up)
    assert {frame.kind for frame in frames_of([credit])} <= {h2.WINDOW_UPDATE}
    assert by_stream(to_client) == by_stream(down)
    assert {frame.kind for frame in frames_of([nothing])} <= {h2.WINDOW_UPDATE}


def by_stream(data: bytes) -> dict[int, list[Frame]]:
    """Without WINDOW_UPDATEs: those that upstream sends pay for what was given back while it was held."""
    streams: dict[int, list[Frame]] = {}
    for frame in frames_of([data]):
        if frame.kind != h2.WINDOW_UPDATE:
            streams.setdefault(frame.stream, []).append(frame)
    return streams


def test_a_chunk_of_whole_frames_is_passed_on_without_a_copy() -> None:
    relay = Relay(lambda: None)
    relay.from_client(h2.PREFACE)
    chunk = request_headers(hpack.Encoder(), 1) + h2.frame(h2.DATA, h2.END_STREAM, 1, b"x" * 1000)
    (out,) = relay.from_client(chunk).to_upstream
    assert out is chunk


def test_requests_are_counted() -> None:
    relay, encoder = Relay(lambda: None), hpack.Encoder()
    relay.from_client(h2.PREFACE + b"".join(request_headers(encoder, stream) for stream in (1, 3, 5)))
    assert relay.requests == 3
