"""A peer that breaks HTTP/2 loses its connection with the right error; what only concerns the other peer passes."""

from __future__ import annotations

import struct

import hpack
import pytest

from injector.wire import frames as h2
from injector.wire.frames import ErrorCode
from injector.wire.relay import Relay
from tests.injector.wire.peers import Inspecting, frames_of, padded, request_headers

BLOCK = hpack.Encoder().encode([(":path", "/etcdserverpb.KV/Txn")])
OPEN = request_headers(hpack.Encoder(), 1)

BROKEN = {
    "frame longer than allowed": (h2.frame(h2.DATA, 0, 1, bytes(16_385)), ErrorCode.FRAME_SIZE_ERROR),
    "announced longer than allowed": (b"\xff\xff\xff\0\0\0\0\0\1", ErrorCode.FRAME_SIZE_ERROR),
    "CONTINUATION alone": (h2.frame(h2.CONTINUATION, 4, 1, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "header block interrupted": (h2.frame(1, 0, 1, BLOCK) + h2.frame(6, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        h2.frame(1, 0, 1, BLOCK) + h2.frame(h2.CONTINUATION, 4, 3, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "header block without end": (
        h2.frame(1, 0, 1, BLOCK) + h2.frame(h2.CONTINUATION, 0, 1, bytes(16_384)) * 65,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "broken header block": (h2.frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
    "padding of HEADERS too long": (h2.frame(1, 4 | h2.PADDED, 1, b"\x05abc"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS too short for its priority": (h2.frame(1, 4 | h2.PRIORITY, 1, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3 bytes": (h2.frame(h2.WINDOW_UPDATE, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS of 7 bytes": (h2.frame(h2.SETTINGS, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
}


def goaway_of(parts: list[bytes]) -> tuple[int, int]:
    frame = frames_of(parts)[-1]
    assert frame.kind == h2.GOAWAY
    return struct.unpack_from(">II", frame.payload)


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_client_that_breaks_http2_gets_a_goaway_with_the_reason(data: bytes, code: int) -> None:
    relay = Relay(lambda: None)
    assert relay.from_client(h2.PREFACE + request_headers(hpack.Encoder(), 5)).error is None
    output = relay.from_client(data)
    assert output.error is not None and output.error.code == code
    assert goaway_of(output.to_client) == (5, code)
    assert goaway_of(output.to_upstream) == (0, ErrorCode.NO_ERROR)
    after = relay.from_client(OPEN)
    assert after.to_upstream == after.to_client == []


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_an_upstream_that_breaks_http2_gets_a_goaway_and_the_client_learns_whose_fault_it_was(
    data: bytes, code: int
) -> None:
    relay = Relay(lambda: None)
    output = relay.from_upstream(data)
    assert output.error is not None and output.error.code == code
    assert goaway_of(output.to_upstream) == (0, code)
    assert goaway_of(output.to_client) == (0, ErrorCode.INTERNAL_ERROR)
    assert frames_of(output.to_client)[0].kind == h2.SETTINGS
    assert relay.from_upstream(h2.frame(6, 0, 0, bytes(8))).to_client == []


def test_padding_longer_than_its_frame_ends_the_connection_where_the_data_is_looked_at() -> None:
    inspector = Inspecting()
    relay = Relay(lambda: inspector)
    output = relay.from_client(h2.PREFACE + OPEN + h2.frame(h2.DATA, h2.PADDED, 1, b"\x04abc"))
    assert output.error is not None and output.error.code == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("greeting", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.1"])
def test_what_is_not_http2_is_refused_at_its_first_bytes(greeting: bytes) -> None:
    output = Relay(lambda: None).from_client(greeting)
    assert output.error is not None and "preface" in str(output.error)
    assert goaway_of(output.to_client) == (0, ErrorCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "data",
    [
        h2.window_update(0, 1)[:-4] + bytes(4),  # increment 0
        h2.frame(h2.RST_STREAM, 0, 1, b"abc"),
        h2.frame(6, 0, 0, b"a PING of the wrong length"),
        padded(h2.DATA, 0, 1, b"", 5)[:9] + b"\xff\0\0\0\0\0",  # padding too long, on a call nobody looks at
        h2.frame(h2.DATA, 0, 0, b"on stream 0"),
    ],
    ids=["increment 0", "RST_STREAM of 3 bytes", "PING", "padding", "DATA on stream 0"],
)
def test_what_does_not_hinder_the_forwarding_is_left_to_the_receiver(data: bytes) -> None:
    relay = Relay(lambda: None)
    relay.from_client(h2.PREFACE)
    output = relay.from_client(data)
    assert output.error is None and output.to_upstream == [data]
