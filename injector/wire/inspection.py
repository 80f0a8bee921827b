"""What the forwarder asks of whoever knows what the messages mean (injector.channels), and what it is told to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = ["Answer", "Aside", "Call", "Decision", "Drop", "Gate", "Hold", "Inspector", "Place", "Replace", "Several"]


class Gate:
    """What a held message waits for: somebody opens it. `after_s`: whoever drives the relay is asked to open it so many
    seconds after the relay handed it out. No clock in here."""

    __slots__ = ("_waiting", "after_s", "is_open")

    def __init__(self, after_s: float | None = None) -> None:
        self.after_s, self.is_open = after_s, False
        self._waiting: list[Callable[[], None]] = []

    def open(self) -> None:
        """For good; the second time does nothing."""
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def when_open(self, callback: Callable[[], None]) -> None:
        """`callback` is called once the gate opens, from within `open` (at once if it is open)."""
        if self.is_open:
            callback()
        else:
            self._waiting.append(callback)


@dataclass(frozen=True, slots=True)
class Replace:
    """Send `message` on instead."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Several:
    """Send these on instead: none (the message is swallowed), or more than one where the call is a stream."""

    messages: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A made-up end of a call. `status` is a gRPC status code; `message` stands before it only where it is 0."""

    status: int
    details: str = ""
    message: bytes | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The call ends here. Upstream's side is reset; the client is told `answer`, or nothing (it then waits for its own
    deadline)."""

    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Hold:
    """The message, and with it all that follows on this side of the call, waits for `gate`; then it goes on as `then`
    says. Other calls pass."""

    gate: Gate
    then: Replace | Several | Drop | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """`now` goes in the message's place; `later` waits for `gate`, overtaken by what follows on this side of the call,
    and then goes between two messages, at the latest at the end of the call."""

    gate: Gate
    later: tuple[bytes, ...]
    now: tuple[bytes, ...] = ()


Decision = Replace | Several | Drop | Hold | Aside | None
"""None: the message goes through as it came, byte for byte."""


class Call(Protocol):
    """One RPC whose messages are looked at."""

    @property
    def listening(self) -> bool:
        """Whether answers matter. Asked once the request has ended and, for a lasting call, when no rule is armed any
        more: whether it wants to hear the rest all the same."""
        ...

    def request(self, message: bytes) -> Decision:
        """One whole message from the client."""
        ...

    def unread(self, why: str) -> None:
        """A message went through that could not be looked at (compressed, too long)."""
        ...

    def response(self, message: bytes) -> Decision:
        """One whole message from upstream. `Hold` with a gate that is open is as good as its `then`."""
        ...

    def ended(self, status: int | None) -> None:
        """Upstream ended the call with a gRPC status; None: the stream or the connection broke off, or the call was
        dropped on its way back."""
        ...


class Place(NamedTuple):
    """Where a call is: its client's connection, counted from 1 in the order in which they came, and its stream."""

    connection: int = 0
    stream: int = 0

    def __str__(self) -> str:
        return f"connection {self.connection}, stream {self.stream}" if self.connection else ""


class Inspector(Protocol):
    def call(self, path: bytes, place: Place, /) -> Call | None:
        """Asked for every request while a rule is armed; None: let it pass uninspected. For a call that was under way
        before (see Relay, `lasting`) it is asked at its next message, in either direction."""
        ...
