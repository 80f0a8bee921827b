"""Calls to upstream of the forwarder's own, each on a connection of its own: copies of what a client sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

from injector.channels.own_calls import OwnCalls
from injector.wire.frames import Http2Error
from injector.wire.unary import UnaryCall

__all__ = ["Copies"]

ANSWER_TIMEOUT_S = 10.0
"""As long as kube-apiserver waits for etcd in a health check's worst case; arbitrary, it only bounds the wait."""


class Copies(OwnCalls):
    """Makes calls, as `injector.channels.etcd.Sender`. From within the event loop only."""

    def __init__(self, upstream: tuple[str, int], *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(upstream)
        self._tls = tls

    def send(self, path: bytes, message: bytes, answered: Callable[[bytes | None, int | None], None]) -> None:
        """Begin a call; `answered` gets its answer and gRPC status, None and None where there is none."""
        self._begin(self._send(path, message, answered))

    async def _send(self, path: bytes, message: bytes, answered: Callable[[bytes | None, int | None], None]) -> None:
        host, port = self._upstream
        scheme = "https" if self._tls is not None else "http"
        call = UnaryCall(path, message, authority=f"{host}:{port}", scheme=scheme)
        with contextlib.suppress(OSError, Http2Error, TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._converse(call, self._tls)
        answered(call.message, call.status)
