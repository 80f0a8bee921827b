"""Local servers that answer as a test wants: HTTP and DNS."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

__all__ = ["Answer", "dns_server", "reset", "saying", "server"]

Answer = Callable[[socket.socket], object]


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[tuple[str, int]]:
    """Calls `answer` with every connection, after its request has been read."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def saying(text: bytes) -> Answer:
    return lambda connection: connection.sendall(text)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def dns_server(reply: Callable[[bytes], bytes]) -> Iterator[tuple[str, int]]:
    """Answers every question with what `reply` makes of it; nothing where that is empty."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        over = threading.Event()

        def serve() -> None:
            while True:
                question, peer = listening.recvfrom(512)
                if over.is_set():
                    return
                if answered := reply(question):
                    listening.sendto(answered, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = listening.getsockname()
        try:
            yield address
        finally:
            over.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
                waking.sendto(b"", address)
            thread.join(5)
