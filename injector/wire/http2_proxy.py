"""One client connection and its upstream connection, HTTP/2 ended and begun anew on both: bytes in, bytes out.

Each request is a stream of the client and, once it goes on, one of ours to upstream (injector.wire.passage). Header
fields go on in their order and as sensitive as they came. What came on a stream is acknowledged once it went on to the
other side, so that a slow reader slows its own streams and nothing gathers in here (injector.wire.http2_end).

Upstream's GOAWAY goes on: what is under way is finished, new requests are refused (the client may try them again on
another connection), then both connections are closed. Deliberately not here: server push, extended CONNECT,
priorities.
"""

from __future__ import annotations

from collections.abc import Callable

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from injector.wire import frames as h2
from injector.wire.exchange import AnswerHead, ExchangeInspector, Headers, RequestHead
from injector.wire.http2_end import Control, End, Fields, Way
from injector.wire.inspection import Gate
from injector.wire.passage import Passage
from injector.wire.proxying import Output

__all__ = ["Http2Proxy"]


class _Client:
    """A client's stream (injector.wire.passage.ClientSide)."""

    def __init__(self, way: Way) -> None:
        self.way = way

    def inform(self, head: AnswerHead) -> None:
        self.way.head(_answer_fields(head), ends=False)

    def answer(self, head: AnswerHead, *, ends: bool) -> None:
        self.way.head(_answer_fields(head), ends=ends)

    def data(self, content: bytes, *, paid: int, ends: bool) -> None:
        self.way.data(content, paid=paid, ends=ends)

    def trailers(self, trailers: Headers) -> None:
        self.way.head(_fields(trailers), ends=True)

    def reset(self, code: int) -> None:
        self.way.reset_in_turn(code)


class _Upstream:
    """A stream of ours (injector.wire.passage.UpstreamSide). `came` is the client's request, as it came."""

    def __init__(self, way: Way, came: Fields) -> None:
        self.way = way
        self._pseudo = [(name, value) for name, value in came if name.startswith(b":") and name != b":path"]
        self._secret = frozenset(
            field[0].decode("latin-1") for field in came if isinstance(field, NeverIndexedHeaderTuple)
        )

    def request(self, head: RequestHead, *, ends: bool) -> None:
        pseudo = [HeaderTuple(name, value) for name, value in self._pseudo]
        pseudo.append(HeaderTuple(b":path", head.target.encode("latin-1")))
        self.way.head([*pseudo, *_fields(head.headers, self._secret)], ends=ends, opens=True)

    def data(self, content: bytes, *, paid: int, ends: bool) -> None:
        self.way.data(content, paid=paid, ends=ends)

    def trailers(self, trailers: Headers) -> None:
        self.way.head(_fields(trailers), ends=True)

    def reset(self, code: int) -> None:
        self.way.reset(code)


class _Exchange:
    """A request under way, with its two streams. `requested`: the client has ended its side."""

    __slots__ = ("down", "passage", "requested", "up")

    def __init__(self, passage: Passage, down: Way, up: Way) -> None:
        self.passage, self.down, self.up = passage, down, up
        self.requested = False

    @property
    def over(self) -> bool:
        return self.up.sent and (self.down.shut or (self.down.sent and self.requested))


