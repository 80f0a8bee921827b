"""SPDY/3.1 frames without sockets: bytes in, frames out, and back.

The protocol is dead on the web and alive in Kubernetes: client-go, the kubelet and every container runtime speak it
for exec, attach and port-forward. Layout and numbers: the SPDY draft 3.1 (chromium.org/spdy/spdy-protocol, sections
2.2-2.6). What the other side does with them: github.com/moby/spdystream v0.5.1, which has no flow control (it ignores
SETTINGS and WINDOW_UPDATE, and sends neither), compresses all header blocks of one direction in one zlib stream, and
closes the connection on a control frame it doesn't know. Here unknown control frames are skipped, as the draft says.

Not here: credentials, server push, flow control; what streams mean is `connections`' business.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "Data",
    "Decoder",
    "Encoder",
    "Frame",
    "GoAway",
    "Headers",
    "Ping",
    "ProtocolError",
    "Reset",
    "ResetStatus",
    "Settings",
    "SynReply",
    "SynStream",
    "WindowUpdate",
]

_VERSION = 3
_FIN, _UNIDIRECTIONAL = 0x01, 0x02
_MAX_LENGTH = (1 << 24) - 1
"""Bytes; the length field has 24 bits."""
_MAX_CONTROL_BYTES = 1 << 20
"""Arbitrary: client-go's control frames have less than 200 bytes."""
_MAX_HEADER_BYTES = 1 << 20
"""Decompressed; spdystream's own limit for a single field. Keeps a zlib bomb small."""

_COMMON_HEADERS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200~OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_COMMON_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word for word in (w.replace("~", " ").encode() for w in _COMMON_HEADERS.split())
    )
    + _COMMON_TEXT.encode()
)
"""What both zlib streams start from (draft, section 2.6.10.1): length-prefixed words, then plain text."""


class ProtocolError(Exception):
    """The peer sent what SPDY/3.1 does not allow; the connection is of no more use."""


class ResetStatus(IntEnum):
    """Why a stream was reset (draft, section 2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


@dataclass(frozen=True, slots=True)
class SynStream:
    """Opens a stream. Header names are lower case; several values of one name are joined by NUL."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False
    unidirectional: bool = False
    priority: int = 0
    associated: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    """Accepts a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Ends a stream in both directions. `status` is a ResetStatus or a number that the draft doesn't know."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Setting's number → value; the flags are dropped."""

    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is by the side that did not begin it: a client's ids are odd, a server's even."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No stream after `last_good` was or will be seen; status 0 is an ordinary end."""

    last_good: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of an open stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """So many more bytes may be sent on a stream."""

    stream: int
    delta: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream, at most 2^24 - 1; `fin`: the last ones of this direction."""

    stream: int
    data: bytes
    fin: bool = False


Frame = SynStream | SynReply | Reset | Settings | Ping | GoAway | Headers | WindowUpdate | Data


class _Kind(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Encoder:
    """One direction's frames to bytes. Frames must be sent in the order in which they were encoded: their header
    blocks are one zlib stream."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The frame as it goes on the wire. ValueError for what the format has no room for."""
        match frame:
            case Data(stream, data, fin):
                if not 0 < stream < 1 << 31 or len(data) > _MAX_LENGTH:
                    raise ValueError(f"no data frame of {len(data)} bytes on stream {stream}")
                return struct.pack(">II", stream, (_FIN if fin else 0) << 24 | len(data)) + data
            case SynStream(stream, headers, fin, unidirectional, priority, associated):
                flags = (_FIN if fin else 0) | (_UNIDIRECTIONAL if unidirectional else 0)
                start = struct.pack(">IIBB", stream, associated, priority << 5, 0)
                return _control(_Kind.SYN_STREAM, flags, start + self._block(headers))
            case SynReply(stream, headers, fin):
                payload = struct.pack(">I", stream) + self._block(headers)
                return _control(_Kind.SYN_REPLY, _FIN if fin else 0, payload)
            case Headers(stream, headers, fin):
                payload = struct.pack(">I", stream) + self._block(headers)
                return _control(_Kind.HEADERS, _FIN if fin else 0, payload)
            case Reset(stream, status):
                return _control(_Kind.RST_STREAM, 0, struct.pack(">II", stream, status))
            case Ping(number):
                return _control(_Kind.PING, 0, struct.pack(">I", number))
            case GoAway(last_good, status):
                return _control(_Kind.GOAWAY, 0, struct.pack(">II", last_good, status))
            case WindowUpdate(stream, delta):
                return _control(_Kind.WINDOW_UPDATE, 0, struct.pack(">II", stream, delta))
            case Settings(values):
                entries = b"".join(struct.pack(">II", number, value) for number, value in values.items())
                return _control(_Kind.SETTINGS, 0, struct.pack(">I", len(values)) + entries)

    def _block(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for part in (name.lower().encode(), value.encode()):
                plain += struct.pack(">I", len(part)) + part
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: _Kind, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | _VERSION, kind, flags << 24 | len(payload)) + payload


