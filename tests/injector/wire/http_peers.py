"""HTTP clients and servers of h2's and h11's around a proxy, and inspectors that remember everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

from injector.wire.exchange import (
    AnswerHead,
    Exchange,
    ExchangeInspector,
    MessageDecision,
    RequestDecision,
    RequestHead,
)
from injector.wire.http2_proxy import Http2Proxy
from injector.wire.inspection import Gate
from injector.wire.proxying import Output

WATCH = "/api/v1/pods?watch=true"
LINES = (("content-type", "application/json"),)
PREFIXED = (("content-type", "application/vnd.kubernetes.protobuf;stream=watch"),)


@dataclass
class Looked:
    """An exchange that decides with functions and remembers everything."""

    head: RequestHead
    decide: Callable[[bytes], RequestDecision] = lambda _: None
    decide_answer: Callable[[bytes], MessageDecision] = lambda _: None
    listens: bool = True
    bodies: list[bytes] = field(default_factory=list)
    heads: list[AnswerHead] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    whys: list[str] = field(default_factory=list)
    ends: list[int | None] = field(default_factory=list)

    def request(self, body: bytes) -> RequestDecision:
        self.bodies.append(body)
        return self.decide(body)

    def answered(self, head: AnswerHead) -> bool:
        self.heads.append(head)
        return self.listens

    def message(self, content: bytes) -> MessageDecision:
        self.messages.append(content)
        return self.decide_answer(content)

    def unread(self, why: str) -> None:
        self.whys.append(why)

    def ended(self, status: int | None) -> None:
        self.ends.append(status)


@dataclass
class Inspecting:
    """An inspector of everything below `prefix`."""

    decide: Callable[[bytes], RequestDecision] = lambda _: None
    answers: Callable[[bytes], MessageDecision] = lambda _: None
    listens: bool = True
    prefix: str = "/"
    exchanges: list[Looked] = field(default_factory=list)

    def exchange(self, head: RequestHead) -> Exchange | None:
        if not head.target.startswith(self.prefix):
            return None
        self.exchanges.append(Looked(head, self.decide, self.answers, self.listens))
        return self.exchanges[-1]


@dataclass
class Got:
    """What a peer received on one stream."""

    heads: list[dict[str, str]] = field(default_factory=list)
    raw: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] | None = None
    ended: bool = False
    reset: int | None = None

    @property
    def head(self) -> dict[str, str]:
        return self.heads[-1]


class Peer:
    """One h2 connection. `greedy`: acknowledges what it receives at once."""

    def __init__(self, *, client: bool, greedy: bool = True, streams: int | None = None) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding="utf-8")
        self.connection, self.greedy = h2.connection.H2Connection(config), greedy
        self.connection.initiate_connection()
        if streams is not None:
            self.connection.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.got: dict[int, Got] = {}
        self.unacknowledged: list[tuple[int, int]] = []
        self.gone: int | None = None
        self.waiting: dict[int, tuple[memoryview, bool]] = {}
        self.pings = 0

    def receive(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            self._event(event)

    def _event(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None)
        got = self.got.setdefault(stream, Got()) if stream else Got()
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            got.heads.append(dict(event.headers))
            got.raw = list(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            got.heads.append(dict(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            got.trailers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            got.body += event.data
            if self.greedy:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            else:
                self.unacknowledged.append((event.flow_controlled_length, event.stream_id))
        elif isinstance(event, h2.events.StreamEnded):
            got.ended = True
        elif isinstance(event, h2.events.StreamReset):
            got.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.gone = event.error_code
        elif isinstance(event, h2.events.PingAckReceived):
            self.pings += 1

    def acknowledge(self) -> None:
        for length, stream in self.unacknowledged:
            self.connection.acknowledge_received_data(length, stream)
        self.unacknowledged.clear()

    def send(self, stream: int, body: bytes, *, ends: bool = True, padding: int | None = None) -> None:
        """As far as the windows go; the rest with the next `taken`."""
        before, _ = self.waiting.pop(stream, (b"", False))
        rest = memoryview(bytes(before) + body if body else before)
        connection = self.connection
        while True:
            extra = 0 if padding is None else padding + 1
            room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size) - extra
            if rest and room <= 0:
                self.waiting[stream] = (rest, ends)
                return
            part, rest = rest[:room], rest[room:]
            connection.send_data(stream, bytes(part), end_stream=ends and not rest, pad_length=padding)
            if not rest:
                return

    def taken(self) -> bytes:
        for stream, (_, ends) in list(self.waiting.items()):
            if self.connection.local_flow_control_window(stream) > 0:
                self.send(stream, b"", ends=ends)
        return self.connection.data_to_send()

    # The client's

    def request(
        self, method: str = "GET", target: str = "/api", body: bytes | None = None, *headers: tuple[str, str],
        ends: bool = True,
    ) -> int:  # fmt: skip
        stream = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "k:1"), (":path", target)]
        self.connection.send_headers(stream, [*pseudo, *headers], end_stream=body is None and ends)
        self.got[stream] = Got()
        if body is not None:
            self.send(stream, body, ends=ends)
        return stream

    # The server's

    def answer(
        self, stream: int, body: bytes | None = b"{}", *headers: tuple[str, str], status: int = 200, ends: bool = True
    ) -> None:
        self.connection.send_headers(stream, [(":status", str(status)), *headers], end_stream=body is None and ends)
        if body is not None:
            self.send(stream, body, ends=ends)


class World:
    """A client and a server around a proxy. `carry` takes bytes about until nobody has anything to say."""

    def __init__(
        self, *, sizes: Iterator[int] | None = None, greedy: bool = True, server_greedy: bool = True,
        streams: int | None = None, armed: Callable[[], ExchangeInspector | None] | None = None,
    ) -> None:  # fmt: skip
        self.inspector: Inspecting | None = None
        self.proxy = Http2Proxy("kube-scheduler", 1, armed or (lambda: self.inspector))
        self.client = Peer(client=True, greedy=greedy)
        self.server = Peer(client=False, greedy=server_greedy, streams=streams)
        self.sizes = sizes
        self.gates: list[Gate] = []
        self.over = False
        self.error: str | None = None
        self.to_client = self.to_upstream = b""
        self.largest = 0
        self._take(self.proxy.begin())
        self.carry()

    def inspect(self, **how: object) -> Inspecting:
        self.inspector = Inspecting(**how)  # type: ignore[arg-type]
        return self.inspector

    def _take(self, output: Output) -> None:
        self.to_client += output.to_client
        self.to_upstream += output.to_upstream
        self.largest = max(self.largest, len(output.to_client))
        self.gates += output.gates
        self.over = self.over or output.over
        self.error = self.error or output.error

    def carry(self) -> None:
        while not self.over:
            said, heard = self.client.taken(), self.server.taken()
            if not (said or heard or self.to_client or self.to_upstream):
                return
            for part in self._parts(said):
                self._take(self.proxy.from_client(part))
            for part in self._parts(heard):
                self._take(self.proxy.from_upstream(part))
            self._deliver()
        self._deliver()

    def _deliver(self) -> None:
        to_client, self.to_client = self.to_client, b""
        to_upstream, self.to_upstream = self.to_upstream, b""
        if to_client:
            self.client.receive(to_client)
        if to_upstream:
            self.server.receive(to_upstream)

    def _parts(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = next(self.sizes) if self.sizes else len(data)
            yield data[:size]
            data = data[size:]

    def release(self, gate: Gate) -> None:
        gate.open()
        self._take(self.proxy.released())
        self.carry()

    def ask(self, *request: object, answer: bytes = b"{}", headers: tuple[tuple[str, str], ...] = ()) -> Got:
        """One request, answered; what the client got."""
        stream = self.client.request(*request)  # type: ignore[arg-type]
        self.carry()
        self.server.answer(max(self.server.got), answer, *headers)
        self.carry()
        return self.client.got[stream]
