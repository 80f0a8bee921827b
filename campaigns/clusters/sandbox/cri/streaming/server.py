"""The streaming server of one node: plain HTTP on the node's loopback, upgraded to SPDY/3.1 or WebSocket.

The kubelet asks the runtime over CRI for a URL and then passes its client's connection through to it. What comes
(Kubernetes 1.36.3, gates at their defaults; read in pkg/registry/core/pod/rest/subresources.go, pkg/kubelet/server and
k8s.io/cri-streaming v0.36.3, tried with the real ones):

- kubectl 1.30 and later speaks WebSocket `v5.channel.k8s.io` or `SPDY/3.1+portforward.k8s.io`. kube-apiserver passes
  that on to kubelets that declare ExtendWebSocketsToKubelet (beta, on) and translates for older ones; that kubelet
  translates. Either way SPDY arrives here, with the subprotocols v5 to v1 to choose from, of which v4 is the newest
  that a runtime takes, or `portforward.k8s.io`.
- Older kubectl and client-go's NewSPDYExecutor: SPDY, passed through.
- Every other WebSocket client (`v4.channel.k8s.io` and before, raw or base64) is passed through as it is.

A URL holds for one use and a minute: the token is all the authentication there is, as upstream.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path

from campaigns.clusters.sandbox.cri.streaming import forwarding, websocket
from campaigns.clusters.sandbox.cri.streaming.connections import Connection, SpdyConnection, Stream, WebSocketConnection
from campaigns.clusters.sandbox.cri.streaming.forwarding import PortForwardRequest, Target
from campaigns.clusters.sandbox.cri.streaming.sessions import (
    AttachRequest,
    Backend,
    Client,
    ExecRequest,
    Wanted,
    serve_attach,
    serve_exec,
)

__all__ = ["StreamingServer", "TooManyRequestsError"]

Request = ExecRequest | AttachRequest | PortForwardRequest

_TOKEN_S = 60.0
_MAX_TOKENS = 1000
"""Both: k8s.io/cri-streaming v0.36.3, request_cache.go."""
_STREAMS_S = 30.0
"""For a client to open its streams; cri-streaming's DefaultStreamCreationTimeout."""
_HEAD_S = 10.0
_HEAD_BYTES = 1 << 16
"""Of a request; both arbitrary (the kubelet sends less than 2 KB at once)."""
_CLOSE_S = 10.0
"""For everything to end at `close`; arbitrary. Not waited for after that: a command that survives SIGKILL."""
_MAX_PORTS = 127
"""Two channels each, numbered by one byte."""

