"""Calls to upstream of a forwarder's own, each on a connection of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Protocol

__all__ = ["OwnCall", "OwnCalls"]

_READ_BYTES = 1 << 16


class OwnCall(Protocol):
    """One call, bytes in, bytes out. `over`: there is its answer, or there will be none."""

    @property
    def over(self) -> bool: ...

    def to_send(self) -> bytes: ...

    def receive(self, data: bytes) -> None: ...


class OwnCalls:
    """Those that are under way. From within the event loop only."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._running: set[asyncio.Task[None]] = set()

    def _begin(self, call: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _converse(self, call: OwnCall, tls: ssl.SSLContext | None) -> None:
        """Until it is over, or upstream closes the connection. OSError where there is none."""
        reader, writer = await asyncio.open_connection(*self._upstream, ssl=tls)
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
