"""The components' forwarder as a process: between kube-scheduler, kube-controller-manager, kubelets, kube-proxies and
kube-apiserver. What it does to requests: injector.wire.passage.

    python -m injector.channels.component_forwarder --config FILE.json

The file: injector.channels.component_options.

One listener a component, so that it is known whose request it is. Where a client shows a certificate it has to have the
component's own subject, and the component's certificate is shown to kube-apiserver, which so sees the user and groups
that it would see without us. Where it shows none, none is shown: a bearer token passes, and who has none is nobody.

Every client connection gets an upstream connection of its own, in the protocol that the client chose by ALPN: h2 or
http/1.1. If kube-apiserver can't be reached or goes away the client's connection is closed, and its next one is tried
anew. It is ready when the control socket answers (injector.channels.control), and ends as injector.channels.serving
says.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from cryptography import x509

from injector.channels.component_copies import ComponentCopies
from injector.channels.component_options import (
    HTTP1,
    HTTP2,
    Component,
    ComponentOptions,
    Subject,
    read_options,
    subject_of,
)
from injector.channels.components import component_channel
from injector.channels.control import Stats
from injector.channels.controlling import ArmedExchanges, Armory, Traffic
from injector.channels.listening import Heard
from injector.channels.recording import Notes, notes_of
from injector.channels.serving import answer_until, listen, run, told_to_end, when_open
from injector.channels.tls import in_words
from injector.rules import Rule
from injector.wire.exchange import HttpSender
from injector.wire.http1_proxy import Http1Proxy
from injector.wire.http2_proxy import Http2Proxy
from injector.wire.proxying import Output, Proxy

__all__ = ["CarryOut", "ComponentForwarder", "main"]

logger = logging.getLogger("component-forwarder")

CarryOut = Callable[[Rule, Iterable[tuple[bytes, bytes]], HttpSender], ArmedExchanges]
"""Makes a rule's channel of it and the baseline; FaultError for one that it can't carry out."""


class ComponentForwarder:
    """All connections and their counts."""

    def __init__(self, options: ComponentOptions, carry_out: CarryOut) -> None:
        self.upstream = options.upstream
        self.copies = ComponentCopies(
            options.upstream, {name: each for each in options.components for name in (each.name, *each.peers.values())}
        )
        self.armory: Armory[ArmedExchanges] = Armory(
            lambda rule, pairs: carry_out(rule, pairs, self.copies.send), _record
        )
        self.traffic: Traffic[_Connection] = Traffic()

    def stats(self) -> Stats:
        return self.traffic.counted(self.armory)

    def listen(self, key: bytes) -> None:
        """Nobody reads keys here."""

    def heard(self) -> tuple[Heard, ...]:
        return ()


class _Reading:
    """Whether to read from a transport: there may be more than one reason not to."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._against: set[str] = set()

    def let(self, why: str, read: bool) -> None:
        before = bool(self._against)
        if read:
            self._against.discard(why)
        else:
            self._against.add(why)
        if self.transport is None or self.transport.is_closing() or before is bool(self._against):
            return
        if self._against:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class _Connection(asyncio.Protocol):
    """A client's connection, with the upstream connection that belongs to it."""

    def __init__(self, forwarder: ComponentForwarder, component: Component) -> None:
        self.forwarder, self.component, self.name = forwarder, component, component.name
        self.client, self.upstream = _Reading(), _Reading()
        self.proxy: Proxy | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.began = False
        self.early = b""

    @property
    def requests(self) -> int:
        return self.proxy.requests if self.proxy is not None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.client.transport = client = cast(asyncio.Transport, transport)  # uvloop's classes do not inherit from it
        agreed: ssl.SSLObject = client.get_extra_info("ssl_object")
        peer, *_ = client.get_extra_info("peername")
        self.name = name = self.component.peers.get(peer, self.component.name)
        shown = agreed.getpeercert(binary_form=True)
        if shown and (subject := _subject(shown)) != self.component.subject:
            logger.warning("%s: a client's connection was closed: its certificate says %r", name, subject)
            client.close()
            return
        tls = self.component.upstream_tls if shown else self.component.token_tls
        number = self.forwarder.traffic.opened(self)
        protocol = HTTP2 if agreed.selected_alpn_protocol() == HTTP2 else HTTP1
        made = Http2Proxy if protocol == HTTP2 else Http1Proxy
        self.proxy = made(name, number, self.forwarder.armory.inspector)
        self.connecting = asyncio.get_running_loop().create_task(self._connect(client, protocol, tls[protocol]))

    async def _connect(self, client: asyncio.Transport, protocol: str, tls: ssl.SSLContext) -> None:
        host, port = self.forwarder.upstream
        try:
            upstream, _ = await asyncio.get_running_loop().create_connection(
                lambda: _Upstream(self, protocol), host, port, ssl=tls
            )
        except OSError as error:
            logger.warning("%s: upstream %s:%d can't be reached: %s", self.name, host, port, in_words(error))
            client.close()
            return
        if client.is_closing():
            upstream.close()

    def connected(self, upstream: asyncio.Transport) -> None:
        """Upstream's connection stands and speaks what it should."""
        assert self.proxy is not None
        self.upstream.transport = upstream
        self.began = True
        self.send(self.proxy.begin())
        early, self.early = self.early, b""
        if early:
            self.client.let("too early", True)
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        if self.proxy is None:  # closed already
            return
        if not self.began:
            self.early += data
            self.client.let("too early", False)
            return
        self.forwarder.traffic.bytes_up += len(data)
        self.send(self.proxy.from_client(data))

    def send(self, output: Output) -> None:
        """Sends what the proxy says, to both sides."""
        client, upstream = self.client.transport, self.upstream.transport
        if output.to_upstream and upstream is not None:
            upstream.write(output.to_upstream)
        if output.to_client and client is not None:
            client.write(output.to_client)
        if output.gates:
            when_open(output.gates, self._go_on)
        self.client.let("too much", output.read_client)
        self.upstream.let("too much", output.read_upstream)
        if output.error is not None:
            logger.warning("%s: connection closed: %s", self.name, output.error)
        if output.over:
            self.close()

    def _go_on(self) -> None:
        if self in self.forwarder.traffic.open and self.proxy is not None:
            self.send(self.proxy.released())

    def close(self) -> None:
        """Closes both sides; what was written still goes out."""
        for reading in (self.client, self.upstream):
            if reading.transport is not None:
                reading.transport.close()

    # Backpressure: a side that does not read stops the reading from the other side.

    def pause_writing(self) -> None:
        self.upstream.let("client is slow", False)

    def resume_writing(self) -> None:
        self.upstream.let("client is slow", True)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connecting is not None and not self.connecting.done():
            self.connecting.cancel()
        self.forwarder.traffic.closed(self)
        if self.proxy is not None:
            self.proxy.closed()
        self.close()


