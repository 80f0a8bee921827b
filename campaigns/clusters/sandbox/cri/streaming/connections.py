"""A client's upgraded connection: one socket, several streams, whichever of SPDY and WebSocket it speaks.

The thread that calls `run` reads the socket until the client has gone; any thread may write. What a stream's reader has
not taken yet waits in the stream, up to `_HELD_BYTES`; after that the socket is not read any more, which is the only
brake that client-go understands (spdystream has no flow control either, and blocks after 50 frames). A client that
leaves meanwhile is still noticed, unless more is under way than the kernel's buffers hold.

Nobody here raises because a client has gone: writing to it does nothing then, reading from it gives its end.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from campaigns.clusters.sandbox.cri.streaming import spdy, websocket

__all__ = ["Connection", "SpdyConnection", "Stream", "WebSocketConnection"]

_HELD_BYTES = 1 << 20
"""A stream's; arbitrary, about what spdystream holds (50 frames of io.Copy's 32 KiB)."""
_RECEIVE_BYTES = 1 << 18
"""Arbitrary: eight of io.Copy's writes."""
_IDLE_S = 4 * 3600.0
"""Without a byte in either direction; k8s.io/cri-streaming v0.36.3, DefaultConfig.StreamIdleTimeout."""
_LINGER_S = 5.0
"""How long a client may take to close after it was told the end. Closing at once while it still sends would make the
kernel reset the connection and take our last bytes, among them the exit code, from it. Arbitrary."""
_LOOK_S = 1.0
"""How often a reader that waits for room looks whether the client is still there. Arbitrary."""


class Stream:
    """One stream. `headers`: what the client opened it with (SPDY: names in lower case; WebSocket: none)."""

    def __init__(self, connection: Connection, number: int, headers: Mapping[str, str]) -> None:
        self.number, self.headers = number, headers
        self._connection = connection
        self._changed = threading.Condition()
        self._parts: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False  # the client's direction
        self._finished = False  # ours

    def read(self) -> bytes:
        """The next bytes; waits for them. b'': there will be no more (its end, or the client has gone)."""
        with self._changed:
            self._changed.wait_for(lambda: self._parts or self._ended)
            if not self._parts:
                return b""
            data = self._parts.popleft()
            self._held_bytes -= len(data)
            self._changed.notify_all()
            return data

    def write(self, data: bytes) -> None:
        """Waits until the kernel has taken it. Nothing happens after `finish`, a reset, or when the client has gone."""
        if not self._finished:
            self._connection.send_data(self, data)

    def finish(self) -> None:
        """The end of our direction. Idempotent."""
        if not self._finished:
            self._finished = True
            self._connection.send_end(self)
            self._forget_if_done()

    def drop(self) -> None:
        """What the client sends on it from now on is thrown away; a waiting `read` gets b''."""
        with self._changed:
            self._parts.clear()
            self._held_bytes = 0
            self._ended = True
            self._changed.notify_all()

    def close(self, *, reset: bool = False) -> None:
        """Done with both directions: no more is read, and the client is told the end of ours; by `reset` that it went
        wrong."""
        self.drop()
        if reset and not self._finished:
            self._finished = True
            self._connection.send_reset(self)
        self.finish()
        self._connection.forget(self)

    @property
    def finished(self) -> bool:
        """Whether our direction is at its end."""
        return self._finished

    def put(self, data: bytes) -> bool:
        """By the connection: bytes from the client. Waits for room; False: the client left meanwhile."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._ended or self._held_bytes < _HELD_BYTES, _LOOK_S):
                if self._connection.client_left():
                    return False
            if data and not self._ended:
                self._parts.append(data)
                self._held_bytes += len(data)
                self._changed.notify_all()
        return True

    def end(self) -> None:
        """By the connection: the client sends no more; what it sent before can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._forget_if_done()

    def reset(self) -> None:
        """By the connection: the client wants nothing more of it."""
        self._finished = True
        self.drop()
        self._connection.forget(self)

    def _forget_if_done(self) -> None:
        if self._ended and self._finished:
            self._connection.forget(self)


