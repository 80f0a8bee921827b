"""One end of a terminated HTTP/2 connection: h2's state of it, and what waits for its windows, stream by stream.

PING and GOAWAY are taken out of the bytes before h2 sees them. A PING is the other end's to answer, so that a client
that checks its connection checks upstream's. After a GOAWAY h2 would refuse everything, though it only says that no
stream will be added (RFC 9113, 6.8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.settings import SettingCodes, Settings
from hpack import Encoder, HeaderTuple

from injector.wire import frames as h2
from injector.wire.frames import FRAME_HEADER, FRAME_HEADER_BYTES

__all__ = ["Control", "End", "Fields", "Way"]

WINDOW_BYTES = 1 << 20
"""Of each stream: what may wait in here of it. Arbitrary: Go's http2 server grants as much, its client 4 MiB."""

CONNECTION_WINDOW_BYTES = 1 << 30
"""As Go's client: a stream that waits must not stop the others."""

MAX_FRAME_BYTES = 256 << 10
"""What we take in one frame. Arbitrary: large lists then come in few frames; Go's server takes up to 1 MiB."""

MAX_HEADER_BYTES = 1 << 20
"""Go's http2 server."""

_PING = 6

Fields = list[HeaderTuple]


@dataclass(frozen=True, slots=True)
class Control:
    """A PING or GOAWAY frame as it came."""

    kind: int
    frame: bytes

    @property
    def payload(self) -> bytes:
        return self.frame[FRAME_HEADER_BYTES:]

    @property
    def is_goaway(self) -> bool:
        return self.kind == h2.GOAWAY

    @property
    def is_answer(self) -> bool:
        """Of a PING: whether it answers one."""
        return bool(self.frame[4] & h2.ACK)


@dataclass(slots=True)
class _Head:
    fields: Fields
    ends: bool
    opens: bool = False


@dataclass(slots=True)
class _Data:
    content: memoryview
    paid: int
    ends: bool


@dataclass(slots=True)
class _Reset:
    code: int


class Way:
    """What is to be sent on one stream of an end. `number` is None until a stream of ours was begun; `credited` is the
    way whose data this one passes on; `sent`: the end, or a reset, went out; `shut`: the stream is gone."""

    __slots__ = ("_end", "_ending", "_queue", "credited", "number", "sent", "shut")

    def __init__(self, end: End, number: int | None = None) -> None:
        self._end, self.number = end, number
        self._queue: deque[_Head | _Data | _Reset] = deque()
        self._ending = self.shut = self.sent = False
        self.credited: Way | None = None

    def head(self, fields: Fields, *, ends: bool, opens: bool = False) -> None:
        self._put(_Head(fields, ends, opens))

    def data(self, content: bytes, *, paid: int, ends: bool) -> None:
        if self._ending or self.shut or not (self._queue or content or ends):
            self._credit(paid)
        else:
            self._put(_Data(memoryview(content), paid, ends))

    def reset_in_turn(self, code: int) -> None:
        self._put(_Reset(code))

    def reset(self, code: int) -> None:
        """At once; what waits is dropped."""
        if not self.shut and self.number is not None:
            self._end.reset(self.number, code)
        self.discard()

    def discard(self) -> None:
        """The stream is gone."""
        queue, self._queue, self.shut, self.sent = self._queue, deque(), True, True
        self._end.busy.pop(self, None)
        self._credit(sum(item.paid for item in queue if isinstance(item, _Data)))

    def _put(self, item: _Head | _Data | _Reset) -> None:
        if self.shut or (self._ending and not isinstance(item, _Reset)):
            return
        self._ending = isinstance(item, _Reset) or item.ends
        self._queue.append(item)
        self._end.busy[self] = None

    def _credit(self, paid: int) -> None:
        if self.credited is not None and self.credited.number is not None:
            self.credited.acknowledge(paid)

    def acknowledge(self, paid: int) -> None:
        """Data that came on this stream went on."""
        if paid and self.number is not None:
            self._end.connection.acknowledge_received_data(paid, self.number)

    def pump(self) -> None:
        """Send what the windows allow."""
        while self._queue and self._send(self._queue[0]):
            if self._queue:
                self._queue.popleft()
        if not self._queue:
            self._end.busy.pop(self, None)

    def _send(self, item: _Head | _Data | _Reset) -> bool:
        """Whether all of it went."""
        connection = self._end.connection
        if isinstance(item, _Data):
            return self._send_data(item)
        if isinstance(item, _Head):
            if item.opens and not self._end.open(self):
                return False
            assert self.number is not None
            connection.send_headers(self.number, item.fields, end_stream=item.ends)
            self.sent = item.ends
        elif self.number is not None:
            self._end.reset(self.number, item.code)
            self.discard()
        return True

    def _send_data(self, item: _Data) -> bool:
        assert self.number is not None
        connection = self._end.connection
        while item.content:
            room = min(connection.local_flow_control_window(self.number), connection.max_outbound_frame_size)
            if room <= 0:
                return False
            part, item.content = item.content[:room], item.content[room:]
            connection.send_data(self.number, bytes(part), end_stream=item.ends and not item.content)
            self.sent = item.ends and not item.content
        if item.ends and not self.sent:
            connection.end_stream(self.number)
            self.sent = True
        self._credit(item.paid)
        return True


