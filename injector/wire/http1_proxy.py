"""One client connection and its upstream connection in HTTP/1.1, read and written anew by h11: bytes in, bytes out.

Requests follow each other on both connections (injector.wire.passage has what happens to one). Header fields go on
with their names in lower case and `host` first, those about the connection included: each connection belongs to the
other. After `101 Switching Protocols` (exec, attach, port-forward) bytes go both ways as they come.

A stream can't be reset here, only the connection: where a client's should be it is closed, and what upstream goes on to
say of an answer that was denied is read and dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from http.client import responses

import h11

from injector.wire.exchange import AnswerHead, ExchangeInspector, Headers, RequestHead
from injector.wire.inspection import Gate
from injector.wire.passage import Passage
from injector.wire.proxying import Output

__all__ = ["Http1Proxy"]

MAX_HEADER_BYTES = 1 << 20
"""Go's net/http, server.go, DefaultMaxHeaderBytes."""

WAITING_BYTES = 1 << 20
"""No more is read of a side of which so much waits here. As HTTP/2's window (injector.wire.http2_end)."""

_Sent = h11.Request | h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage


class _End:
    """One connection: h11's state of it, what is to be sent, and how much of what it sent has not gone on."""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.connection = h11.Connection(role, max_incomplete_event_size=MAX_HEADER_BYTES)
        self.out: list[bytes] = []
        self.waiting_bytes = 0

    def send(self, event: _Sent) -> None:
        if data := self.connection.send(event):
            self.out.append(data)

    def taken(self) -> bytes:
        data = b"".join(self.out)
        self.out.clear()
        return data

    def next_cycle(self) -> bool:
        """Whether there may be another request now."""
        connection = self.connection
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()
        return connection.our_state is h11.IDLE and connection.their_state is h11.IDLE


class _Side:
    """Either side of one exchange: `end` is where it goes, `sender` whose data it is."""

    def __init__(self, end: _End, sender: _End) -> None:
        self._end, self._sender = end, sender
        self._over = False

    def data(self, content: bytes, *, paid: int, ends: bool) -> None:
        self._sender.waiting_bytes -= paid
        if self._over:
            return
        if content:
            self._end.send(h11.Data(data=content))
        if ends:
            self._finish(())

    def trailers(self, trailers: Headers) -> None:
        self._finish(trailers)

    def _finish(self, trailers: Headers) -> None:
        if not self._over:
            self._over = True
            self._end.send(h11.EndOfMessage(headers=_fields(trailers)))


class _Upstream(_Side):
    """injector.wire.passage.UpstreamSide."""

    def request(self, head: RequestHead, *, ends: bool) -> None:
        self._end.send(
            h11.Request(
                method=head.method.encode(), target=head.target.encode("latin-1"), headers=_fields(head.headers)
            )
        )
        if ends:
            self._finish(())

    def reset(self, code: int) -> None:
        """What it still says is dropped (injector.wire.passage)."""


class _Client(_Side):
    """injector.wire.passage.ClientSide. `broken`: the connection has to be closed."""

    broken = False

    def inform(self, head: AnswerHead) -> None:
        self._end.send(
            h11.InformationalResponse(
                status_code=head.status, headers=_fields(head.headers), reason=_reason(head.status)
            )
        )

    def answer(self, head: AnswerHead, *, ends: bool) -> None:
        self._end.send(
            h11.Response(status_code=head.status, headers=_fields(head.headers), reason=_reason(head.status))
        )
        if ends:
            self._finish(())

    def reset(self, code: int) -> None:
        self.broken = True


