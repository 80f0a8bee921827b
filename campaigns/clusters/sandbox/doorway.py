"""The door of a sandbox: a loopback port of the host that leads to kube-apiserver inside.

The listening socket is made in the host's network namespace and handed into the sandbox's first process; a socket stays
in the network it was made in, whoever holds it. Connections accepted from it are therefore the host's, connections made
to the target are the sandbox's, and copying bytes between the two is all that there is to do. TLS and client
certificates are kube-apiserver's own: nothing here can read what goes through, and nobody gets in without a key.

asyncio in a thread of its own: clients hold many connections open for hours (watches), and a pair of threads for each
would weigh more than the connections. Nothing is retried: where kube-apiserver does not answer, the client's connection
is reset, as it would be without a door.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

__all__ = ["Doorway", "open_door"]

_CHUNK_BYTES = 1 << 16
"""asyncio's own read limit; a list of a thousand pods comes in some dozen of them."""
_BACKLOG = 512
"""Connections that may wait until the sandbox is up; kube-apiserver's Go listener takes net.core.somaxconn (4096)."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""struct linger of SO_LINGER, socket(7): on, 0 s."""
_GRACE_S = 5.0


def open_door(port: int = 0) -> socket.socket:
    """A socket that listens on 127.0.0.1; port 0: any that is free. OSError where it can't be had."""
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a recreated sandbox keeps its port
        door.bind(("127.0.0.1", port))
        door.listen(_BACKLOG)
    except OSError:
        door.close()
        raise
    return door


class Doorway:
    """Lets connections to `door` through to `target` from `start` until `close`; takes the socket over."""

    def __init__(self, door: socket.socket, target: tuple[str, int]) -> None:
        self._door, self._target = door, target
        self._connections: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorway", daemon=True)

    @property
    def port(self) -> int:
        return int(self._door.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    def start(self) -> None:
        """Returns when connections are let through."""
        self._thread.start()
        self._open.wait()

    def close(self) -> None:
        """Ends every connection. Idempotent."""
        if self._loop is not None and self._done is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join(_GRACE_S)
        self._door.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._open.set()  # never leave `start` waiting

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        # start_server goes on accepting after EMFILE, and hands each connection to a task of its own
        server = await asyncio.start_server(self._accepted, sock=self._door, limit=_CHUNK_BYTES)
        self._open.set()
        await self._done.wait()
        server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._let_through(reader, writer)
        except asyncio.CancelledError:  # by close; the server's own callback can't take it (Python 3.11)
            _reset(writer)
        finally:
            writer.close()
            self._connections.discard(task)

    async def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*self._target, limit=_CHUNK_BYTES)
        except OSError:
            _reset(writer)
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, inner_writer))
                both.create_task(_copy(inner_reader, writer))
        except* OSError:  # one side was reset: so is the other
            _reset(writer)
            _reset(inner_writer)
        finally:
            if self._done is not None and self._done.is_set():
                _reset(inner_writer)  # what is still unsent stays so
            inner_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side has nothing more to say, which the other is told; its answer may still come."""
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes with a RST instead of an orderly end, which could be taken for an answer."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it is closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
