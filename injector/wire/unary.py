"""A unary gRPC call of our own on a connection of its own: bytes in, bytes out, no sockets.

Small on purpose: one call, settings as they are by default, no compression, no retries."""

from __future__ import annotations

from injector.wire import frames as h2
from injector.wire.frames import FRAME_HEADER, FRAME_HEADER_BYTES, Http2Error
from injector.wire.headers import HeaderFollower, literal_block
from injector.wire.lanes import Lane
from injector.wire.messages import Message, joined, split

__all__ = ["UnaryCall"]

_STREAM, _PING = 1, 6


class UnaryCall:
    """`over`: the call has ended, with `status` (None: without one) and perhaps a `message`."""

    def __init__(self, path: bytes, message: bytes, *, authority: str, scheme: str = "http") -> None:
        fields = [(b":method", b"POST"), (b":scheme", scheme.encode()), (b":path", path)]
        fields += [(b":authority", authority.encode()), (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        self._out: list[bytes] = []
        self._lane = Lane(self._out, [])
        self._headers = HeaderFollower()
        self._lane.watch(_STREAM)
        opening = h2.header_frames(_STREAM, literal_block(fields), end_stream=False, max_frame_bytes=16_384)
        self._out += [h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0, b""), opening]
        self._out.append(self._lane.release(_STREAM, joined([Message(False, message)]), paid=0, end_stream=True))
        self._rest, self._body = b"", bytearray()
        self.over = False
        self.status: int | None = None

    @property
    def message(self) -> bytes | None:
        messages, _ = split(self._body)
        return messages[0].content if messages and not messages[0].compressed else None

    def to_send(self) -> bytes:
        """What is to be sent now."""
        sent = b"".join(self._out)
        self._out.clear()
        return sent

    def receive(self, data: bytes) -> None:
        """Bytes from the server. Raises Http2Error where they can't be followed."""
        data = self._rest + data
        at = 0
        while len(data) - at >= FRAME_HEADER_BYTES and not self.over:
            length_kind, flags, stream = FRAME_HEADER.unpack_from(data, at)
            end = at + FRAME_HEADER_BYTES + (length_kind >> 8)
            if length_kind >> 8 > h2.DEFAULT_MAX_FRAME_BYTES:
                raise Http2Error(h2.ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length_kind >> 8} bytes")
            if end > len(data):
                break
            self._frame(length_kind & 0xFF, flags, stream, data, at, end)
            at = end
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, stream: int, data: bytes, at: int, end: int) -> None:
        payload = data[at + FRAME_HEADER_BYTES : end]
        if kind == h2.SETTINGS and not flags & h2.ACK:
            for name, value in h2.settings_of(payload):
                if name == h2.Setting.INITIAL_WINDOW_SIZE:
                    self._lane.receiver_settings(initial=value)
            self._out.append(h2.frame(h2.SETTINGS, h2.ACK, 0, b""))
            self._out.append(self._lane.flush())
        elif kind == _PING and not flags & h2.ACK:
            self._out.append(h2.frame(_PING, h2.ACK, 0, payload))
        elif kind == h2.WINDOW_UPDATE and len(payload) == 4:
            self._lane.granted(stream, int.from_bytes(payload, "big") & 0x7FFFFFFF)
        elif kind == h2.DATA and stream == _STREAM:
            first, last = h2.unpadded(data, at + FRAME_HEADER_BYTES, end, flags)
            self._body += data[first:last]
            if payload:
                self._out.append(h2.window_update(0, len(payload)) + h2.window_update(_STREAM, len(payload)))
        elif kind == h2.HEADERS:
            status = self._headers.find(h2.header_fragment(data, at, end), b"grpc-status")
            if flags & h2.END_STREAM:
                self.over, self.status = True, int(status) if status and status.isdigit() else None
        elif kind in (h2.RST_STREAM, h2.GOAWAY) and stream in (0, _STREAM):
            self.over = True