class Decoder:
    """One direction's bytes to frames, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """All frames that are whole with `data`; to be iterated to its end. ProtocolError: nothing more can be read."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= 8:
                first, second = struct.unpack_from(">II", self._buffer, at)
                length = second & _MAX_LENGTH
                if first >> 31 and length > _MAX_CONTROL_BYTES:
                    raise ProtocolError(f"a control frame of {length} bytes, expected {_MAX_CONTROL_BYTES} at most")
                if len(self._buffer) - at < 8 + length:
                    break
                payload = bytes(memoryview(self._buffer)[at + 8 : at + 8 + length])
                at += 8 + length
                if not first >> 31:
                    yield _data(first, bool(second >> 24 & _FIN), payload)
                elif (frame := self._control(first, second >> 24, payload)) is not None:
                    yield frame
        finally:
            del self._buffer[:at]

    def _control(self, first: int, flags: int, payload: bytes) -> Frame | None:
        version, number = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != _VERSION:
            raise ProtocolError(f"a frame of SPDY version {version}, expected {_VERSION}")
        if number not in set(_Kind):
            return None
        try:
            return self._known(_Kind(number), flags, payload)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"a broken {_Kind(number).name} frame: {error}") from error

    def _known(self, kind: _Kind, flags: int, payload: bytes) -> Frame:
        fin = bool(flags & _FIN)
        if kind is _Kind.PING:
            return Ping(*struct.unpack(">I", payload))
        if kind is _Kind.SETTINGS:
            return _settings(payload)
        stream, rest = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF, payload[4:]
        if kind is _Kind.GOAWAY:
            return GoAway(stream, *struct.unpack(">I", rest))
        if stream == 0 and kind is not _Kind.WINDOW_UPDATE:  # there 0 is the connection's own window
            raise ProtocolError(f"a {kind.name} frame of stream 0")
        match kind:
            case _Kind.SYN_STREAM:
                associated, priority, _ = struct.unpack_from(">IBB", rest)
                headers = self._headers(rest[6:])
                return SynStream(stream, headers, fin, bool(flags & _UNIDIRECTIONAL), priority >> 5, associated)
            case _Kind.SYN_REPLY:
                return SynReply(stream, self._headers(rest), fin)
            case _Kind.HEADERS:
                return Headers(stream, self._headers(rest), fin)
            case _Kind.RST_STREAM:
                return Reset(stream, *struct.unpack(">I", rest))
            case _:
                return WindowUpdate(stream, struct.unpack(">I", rest)[0] & 0x7FFFFFFF)

    def _headers(self, compressed: bytes) -> dict[str, str]:
        plain = self._zlib.decompress(compressed, _MAX_HEADER_BYTES)
        if self._zlib.unconsumed_tail:
            raise ProtocolError(f"a header block of more than {_MAX_HEADER_BYTES} bytes")
        at = 4
        texts = []
        for _ in range(2 * struct.unpack_from(">I", plain)[0]):
            (length,) = struct.unpack_from(">I", plain, at)
            at += 4 + length
            if at > len(plain):
                raise ProtocolError("a header block that ends inside a header")
            texts.append(plain[at - length : at].decode())
        return dict(zip(texts[::2], texts[1::2], strict=True))


def _data(stream: int, fin: bool, payload: bytes) -> Data:
    if stream == 0:
        raise ProtocolError("a data frame of stream 0")
    return Data(stream, payload, fin)


def _settings(payload: bytes) -> Settings:
    (count,) = struct.unpack_from(">I", payload)
    if len(payload) != 4 + 8 * count:
        raise ProtocolError(f"a SETTINGS frame of {count} settings in {len(payload)} bytes")
    pairs = struct.iter_unpack(">II", payload[4:])
    return Settings({number & 0xFFFFFF: value for number, value in pairs})
