"""Port-forward: a client's streams to ports inside a pod's network namespace.

Behaviour, as of containerd 2 (internal/cri/server/sandbox_portforward_linux.go) and k8s.io/cri-streaming v0.36.3: each
forwarded connection has a data and an error stream with the same request id; localhost is tried over IPv4, then IPv6,
5 s each; what goes wrong is told in words on the error stream, upon which kubectl ends the whole port-forward; after
one side's end the other gets a second to end too. Ours are: the client's end of data is passed on to the pod, and the
second begins anew while data still flows.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.clusters.sandbox.cri.streaming.connections import SpdyConnection, Stream, WebSocketConnection
from campaigns.clusters.sandbox.cri.streaming.copying import Signal, write_all
from campaigns.clusters.sandbox.isolation import in_network

__all__ = ["PortForwardRequest", "Target", "check_headers", "serve_spdy", "serve_websocket"]

_CONNECT_S = 5.0
"""For each address; containerd's dialTimeout."""
_ENDING_S = 1.0
"""Of silence after one side's end; containerd's, which has it from socat."""
_PAIR_S = 30.0
"""For a stream's partner to come; cri-streaming's StreamCreationTimeout."""
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PortForwardRequest:
    """`ports` matter to WebSocket clients only; SPDY's name them with each stream."""

    pod_id: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A pod's ports. `network` gives its network namespace's file, None for this process's own; KeyError: no such pod
    any more."""

    pod_id: str
    network: Callable[[], Path | None]

    def connect(self, port: int) -> socket.socket:
        """A non-blocking connection. OSError, in words."""
        try:
            network = self.network()
        except KeyError:
            raise OSError(f"failed to find sandbox {self.pod_id!r}: not found") from None
        failures = []
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            attempt = functools.partial(_connect, family, host, port)
            try:
                # a namespace is entered by a thread of its own; the connection stays in it
                return attempt() if network is None else in_network(network, attempt)
            except OSError as error:
                failures.append(f"{host}: {error.strerror or error}")
        raise OSError(f"failed to connect to localhost:{port} inside the pod: {', '.join(failures)}")


def _connect(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(_CONNECT_S)
        sock.connect((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def check_headers(headers: Mapping[str, str]) -> bool:
    """Whether a SPDY stream belongs to port-forward: a port and a kind."""
    port = headers.get("port", "")
    known = headers.get("streamtype") in ("data", "error")
    return known and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16


@dataclass(slots=True)
class _Pair:
    deadline: float
    streams: dict[str, Stream] = field(default_factory=dict)


def serve_spdy(target: Target, connection: SpdyConnection) -> None:
    """Forwards until the client has gone. Returns when nothing of it is left."""
    waiting: dict[str, _Pair] = {}
    threads: list[threading.Thread] = []
    gone = threading.Event()
    with connection.on_gone(gone.set):
        while not gone.is_set():
            deadline = min((pair.deadline for pair in waiting.values()), default=None)
            stream = connection.next_stream(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if stream is not None and (pair := _pair(waiting, stream)) is not None:
                data, error = pair.streams["data"], pair.streams["error"]
                threads = [thread for thread in threads if thread.is_alive()]
                threads.append(_start(target, connection, int(data.headers["port"]), data, error))
            _expire(waiting)
    for thread in threads:
        thread.join()


def _pair(waiting: dict[str, _Pair], stream: Stream) -> _Pair | None:
    """The stream's pair if that is now complete."""
    kind, request = stream.headers["streamtype"], _request_id(stream)
    pair = waiting.setdefault(request, _Pair(time.monotonic() + _PAIR_S))
    if kind in pair.streams:
        _fail(pair.streams, f"error processing stream for request {request}: {kind} stream already assigned")
        stream.close(reset=True)
        return None
    pair.streams[kind] = stream
    return waiting.pop(request) if len(pair.streams) == 2 else None


def _request_id(stream: Stream) -> str:
    """Clients before Kubernetes 1.2 send none: their error stream comes first and the data stream is the next odd
    number."""
    if given := stream.headers.get("requestid"):
        return given
    return str(stream.number if stream.headers["streamtype"] == "error" else stream.number - 2)


def _expire(waiting: dict[str, _Pair]) -> None:
    now = time.monotonic()
    for request in [request for request, pair in waiting.items() if pair.deadline <= now]:
        pair = waiting.pop(request)
        _fail(pair.streams, f"request {request}: timed out waiting for streams")
        for stream in pair.streams.values():
            stream.close(reset=True)


def _fail(streams: Mapping[str, Stream], message: str) -> None:
    if (error := streams.get("error")) is not None:
        error.write(message.encode())


def serve_websocket(target: Target, connection: WebSocketConnection, ports: tuple[int, ...]) -> None:
    """A pair of channels for each of `ports`, one connection each. Returns when all have ended."""
    threads = []
    for index, port in enumerate(ports):
        data, error = connection.channels[2 * index : 2 * index + 2]
        for stream in (data, error):
            stream.write(port.to_bytes(2, "little"))
        threads.append(_start(target, connection, port, data, error))
    for thread in threads:
        thread.join()


def _start(
    target: Target, connection: SpdyConnection | WebSocketConnection, port: int, data: Stream, error: Stream
) -> threading.Thread:
    def body() -> None:
        try:
            _forward(target, connection, port, data)
        except OSError as failure:
            error.write(f"error forwarding port {port} to pod {target.pod_id}: {failure}".encode())
            data.close(reset=True)
        data.close()
        error.close()

    thread = threading.Thread(target=body, name="streaming-forward", daemon=True)
    thread.start()
    return thread


def _forward(target: Target, connection: SpdyConnection | WebSocketConnection, port: int, data: Stream) -> None:
    """One connection. OSError: it could not be made, or broke off on the pod's side."""
    with target.connect(port) as sock, Signal() as over, connection.on_gone(over.set):
        client_ended = threading.Event()

        def upstream() -> None:
            while part := data.read():
                if not write_all(sock.fileno(), part, over):
                    break
            data.drop()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            client_ended.set()

        thread = threading.Thread(target=upstream, name="streaming-upstream", daemon=True)
        thread.start()
        try:
            _downstream(sock, data, over, client_ended)
            data.finish()
            thread.join(_ENDING_S)
        finally:
            over.set()
            data.drop()
            thread.join()


def _downstream(sock: socket.socket, data: Stream, over: Signal, client_ended: threading.Event) -> None:
    """The pod's bytes until their end, the client's going, or `_ENDING_S` of silence after the client's end."""
    poll = select.poll()
    poll.register(over, select.POLLIN)
    poll.register(sock, select.POLLIN)
    while True:
        ended = client_ended.is_set()
        ready = [descriptor for descriptor, _ in poll.poll(_ENDING_S * 1000)]
        if over.fileno() in ready or (not ready and ended):
            return
        if ready:
            part = os.read(sock.fileno(), _CHUNK_BYTES)
            if not part:
                return
            data.write(part)
