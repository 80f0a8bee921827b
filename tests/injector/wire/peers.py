"""A client and a server that count windows and refuse what HTTP/2 forbids, and inspectors for the relay in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import hpack

from injector.wire import frames as h2
from injector.wire.inspection import Call, Decision, Place
from injector.wire.messages import Message, joined, split
from injector.wire.relay import Relay

PATH = "/etcdserverpb.KV/Txn"


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def content(self) -> bytes:
        first, last = h2.unpadded(self.payload, 0, len(self.payload), self.flags)
        return self.payload[first:last]


def parse(data: bytes) -> tuple[list[Frame], bytes]:
    """Whole frames and the rest."""
    frames, at = [], 0
    while len(data) - at >= 9:
        length_kind, flags, stream = h2.FRAME_HEADER.unpack_from(data, at)
        end = at + 9 + (length_kind >> 8)
        if end > len(data):
            break
        frames.append(Frame(length_kind & 0xFF, flags, stream, data[at + 9 : end]))
        at = end
    return frames, data[at:]


def frames_of(parts: Sequence[bytes]) -> list[Frame]:
    data = b"".join(parts)
    frames, rest = parse(data.removeprefix(h2.PREFACE))
    assert rest == b""
    return frames


def padded(kind: int, flags: int, stream: int, content: bytes, padding: int) -> bytes:
    return h2.frame(kind, flags | h2.PADDED, stream, bytes((padding,)) + content + bytes(padding))


def request_headers(encoder: hpack.Encoder, stream: int, path: str = PATH, **extra: str) -> bytes:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "etcd"), *extra.items()]
    return h2.frame(h2.HEADERS, h2.END_HEADERS, stream, encoder.encode(fields))


def grpc_body(*messages: bytes) -> bytes:
    return joined([Message(False, message) for message in messages])


@dataclass
class Heard:
    """A Call that decides with a function and remembers everything."""

    decide: Callable[[bytes], Decision]
    listening: bool = True
    decide_answer: Callable[[bytes], Decision] = lambda _: None
    requests: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)
    unread_whys: list[str] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)

    def request(self, message: bytes) -> Decision:
        self.requests.append(message)
        return self.decide(message)

    def unread(self, why: str) -> None:
        self.unread_whys.append(why)

    def response(self, message: bytes) -> Decision:
        self.responses.append(message)
        return self.decide_answer(message)

    def ended(self, status: int | None) -> None:
        self.statuses.append(status)


class Inspecting:
    """An Inspector of all calls to `PATH`."""

    def __init__(
        self,
        decide: Callable[[bytes], Decision] = lambda _: None,
        *,
        listening: bool = True,
        answers: Callable[[bytes], Decision] = lambda _: None,
    ) -> None:
        self.decide, self.listening, self.answers = decide, listening, answers
        self.calls: list[Heard] = []
        self.places: list[Place] = []

    def call(self, path: bytes, place: Place) -> Call | None:
        if path != PATH.encode():
            return None
        self.places.append(place)
        self.calls.append(Heard(self.decide, self.listening, self.answers))
        return self.calls[-1]


@dataclass
class Windows:
    """What one side of a connection may send: its own count, as HTTP/2 defines it."""

    connection: int = h2.DEFAULT_WINDOW_BYTES
    initial: int = h2.DEFAULT_WINDOW_BYTES
    streams: dict[int, int] = field(default_factory=dict)

    def room(self, stream: int) -> int:
        return min(self.connection, self.streams.setdefault(stream, self.initial))

    def spend(self, stream: int, length: int) -> None:
        assert length == 0 or length <= self.room(stream), (
            f"{length} bytes on stream {stream}, room {self.room(stream)}"
        )
        self.connection -= length
        self.streams[stream] -= length

    def grant(self, stream: int, increment: int) -> None:
        assert 0 < increment < 1 << 31
        if stream == 0:
            self.connection += increment
            assert self.connection < 1 << 31
        else:
            self.streams[stream] = self.streams.setdefault(stream, self.initial) + increment


class Server:
    """Takes requests, asserts its windows, gives them back once `unreturned` bytes have gathered."""

    def __init__(self, *, initial: int = h2.DEFAULT_WINDOW_BYTES, lazy_bytes: int = 0) -> None:
        self.windows = Windows(initial=initial)
        self.initial, self.lazy_bytes = initial, lazy_bytes
        self.rest, self.bodies = b"", dict[int, bytearray]()
        self.ended, self.reset = set[int](), dict[int, int]()
        self.decoder = hpack.Decoder()
        self.gathered: dict[int, int] = {}
        self.seen: list[Frame] = []

    def greeting(self) -> bytes:
        setting = h2.Setting.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + self.initial.to_bytes(4, "big")
        return h2.frame(h2.SETTINGS, 0, 0, setting)

    def receive(self, data: bytes) -> bytes:
        frames, self.rest = parse(self.rest + data.removeprefix(h2.PREFACE))
        self.seen += frames
        return b"".join(self._frame(frame) for frame in frames)

    def _frame(self, frame: Frame) -> bytes:
        assert len(frame.payload) <= h2.DEFAULT_MAX_FRAME_BYTES
        if frame.kind == h2.HEADERS:
            assert frame.flags & h2.END_HEADERS
            self.decoder.decode(frame.content)
            self.bodies.setdefault(frame.stream, bytearray())
        elif frame.kind == h2.RST_STREAM:
            self.reset[frame.stream] = int.from_bytes(frame.payload, "big")
        elif frame.kind == h2.DATA:
            assert frame.stream not in self.ended | set(self.reset), "DATA on a closed stream"
            self.windows.spend(frame.stream, len(frame.payload))
            self.bodies[frame.stream] += frame.content
            if frame.flags & h2.END_STREAM:
                self.ended.add(frame.stream)
            return self._give_back(frame.stream, len(frame.payload))
        return b""

    def _give_back(self, stream: int, length: int) -> bytes:
        back = b""
        for level in (0, stream):
            self.gathered[level] = self.gathered.get(level, 0) + length
            if self.gathered[level] > self.lazy_bytes or self.windows.room(stream) == 0:
                if self.gathered[level]:
                    back += h2.window_update(level, self.gathered[level])
                    self.windows.grant(level, self.gathered[level])
                self.gathered[level] = 0
        return back

    def give_all_back(self) -> bytes:
        back = b""
        for level, length in self.gathered.items():
            if length:
                self.windows.grant(level, length)
                back += h2.window_update(level, length)
        self.gathered.clear()
        return back

    def messages(self, stream: int) -> list[bytes]:
        messages, missing = split(self.bodies[stream])
        assert missing == 0
        return [message.content for message in messages]


class Client:
    """Sends gRPC requests as far as its windows let it."""

    def __init__(self) -> None:
        self.windows = Windows()
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.rest, self.queue = b"", list[tuple[int, bytes]]()
        self.headers: dict[int, list[dict[str, str]]] = {}
        self.bodies: dict[int, bytearray] = {}
        self.reset: dict[int, int] = {}

    def request(self, stream: int, body: bytes) -> bytes:
        self.queue.append((stream, body))
        return request_headers(self.encoder, stream)

    def send(self, frame_bytes: int, padding: int = 0) -> bytes:
        """As much of the queue as fits, in frames of at most `frame_bytes`."""
        out = b""
        for number, (stream, body) in enumerate(self.queue):
            extra = padding + 1 if padding else 0
            while body:
                room = min(frame_bytes, self.windows.room(stream) - extra, len(body))
                if room <= 0:
                    break
                part, body = body[:room], body[room:]
                self.windows.spend(stream, room + extra)
                flags = 0 if body else h2.END_STREAM
                out += padded(0, flags, stream, part, padding) if padding else h2.frame(0, flags, stream, part)
            self.queue[number] = (stream, body)
        self.queue = [(stream, body) for stream, body in self.queue if body]
        return out

    def receive(self, data: bytes) -> None:
        frames, self.rest = parse(self.rest + data)
        for frame in frames:
            if frame.kind == h2.SETTINGS:
                for name, value in h2.settings_of(frame.payload):
                    if name == h2.Setting.INITIAL_WINDOW_SIZE:
                        for stream in self.windows.streams:
                            self.windows.streams[stream] += value - self.windows.initial
                        self.windows.initial = value
            elif frame.kind == h2.WINDOW_UPDATE:
                self.windows.grant(frame.stream, int.from_bytes(frame.payload, "big"))
            elif frame.kind == h2.HEADERS:
                fields = dict(self.decoder.decode(frame.content))
                self.headers.setdefault(frame.stream, []).append(fields)
            elif frame.kind == h2.DATA:
                self.bodies.setdefault(frame.stream, bytearray()).extend(frame.content)
            elif frame.kind == h2.RST_STREAM:
                self.reset[frame.stream] = int.from_bytes(frame.payload, "big")


def cut(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    while data:
        size = next(sizes)
        yield data[:size]
        data = data[size:]


def converse(
    relay: Relay, client: Client, server: Server, opening: bytes, sizes: Iterator[int], *, frame_bytes: int = 16384,
    padding: int = 0,
) -> None:  # fmt: skip
    """Carry bytes both ways, cut at random places, until neither side has anything to say."""
    client.receive(b"".join(relay.from_upstream(server.greeting()).to_client))
    outgoing = opening
    while True:
        outgoing += client.send(frame_bytes, padding)
        if not outgoing:
            return
        for part in cut(outgoing, sizes):
            output = relay.from_client(part)
            assert output.error is None
            client.receive(b"".join(output.to_client))
            answer = server.receive(b"".join(output.to_upstream))
            while answer:
                said, answer = answer, b""
                for piece in cut(said, sizes):
                    output = relay.from_upstream(piece)
                    assert output.error is None
                    client.receive(b"".join(output.to_client))
                    answer += server.receive(b"".join(output.to_upstream))
        outgoing = b""
