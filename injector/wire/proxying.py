"""What a proxy of a client's connection and its upstream connection takes and tells: bytes, no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from injector.wire.inspection import Gate

__all__ = ["Output", "Proxy"]


@dataclass(slots=True)
class Output:
    """What to send; `gates` that messages began to wait for; whether to go on reading from either side; `over`: send
    it, then close both connections; `error`: why, in words, where it is for something that a peer did wrong."""

    to_client: bytes = b""
    to_upstream: bytes = b""
    gates: list[Gate] = field(default_factory=list)
    read_client: bool = True
    read_upstream: bool = True
    over: bool = False
    error: str | None = None


class Proxy(Protocol):
    """`requests`: how many were begun."""

    requests: int

    def begin(self) -> Output:
        """Both connections stand."""
        ...

    def from_client(self, data: bytes) -> Output:
        """Bytes that the client sent."""
        ...

    def from_upstream(self, data: bytes) -> Output:
        """Bytes that upstream sent; b"" where it closed its side."""
        ...

    def released(self) -> Output:
        """What may go on now that gates have opened."""
        ...

    def closed(self) -> None:
        """The connections are gone."""
        ...
