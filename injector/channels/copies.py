"""Calls to upstream of the forwarder's own, each on a connection of its own: copies of what a client sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

from injector.wire.frames import Http2Error
from injector.wire.unary import UnaryCall

__all__ = ["Copies"]

ANSWER_TIMEOUT_S = 10.0
"""As long as kube-apiserver waits for etcd in a health check's worst case; arbitrary, it only bounds the wait."""

_READ_BYTES = 1 << 16


class Copies:
    """Makes calls, as `injector.channels.etcd.Sender`. From within the event loop only."""

    def __init__(self, upstream: tuple[str, int], *, tls: ssl.SSLContext | None = None) -> None:
        self._upstream, self._tls = upstream, tls
        self._running: set[asyncio.Task[None]] = set()

    def send(self, path: bytes, message: bytes, answered: Callable[[bytes | None, int | None], None]) -> None:
        """Begin a call; `answered` gets its answer and gRPC status, None and None where there is none."""
        task = asyncio.get_running_loop().create_task(self._send(path, message, answered))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send(self, path: bytes, message: bytes, answered: Callable[[bytes | None, int | None], None]) -> None:
        host, port = self._upstream
        scheme = "https" if self._tls is not None else "http"
        call = UnaryCall(path, message, authority=f"{host}:{port}", scheme=scheme)
        with contextlib.suppress(OSError, Http2Error, TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._converse(call)
        answered(call.message, call.status)

    async def _converse(self, call: UnaryCall) -> None:
        reader, writer = await asyncio.open_connection(*self._upstream, ssl=self._tls)
        try:
            while not call.over:
                writer.write(call.to_send())
                await writer.drain()
                if not (data := await reader.read(_READ_BYTES)):
                    return
                call.receive(data)
        finally:
            writer.close()

    def cancel(self) -> None:
        """The forwarder ends."""
        for task in list(self._running):
            task.cancel()