_COMMAND_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_FORWARD_PROTOCOLS = ("portforward.k8s.io",)
_COMMAND_WEBSOCKETS = ("", "channel.k8s.io", "base64.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_FORWARD_WEBSOCKETS = ("", "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_CHANNELS = ("stdin", "stdout", "stderr", "error", "resize")
"""By number, in exec and attach over WebSocket."""


class TooManyRequestsError(Exception):
    """A thousand URLs wait to be used; try again in a minute (gRPC: RESOURCE_EXHAUSTED)."""


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: str
    headers: Message
    rest: bytes
    """What came after the head: of the upgraded connection already."""

    def values(self, name: str) -> list[str]:
        """A header's values, from all its lines, in order."""
        lines = self.headers.get_all(name, [])
        return [value.strip() for line in lines for value in str(line).split(",") if value.strip()]

    def has(self, name: str, value: str) -> bool:
        return value in (given.lower() for given in self.values(name))


class StreamingServer:
    """Serves from its making until `close`. `listener` listens already, on the node's loopback; it is the server's
    from now on. `network`: the node's network namespace file, for pods that have none of their own; None: this
    process's."""

    def __init__(self, listener: socket.socket, backend: Backend, *, network: Path | None) -> None:
        self._listener, self._backend, self._network = listener, backend, network
        host, port = listener.getsockname()[:2]
        self._base = f"http://{host}:{port}"
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, Request]] = {}
        self._sockets: dict[threading.Thread, socket.socket] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="streaming-accept", daemon=True)
        self._thread.start()

    def exec_url(
        self, container_id: str, argv: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        """For the CRI's Exec. ValueError (gRPC: INVALID_ARGUMENT): streams that the CRI forbids;
        TooManyRequestsError."""
        wanted = Wanted(stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)
        return self._url("exec", ExecRequest(container_id, tuple(argv), wanted))

    def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        """For the CRI's Attach. Errors as `exec_url`."""
        wanted = Wanted(stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)
        return self._url("attach", AttachRequest(container_id, wanted))

    def port_forward_url(self, pod_id: str, ports: Sequence[int]) -> str:
        """For the CRI's PortForward. Errors as `exec_url`."""
        if len(ports) > _MAX_PORTS or not all(0 < port < 1 << 16 for port in ports):
            raise ValueError(f"ports {list(ports)}: expected at most {_MAX_PORTS} numbers from 1 to 65535")
        return self._url("portforward", PortForwardRequest(pod_id, tuple(ports)))

    def close(self) -> None:
        """Ends every connection, and with it every command. Idempotent."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join()
        self._listener.close()
        with self._lock:
            open_ = dict(self._sockets)
        for sock in open_.values():
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _CLOSE_S
        for thread in open_:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _url(self, kind: str, request: Request) -> str:
        token, now = secrets.token_urlsafe(16), time.monotonic()
        with self._lock:
            self._tokens = {t: (until, r) for t, (until, r) in self._tokens.items() if until > now}
            if len(self._tokens) >= _MAX_TOKENS:
                raise TooManyRequestsError(f"{_MAX_TOKENS} streaming requests wait for their client")
            self._tokens[token] = now + _TOKEN_S, request
        return f"{self._base}/{kind}/{token}"

    def _take(self, path: str) -> Request:
        kind, _, token = path.partition("?")[0].strip("/").partition("/")
        with self._lock:
            until, request = self._tokens.pop(token, (0.0, None))
        expected = {"exec": ExecRequest, "attach": AttachRequest, "portforward": PortForwardRequest}.get(kind)
        if request is None or until <= time.monotonic() or type(request) is not expected:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "404 page not found")
        return request

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closing, or out of descriptors for now
                self._closing.wait(0.1)
                continue
            thread = threading.Thread(target=self._connection, args=(sock,), name="streaming-connection", daemon=True)
            with self._lock:
                self._sockets[thread] = sock
            thread.start()

    def _connection(self, sock: socket.socket) -> None:
        try:
            with sock:
                self._handle(sock)
        finally:
            with self._lock:
                self._sockets.pop(threading.current_thread(), None)

    def _handle(self, sock: socket.socket) -> None:
        sock.settimeout(_HEAD_S)
        try:
            if (head := _read_head(sock)) is None:
                return
            try:
                self._upgrade(sock, head)
            except _RefusedError as refused:
                sock.sendall(_response(refused.status, {"Connection": "close"} | refused.headers, str(refused)))
        except OSError:
            return  # the client has gone, or said nothing

    def _upgrade(self, sock: socket.socket, head: _Head) -> None:
        if head.method not in ("GET", "POST"):
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "405: Method Not Allowed", Allow="GET, POST")
        request = self._take(head.path)
        if head.has("Connection", "upgrade") and head.has("Upgrade", "websocket"):
            self._websocket(sock, head, request)
        else:
            self._spdy(sock, head, request)

    def _spdy(self, sock: socket.socket, head: _Head, request: Request) -> None:
        forwards = isinstance(request, PortForwardRequest)
        protocol = _spdy_protocol(head, _FORWARD_PROTOCOLS if forwards else _COMMAND_PROTOCOLS)
        answer = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": protocol}
        sock.sendall(_response(HTTPStatus.SWITCHING_PROTOCOLS, answer))
        connection = SpdyConnection(sock, forwarding.check_headers if forwards else lambda headers: True)
        if isinstance(request, PortForwardRequest):
            work = functools.partial(forwarding.serve_spdy, self._target(request), connection)
        else:
            work = functools.partial(self._command_over_spdy, connection, request, protocol)
        _run(sock, connection, work, head.rest)

    def _websocket(self, sock: socket.socket, head: _Head, request: Request) -> None:
        forwards = isinstance(request, PortForwardRequest)
        protocol, answer = _websocket_answer(head, _FORWARD_WEBSOCKETS if forwards else _COMMAND_WEBSOCKETS)
        sock.sendall(_response(HTTPStatus.SWITCHING_PROTOCOLS, answer))
        channels = 2 * len(request.ports) if isinstance(request, PortForwardRequest) else len(_CHANNELS)
        connection = WebSocketConnection(sock, channels=channels, text="base64" in protocol)
        if isinstance(request, PortForwardRequest):
            work = functools.partial(forwarding.serve_websocket, self._target(request), connection, request.ports)
        else:
            work = functools.partial(self._command_over_websocket, connection, request, protocol)
        _run(sock, connection, work, head.rest)

    def _command_over_spdy(
        self, connection: SpdyConnection, request: ExecRequest | AttachRequest, protocol: str
    ) -> None:
        names = request.wanted.names(resize=protocol in _COMMAND_PROTOCOLS[:2])
        if (streams := _collect(connection, names)) is not None:
            self._command(request, Client(connection, streams, protocol == _COMMAND_PROTOCOLS[0]))

    def _command_over_websocket(
        self, connection: WebSocketConnection, request: ExecRequest | AttachRequest, protocol: str
    ) -> None:
        names = request.wanted.names(resize=True)
        for stream, name in zip(connection.channels, _CHANNELS, strict=True):
            if name not in names or name not in ("stdin", "resize"):
                stream.drop()
        first = next(name for name in ("stdout", "stderr", "error") if name in names)
        connection.greet(_CHANNELS.index(first))
        streams = {name: connection.channels[number] for number, name in enumerate(_CHANNELS) if name in names}
        self._command(request, Client(connection, streams, protocol.startswith("v4.")))

    def _command(self, request: ExecRequest | AttachRequest, client: Client) -> None:
        if isinstance(request, ExecRequest):
            serve_exec(self._backend, request, client)
        else:
            serve_attach(self._backend, request, client)

    def _target(self, request: PortForwardRequest) -> Target:
        return Target(request.pod_id, lambda: self._backend.pod_network(request.pod_id) or self._network)


def _run(sock: socket.socket, connection: Connection, work: functools.partial[None], first: bytes) -> None:
    """The work in a thread of its own while this one reads the socket, until both are done."""

    def body() -> None:
        try:
            work()
        finally:
            connection.close()

    sock.settimeout(None)
    thread = threading.Thread(target=body, name="streaming-session", daemon=True)
    thread.start()
    connection.run(first)
    thread.join()


def _collect(connection: SpdyConnection, names: frozenset[str]) -> dict[str, Stream] | None:
    """The client's streams by type, once all of `names` are there; None if they don't come."""
    streams: dict[str, Stream] = {}
    deadline = time.monotonic() + _STREAMS_S
    while not names <= streams.keys():
        stream = connection.next_stream(max(0.0, deadline - time.monotonic()))
        if stream is None:
            return None
        kind = stream.headers.get("streamtype", "")
        if kind not in ("stdin", "resize"):
            stream.drop()
        streams[kind] = stream
    return streams


def _read_head(sock: socket.socket) -> _Head | None:
    """A request without its body; None if it isn't one. OSError when the client goes or is too slow."""
    data = b""
    deadline = time.monotonic() + _HEAD_S
    while b"\r\n\r\n" not in data:
        part = sock.recv(_HEAD_BYTES)
        if not part or len(data) > _HEAD_BYTES or time.monotonic() > deadline:
            return None
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    try:
        headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    except http.client.HTTPException:
        return None
    return _Head(words[0], words[1], headers, rest)


def _response(status: HTTPStatus, headers: dict[str, str], text: str = "") -> bytes:
    if status is not HTTPStatus.SWITCHING_PROTOCOLS:
        headers = {
            **headers,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(text.encode()) + 1),
        }
        text += "\n"
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", text]).encode()