class End:
    """`ways`: by their stream. `going`: the peer takes no more streams; those of ours that can't be begun are put into
    `refused`."""

    def __init__(self, *, client_side: bool) -> None:
        config = H2Configuration(
            client_side=client_side, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False, normalize_inbound_headers=False,
        )  # fmt: skip
        self.connection = connection = H2Connection(config)
        connection.local_settings = Settings(client=client_side, initial_values=_SETTINGS)
        if client_side:
            connection.local_settings.enable_push = 0
            connection.local_settings.acknowledge()
        connection.encoder = _Unpacked()
        connection.max_inbound_frame_size = MAX_FRAME_BYTES
        connection.decoder.max_header_list_size = MAX_HEADER_BYTES
        self._sift = _Sift(0 if client_side else len(h2.PREFACE))
        self.ways: dict[int, Way] = {}
        self.busy: dict[Way, None] = {}
        self.refused: list[Way] = []
        self.going = False

    def begin(self) -> None:
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(CONNECTION_WINDOW_BYTES - h2.DEFAULT_WINDOW_BYTES)

    def receive(self, data: bytes) -> Iterator[Event | Control]:
        """h2.exceptions.ProtocolError, after which there is a GOAWAY to be sent."""
        for piece in self._sift.pieces(data):
            if isinstance(piece, Control):
                yield piece
            else:
                yield from self.connection.receive_data(piece)

    def accepted(self, number: int) -> Way:
        """The peer began a stream."""
        self.ways[number] = way = Way(self, number)
        return way

    def open(self, way: Way) -> bool:
        """Begin a stream of ours, if the peer lets us have one more now."""
        if self.going:
            way.discard()
            self.refused.append(way)
            return False
        if self.connection.open_outbound_streams >= self.connection.remote_settings.max_concurrent_streams:
            return False
        way.number = self.connection.get_next_available_stream_id()
        self.ways[way.number] = way
        return True

    def forget(self, way: Way) -> None:
        if way.number is not None:
            self.ways.pop(way.number, None)

    def reset(self, number: int, code: int) -> None:
        stream = self.connection.streams.get(number)
        if stream is not None and not stream.closed:
            self.connection.reset_stream(number, code)

    def pump(self) -> list[Way]:
        """Queue all that the windows allow; `connection.data_to_send` gives it. Returns what was tried."""
        ways = list(self.busy)
        for way in ways:
            way.pump()
        return ways


class _Unpacked(Encoder):  # type: ignore[misc]  # hpack is untyped to mypy here
    """Without Huffman's code, which takes hpack longer than all the rest of a request and saves nothing on loopback."""

    def encode(self, headers: Fields, huffman: bool = False) -> bytes:
        encoded: bytes = super().encode(headers, huffman=False)
        return encoded


_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: 100,
    SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
    SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
}
"""100 streams, h2's and Go's least, until upstream says how many it takes."""


class _Sift:
    """Takes whole PING and GOAWAY frames out. What is wrong with them, or stands where it must not, is left to h2."""

    def __init__(self, skip: int) -> None:
        self._skip = skip  # so much more passes: of a frame, or the preface
        self._tail = b""
        self._in_block = False

    def pieces(self, data: bytes) -> Iterator[bytes | Control]:
        data = self._tail + data
        start, at, size = 0, min(self._skip, len(data)), len(data)
        self._skip -= at
        while size - at >= FRAME_HEADER_BYTES:
            length_kind, flags, stream = FRAME_HEADER.unpack_from(data, at)
            length, kind = length_kind >> 8, length_kind & 0xFF
            end = at + FRAME_HEADER_BYTES + length
            if not self._takes(kind, length, stream):
                if kind in (h2.HEADERS, h2.PUSH_PROMISE, h2.CONTINUATION):
                    self._in_block = not flags & h2.END_HEADERS
                self._skip, at = max(0, end - size), min(end, size)
                continue
            if end > size:
                break
            if start < at:
                yield data[start:at]
            yield Control(kind, data[at:end])
            start = at = end
        self._tail = data[at:]
        if start < at:
            yield data[start:at]

    def _takes(self, kind: int, length: int, stream: int) -> bool:
        if self._in_block or stream & 0x7FFFFFFF:
            return False
        return (kind == _PING and length == 8) or (kind == h2.GOAWAY and 8 <= length <= h2.DEFAULT_MAX_FRAME_BYTES)