class Connection(ABC):
    """What both protocols share. Owns the socket: `run` closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._calls: list[Callable[[], object]] = []
        self._gone = False
        self._closing_at: float | None = None
        self._active_at = time.monotonic()

    def run(self, first: bytes) -> None:
        """Reads until the client has gone, or `_LINGER_S` after `close`. `first`: what was read already."""
        try:
            self._read(first)
        finally:
            self._leave()

    def close(self) -> None:
        """Tells the client the end of everything; `run` returns when it has closed too. Idempotent."""
        with self._lock:
            if self._closing_at is not None or self._gone:
                return
            self._closing_at = time.monotonic()
            streams = list(self._streams.values())
        for stream in streams:
            stream.drop()
        self._say_goodbye(streams)
        with self._sending, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    @contextlib.contextmanager
    def on_gone(self, call: Callable[[], object]) -> Iterator[None]:
        """Inside the block `call` is called once when the client goes, at once if it has. It may be called a moment
        after the block ended, too."""
        with self._lock:
            gone = self._gone
            if not gone:
                self._calls.append(call)
        if gone:
            call()
        try:
            yield
        finally:
            with self._lock:
                if call in self._calls:
                    self._calls.remove(call)

    def client_left(self) -> bool:
        """Whether the client has closed its end, though more of it may be unread."""
        poll = select.poll()  # no lock: only the reading thread asks, and it is the one that closes the socket
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def forget(self, stream: Stream) -> None:
        """By the stream: both directions are at their end."""
        with self._lock:
            self._streams.pop(stream.number, None)

    @abstractmethod
    def send_data(self, stream: Stream, data: bytes) -> None: ...

    @abstractmethod
    def send_end(self, stream: Stream) -> None: ...

    @abstractmethod
    def send_reset(self, stream: Stream) -> None: ...

    @abstractmethod
    def _received(self, data: bytes) -> bool:
        """Takes the client's bytes; False when there is nothing more to expect from it."""

    @abstractmethod
    def _say_goodbye(self, streams: Sequence[Stream]) -> None: ...

    def _send(self, encode: Callable[[], bytes]) -> None:
        with self._sending:
            if self._gone:
                return
            try:
                self._socket.sendall(encode())
            except OSError:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)  # `run` notices
                return
        self._active_at = time.monotonic()

    def _read(self, data: bytes) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not data or self._received(data):
            if not self._wait(poll):
                return
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError:
                return
            if not data:
                return
            self._active_at = time.monotonic()

    def _wait(self, poll: select.poll) -> bool:
        """Until there is something to read; False when it has taken too long."""
        while not poll.poll(_LINGER_S * 1000):
            now = time.monotonic()
            if now > self._active_at + _IDLE_S or (self._closing_at is not None and now > self._closing_at + _LINGER_S):
                return False
        return True

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # who waits in sendall holds the lock
        with self._sending, self._lock:
            self._gone = True
            calls, self._calls = self._calls, []
            streams = list(self._streams.values())
            self._socket.close()
        for call in calls:
            call()
        for stream in streams:
            stream.end()