class Http1Proxy:
    """`component` and `connection` are said of each request; `armed` is asked who looks at it, if anyone."""

    def __init__(self, component: str, connection: int, armed: Callable[[], ExchangeInspector | None]) -> None:
        self._component, self._connection, self._armed = component, connection, armed
        self._client, self._upstream = _End(h11.SERVER), _End(h11.CLIENT)
        self._gates: list[Gate] = []
        self._passage: Passage | None = None
        self._client_side: _Client | None = None
        self._switched = self._over = self._upstream_closed = False
        self.requests = 0

    def begin(self) -> Output:
        """Both connections stand."""
        return self._output()

    def from_client(self, data: bytes) -> Output:
        """Bytes that the client sent."""
        if self._switched:
            self._upstream.out.append(data)
        elif not self._over:
            self._client.connection.receive_data(data)
        return self._went_on()

    def from_upstream(self, data: bytes) -> Output:
        """Bytes that upstream sent; b"" where it closed its side."""
        self._upstream_closed = self._upstream_closed or not data
        if self._switched:
            self._client.out.append(data)
        elif not self._over:
            try:
                self._upstream.connection.receive_data(data)
                if data and self._upstream.connection.our_state is h11.IDLE:
                    raise h11.RemoteProtocolError("an answer before there was a request")
                self._upstream_events()
            except h11.ProtocolError as error:
                if not self._upstream_closed:
                    return self._failed(f"upstream broke HTTP/1.1: {error}")
        return self._went_on()

    def released(self) -> Output:
        """What may go on now that gates have opened."""
        try:
            if self._passage is not None and not self._over:
                self._passage.released()
        except h11.ProtocolError as error:
            return self._failed(f"what was held can't be sent in HTTP/1.1: {error}")
        return self._went_on()

    def _went_on(self) -> Output:
        """What was said may have ended an exchange, so that the client's next request can be taken in."""
        try:
            self._client_events()
        except h11.ProtocolError as error:
            return self._client_failed(error)
        if self._upstream_closed and not self._answer_waits():
            self.closed()
        return self._output()

    def closed(self) -> None:
        """The connections are gone."""
        self._over = True
        if self._passage is not None:
            self._passage.closed()

    def _answer_waits(self) -> bool:
        """Whether all of an answer came, and is held."""
        passage = self._passage
        return passage is not None and passage.answered_in_full and self._client.connection.our_state is not h11.DONE

    # The client

    def _client_events(self) -> None:
        """Take in what the client sent, as far as it may be looked at now."""
        while not (self._over or self._switched):
            self._next_exchange()
            connection = self._client.connection
            event = connection.next_event()
            if isinstance(event, h11.Request):
                self._request(event)
            elif isinstance(event, h11.Data) and self._passage is not None:
                self._client.waiting_bytes += len(event.data)
                self._passage.request_data(bytes(event.data), paid=len(event.data), ends=False)
            elif isinstance(event, h11.EndOfMessage) and self._passage is not None:
                if event.headers:
                    self._passage.request_trailers(_headers(event.headers))
                else:
                    self._passage.request_data(b"", paid=0, ends=True)
            else:
                return

    def _next_exchange(self) -> None:
        """Both sides have ended theirs: the connections are for the next request. A request that was denied never came
        to upstream."""
        client, upstream = self._client.connection, self._upstream.connection
        if self._passage is None or client.our_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            return
        if client.our_state is not h11.DONE or upstream.our_state is h11.MUST_CLOSE or upstream.trailing_data[0]:
            self._over = client.their_state is not h11.SEND_BODY
        elif self._upstream.next_cycle() and self._client.next_cycle():
            self._passage = None

    def _request(self, event: h11.Request) -> None:
        self.requests += 1
        head = RequestHead(
            component=self._component, connection=self._connection, stream=self.requests,
            method=event.method.decode("latin-1"), target=event.target.decode("latin-1"),
            headers=_headers(event.headers),
        )  # fmt: skip
        self._client_side = _Client(self._client, self._upstream)
        upstream = _Upstream(self._upstream, self._client)
        self._passage = Passage(head, self._client_side, upstream, self._armed, self._gates)
        self._passage.begin(ends=False)

    # Upstream

    def _upstream_events(self) -> None:
        connection = self._upstream.connection
        while not (self._over or self._switched):
            event = connection.next_event()
            passage = self._passage
            if isinstance(event, h11.InformationalResponse | h11.Response):
                assert passage is not None, "h11 takes no answer before a request"
                passage.answer(AnswerHead(status=event.status_code, headers=_headers(event.headers)), ends=False)
                if event.status_code == 101:
                    self._switch()
            elif isinstance(event, h11.Data) and passage is not None:
                self._upstream.waiting_bytes += len(event.data)
                passage.answer_data(bytes(event.data), paid=len(event.data), ends=False)
            elif isinstance(event, h11.EndOfMessage) and passage is not None:
                if event.headers:
                    passage.answer_trailers(_headers(event.headers))
                else:
                    passage.answer_data(b"", paid=0, ends=True)
            else:
                return

    def _switch(self) -> None:
        self._switched = True
        self._client.out.append(self._upstream.connection.trailing_data[0])
        self._upstream.out.append(self._client.connection.trailing_data[0])

    # What goes out

    def _client_failed(self, error: h11.ProtocolError) -> Output:
        """The client is told what is wrong where it can be."""
        if self._client.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._client.out:
            status, body = getattr(error, "error_status_hint", 400), f"{error}\n".encode()
            headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
            self._client.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
            self._client.send(h11.Data(data=body))
            self._client.send(h11.EndOfMessage())
        return self._failed(f"the client broke HTTP/1.1: {error}")

    def _failed(self, why: str) -> Output:
        self.closed()
        output = self._output()
        output.error = why
        return output

    def _output(self) -> Output:
        output = Output(
            self._client.taken(), self._upstream.taken(), self._gates[:],
            read_client=self._client.waiting_bytes < WAITING_BYTES and not self._pipelined(),
            read_upstream=self._upstream.waiting_bytes < WAITING_BYTES,
            over=self._over or (self._client_side is not None and self._client_side.broken),
        )  # fmt: skip
        self._gates.clear()
        return output

    def _pipelined(self) -> bool:
        """Whether the client sends requests without waiting for answers."""
        connection = self._client.connection
        return not self._switched and connection.their_state is h11.DONE and bool(connection.trailing_data[0])


def _reason(status: int) -> str:
    return responses.get(status, "")


def _headers(headers: h11._headers.Headers | list[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _fields(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
