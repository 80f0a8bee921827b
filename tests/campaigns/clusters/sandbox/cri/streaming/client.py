"""A SPDY client for tests, on the product's own frames; what the real client-go sends is in recorded/."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from campaigns.clusters.sandbox.cri.streaming import spdy

RECORDED = Path(__file__).parent / "recorded"
"""The bytes of one client-go v0.36.3 connection each (remotecommand.NewSPDYExecutor, portforward.New), as a relay saw
them: exec.bin `sh -c 'cat; echo no >&2; exit 3'` with stdin `hello`; terminal.bin the same kind of call with Tty and a
size; forward.bin two connections to port 18998, each of which sends `ping N` and ends."""

V4 = "v4.channel.k8s.io"
FORWARD = "portforward.k8s.io"


def request(url: str, *lines: str, method: str = "POST") -> bytes:
    """An HTTP request for `url` with these header lines."""
    path = urlsplit(url).path
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def dial(url: str) -> socket.socket:
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname or "", parts.port or 0))
    sock.settimeout(20)
    return sock


def ask(url: str, *lines: str, method: str = "POST") -> bytes:
    """The whole answer to a request that is not upgraded."""
    with dial(url) as sock:
        sock.sendall(request(url, *lines, method=method))
        answer = b""
        while part := sock.recv(65536):
            answer += part
    return answer


class SpdyClient:
    """One upgraded connection. Frames are read when something is waited for."""

    def __init__(self, url: str, protocols: Sequence[str] = (V4,)) -> None:
        self.socket = dial(url)
        versions = [f"X-Stream-Protocol-Version: {protocol}" for protocol in protocols]
        self.socket.sendall(request(url, "Connection: Upgrade", "Upgrade: SPDY/3.1", *versions))
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self.frames: list[spdy.Frame] = []
        self.data: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.closed = False
        self._next = 1
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.socket.recv(1)
            assert part, head
            head += part
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.head = head.decode()

    def __enter__(self) -> SpdyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, frame: spdy.Frame) -> None:
        self.socket.sendall(self._encoder.encode(frame))

    def open(self, **headers: str) -> int:
        """A new stream's number, once it was accepted."""
        number, self._next = self._next, self._next + 2
        self.send(spdy.SynStream(number, headers))
        self.until(lambda: any(isinstance(f, spdy.SynReply) and f.stream == number for f in self.frames))
        return number

    def streams(self, *kinds: str) -> list[int]:
        return [self.open(streamtype=kind) for kind in kinds]

    def write(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """In pieces of 32 KiB, as io.Copy does."""
        for at in range(0, len(data), 32768):
            self.send(spdy.Data(stream, data[at : at + 32768]))
        if fin:
            self.send(spdy.Data(stream, b"", fin=True))

    def writing(self, stream: int, data: bytes, *, fin: bool = False) -> threading.Thread:
        """`write` in a thread of its own; ends quietly when the server has closed."""

        def body() -> None:
            try:
                self.write(stream, data, fin=fin)
            except OSError:
                return

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    def until(self, condition: Callable[[], bool]) -> None:
        """Reads until it holds; fails when the server closes or says nothing before."""
        while not condition():
            assert self._read(), f"the server closed; so far {self.frames}"

    def rest(self) -> SpdyClient:
        """Reads until the server closes."""
        while self._read():
            pass
        return self

    def text(self, stream: int) -> bytes:
        return bytes(self.data.get(stream, b""))

    def _read(self) -> bool:
        try:
            received = self.socket.recv(1 << 18)
        except ConnectionResetError:
            received = b""
        if not received:
            self.closed = True
            return False
        for frame in self._decoder.feed(received):
            if isinstance(frame, spdy.Data):
                self.data.setdefault(frame.stream, bytearray()).extend(frame.data)
                if frame.fin:
                    self.ended.add(frame.stream)
            else:
                self.frames.append(frame)
        return True
