"""One client connection and the upstream connection it is forwarded to: bytes in, bytes out, no sockets, no clock.

Frames are copied as they come. What has to be understood is read and checked; all else is left to the receiver, which
is a whole HTTP/2 implementation. Units are whole frames, and a header block with all its CONTINUATION frames, so that
frames of our own never land inside one.

A call is watched if the inspector wants it (asked when its HEADERS pass). Then its DATA, either way, is held back until
it ends at the end of a message, each message is put to the call, and what was held goes on as it came, or re-framed
with a changed message, or later, or not at all (injector.wire.strands). `lasting` calls, which may be under way when an
inspector appears (etcd's watches are opened when kube-apiserver starts), are followed from their beginning, so that
they can be looked at from any message on, and the inspector is asked for them again when another one is there.

A client's HEADERS are never held or swallowed, so upstream's HPACK table stays as the client left it. A dropped call is
reset upstream after its HEADERS went through. Upstream's header blocks are passed as they came, until one of them has
to wait behind a held message or to be swallowed: from then on every block of that connection is taken in here and sent
to the client as literals, which need no table (RFC 7541, 6.2.2).

Held messages go on when their gates open: whoever drives the relay is given the gates (`Output.gates`), opens those
that say when, and calls `released` after any of them has opened.

Deliberately not here: TLS, HTTP/1, server push to watched calls, request trailers on watched calls (gRPC has none; such
a call is reset).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from injector.wire import frames as h2
from injector.wire.answers import answer_frames
from injector.wire.frames import (
    DATA,
    END_HEADERS,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    HEADERS,
    PUSH_PROMISE,
    ErrorCode,
    Http2Error,
    Setting,
)
from injector.wire.headers import literal_block, table_sizes
from injector.wire.inspection import Call, Gate, Inspector, Place
from injector.wire.lanes import Lane
from injector.wire.strands import Asked, Dropped, Strand

__all__ = ["MAX_MESSAGE_BYTES", "MAX_RESPONSE_BYTES", "Output", "Relay"]

MAX_MESSAGE_BYTES = 16 << 20
"""Longer requests pass uninspected. etcd refuses them far earlier (--max-request-bytes: 1.5 MiB)."""

MAX_RESPONSE_BYTES = 256 << 20
"""Longer answers pass uninspected, and no more waits behind one that is held. Arbitrary, because it only bounds memory:
a list of a whole resource in one answer, 10,000 objects of 25 KB."""

MAX_HEADER_BLOCK_BYTES = 1 << 20
"""With CONTINUATION frames; arbitrary, because it only bounds memory (Go's http2 server: 1 MiB of headers)."""

_header_at = FRAME_HEADER.unpack_from

_WINDOW_UPDATE = 4 << 8 | h2.WINDOW_UPDATE
"""Length and type of a WINDOW_UPDATE as they stand in its header."""

_Handler = Callable[[int, int, bytes, int, int], bytes | None]
"""(stream, flags, data, start, end) of a unit → None: copy it, or the bytes to send in its place."""


@dataclass(slots=True)
class Output:
    """What to send, in order; `gates` that messages began to wait for; `error` set: send it, then close both
    connections."""

    to_client: list[bytes]
    to_upstream: list[bytes]
    gates: Sequence[Gate] = ()
    error: Http2Error | None = None


@dataclass(slots=True)
class _Watched:
    """A call whose messages are looked at, or (`call` is None) may be later. `opened`: the client has the answer's
    HEADERS; `answered`: upstream has ended its side."""

    path: bytes
    up: Strand
    down: Strand
    lasting: bool
    call: Call | None = None
    inspector: Inspector | None = None
    opened: bool = False
    answered: bool = False
    dropped: bool = False

    def attend(self, inspector: Inspector | None, call: Call | None) -> tuple[bytes, bytes]:
        """From their next messages on. Returns what is to be sent up and down of what was held for the one before."""
        self.inspector, self.call = inspector, call
        if call is None:
            return self.up.attend(None), self.down.attend(None)
        return (
            self.up.attend(Asked(call.request, call.unread)),
            self.down.attend(Asked(call.response, call.unread)),
        )


class Relay:
    """`armed` is asked at every request; while it returns None no message is looked at. `lasting`: the paths of calls
    that are followed all the same. `connection`: its number, which inspectors are told."""

    connection = 0

    def __init__(self, armed: Callable[[], Inspector | None], *, lasting: Collection[bytes] = ()) -> None:
        self._armed, self._lasting = armed, frozenset(lasting)
        self._to_client: list[bytes] = []
        self._to_upstream: list[bytes] = []
        self._gates: list[Gate] = []
        self._up = Lane(self._to_upstream, self._to_client)
        self._down = Lane(self._to_client, self._to_upstream)
        self._watched: dict[int, _Watched] = {}
        self._last_stream = 0
        self._greeted = self._answered = False
        self._literal = False
        self._over = False
        self.requests = 0
        self._client_handlers: dict[int, _Handler] = {
            DATA: self._request_data,
            HEADERS: self._request_headers,
            h2.RST_STREAM: self._request_reset,
            h2.SETTINGS: lambda _, flags, data, at, end: self._settings(self._down, flags, data[at + 9 : end]),
            h2.WINDOW_UPDATE: lambda stream, _, data, at, end: self._granted(self._down, stream, data[at + 9 : end]),
            PUSH_PROMISE: self._misplaced,
            h2.CONTINUATION: self._misplaced,
        }
        self._upstream_handlers: dict[int, _Handler] = {
            DATA: self._response_data,
            HEADERS: self._response_headers,
            h2.RST_STREAM: self._response_reset,
            h2.SETTINGS: lambda _, flags, data, at, end: self._settings(self._up, flags, data[at + 9 : end]),
            h2.WINDOW_UPDATE: lambda stream, _, data, at, end: self._granted(self._up, stream, data[at + 9 : end]),
            PUSH_PROMISE: self._promise,
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

    def released(self) -> Output:
        """What may go on now that gates have opened."""
        if not self._over:
            for stream, watched in list(self._watched.items()):
                if watched.up.ready:
                    self._resume_request(stream, watched)
                if watched.down.ready:
                    self._resume_response(stream, watched)
        return self._output()

    def closed(self) -> None:
        """The connections are gone: calls that wait for an answer learn that none will come."""
        self._over = True
        for watched in self._watched.values():
            self._ended(watched, None)
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
        traffic, so it is written for speed: DATA that nobody asks about, and WINDOW_UPDATEs for it, only get counted,
        and what has no handler (PING above all: two a transaction) is passed over. `back` is the other direction, whose
        windows the frames in `lane` grant."""
        if lane.tail:
            data = lane.tail + data
        window, watched = lane.window, self._watched
        limit = lane.max_frame + 1 << 8
        at = start = 0
        size = len(data)
        last = size - FRAME_HEADER_BYTES
        while at <= last:
            length_kind, flags, stream = _header_at(data, at)
            if length_kind >= limit:
                limit = _checked_limit(lane, length_kind >> 8)
            end = at + FRAME_HEADER_BYTES + (length_kind >> 8)
            if end > size:
                break
            kind = length_kind & 0xFF
            if kind not in handlers:
                at = end
                continue
            if stream not in watched:
                if kind == DATA:
                    if not (window.lead or lane.pending):
                        window.budget -= length_kind >> 8
                        at = end
                        continue
                elif (
                    length_kind == _WINDOW_UPDATE
                    and not back.window.lead
                    and not back.pending
                    and stream not in back.streams
                ):
                    if not stream:
                        back.window.budget += int.from_bytes(data[end - 4 : end], "big") & 0x7FFFFFFF
                    at = end
                    continue
            if not flags & END_HEADERS and kind in (HEADERS, PUSH_PROMISE):
                whole = _block_end(data, at, end, stream, lane.max_frame)
                if whole is None:
                    break
                end = whole
            instead = handlers[kind](stream, flags, data, at, end)
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
        if self._gates:
            output.gates = self._gates[:]
            self._gates.clear()
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
        watched = self._watched.get(stream)
        if watched is not None:  # trailers: must not overtake the DATA that is held, nor wait for it
            self._up.headers.follow(block)
            return None if watched.call is None else data[at:end] + self._reset_both(stream, watched)
        self.requests += 1
        self._last_stream = max(stream, self._last_stream)
        inspector = self._armed()
        if inspector is None and not self._lasting:
            self._up.headers.follow(block)
            return None
        path = self._up.headers.find(block, b":path")
        if path is None or flags & h2.END_STREAM:
            return None
        lasting = path in self._lasting
        call = inspector.call(path, Place(self.connection, stream)) if inspector is not None else None
        if call is not None or lasting:
            self._up.watch(stream)
            self._down.watch(stream)
            up = Strand(self._up, stream, most_bytes=MAX_MESSAGE_BYTES, gates=self._gates, cuts=lasting)
            down = Strand(self._down, stream, most_bytes=MAX_RESPONSE_BYTES, gates=self._gates, cuts=lasting)
            watched = self._watched[stream] = _Watched(path, up, down, lasting)
            watched.attend(inspector, call)
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
        before = self._attend(stream, watched, up=True) if watched.lasting else b""
        sent = watched.up.data(data[at:end], data[first:last], paid=paid, ends=ends)
        if isinstance(sent, Dropped):
            return before + self._drop_request(stream, watched, sent)
        self._request_went(stream, watched)
        return before + (data[at:end] if sent is None else sent) if before else sent

    def _attend(self, stream: int, watched: _Watched, *, up: bool) -> bytes:
        """Ask the inspector that is armed now, if it is another one. Returns what is to be sent first in the direction
        that is being read; the other one's goes out at once."""
        inspector = self._armed()
        if inspector is watched.inspector or watched.up.waiting or watched.down.waiting or watched.answered:
            return b""
        if inspector is None and watched.call is not None and watched.call.listening:
            return b""
        if watched.call is not None:
            watched.call.ended(None)
        call = inspector.call(watched.path, Place(self.connection, stream)) if inspector else None
        to_upstream, to_client = watched.attend(inspector, call)
        here, there, lane = (to_upstream, to_client, self._down) if up else (to_client, to_upstream, self._up)
        if there:
            lane.out.append(there)
        return here

    def _request_went(self, stream: int, watched: _Watched) -> None:
        """A unary call that nobody listens to any more is copied from now on."""
        if watched.lasting or not (watched.up.over and watched.up.idle and watched.down.idle):
            return
        if watched.answered or (watched.call is not None and not watched.call.listening):
            self._forget(stream)

    def _drop_request(self, stream: int, watched: _Watched, dropped: Dropped) -> bytes:
        """Reset the call upstream and answer it ourselves. What was held has been given back, so only the frame just
        read is owed to the connection's window."""
        watched.dropped = True
        watched.down.discard()
        self._up.cancel(stream)
        self._up.swallow(dropped.owed)
        answer = dropped.drop.answer
        if answer is not None and not watched.answered:
            self._to_client.extend(answer_frames(self._down, stream, answer, opened=watched.opened))
        return dropped.before + h2.rst_stream(stream, ErrorCode.CANCEL)

    def _resume_request(self, stream: int, watched: _Watched) -> None:
        sent = watched.up.resume()
        if isinstance(sent, Dropped):
            self._to_upstream.append(self._drop_request(stream, watched, sent))
            return
        if sent:
            self._to_upstream.append(sent)
        self._request_went(stream, watched)

    def _request_reset(self, stream: int, _flags: int, _data: bytes, _at: int, _end: int) -> bytes | None:
        watched = self._watched.get(stream)
        self._down.cancel(stream)
        if watched is not None and watched.dropped:
            self._forget(stream)
            return b""
        self._up.cancel(stream)
        if watched is not None:
            self._ended(watched, None)
            self._forget(stream)
        return None

    def _reset_both(self, stream: int, watched: _Watched) -> bytes:
        self._up.cancel(stream)
        if not watched.dropped:
            if watched.call is not None:
                watched.call.unread("a gRPC request has no trailers")
            self._ended(watched, None)
            watched.dropped = True
        self._to_client.append(h2.rst_stream(stream, ErrorCode.PROTOCOL_ERROR))
        return h2.rst_stream(stream, ErrorCode.CANCEL)

    # Answers

    def _response_headers(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        block = h2.header_fragment(data, at, end)
        watched = self._watched.get(stream)
        if watched is None and not (self._literal or self._down.pending):
            self._down.headers.follow(block)  # nearly all of them
            return None
        ends = bool(flags & h2.END_STREAM)
        if watched is None or not (watched.dropped or ends):
            if watched is not None:
                watched.opened = True
            return self._pass_headers(stream, data, at, end, block, ends=ends)
        if watched.dropped or watched.down.stalled:
            fields = self._down.headers.fields(block)
            self._literal = True
            if not watched.dropped:
                watched.down.ending = self._literal_frames(stream, block, fields, ends=True)
                self._response_over(stream, watched, _status(fields))
            return b""
        before = watched.down.finish()
        if self._literal:
            fields = self._down.headers.fields(block)
            status, frames = _status(fields), self._literal_frames(stream, block, fields, ends=True)
        else:
            found = self._down.headers.find(block, b"grpc-status")
            status, frames = _number(found), data[at:end]
        after = self._down.after_pending(stream, frames, in_turn=not self._literal)
        self._response_over(stream, watched, status)
        return before + after

    def _pass_headers(self, stream: int, data: bytes, at: int, end: int, block: bytes, *, ends: bool) -> bytes | None:
        if self._literal:
            frames = self._literal_frames(stream, block, self._down.headers.fields(block), ends=ends)
            return self._down.after_pending(stream, frames, in_turn=False)
        self._down.headers.follow(block)
        return self._down.after_pending(stream, data[at:end]) if self._down.pending else None

    def _literal_frames(self, stream: int, block: bytes, fields: list[tuple[bytes, bytes]], *, ends: bool) -> bytes:
        """The block as literals; changes of the table's size stay in front, as the client may be waiting for one."""
        literals = table_sizes(block) + literal_block(fields)
        return h2.header_frames(stream, literals, end_stream=ends, max_frame_bytes=self._down.max_frame)

    def _promise(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        if self._literal:
            raise Http2Error(
                ErrorCode.INTERNAL_ERROR, "a PUSH_PROMISE on a connection whose header blocks are rewritten"
            )
        return self._pass_headers(stream, data, at, end, h2.header_fragment(data, at, end), ends=False)

    def _response_over(self, stream: int, watched: _Watched, status: int | None) -> None:
        self._ended(watched, status)
        watched.answered = True
        if watched.up.waiting:  # upstream does not want the rest any more
            watched.up.discard()
            self._to_upstream.append(h2.rst_stream(stream, ErrorCode.CANCEL))
            watched.up.over = True
        if watched.down.idle and (watched.up.over or watched.call is None):
            self._forget(stream)

    def _response_data(self, stream: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        first, last = h2.unpadded(data, at + FRAME_HEADER_BYTES, end, flags)
        watched = self._watched.get(stream)
        paid, ends = end - at - FRAME_HEADER_BYTES, bool(flags & h2.END_STREAM)
        if watched is None:
            return self._copy(self._down, stream, data[at:end], data[first:last], ends)
        if watched.dropped:
            self._down.swallow(paid)
            return b""
        before = self._attend(stream, watched, up=False) if watched.lasting else b""
        sent = watched.down.data(data[at:end], data[first:last], paid=paid, ends=ends)
        if isinstance(sent, Dropped):
            return before + self._drop_response(stream, watched, sent)
        if ends:  # gRPC ends with trailers; this is something else
            self._response_over(stream, watched, None)
        return before + (data[at:end] if sent is None else sent) if before else sent

    def _drop_response(self, stream: int, watched: _Watched, dropped: Dropped) -> bytes:
        """What upstream answered does not arrive."""
        self._ended(watched, None)
        watched.dropped = True
        watched.up.discard()
        self._up.cancel(stream)
        self._down.swallow(dropped.owed)
        if not watched.answered:
            self._to_upstream.append(h2.rst_stream(stream, ErrorCode.CANCEL))
        answer = dropped.drop.answer
        frames = [] if answer is None else answer_frames(self._down, stream, answer, opened=watched.opened)
        return dropped.before + b"".join(frames)

    def _resume_response(self, stream: int, watched: _Watched) -> None:
        ending = watched.down.ending
        sent = watched.down.resume()
        if isinstance(sent, Dropped):
            self._to_client.append(self._drop_response(stream, watched, sent))
            return
        if ending and not watched.down.stalled:
            sent += watched.down.finish()
            sent += self._down.after_pending(stream, ending, in_turn=False)
        if sent:
            self._to_client.append(sent)
        if watched.answered and watched.down.idle and (watched.up.over or watched.call is None):
            self._forget(stream)

    def _response_reset(self, stream: int, _flags: int, _data: bytes, _at: int, _end: int) -> bytes | None:
        watched = self._watched.get(stream)
        if watched is not None and (watched.dropped or watched.down.ending):
            return b""
        self._down.cancel(stream)
        if watched is not None:
            self._ended(watched, None)
            self._up.cancel(stream)
            self._forget(stream)
        return None

    def _copy(self, lane: Lane, stream: int, raw: bytes, payload: bytes, ends: bool) -> bytes | None:
        """A DATA frame that is not held, on a connection whose windows have to be watched."""
        paid = len(raw) - FRAME_HEADER_BYTES
        if lane.copied(stream, paid, paid=paid):
            return None
        return lane.release(stream, payload, paid=paid, end_stream=ends)

    def _ended(self, watched: _Watched, status: int | None) -> None:
        """Tell the call that it is over, once."""
        if watched.call is not None and not watched.dropped and not watched.answered:
            watched.call.ended(status)

    def _forget(self, stream: int) -> None:
        self._watched.pop(stream, None)
        self._up.forget(stream)
        self._down.forget(stream)


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None


def _status(fields: list[tuple[bytes, bytes]]) -> int | None:
    return _number(dict(fields).get(b"grpc-status"))


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
