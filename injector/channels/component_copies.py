"""Requests to kube-apiserver of the forwarder's own, as one of the components, each on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hpack import HeaderTuple

from injector.channels.component_options import HTTP2, Component
from injector.channels.own_calls import OwnCalls
from injector.wire import frames as h2
from injector.wire.exchange import Answered, RequestHead, header
from injector.wire.http2_end import Control, End, Way

__all__ = ["ComponentCopies"]

ANSWER_TIMEOUT_S = 60.0
"""kube-apiserver's --request-timeout."""

_LEFT_OUT = frozenset(
    ("host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "expect",
     "accept-encoding", "content-length")
)  # fmt: skip
"""What is about a connection (RFC 9113, 8.2.2), and what is said anew or would be in the way."""


class ComponentCopies(OwnCalls):
    """Makes requests, as injector.wire.exchange.HttpSender, to `upstream`: with the certificate of the component, or
    with its token where the request has one. From within the event loop only."""

    def __init__(self, upstream: tuple[str, int], components: Mapping[str, Component]) -> None:
        super().__init__(upstream)
        self._components = components

    def send(self, head: RequestHead, body: bytes, answered: Answered) -> None:
        """Begin a request; `answered` gets its answer's status and body, None and b"" where there is none."""
        self._begin(self._send(head, body, answered))

    async def _send(self, head: RequestHead, body: bytes, answered: Answered) -> None:
        host, port = self._upstream
        call, component = _Call(head, body, f"{host}:{port}"), self._components[head.component]
        tls = component.token_tls if header(head.headers, "authorization") else component.upstream_tls
        with contextlib.suppress(OSError, ProtocolError, TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._converse(call, tls[HTTP2])
        answered(*((call.status, bytes(call.body)) if call.whole else (None, b"")))


class _Call:
    """One request on an HTTP/2 connection, bytes in, bytes out. `whole`: the answer ended as it should."""

    def __init__(self, head: RequestHead, body: bytes, authority: str) -> None:
        self.status: int | None = None
        self.body = bytearray()
        self.whole = self.over = False
        self._end = End(client_side=True)
        self._end.begin()
        self._controls = b""
        way = Way(self._end)
        way.head(_fields(head, len(body), authority), ends=not body, opens=True)
        if body:
            way.data(body, paid=0, ends=True)

    def to_send(self) -> bytes:
        self._end.pump()
        controls, self._controls = self._controls, b""
        return self._end.connection.data_to_send() + controls

    def receive(self, data: bytes) -> None:
        for event in self._end.receive(data):
            self._event(event)

    def _event(self, event: Event | Control) -> None:
        if isinstance(event, Control):
            if not event.is_goaway and not event.is_answer:
                self._controls += h2.frame(event.kind, h2.ACK, 0, event.payload)
        elif isinstance(event, ResponseReceived):
            status = next((value for name, value in event.headers if name == b":status"), b"")
            self.status = int(status) if status.isdigit() else None
        elif isinstance(event, DataReceived):
            self.body += event.data
            self._end.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.whole = self.over = True
        elif isinstance(event, StreamReset):
            self.over = True


def _fields(head: RequestHead, length: int, authority: str) -> list[HeaderTuple]:
    pseudo = ((":method", head.method), (":scheme", "https"), (":authority", authority), (":path", head.target))
    headers = [(name, value) for name, value in head.headers if name not in _LEFT_OUT]
    if length:
        headers.append(("content-length", str(length)))
    return [HeaderTuple(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*pseudo, *headers)]
