"""HTTP/2 frames as bytes (RFC 9113): the constants, and the few frames that the forwarder makes itself.

Deliberately not here: frame objects. Nearly every frame is copied as it came, so the forwarder reads nine bytes of it
and passes a slice on; an object per frame would cost more than the rest of the work.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from injector.errors import WireError

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "DEFAULT_MAX_FRAME_BYTES",
    "DEFAULT_WINDOW_BYTES",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "FRAME_HEADER_BYTES",
    "GOAWAY",
    "HEADERS",
    "PADDED",
    "PREFACE",
    "PRIORITY",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "ErrorCode",
    "Http2Error",
    "Setting",
    "data_frames",
    "frame",
    "goaway",
    "header_fragment",
    "header_frames",
    "rst_stream",
    "settings_of",
    "unpadded",
    "window_update",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113, 3.4)."""

FRAME_HEADER: Final = struct.Struct(">IBI")
"""The nine bytes before every payload, read as three numbers: length << 8 | type, flags, stream."""
FRAME_HEADER_BYTES: Final = 9

# Types (RFC 9113, 6). Plain ints: they are compared once per frame, and an IntEnum costs three times as much.
DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

DEFAULT_WINDOW_BYTES: Final = 65_535
"""Of a connection and of every stream, until SETTINGS or WINDOW_UPDATE say otherwise (RFC 9113, 6.9.2)."""
DEFAULT_MAX_FRAME_BYTES: Final = 16_384
"""RFC 9113, 6.5.2."""


class ErrorCode:
    """The error codes used here (RFC 9113, 7)."""

    NO_ERROR: Final = 0x0
    PROTOCOL_ERROR: Final = 0x1
    INTERNAL_ERROR: Final = 0x2
    FLOW_CONTROL_ERROR: Final = 0x3
    FRAME_SIZE_ERROR: Final = 0x6
    CANCEL: Final = 0x8
    COMPRESSION_ERROR: Final = 0x9
    ENHANCE_YOUR_CALM: Final = 0xB


class Setting:
    """The settings that change how a forwarder must count (RFC 9113, 6.5.2)."""

    HEADER_TABLE_SIZE: Final = 0x1
    INITIAL_WINDOW_SIZE: Final = 0x4
    MAX_FRAME_SIZE: Final = 0x5


class Http2Error(WireError):
    """A peer broke HTTP/2 in a way that makes its connection unreadable. `code` goes into the GOAWAY."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One whole frame."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last_stream: int, code: int, why: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last_stream, code) + why.encode())


def data_frames(stream: int, payload: bytes, *, end_stream: bool, max_frame_bytes: int) -> list[bytes]:
    """`payload` as unpadded DATA frames; an empty one still makes a frame if it ends the stream."""
    cuts = range(0, len(payload), max_frame_bytes) if payload else range(int(end_stream))
    frames = [(payload[at : at + max_frame_bytes], at + max_frame_bytes >= len(payload)) for at in cuts]
    return [frame(DATA, END_STREAM if end_stream and last else 0, stream, part) for part, last in frames]


def header_frames(stream: int, block: bytes, *, end_stream: bool, max_frame_bytes: int) -> bytes:
    """A HEADERS frame, with CONTINUATION frames where the block is longer than a frame."""
    parts = [block[at : at + max_frame_bytes] for at in range(0, len(block), max_frame_bytes)] or [b""]
    kinds = [HEADERS, *[CONTINUATION] * (len(parts) - 1)]
    flags = [END_STREAM if end_stream else 0, *[0] * (len(parts) - 1)]
    flags[-1] |= END_HEADERS
    return b"".join(frame(kind, flag, stream, part) for kind, flag, part in zip(kinds, flags, parts, strict=True))


def unpadded(data: bytes, start: int, end: int, flags: int) -> tuple[int, int]:
    """Where the content of a DATA, HEADERS or PUSH_PROMISE payload at `data[start:end]` stands without its padding."""
    if not flags & PADDED:
        return start, end
    if start == end or data[start] >= end - start:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "padding is as long as the frame it stands in")
    return start + 1, end - data[start]


def header_fragment(data: bytes, start: int, end: int) -> bytes:
    """The header block in `data[start:end]`: a HEADERS or PUSH_PROMISE frame with its CONTINUATION frames."""
    length_kind, flags, _ = FRAME_HEADER.unpack_from(data, start)
    if length_kind & 0xFF == HEADERS and flags & (END_HEADERS | PADDED | PRIORITY) == END_HEADERS:
        return data[start + FRAME_HEADER_BYTES : end]  # nearly all of them
    payload = start + FRAME_HEADER_BYTES
    after = payload + (length_kind >> 8)
    first, last = unpadded(data, payload, after, flags)
    if length_kind & 0xFF == PUSH_PROMISE:
        first += 4  # the promised stream
    elif flags & PRIORITY:
        first += 5  # dependency and weight
    if first > last:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a header frame is shorter than its own fields")
    if after == end:
        return data[first:last]
    parts = [data[first:last]]
    while after < end:
        length = FRAME_HEADER.unpack_from(data, after)[0] >> 8
        parts.append(data[after + FRAME_HEADER_BYTES : after + FRAME_HEADER_BYTES + length])
        after += FRAME_HEADER_BYTES + length
    return b"".join(parts)


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """The (identifier, value) pairs of a SETTINGS payload."""
    if len(payload) % 6:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a SETTINGS frame of {len(payload)} bytes, not a multiple of 6")
    yield from struct.iter_unpack(">HI", payload)
