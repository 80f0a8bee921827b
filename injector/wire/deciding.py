"""One direction of one exchange: a body's bytes in, in any pieces, and out, with its messages decided.

A message that somebody wants to look at is held until it is whole. One that `Held` keeps back keeps back what follows
it; what `Aside` puts aside goes between two later messages, at the latest at the end of the body. Whoever looks may
come and go: what is under way of a message then passes, and the next one is looked at.

A body that is one message (Cut.WHOLE) is looked at once it ended; `Several` and `Aside` of it are joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from injector.wire.cutting import cutter
from injector.wire.exchange import Cut, Deny, Forward, Held, MessageDecision, RequestDecision
from injector.wire.inspection import Aside, Gate, Replace, Several

__all__ = ["Body", "Decided", "Looking", "Onlooker"]

Decided = RequestDecision | MessageDecision


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who decides about a message, and is told of one that nobody can look at."""

    decide: Callable[[bytes], Decided]
    unread: Callable[[str], None]


class Looking(Protocol):
    """Who looks at a body."""

    def wanted(self) -> bool:
        """Whether somebody may want to look at the next message."""
        ...

    def onlooker(self) -> Onlooker | None:
        """Who decides about the message that is whole now."""
        ...


class Body:
    """`most_bytes`: longer messages pass unread. `gates` collects the gates that messages wait for.

    denied   set once a message was denied; nothing goes on after that
    changed  whether what went on is not what came
    target   the request's new target, where a Forward said one
    ended    nothing more will come
    """

    def __init__(self, cut: Cut, looking: Looking, gates: list[Gate], *, most_bytes: int) -> None:
        self._cutter, self._looking = cutter(cut), looking
        self._whole = cut is Cut.WHOLE
        self._gates, self._most_bytes = gates, most_bytes
        self._buffer = bytearray()
        self._gate: Gate | None = None
        self._then: Decided = None
        self._held = b""  # as it came, with its frame
        self._aside: list[Aside] = []
        self._seen = False  # a whole body was decided
        self.denied: Deny | None = None
        self.changed = False
        self.target: str | None = None
        self.ended = False

    @property
    def stalled(self) -> bool:
        """Whether what comes now waits for a gate."""
        return self._gate is not None

    @property
    def over(self) -> bool:
        """Whether everything has gone on."""
        held = self._gate or self._buffer or self._aside or self.denied
        return self.ended and not held and (self._seen or not self._whole)

    @property
    def ready(self) -> bool:
        """Whether a gate has opened that something waits for."""
        if self._gate is not None:
            return self._gate.is_open
        return any(aside.gate.is_open for aside in self._aside)

    def data(self, content: bytes, *, ends: bool = False) -> bytes:
        """More of the body. Returns what goes on now."""
        self.ended = self.ended or ends
        if not (self._buffer or self._gate or self._aside or self._whole) and not self._looking.wanted():
            self._cutter.skim(content, on=True)
            return content
        self._buffer += content
        return self.released()

    def released(self) -> bytes:
        """What goes on now that a gate may have opened."""
        out: list[bytes] = []
        while self.denied is None and self._step(out):
            pass
        return b"".join(out)

    def _step(self, out: list[bytes]) -> bool:
        """One message, or what passes of one. False: no more for now."""
        if self._gate is not None:
            if not self._gate.is_open:
                return False
            held, then, self._gate, self._held, self._then = self._held, self._then, None, b"", None
            self._apply(held, then, out)
            return True
        if self._cutter.inside:
            self._take(self._cutter.skim(self._buffer, on=False), out)
            if self._cutter.inside:
                self._seen = True
                return self.ended and self._last(out)
        self._overtaken(out)
        if not self._looking.wanted():
            self._take(self._cutter.skim(self._buffer, on=True), out)
            self._seen = True
        elif not (self._whole and self._seen) and self._next(out):
            return True
        return self.ended and self._last(out)

    def _next(self, out: list[bytes]) -> bool:
        """Decide on the message that the buffer begins with, if it is all there."""
        found = self._cutter.whole(self._buffer, ended=self.ended)
        least = self._cutter.least_bytes(self._buffer) if found is None else found[1]
        if least > self._most_bytes:
            if (onlooker := self._looking.onlooker()) is not None:
                onlooker.unread(f"a message of {least} bytes or more, at most {self._most_bytes} are looked at")
            self._seen = True
            self._take(self._cutter.skim(self._buffer, on=True) if found is None else least, out)
            return found is not None
        if found is None:
            return False
        message, length = found
        raw, self._seen = bytes(self._buffer[:length]), True
        del self._buffer[:length]
        onlooker = self._looking.onlooker()
        self._apply(raw, None if onlooker is None else onlooker.decide(message), out)
        return True

    def _apply(self, raw: bytes, decision: Decided, out: list[bytes]) -> None:
        framed = self._cutter.framed
        if decision is None:
            out.append(raw)
            return
        if isinstance(decision, Held):
            if decision.gate.is_open:
                self._apply(raw, decision.then, out)
            else:
                self._gate, self._then, self._held = decision.gate, decision.then, raw
                self._gates.append(decision.gate)
            return
        self.changed = True
        if isinstance(decision, Deny):
            self.denied = decision
        elif isinstance(decision, Replace):
            out.append(framed(decision.message))
        elif isinstance(decision, Forward):
            self.target = decision.target
            self.changed = decision.body != raw
            out.append(framed(decision.body))
        elif isinstance(decision, Several):
            out += map(framed, decision.messages)
        else:
            out += map(framed, decision.now)
            self._aside.append(decision)
            self._gates.append(decision.gate)

    def _overtaken(self, out: list[bytes]) -> None:
        """What was put aside and may go now, between two messages."""
        if self._aside:
            ready = [aside for aside in self._aside if aside.gate.is_open]
            self._aside = [aside for aside in self._aside if aside not in ready]
            out += [self._cutter.framed(message) for aside in ready for message in aside.later]

    def _last(self, out: list[bytes]) -> bool:
        """The body ended: a cut-off message passes, and what was put aside goes, before it where it can."""
        out += [self._cutter.framed(message) for aside in self._aside for message in aside.later]
        self._aside.clear()
        self._take(len(self._buffer), out)
        return False

    def _take(self, length: int, out: list[bytes]) -> None:
        if length:
            out.append(bytes(self._buffer[:length]))
            del self._buffer[:length]
