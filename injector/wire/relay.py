"""One client connection and the upstream connection it is forwarded to: bytes in, bytes out, no sockets.

Frames are copied as they come. What has to be understood is read and checked; all else is left to the receiver, which
is a whole HTTP/2 implementation. Units are whole frames, and a header block with all its CONTINUATION frames, so that
frames of our own never land inside one.

A call is watched if the inspector wants it (asked when its HEADERS pass). Then its DATA is held back until it ends at
the end of a message, each message is put to the call, and what was held goes on as it came, or re-framed with a
changed message, or not at all. HEADERS are never held or swallowed, in either direction: the receiver's HPACK table
must see them. So a dropped call is reset upstream after its HEADERS went through; headers that upstream sends for it
nevertheless still reach the client, which has to ignore them (RFC 9113, 5.1, "closed").

Deliberately not here: TLS, HTTP/1, server push to watched calls, request trailers on watched calls (gRPC has none; such
a call is reset).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from injector.wire import frames as h2
from injector.wire.answers import answer_frames
from injector.wire.frames import FRAME_HEADER, FRAME_HEADER_BYTES, ErrorCode, Http2Error, Setting
from injector.wire.inspection import Call, Decision, Drop, Inspector, Replace
from injector.wire.lanes import Lane
from injector.wire.messages import PREFIX_BYTES, Message, joined, split

__all__ = ["MAX_MESSAGE_BYTES", "Output", "Relay"]

MAX_MESSAGE_BYTES = 16 << 20
"""Longer requests pass uninspected. etcd refuses them far earlier (--max-request-bytes: 1.5 MiB)."""

MAX_HEADER_BLOCK_BYTES = 1 << 20
"""With CONTINUATION frames; arbitrary, because it only bounds memory (Go's http2 server: 1 MiB of headers)."""

_WINDOW_UPDATE = 4 << 8 | h2.WINDOW_UPDATE
"""Length and type of a WINDOW_UPDATE as they stand in its header."""

_Handler = Callable[[int, int, bytes, int, int], bytes | None]
"""(stream, flags, data, start, end) of a unit → None: copy it, or the bytes to send in its place."""


@dataclass(slots=True)
class Output:
    """What to send, in order; `error` set: send it, then close both connections."""

    to_client: list[bytes]
    to_upstream: list[bytes]
    error: Http2Error | None = None


@dataclass(slots=True)
class _Watched:
    """A call whose messages are looked at."""

    call: Call
    body: bytearray = field(default_factory=bytearray)
    raw: list[bytes] = field(default_factory=list)
    held: int = 0
    awaited: int = 0
    answer: bytearray = field(default_factory=bytearray)
    skipped: bool = False
    request_over: bool = False
    dropped: bool = False


class Relay:
    """`armed` is asked at every request; while it returns None no message is looked at."""

    def __init__(self, armed: Callable[[], Inspector | None]) -> None:
        self._armed = armed
        self._to_client: list[bytes] = []
        self._to_upstream: list[bytes] = []
        self._up = Lane(self._to_upstream, self._to_client)
        self._down = Lane(self._to_client, self._to_upstream)
        self._watched: dict[int, _Watched] = {}
        self._last_stream = 0
        self._greeted = self._answered = False
        self._over = False
        self.requests = 0
        self._client_handlers: dict[int, _Handler] = {
            h2.DATA: self._request_data,
            h2.HEADERS: self._request_headers,
            h2.RST_STREAM: self._request_reset,
            h2.SETTINGS: lambda _, flags, data, at, end: self._settings(self._down, flags, data[at + 9 : end]),
            h2.WINDOW_UPDATE: lambda stream, _, data, at, end: self._granted(self._down, stream, data[at + 9 : end]),
            h2.PUSH_PROMISE: self._misplaced,
            h2.CONTINUATION: self._misplaced,
        }
        self._upstream_handlers: dict[int, _Handler] = {
            h2.DATA: self._response_data,
            h2.HEADERS: self._response_headers,
            h2.RST_STREAM: self._response_reset,
            h2.SETTINGS: lambda _, flags, data, at, end: self._settings(self._up, flags, data[at + 9 : end]),
            h2.WINDOW_UPDATE: lambda stream, _, data, at, end: self._granted(self._up, stream, data[at + 9 : end]),
            h2.PUSH_PROMISE: self._response_headers,
            h2.CONTINUATION: self._misplaced,
        }

    def from_client(self, data: bytes) -> Output:
        """Bytes that the client sent."""
        try:
            if not self._greeted:
                data = self._greeting(data)
            if data and not self._over:
                self._scan(self._up, self._down, self._client_handlers, data)
        except Http2Error as error:
            last = self._last_stream
            return self._fail(error, client=h2.goaway(last, error.code, str(error)), upstream=h2.goaway(0, 0))
        return self._output()

    def from_upstream(self, data: bytes) -> Output:
        """Bytes that upstream sent."""
        try:
            if not self._over:
                self._scan(self._down, self._up, self._upstream_handlers, data)
                self._answered = self._answered or bool(self._to_client)
        except Http2Error as error:
            why = f"upstream broke HTTP/2: {error}"
            gone = h2.goaway(self._last_stream, ErrorCode.INTERNAL_ERROR, why)
            return self._fail(error, client=gone, upstream=h2.goaway(0, error.code, str(error)))
        return self._output()

    def closed(self) -> None:
        """The connections are gone: calls that wait for an answer learn that none will come."""
        self._over = True
        for watched in self._watched.values():
            if not watched.dropped:
                watched.call.ended(None)
        self._watched.clear()

    # Reading

    def _greeting(self, data: bytes) -> bytes:
        data = self._up.tail + data
        if len(data) < len(h2.PREFACE):
            self._up.tail = data
        if not data.startswith(h2.PREFACE[: len(data)]):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 connection preface")
        if len(data) < len(h2.PREFACE):
            return b""
        self._greeted, self._up.tail = True, b""
        self._to_upstream.append(h2.PREFACE)
        return data[len(h2.PREFACE) :]

    def _scan(self, lane: Lane, back: Lane, handlers: dict[int, _Handler], data: bytes) -> None:
        """Copy whole units; hand those that matter to their handler. The loop runs once per frame of the whole
        traffic, so it is written for speed: DATA that nobody asks about, and WINDOW_UPDATEs for it, only get counted.
        `back` is the other direction, whose windows the frames in `lane` grant."""
        if lane.tail:
            data = lane.tail + data
        window, watched = lane.window, self._watched
        limit = lane.max_frame + 1 << 8
        at = start = 0
        size = len(data)
        while size - at >= FRAME_HEADER_BYTES:
            length_kind, flags, stream = FRAME_HEADER.unpack_from(data, at)
            if length_kind >= limit:
                limit = _checked_limit(lane, length_kind >> 8)
            end = at + FRAME_HEADER_BYTES + (length_kind >> 8)
            kind = length_kind & 0xFF
            if end > size:
                break
            if stream not in watched:
                if kind == h2.DATA and not window.lead and not lane.pending:
                    window.budget -= end - at - FRAME_HEADER_BYTES
                    at = end
                    continue
                if kind == h2.WINDOW_UPDATE and length_kind == _WINDOW_UPDATE and back.plain:
                    if not stream:
                        back.window.budget += int.from_bytes(data[end - 4 : end], "big") & 0x7FFFFFFF
                    at = end
                    continue
            if (kind == h2.HEADERS or kind == h2.PUSH_PROMISE) and not flags & h2.END_HEADERS:
                whole = _block_end(data, at, end, stream, lane.max_frame)
                if whole is None:
                    break
                end = whole
            handler = handlers.get(kind)
            instead = handler(stream, flags, data, at, end) if handler else None
            if instead is not None:
                if start < at:
                    lane.out.append(data[start:at])
                if instead:
                    lane.out.append(instead)
                start = end
            at = end
        lane.tail = data[at:]
        if start < at:
            lane.out.append(data if start == 0 and at == size else data[start:at])

    def _output(self) -> Output:
        to_client, to_upstream = self._to_client, self._to_upstream
        output = Output(to_client[:], to_upstream[:])
        to_client.clear()
        to_upstream.clear()
        return output

    def _fail(self, error: Http2Error, *, client: bytes, upstream: bytes) -> Output:
        self._over = True
        if not self._answered:  # a server's first frame must be SETTINGS (RFC 9113, 3.4)
            self._to_client.append(h2.frame(h2.SETTINGS, 0, 0, b""))
        self._to_client.append(client)
        self._to_upstream.append(upstream)
        output = self._output()
        output.error = error
        return output

    # Frames of the connection, either way

    def _settings(self, lane: Lane, flags: int, payload: bytes) -> bytes | None:
        """SETTINGS of `lane`'s receiver."""
        if flags & h2.ACK:
            return None
        for name, value in h2.settings_of(payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                lane.receiver_settings(initial=value)
            elif name == Setting.MAX_FRAME_SIZE:
                lane.receiver_settings(max_frame=value)
            elif name == Setting.HEADER_TABLE_SIZE:
                lane.headers.allow_table_bytes(value)
        return None

    def _granted(self, lane: Lane, stream: int, payload: bytes) -> bytes | None:
        """WINDOW_UPDATE of `lane`'s receiver."""
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a WINDOW_UPDATE frame of {len(payload)} bytes, not 4")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        due = lane.granted(stream, increment)
        watched = self._watched.get(stream)
        if watched is not None and watched.dropped:
            return b""
        if due == increment:
            return None
        return h2.window_update(stream, due) if due else b""

    def _misplaced(self, stream: int, _flags: int, data: bytes, at: int, _end: int) -> bytes | None:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"frame type {data[at + 3]} out of place on stream {stream}")

    # Requests

    def _request_headers(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        block = h2.header_fragment(data, at, end)
        if stream in self._watched:  # trailers: must not overtake the DATA that is held, nor wait for it
            self._up.headers.follow(block)
            return data[at:end] + self._reset_both(stream, "a gRPC request has no trailers")
        self.requests += 1
        self._last_stream = max(stream, self._last_stream)
        inspector = self._armed()
        if inspector is None:
            self._up.headers.follow(block)
            return None
        path = self._up.headers.find(block, b":path")
        call = inspector.call(path) if path is not None and not flags & h2.END_STREAM else None
        if call is not None:
            self._watched[stream] = _Watched(call)
            self._up.watch(stream)
        return None

    def _request_data(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        first, last = h2.unpadded(data, at + FRAME_HEADER_BYTES, end, flags)
        paid = end - at - FRAME_HEADER_BYTES
        ends = bool(flags & h2.END_STREAM)
        watched = self._watched.get(stream)
        if watched is None:
            return self._copy(self._up, stream, data[at:end], data[first:last], ends)
        if watched.dropped:
            self._up.swallow(paid)
            return b""
        watched.body += memoryview(data)[first:last]
        watched.request_over = ends
        if not ends and len(watched.body) < watched.awaited:  # the message is not whole: do not even look
            return self._hold(stream, watched, data[at:end], paid)
        decided: bytes | Drop | None = None
        if not watched.skipped:
            messages, missing = split(watched.body)
            if max(missing, len(watched.body)) > MAX_MESSAGE_BYTES:
                watched.skipped = True
                watched.call.unread(f"a message of more than {MAX_MESSAGE_BYTES} bytes is not looked at")
            elif missing and not ends:
                watched.awaited = missing + _length(messages)
                return self._hold(stream, watched, data[at:end], paid)
            else:
                decided = self._decide(watched, messages)
        if isinstance(decided, Drop):
            return self._drop(stream, watched, decided, paid)
        return self._release(stream, watched, decided, raw=data[at:end], paid=paid, ends=ends)

    def _hold(self, stream: int, watched: _Watched, raw: bytes, paid: int) -> bytes:
        watched.raw.append(raw)
        watched.held += paid
        self._up.credit(stream, paid)
        return b""

    def _decide(self, watched: _Watched, messages: Sequence[Message]) -> bytes | Drop | None:
        """None: nothing changes; otherwise the body to send instead, or the drop."""
        sent: list[Message] = []
        for message in messages:
            decision: Decision = None
            if message.compressed:
                watched.call.unread("the message is compressed")
            else:
                decision = watched.call.request(message.content)
            if isinstance(decision, Drop):
                return decision
            sent.append(Message(False, decision.message) if isinstance(decision, Replace) else message)
        if all(a is b for a, b in zip(messages, sent, strict=True)):
            return None
        return joined(sent) + watched.body[_length(messages) :]  # a cut-off message at the very end stays as it is

    def _release(
        self, stream: int, watched: _Watched, body: bytes | None, *, raw: bytes, paid: int, ends: bool
    ) -> bytes | None:
        """Send on what was held and the frame just read."""
        instead: bytes | None
        if body is None and self._up.copied(stream, watched.held + paid, paid=paid):
            instead = b"".join([*watched.raw, raw]) if watched.raw else None
        else:
            payload = bytes(watched.body) if body is None else body
            instead = self._up.release(stream, payload, paid=paid, end_stream=ends)
        watched.body.clear()
        watched.raw.clear()
        watched.held = watched.awaited = 0
        if watched.request_over and not watched.call.listening:
            self._forget(stream)
        return instead

    def _drop(self, stream: int, watched: _Watched, drop: Drop, paid: int) -> bytes:
        """Reset the call upstream and answer it ourselves. What was held has been given back, so only the frame just
        read is owed to the connection's window."""
        watched.dropped = True
        watched.body.clear()
        watched.raw.clear()
        self._up.cancel(stream)
        self._up.swallow(paid)
        if drop.answer is not None:
            self._to_client.extend(answer_frames(self._down, stream, drop.answer))
        return h2.rst_stream(stream, ErrorCode.CANCEL)

    def _request_reset(self, stream: int, _flags: int, _data: bytes, _at: int, _end: int) -> bytes | None:
        watched = self._watched.get(stream)
        if watched is not None and watched.dropped:
            self._down.cancel(stream)
            return b""
        self._up.cancel(stream)
        if watched is not None:
            watched.call.ended(None)
            self._forget(stream)
        return None

    def _reset_both(self, stream: int, why: str) -> bytes:
        watched = self._watched[stream]
        self._up.cancel(stream)
        if not watched.dropped:
            watched.call.unread(why)
            watched.call.ended(None)
            watched.dropped = True
        self._to_client.append(h2.rst_stream(stream, ErrorCode.PROTOCOL_ERROR))
        return h2.rst_stream(stream, ErrorCode.CANCEL)

    # Answers

    def _response_headers(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        block = h2.header_fragment(data, at, end)
        watched = self._watched.get(stream)
        if watched is None or watched.dropped or not flags & h2.END_STREAM:
            self._down.headers.follow(block)
            return self._down.after_pending(stream, data[at:end]) if self._down.pending else None
        status = self._down.headers.find(block, b"grpc-status")
        watched.call.ended(int(status) if status is not None and status.isdigit() else None)
        self._response_over(stream, watched)
        return self._down.after_pending(stream, data[at:end]) if self._down.pending else None

    def _response_over(self, stream: int, watched: _Watched) -> None:
        watched.call = _Over()
        if watched.request_over:
            self._forget(stream)

    def _response_data(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        first, last = h2.unpadded(data, at + FRAME_HEADER_BYTES, end, flags)
        watched = self._watched.get(stream)
        if watched is not None and watched.dropped:
            self._down.swallow(end - at - FRAME_HEADER_BYTES)
            return b""
        if watched is not None and watched.call.listening and len(watched.answer) <= MAX_MESSAGE_BYTES:
            self._listen(watched, data[first:last])
        if watched is not None and flags & h2.END_STREAM:  # gRPC ends with trailers; this is something else
            watched.call.ended(None)
            self._response_over(stream, watched)
        return self._copy(self._down, stream, data[at:end], data[first:last], bool(flags & h2.END_STREAM))

    def _listen(self, watched: _Watched, payload: bytes) -> None:
        watched.answer += payload
        messages, _ = split(watched.answer)
        del watched.answer[: _length(messages)]
        for message in messages:
            if not message.compressed:
                watched.call.response(message.content)

    def _response_reset(self, stream: int, _flags: int, _data: bytes, _at: int, _end: int) -> bytes | None:
        watched = self._watched.get(stream)
        if watched is not None and watched.dropped:
            return b""
        self._down.cancel(stream)
        if watched is not None:
            watched.call.ended(None)
            self._up.cancel(stream)
            self._forget(stream)
        return None

    def _copy(self, lane: Lane, stream: int, raw: bytes, payload: bytes, ends: bool) -> bytes | None:
        """A DATA frame that is not held, on a connection whose windows have to be watched."""
        paid = len(raw) - FRAME_HEADER_BYTES
        if lane.copied(stream, paid, paid=paid):
            return None
        return lane.release(stream, payload, paid=paid, end_stream=ends)

    def _forget(self, stream: int) -> None:
        self._watched.pop(stream, None)
        self._up.forget(stream)


class _Over:
    """The rest of a call that upstream has ended already: whatever still comes passes."""

    listening = False

    def request(self, _message: bytes) -> Decision:
        return None

    def unread(self, why: str) -> None: ...

    def response(self, message: bytes) -> None: ...

    def ended(self, status: int | None) -> None: ...


def _length(messages: Sequence[Message]) -> int:
    return sum(PREFIX_BYTES + len(message.content) for message in messages)


def _checked_limit(lane: Lane, length: int) -> int:
    """The limit may have risen since the scan began (SETTINGS of the other peer)."""
    if length > lane.max_frame:
        why = f"a frame of {length} bytes where at most {lane.max_frame} are allowed"
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, why)
    return lane.max_frame + 1 << 8


def _block_end(data: bytes, start: int, at: int, stream: int, max_frame: int) -> int | None:
    """Where the header block that began at `start`, and whose next frame begins at `at`, ends; None: not all there."""
    while len(data) - at >= FRAME_HEADER_BYTES:
        length_kind, flags, of = FRAME_HEADER.unpack_from(data, at)
        if length_kind & 0xFF != h2.CONTINUATION or of != stream:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"the header block of stream {stream} is interrupted")
        if length_kind >> 8 > max_frame:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a CONTINUATION frame of {length_kind >> 8} bytes")
        end: int = at + FRAME_HEADER_BYTES + (length_kind >> 8)
        if end - start > MAX_HEADER_BLOCK_BYTES:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"a header block of more than {MAX_HEADER_BLOCK_BYTES} bytes")
        if end > len(data):
            return None
        if flags & h2.END_HEADERS:
            return end
        at = end
    return None
