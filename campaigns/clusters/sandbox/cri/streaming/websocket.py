"""WebSocket frames (RFC 6455) without sockets, and the channel byte that Kubernetes puts in front of each message.

Needed beside SPDY: kubelet 1.36 itself translates only the newest subprotocols (`v5.channel.k8s.io`,
`SPDY/3.1+portforward.k8s.io`) and passes every other WebSocket client through to the runtime: older client libraries,
and the conformance case "should support remote command execution over websockets" (`channel.k8s.io`).

Not here: extensions and compression, which no Kubernetes server offers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Decoder", "Message", "Opcode", "ProtocolError", "accept_key", "channel_frame", "channel_message", "encode"]

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""
_MAX_BYTES = 32 << 20
"""A message's; golang.org/x/net/websocket's default, which upstream's servers keep."""
_MAX_CONTROL_BYTES = 125
"""RFC 6455, section 5.5."""


class ProtocolError(Exception):
    """The client sent what RFC 6455 does not allow; the connection is of no more use."""


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, put together from its fragments, or a control frame."""

    opcode: Opcode
    data: bytes


def accept_key(key: str) -> str:
    """The answer to a client's Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    # the RFC's own choice; nothing is protected by it
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def encode(opcode: Opcode, data: bytes) -> bytes:
    """A server's frame: whole, not masked."""
    if len(data) < 126:
        head = struct.pack(">BB", 0x80 | opcode, len(data))
    elif len(data) < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 126, len(data))
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, len(data))
    return head + data


def channel_frame(channel: int, data: bytes, *, text: bool) -> bytes:
    """`data` of one channel: a byte with its number in front; as `text` a digit and base64."""
    if text:
        return encode(Opcode.TEXT, str(channel).encode() + base64.b64encode(data))
    return encode(Opcode.BINARY, bytes([channel]) + data)


def channel_message(data: bytes, *, text: bool) -> tuple[int, bytes] | None:
    """A message's channel and data; None for what is neither (upstream skips it too)."""
    if not data:
        return None
    if not text:
        return data[0], data[1:]
    try:
        return data[0] - ord("0"), base64.b64decode(data[1:], validate=True)
    except binascii.Error:
        return None


class Decoder:
    """A client's bytes to messages, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fragments = bytearray()
        self._opcode = Opcode.CONTINUATION

    def feed(self, data: bytes) -> Iterator[Message]:
        """All messages that are whole with `data`; to be iterated to its end. ProtocolError: nothing more can be
        read."""
        self._buffer += data
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode >= Opcode.CLOSE:
                yield Message(opcode, payload)
            elif (message := self._join(final, opcode, payload)) is not None:
                yield message

    def _frame(self) -> tuple[bool, Opcode, bytes] | None:
        if len(self._buffer) < 2:
            return None
        first, second = self._buffer[0], self._buffer[1]
        if first & 0x70 or not second & 0x80 or first & 0x0F not in set(Opcode):
            raise ProtocolError(f"frame starts with {bytes(self._buffer[:2])!r}, expected a masked one of a known kind")
        opcode, length, at = Opcode(first & 0x0F), second & 0x7F, 2
        if opcode >= Opcode.CLOSE and (length > _MAX_CONTROL_BYTES or not first & 0x80):
            raise ProtocolError(f"a {opcode.name} frame that is long or in fragments")
        if length > 125:
            size, layout = (2, ">H") if length == 126 else (8, ">Q")
            if len(self._buffer) < at + size:
                return None
            (length,) = struct.unpack_from(layout, self._buffer, at)
            at += size
        if length + len(self._fragments) > _MAX_BYTES:
            raise ProtocolError(f"a message of {length + len(self._fragments)} bytes, expected {_MAX_BYTES} at most")
        if len(self._buffer) < at + 4 + length:
            return None
        payload = _unmask(bytes(self._buffer[at : at + 4]), bytes(self._buffer[at + 4 : at + 4 + length]))
        del self._buffer[: at + 4 + length]
        return bool(first & 0x80), opcode, payload

    def _join(self, final: bool, opcode: Opcode, payload: bytes) -> Message | None:
        if (opcode is Opcode.CONTINUATION) != (self._opcode is not Opcode.CONTINUATION):
            raise ProtocolError(f"a {opcode.name} frame at the wrong place of a message")
        if opcode is not Opcode.CONTINUATION:
            self._opcode = opcode
        self._fragments += payload
        if not final:
            return None
        message = Message(self._opcode, bytes(self._fragments))
        self._opcode = Opcode.CONTINUATION
        self._fragments.clear()
        return message


def _unmask(key: bytes, data: bytes) -> bytes:
    """XOR with the key over and over; as one number, because a loop over bytes is 500 times slower."""
    mask = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")
