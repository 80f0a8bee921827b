"""A small HTTPS server in kube-apiserver's place, HTTP/2 and HTTP/1.1, and clients for it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType

import h11

from tests.injector.wire.http_peers import Got, Peer

Headers = list[tuple[str, str]]


@dataclass
class Request:
    user: str | None
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Answers `/who`, `/echo`, `/big/BYTES`, watches; in a thread of its own. `say` sends a line to all watches. Nobody
    is answered in HTTP/2 who has not answered a PING."""

    tls: ssl.SSLContext
    address: tuple[str, int] = ("127.0.0.1", 0)
    requests: list[Request] = field(default_factory=list)
    peers: dict[Peer, tuple[asyncio.StreamWriter, list[int]]] = field(default_factory=dict)
    connections: int = 0

    def __enter__(self) -> Upstream:
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self._serve(ready)))
        self.thread.start()
        assert ready.wait(5)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join()
        self.loop.close()

    def say(self, line: bytes) -> None:
        def do() -> None:
            for peer, (writer, watches) in self.peers.items():
                for stream in watches:
                    peer.send(stream, line + b"\n", ends=False)
                writer.write(peer.taken())

        self.loop.call_soon_threadsafe(do)

    async def _serve(self, ready: threading.Event) -> None:
        self.over = asyncio.Event()
        server = await asyncio.start_server(self._connection, *self.address, ssl=self.tls)
        self.address = server.sockets[0].getsockname()[:2]
        ready.set()
        await self.over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        agreed = writer.get_extra_info("ssl_object")
        subject = dict(pair for (pair,) in agreed.getpeercert().get("subject", ())) if agreed.getpeercert() else {}
        user = subject.get("commonName")
        with suppress(ConnectionError, ssl.SSLError):
            try:
                if agreed.selected_alpn_protocol() == "h2":
                    await self._http2(reader, writer, user)
                else:
                    await self._http1(reader, writer, user)
            finally:
                writer.transport.abort()
                await writer.wait_closed()

    async def _http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str | None) -> None:
        peer, answered = Peer(client=False), set[int]()
        self.peers[peer] = writer, []
        peer.connection.ping(b"question")
        writer.write(peer.taken())
        while data := await reader.read(1 << 16):
            peer.receive(data)
            for stream, got in list(peer.got.items()):
                if peer.pings and got.ended and stream not in answered and got.reset is None:
                    answered.add(stream)
                    self._answer(peer, stream, user, got)
            writer.write(peer.taken())
            await writer.drain()
        del self.peers[peer]

    def _answer(self, peer: Peer, stream: int, user: str | None, got: Got) -> None:
        head = got.head
        headers = {name: value for name, value in head.items() if not name.startswith(":")}
        request = Request(user, head[":method"], head[":path"], headers, bytes(got.body))
        if "watch=true" in request.target:
            self.requests.append(request)
            self.peers[peer][1].append(stream)
            peer.answer(stream, b"", ("content-type", "application/json"), ends=False)
        else:
            body = self._said(request)
            peer.answer(stream, body, ("content-length", str(len(body))))

    def _said(self, request: Request) -> bytes:
        self.requests.append(request)
        if request.target == "/who":
            told = {"user": request.user, "authorization": request.headers.get("authorization")}
            return json.dumps(told).encode()
        if request.target.startswith("/big/"):
            return bytes(int(request.target.rpartition("/")[2]))
        return request.body

    async def _http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str | None) -> None:
        connection = h11.Connection(h11.SERVER)
        request, body = Request(user, "", "", {}, b""), b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(1 << 16)
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                request, body = Request(user, event.method.decode(), event.target.decode(), headers, b""), b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                request.body = body
                if "upgrade" in request.headers:
                    await self._shouting(connection, reader, writer)
                    return
                said = self._said(request)
                answer = h11.Response(status_code=200, headers=[("content-length", str(len(said)))])
                for part in (answer, h11.Data(data=said), h11.EndOfMessage()):
                    writer.write(connection.send(part) or b"")
                await writer.drain()
                connection.start_next_cycle()
            else:
                return

    async def _shouting(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        headers = [("connection", "Upgrade"), ("upgrade", "shouting")]
        writer.write(connection.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")
        while data := await reader.read(1 << 16):
            writer.write(data.upper())


class Client:
    """An HTTP/2 client on one TLS connection."""

    def __init__(self, secure: ssl.SSLSocket, *, greedy: bool = True) -> None:
        self.socket, self.peer = secure, Peer(client=True, greedy=greedy)

    def exchange(self) -> bool:
        """Send what there is to send and take in what comes next. False: the connection is over."""
        self.socket.sendall(self.peer.taken())
        data = self.socket.recv(1 << 16)
        if data:
            self.peer.receive(data)
        return bool(data)

    def ask(
        self, method: str = "GET", target: str = "/who", body: bytes | None = None, *headers: tuple[str, str]
    ) -> Got:
        got = self.begin(method, target, body, *headers)
        while not got.ended and got.reset is None:
            assert self.exchange(), "the connection was closed"
        return got

    def begin(self, method: str, target: str, body: bytes | None = None, *headers: tuple[str, str]) -> Got:
        got = self.peer.got[self.peer.request(method, target, body, *headers)]
        self.socket.sendall(self.peer.taken())
        return got


@contextmanager
def connected(address: tuple[str, int], tls: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        closing(socket.create_connection(address, 10)) as plain,
        tls.wrap_socket(plain, server_hostname="127.0.0.1") as s,
    ):
        yield s