class SpdyConnection(Connection):
    """`check`: whether a stream with these headers is welcome; one that isn't is reset."""

    def __init__(self, sock: socket.socket, check: Callable[[Mapping[str, str]], bool]) -> None:
        super().__init__(sock)
        self._check = check
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self._last_number = 0
        self._opened: queue.SimpleQueue[Stream | None] = queue.SimpleQueue()

    def next_stream(self, timeout_s: float | None) -> Stream | None:
        """The next stream that the client opened, in order; None when the client has gone or after `timeout_s`."""
        try:
            stream = self._opened.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if stream is None:
            self._opened.put(None)
        return stream

    def run(self, first: bytes) -> None:
        try:
            super().run(first)
        finally:
            self._opened.put(None)

    def send_data(self, stream: Stream, data: bytes) -> None:
        self._send_frame(spdy.Data(stream.number, data))

    def send_end(self, stream: Stream) -> None:
        self._send_frame(spdy.Data(stream.number, b"", fin=True))

    def send_reset(self, stream: Stream) -> None:
        self._send_frame(spdy.Reset(stream.number, spdy.ResetStatus.CANCEL))

    def _send_frame(self, frame: spdy.Frame) -> None:
        self._send(lambda: self._encoder.encode(frame))

    def _say_goodbye(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            if not stream.finished:
                self.send_reset(stream)
        self._send_frame(spdy.GoAway(self._last_number))

    def _received(self, data: bytes) -> bool:
        try:
            return all(self._frame(frame) for frame in self._decoder.feed(data))
        except spdy.ProtocolError:
            return False

    def _frame(self, frame: spdy.Frame) -> bool:
        match frame:
            case spdy.GoAway():
                return False  # client-go closes its socket after it
            case spdy.SynStream():
                self._open(frame)
            case spdy.Ping(number) if number % 2:
                self._send_frame(frame)
            case spdy.Data(number, data, fin) if (stream := self._streams.get(number)) is not None:
                if not stream.put(data):
                    return False
                if fin:
                    stream.end()
            case spdy.Headers(number, _, True) if (stream := self._streams.get(number)) is not None:
                stream.end()
            case spdy.Reset(number) if (stream := self._streams.get(number)) is not None:
                stream.reset()
        return True

    def _open(self, frame: spdy.SynStream) -> None:
        if frame.stream % 2 == 0 or frame.stream <= self._last_number:
            self._send_frame(spdy.Reset(frame.stream, spdy.ResetStatus.PROTOCOL_ERROR))
            return
        self._last_number = frame.stream
        if not self._check(frame.headers):
            self._send_frame(spdy.Reset(frame.stream, spdy.ResetStatus.CANCEL))
            return
        stream = Stream(self, frame.stream, frame.headers)
        with self._lock:
            if self._closing_at is not None:
                return
            self._streams[frame.stream] = stream
        # before anyone can write to it: spdystream throws away data of a stream without a reply
        self._send_frame(spdy.SynReply(frame.stream, {}))
        if frame.fin:
            stream.end()
        self._opened.put(stream)


class WebSocketConnection(Connection):
    """Channels instead of streams, as many as `channels`; there is no way to end or reset one. `text`: base64."""

    def __init__(self, sock: socket.socket, *, channels: int, text: bool) -> None:
        super().__init__(sock)
        self._text = text
        self._decoder = websocket.Decoder()
        self.channels = tuple(Stream(self, number, {}) for number in range(channels))
        self._streams = {stream.number: stream for stream in self.channels}

    def greet(self, channel: int) -> None:
        """An empty message, by which upstream says that it is ready."""
        self.send_data(self.channels[channel], b"")

    def send_data(self, stream: Stream, data: bytes) -> None:
        self._send(lambda: websocket.channel_frame(stream.number, data, text=self._text))

    def send_end(self, stream: Stream) -> None:
        pass

    def send_reset(self, stream: Stream) -> None:
        pass

    def _say_goodbye(self, streams: Sequence[Stream]) -> None:
        normal = (1000).to_bytes(2, "big")  # RFC 6455, section 7.4.1
        self._send(lambda: websocket.encode(websocket.Opcode.CLOSE, normal))

    def _received(self, data: bytes) -> bool:
        try:
            return all(self._message(message) for message in self._decoder.feed(data))
        except websocket.ProtocolError:
            return False

    def _message(self, message: websocket.Message) -> bool:
        if message.opcode is websocket.Opcode.CLOSE:
            if self._closing_at is None:
                self._say_goodbye(())
            return False
        if message.opcode is websocket.Opcode.PING:
            self._send(lambda: websocket.encode(websocket.Opcode.PONG, message.data))
        elif message.opcode is not websocket.Opcode.PONG:
            return self._data(message.data)
        return True

    def _data(self, message: bytes) -> bool:
        if (parts := websocket.channel_message(message, text=self._text)) is None:
            return True
        number, data = parts
        stream = self._streams.get(number)
        return stream is None or stream.put(data)
