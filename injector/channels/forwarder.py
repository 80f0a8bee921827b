"""The forwarder as a process: sockets, signals, the control socket. What it does to frames: injector.wire.relay.

    python -m injector.channels.forwarder --listen 127.0.0.1:2381 --upstream 127.0.0.1:2379 --control PATH.sock

Every client connection gets an upstream connection of its own; if etcd can't be reached or goes away the client's
connection is closed, and its next one is tried anew. Listens on loopback only. It is ready when the control socket
answers. It ends on SIGTERM and SIGINT, and when its parent process dies.

Plain text, or TLS on either side or both (injector.channels.tls):

    --tls-cert FILE --tls-key FILE --tls-client-ca FILE      serve it, to clients with a certificate of that authority
    --upstream-cert FILE --upstream-key FILE --upstream-ca FILE      speak it to etcd, whose certificate is checked

A connection whose handshake fails, or that does not agree on HTTP/2, is closed and logged; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable, Sequence
from typing import cast

from injector.channels.control import Stats
from injector.channels.controlling import ArmedChannel, Armory, Traffic
from injector.channels.copies import Copies
from injector.channels.etcd import EtcdChannel
from injector.channels.listening import WATCH, Heard, Listening
from injector.channels.options import Options, parse
from injector.channels.reads import ReadsChannel
from injector.channels.recording import Notes, notes_of
from injector.channels.serving import answer_until, listen, run, told_to_end, when_open
from injector.channels.tls import in_words, speaks_http2
from injector.rules import Rule
from injector.targets import Channel
from injector.wire.inspection import Inspector
from injector.wire.relay import Output, Relay

__all__ = ["Forwarder", "main"]

logger = logging.getLogger("forwarder")

LASTING = (WATCH,)
"""Calls that may be under way when a rule is armed, and are looked at all the same."""


class Forwarder:
    """All connections and their counts. `upstream_tls` is for speaking TLS to upstream."""

    def __init__(self, upstream: tuple[str, int], *, upstream_tls: ssl.SSLContext | None = None) -> None:
        self.upstream, self.upstream_tls = upstream, upstream_tls
        self.copies = Copies(upstream, tls=upstream_tls)
        self.armory = Armory(self._carry_out, self._record)
        self._listening, self._key = Listening(), b""
        self.traffic: Traffic[_Connection] = Traffic()

    def stats(self) -> Stats:
        return self.traffic.counted(self.armory)

    def listen(self, key: bytes) -> None:
        """For who reads that key, for a while; while a rule is armed nothing is heard."""
        self._listening, self._key = Listening(), key
        self._listening.listen(key)

    def heard(self) -> tuple[Heard, ...]:
        """Of the key that was listened for last."""
        return self._listening.heard(self._key)

    def inspector(self) -> Inspector | None:
        """Asked at every request that passes: who looks at it, if anyone."""
        if self.armory.armed:
            return self.armory.inspector()
        return None if self._listening.over else self._listening

    def _carry_out(self, rule: Rule, baseline: Iterable[tuple[bytes, bytes]]) -> ArmedChannel:
        if rule.channel is Channel.ETCD_TO_APISERVER:
            return ReadsChannel(rule, baseline=baseline)
        return EtcdChannel(rule, baseline=baseline, sender=self.copies.send)

    def _record(self, rule: Rule, baseline: Iterable[tuple[bytes, bytes]]) -> tuple[ArmedChannel, Notes]:
        if rule.channel is Channel.ETCD_TO_APISERVER:
            reads = ReadsChannel(rule, baseline=baseline, evidence=Notes)
            return reads, notes_of(reads)
        writes = EtcdChannel(rule, baseline=baseline, evidence=Notes)
        return writes, notes_of(writes)


class _Connection(asyncio.Protocol):
    """A client's connection, with the upstream connection that belongs to it."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder
        self.relay = Relay(forwarder.inspector, lasting=LASTING)
        self.client: asyncio.Transport | None = None
        self.upstream: asyncio.Transport | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.early = b""

    @property
    def requests(self) -> int:
        return self.relay.requests

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.client = client = cast(asyncio.Transport, transport)  # uvloop's own classes do not inherit from it
        if not speaks_http2(client):
            logger.warning("a client's connection was closed: it did not ask for HTTP/2 (ALPN h2)")
            client.close()
            return
        self.relay.connection = self.forwarder.traffic.opened(self)
        self.connecting = asyncio.get_running_loop().create_task(self._connect(client))

    async def _connect(self, client: asyncio.Transport) -> None:
        host, port = self.forwarder.upstream
        try:
            upstream, _ = await asyncio.get_running_loop().create_connection(
                lambda: _Upstream(self), host, port, ssl=self.forwarder.upstream_tls
            )
        except OSError as error:
            logger.warning("upstream %s:%d can't be reached: %s", host, port, in_words(error))
            client.close()
            return
        if not speaks_http2(upstream):
            logger.warning("upstream %s:%d does not speak HTTP/2 over TLS (ALPN h2)", host, port)
            self.close()
            return
        early, self.early = self.early, b""
        if early:
            client.resume_reading()
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        if self.upstream is None:  # uvloop reads once even if connection_made pauses
            self.early += data
            self.client.pause_reading()  # type: ignore[union-attr]
            return
        self.forwarder.traffic.bytes_up += len(data)
        self.send(self.relay.from_client(data))

    def send(self, output: Output) -> None:
        """Sends what the relay says, to both sides."""
        if output.to_upstream and self.upstream is not None:
            _write(self.upstream, output.to_upstream)
        if output.to_client and self.client is not None:
            _write(self.client, output.to_client)
        if output.gates:
            when_open(output.gates, self._go_on)
        if output.error is not None:
            logger.warning("connection closed: %s", output.error)
            self.close()

    def _go_on(self) -> None:
        if self in self.forwarder.traffic.open:
            self.send(self.relay.released())

    def close(self) -> None:
        """Closes both sides; what was written still goes out."""
        for transport in (self.client, self.upstream):
            if transport is not None:
                transport.close()

    # Backpressure: a side that does not read stops the reading from the other side.

    def pause_writing(self) -> None:
        if self.upstream is not None and not self.upstream.is_closing():
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None and not self.upstream.is_closing():
            self.upstream.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connecting is not None and not self.connecting.done():
            self.connecting.cancel()
        self.forwarder.traffic.closed(self)
        self.relay.closed()
        self.close()