def _spdy_protocol(head: _Head, ours: Sequence[str]) -> str:
    """The client's first choice that we have."""
    theirs = head.values("X-Stream-Protocol-Version")
    if not theirs:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "unable to upgrade: no X-Stream-Protocol-Version in the request")
    chosen = next((protocol for protocol in theirs if protocol in ours), None)
    if chosen is None:
        raise _RefusedError(
            HTTPStatus.FORBIDDEN,
            f"unable to upgrade: client supports {theirs}, server accepts {list(ours)}",
            **{"X-Accepted-Stream-Protocol-Versions": ", ".join(ours)},
        )
    if not (head.has("Connection", "upgrade") and head.has("Upgrade", "spdy/3.1")):
        raise _RefusedError(
            HTTPStatus.BAD_REQUEST, "unable to upgrade: expected Connection: Upgrade, Upgrade: SPDY/3.1"
        )
    return chosen


def _websocket_answer(head: _Head, ours: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The subprotocol ('' where the client names none) and the answer's headers."""
    key = head.headers.get("Sec-WebSocket-Key", "")
    if head.method != "GET" or not key or not head.has("Sec-WebSocket-Version", "13"):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "unable to upgrade: expected a WebSocket handshake of version 13")
    theirs = head.values("Sec-WebSocket-Protocol") or [""]
    chosen = next((protocol for protocol in theirs if protocol in ours), None)
    if chosen is None:
        raise _RefusedError(
            HTTPStatus.FORBIDDEN, f"requested protocol(s) are not supported: {theirs}; supports {list(ours)}"
        )
    answer = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": websocket.accept_key(key)}
    return chosen, answer | ({"Sec-WebSocket-Protocol": chosen} if chosen else {})
