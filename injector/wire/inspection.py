"""What the forwarder asks of whoever knows what the messages mean (injector.channels)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Answer", "Call", "Decision", "Drop", "Inspector", "Replace"]


@dataclass(frozen=True, slots=True)
class Replace:
    """Send `message` on instead."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A made-up end of a call. `status` is a gRPC status code; `message` stands before it only where it is 0."""

    status: int
    details: str = ""
    message: bytes | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Reset the call upstream; tell the client `answer`, or nothing (it then waits for its own deadline)."""

    answer: Answer | None


Decision = None | Replace | Drop
"""None: the message goes through as it came, byte for byte."""


class Call(Protocol):
    """One RPC whose messages are looked at."""

    @property
    def listening(self) -> bool:
        """Whether answers matter. Asked once the request has ended."""
        ...

    def request(self, message: bytes) -> Decision:
        """One whole message from the client."""
        ...

    def unread(self, why: str) -> None:
        """A message went through that could not be looked at (compressed, too long)."""
        ...

    def response(self, message: bytes) -> None:
        """One whole message from upstream. It has gone on already."""
        ...

    def ended(self, status: int | None) -> None:
        """Upstream ended the call with a gRPC status; None: the stream or the connection broke off."""
        ...


class Inspector(Protocol):
    def call(self, path: bytes) -> Call | None:
        """Asked for every request while a rule is armed; None: let it pass uninspected."""
        ...
