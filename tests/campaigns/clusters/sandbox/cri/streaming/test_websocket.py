"""WebSocket frames, against the websocket-client library's."""

from __future__ import annotations

import pytest
from websocket import ABNF  # type: ignore[attr-defined]

from campaigns.clusters.sandbox.cri.streaming.websocket import (
    Decoder,
    Message,
    Opcode,
    ProtocolError,
    accept_key,
    channel_frame,
    channel_message,
    encode,
)


def masked(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    return bytes(ABNF(fin=int(fin), opcode=int(opcode), mask_value=1, data=data).format())


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 200_001])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_clients_message_is_read_however_the_bytes_are_cut(length: int, size: int) -> None:
    if length > 65536 and size < 100:
        size = 1000  # as many bytes in single ones would take a while
    data = bytes(i % 251 for i in range(length))
    decoder, wire = Decoder(), masked(data)
    received = [message for at in range(0, len(wire), size) for message in decoder.feed(wire[at : at + size])]
    assert received == [Message(Opcode.BINARY, data)]


def test_fragments_become_one_message_with_a_ping_between_them() -> None:
    wire = masked(b"ab", Opcode.TEXT, fin=False) + masked(b"?", Opcode.PING) + masked(b"c", Opcode.CONTINUATION)
    assert list(Decoder().feed(wire)) == [Message(Opcode.PING, b"?"), Message(Opcode.TEXT, b"abc")]


@pytest.mark.parametrize(
    "wire",
    [
        encode(Opcode.BINARY, b"not masked"),
        masked(b"", Opcode.CONTINUATION),
        masked(b"a", fin=False) + masked(b"b"),
        masked(bytes(126), Opcode.PING),
        masked(b"", Opcode.PING, fin=False),
        b"\xc2" + masked(b"reserved bit")[1:],
        b"\x83" + masked(b"unknown kind")[1:],
        b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
    ],
    ids=["not masked", "no start", "no end", "long ping", "cut ping", "reserved bit", "unknown kind", "too long"],
)
def test_what_the_rfc_forbids_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Decoder().feed(wire))


@pytest.mark.parametrize(
    ("length", "head"), [(125, "827d"), (126, "827e007e"), (65535, "827effff"), (65536, "827f0000000000010000")]
)
def test_a_servers_frame_has_the_shortest_length(length: int, head: str) -> None:
    assert encode(Opcode.BINARY, bytes(length)) == bytes.fromhex(head) + bytes(length)


def test_the_answer_to_a_key_is_the_rfcs_example() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_channel_stands_before_the_data_as_a_byte_or_as_a_digit_before_base64() -> None:
    assert channel_frame(2, b"\n", text=False) == b"\x82\x02\x02\n"
    assert channel_frame(2, b"\n", text=True) == b"\x81\x052Cg=="
    assert channel_message(b"\x00foo", text=False) == (0, b"foo")
    assert channel_message(b"0Zm9v", text=True) == (0, b"foo")
    assert channel_message(b"", text=False) is None
    assert channel_message(b"0!", text=True) is None