def _subject(shown: bytes) -> Subject | None:
    """Who a client's certificate says that it is; None: it says nothing that can be read."""
    try:
        return subject_of(x509.load_der_x509_certificate(shown))
    except ValueError:
        return None


class _Upstream(asyncio.Protocol):
    """The other end of a `_Connection`."""

    def __init__(self, connection: _Connection, protocol: str) -> None:
        self.connection, self.protocol = connection, protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        upstream = cast(asyncio.Transport, transport)
        agreed = upstream.get_extra_info("ssl_object").selected_alpn_protocol()
        if agreed != self.protocol and not (self.protocol == HTTP1 and agreed is None):
            logger.warning("upstream %s:%d does not speak %s", *self.connection.forwarder.upstream, self.protocol)
            upstream.close()
            self.connection.close()
            return
        self.connection.connected(upstream)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        connection.forwarder.traffic.bytes_down += len(data)
        if connection.proxy is not None:
            connection.send(connection.proxy.from_upstream(data))

    def pause_writing(self) -> None:
        self.connection.client.let("upstream is slow", False)

    def resume_writing(self) -> None:
        self.connection.client.let("upstream is slow", True)

    def connection_lost(self, exc: Exception | None) -> None:
        connection = self.connection
        client = connection.client.transport
        if isinstance(exc, ssl.SSLError) and client is not None and not client.is_closing():
            # with TLS 1.3 a server refuses a certificate only after the handshake
            host, port = connection.forwarder.upstream
            logger.warning("upstream %s:%d closed the connection: %s", host, port, in_words(exc))
        connection.upstream.transport = None
        connection.client.let("upstream is slow", True)
        if connection.began and connection.proxy is not None:
            connection.send(connection.proxy.from_upstream(b""))


def _component_channel(rule: Rule, baseline: Iterable[tuple[bytes, bytes]], sender: HttpSender) -> ArmedExchanges:
    return component_channel(rule, baseline=baseline, sender=sender)


def _record(rule: Rule, baseline: Iterable[tuple[bytes, bytes]]) -> tuple[ArmedExchanges, Notes]:
    channel = component_channel(rule, baseline=baseline, evidence=Notes)
    return channel, notes_of(channel)


async def _serve(options: ComponentOptions, carry_out: CarryOut) -> None:
    over = told_to_end()
    forwarder = ComponentForwarder(options, carry_out)
    servers: list[asyncio.Server] = []
    try:
        for component in options.components:
            servers.append(await listen(partial(_Connection, forwarder, component), component.listen, component.tls))
        await answer_until(over, options.control, forwarder)
    finally:
        for server in servers:
            server.close()
    forwarder.copies.cancel()
    for connection in list(forwarder.traffic.open):
        connection.close()


def main(argv: Sequence[str] | None = None, *, carry_out: CarryOut = _component_channel) -> int:
    """Runs until it is told to end. Returns the exit code: 0, 2 (usage), 3 (environment)."""
    parser = argparse.ArgumentParser(prog="injector.channels.component_forwarder")
    parser.add_argument("--config", required=True, type=Path, help="a JSON file")
    config: Path = parser.parse_args(argv).config
    return run(lambda: _serve(read_options(config), carry_out))


if __name__ == "__main__":
    raise SystemExit(main())
