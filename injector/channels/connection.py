"""The writing end of one of the forwarder's connections.

An event loop writes when it has handled all that there was to be read. With many busy connections each message so
waits for all the others, while its receiver has nothing to do. Here what can be written is written at once, and only
the rest is left to the transport, with all that it does about a receiver that does not read or has gone. Not for TLS,
where the transport alone knows what goes over the wire.
"""

from __future__ import annotations

import asyncio
import os

__all__ = ["Outlet"]


class Outlet:
    """Writes to a transport, in order with what is written to the transport itself."""

    __slots__ = ("_descriptor", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        plain = transport.get_extra_info("ssl_object") is None
        self._descriptor: int | None = transport.get_extra_info("socket").fileno() if plain else None

    def write(self, parts: list[bytes]) -> None:
        """Sends the parts; at least one."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        transport, sent = self._transport, 0
        # a closing transport may have closed its descriptor, and another connection may have it
        if self._descriptor is not None and not (transport.is_closing() or transport.get_write_buffer_size()):
            try:
                sent = os.write(self._descriptor, data)
            except OSError:  # full, or broken: the transport will see
                sent = 0
        if sent < len(data):
            transport.write(data[sent:] if sent else data)