class Http2Proxy:
    """`component` and `connection` are said of each request; `armed` is asked who looks at it, if anyone."""

    def __init__(self, component: str, connection: int, armed: Callable[[], ExchangeInspector | None]) -> None:
        self._component, self._connection, self._armed = component, connection, armed
        self._client, self._upstream = End(client_side=False), End(client_side=True)
        self._controls_down: list[bytes] = []
        self._controls_up: list[bytes] = []
        self._gates: list[Gate] = []
        self._by_way: dict[Way, _Exchange] = {}
        self._exchanges: dict[_Exchange, None] = {}
        self._touched: set[_Exchange] = set()
        self._last = 0
        self._over = False
        self.requests = 0

    def begin(self) -> Output:
        """Both connections stand."""
        self._client.begin()
        self._upstream.begin()
        return self._output()

    def from_client(self, data: bytes) -> Output:
        """Bytes that the client sent."""
        return self._received(self._client, data, self._client_event, "the client")

    def from_upstream(self, data: bytes) -> Output:
        """Bytes that upstream sent; b"" where it closed its side."""
        if not data:
            return self._upstream_gone()
        return self._received(self._upstream, data, self._upstream_event, "upstream")

    def released(self) -> Output:
        """What may go on now that gates have opened."""
        for exchange in list(self._exchanges):
            exchange.passage.released()
        return self._output()

    def _upstream_gone(self) -> Output:
        """Answers that are all here still go to the client. While it waits for one the connection stays, so that it has
        to be told that no other one will come."""
        self._upstream.going = True
        stays = any(exchange.passage.answered_in_full for exchange in self._exchanges)
        for exchange in list(self._exchanges):
            exchange.up.discard()
            if not exchange.passage.answered_in_full:
                if stays:
                    exchange.passage.answer_reset(ErrorCodes.INTERNAL_ERROR)
                exchange.passage.closed()
                self._forget(exchange)
        return self._output()

    def closed(self) -> None:
        """The connections are gone."""
        self._over = True
        for exchange in self._exchanges:
            exchange.passage.closed()
        self._exchanges.clear()

    def _received(self, end: End, data: bytes, handle: Callable[[Event | Control], None], who: str) -> Output:
        if self._over:
            return Output(over=True)
        try:
            for event in end.receive(data):
                handle(event)
        except ProtocolError as error:
            return self._failed(end, f"{who} broke HTTP/2: {str(error) or type(error).__name__}")
        return self._output()

    def _failed(self, end: End, why: str) -> Output:
        """`end` has its GOAWAY; the other side is told what it is to it."""
        self.closed()
        code = ErrorCodes.NO_ERROR if end is self._client else ErrorCodes.INTERNAL_ERROR
        other = self._upstream if end is self._client else self._client
        other.connection.close_connection(code, why.encode())
        to_client, to_upstream = (end.connection.data_to_send() for end in (self._client, self._upstream))
        return Output(to_client, to_upstream, over=True, error=why)

    def _output(self) -> Output:
        ways = self._upstream.pump()
        while self._upstream.refused:
            refused = self._by_way[self._upstream.refused.pop()]
            self._touched.add(refused)
            refused.passage.answer_reset(ErrorCodes.REFUSED_STREAM)
        ways += self._client.pump()
        self._touched.update(exchange for way in ways if (exchange := self._by_way.get(way)) is not None)
        for touched in self._touched:
            if touched.over:
                self._forget(touched)
        self._touched.clear()
        output = Output(
            b"".join([self._client.connection.data_to_send(), *self._controls_down]),
            b"".join([self._upstream.connection.data_to_send(), *self._controls_up]),
            self._gates[:],
            over=self._over or (self._upstream.going and not self._exchanges),
        )
        self._controls_down.clear()
        self._controls_up.clear()
        self._gates.clear()
        return output

    def _forget(self, exchange: _Exchange) -> None:
        self._exchanges.pop(exchange, None)
        for end, way in ((self._client, exchange.down), (self._upstream, exchange.up)):
            end.forget(way)
            self._by_way.pop(way, None)

    def _of(self, end: End, number: int) -> _Exchange | None:
        way = end.ways.get(number)
        exchange = self._by_way.get(way) if way is not None else None
        if exchange is not None:
            self._touched.add(exchange)
        return exchange

    # The client

    def _client_event(self, event: Event | Control) -> None:
        if isinstance(event, Control):
            if not event.is_goaway:  # a client that goes closes the connection
                self._controls_up.append(event.frame)
        elif isinstance(event, RequestReceived):
            self._request(event)
        elif isinstance(event, DataReceived):
            exchange = self._of(self._client, event.stream_id)
            if exchange is None:
                self._client.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                return
            exchange.requested = ends = event.stream_ended is not None
            exchange.passage.request_data(event.data, paid=event.flow_controlled_length, ends=ends)
        elif isinstance(event, TrailersReceived):
            if (exchange := self._of(self._client, event.stream_id)) is not None:
                exchange.requested = True
                exchange.passage.request_trailers(_headers(event.headers))
        elif isinstance(event, StreamReset) and (exchange := self._of(self._client, event.stream_id)) is not None:
            exchange.down.discard()
            exchange.passage.request_reset(event.error_code)
            self._forget(exchange)

    def _request(self, event: RequestReceived) -> None:
        number, fields = event.stream_id, event.headers
        if self._upstream.going:
            self._client.reset(number, ErrorCodes.REFUSED_STREAM)
            return
        self.requests += 1
        self._last = number
        pseudo = {name: value.decode("latin-1") for name, value in fields if name.startswith(b":")}
        head = RequestHead(
            component=self._component, connection=self._connection, stream=number, method=pseudo.get(b":method", ""),
            target=pseudo.get(b":path", ""), headers=_headers(fields),
        )  # fmt: skip
        down, up = self._client.accepted(number), Way(self._upstream)
        down.credited, up.credited = up, down
        passage = Passage(head, _Client(down), _Upstream(up, fields), self._armed, self._gates)
        exchange = _Exchange(passage, down, up)
        self._exchanges[exchange] = None
        self._by_way[down] = self._by_way[up] = exchange
        exchange.requested = ends = event.stream_ended is not None
        passage.begin(ends=ends)

    # Upstream

    def _upstream_event(self, event: Event | Control) -> None:
        if isinstance(event, Control):
            if event.is_goaway:
                self._goaway(event.payload)
            else:
                self._controls_down.append(event.frame)
        elif isinstance(event, RemoteSettingsChanged):
            changed = event.changed_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
            if changed is not None and changed.new_value is not None:
                self._client.connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: changed.new_value})
        elif isinstance(event, ResponseReceived | InformationalResponseReceived):
            if (exchange := self._of(self._upstream, event.stream_id)) is not None:
                self._answer(exchange, event)
        elif isinstance(event, DataReceived):
            exchange = self._of(self._upstream, event.stream_id)
            if exchange is None:
                self._upstream.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                return
            ends = event.stream_ended is not None
            exchange.passage.answer_data(event.data, paid=event.flow_controlled_length, ends=ends)
        elif isinstance(event, TrailersReceived):
            if (exchange := self._of(self._upstream, event.stream_id)) is not None:
                exchange.passage.answer_trailers(_headers(event.headers))
        elif isinstance(event, StreamReset) and (exchange := self._of(self._upstream, event.stream_id)) is not None:
            exchange.up.discard()
            exchange.passage.answer_reset(event.error_code)

    def _answer(self, exchange: _Exchange, event: ResponseReceived | InformationalResponseReceived) -> None:
        status = next((value for name, value in event.headers if name == b":status"), b"")
        if len(status) != 3 or not status.isdigit():
            exchange.up.reset(ErrorCodes.PROTOCOL_ERROR)
            exchange.passage.answer_reset(ErrorCodes.PROTOCOL_ERROR)
            return
        head = AnswerHead(status=int(status), headers=_headers(event.headers))
        exchange.passage.answer(head, ends=isinstance(event, ResponseReceived) and event.stream_ended is not None)

    def _goaway(self, payload: bytes) -> None:
        last, code = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big")
        self._upstream.going = True
        self._controls_down.append(h2.frame(h2.GOAWAY, 0, 0, self._last.to_bytes(4, "big") + payload[4:]))
        for number, way in list(self._upstream.ways.items()):
            if number > last and (exchange := self._by_way.get(way)) is not None:
                way.discard()
                exchange.passage.answer_reset(code if code else ErrorCodes.REFUSED_STREAM)


def _headers(fields: Fields) -> Headers:
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in fields if not name.startswith(b":")
    )


def _fields(headers: Headers, secret: frozenset[str] = frozenset()) -> Fields:
    """For hpack; those of `secret` names are never put into a table (RFC 7541, 7.1.3)."""
    return [
        (NeverIndexedHeaderTuple if name in secret else HeaderTuple)(name.encode("latin-1"), value.encode("latin-1"))
        for name, value in headers
    ]


def _answer_fields(head: AnswerHead) -> Fields:
    return [HeaderTuple(b":status", str(head.status).encode()), *_fields(head.headers)]