class _Upstream(asyncio.Protocol):
    """The other end of a `_Connection`."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection.upstream = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.connection.forwarder.traffic.bytes_down += len(data)
        self.connection.send(self.connection.relay.from_upstream(data))

    def pause_writing(self) -> None:
        client = self.connection.client
        if client is not None and not client.is_closing():
            client.pause_reading()

    def resume_writing(self) -> None:
        client = self.connection.client
        if client is not None and not client.is_closing():
            client.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        host, port = self.connection.forwarder.upstream
        client = self.connection.client
        if isinstance(exc, ssl.SSLError) and client is not None and not client.is_closing():
            # with TLS 1.3 a server refuses a certificate only after the handshake
            logger.warning("upstream %s:%d closed the connection: %s", host, port, in_words(exc))
        self.connection.relay.closed()
        self.connection.close()


def _write(transport: asyncio.Transport, parts: list[bytes]) -> None:
    if len(parts) == 1:
        transport.write(parts[0])
    else:
        transport.writelines(parts)


async def _serve(options: Options) -> None:
    over = told_to_end()
    forwarder = Forwarder(options.upstream, upstream_tls=options.upstream_tls)
    server = await listen(lambda: _Connection(forwarder), options.listen, options.tls)
    await answer_until(over, options.control, forwarder)
    server.close()
    forwarder.copies.cancel()
    for connection in list(forwarder.traffic.open):
        connection.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until it is told to end. Returns the exit code: 0, 2 (usage), 3 (environment)."""
    return run(lambda: _serve(parse(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
