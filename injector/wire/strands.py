"""One direction of one watched call: DATA frames in, whole messages put to the call, DATA frames out.

A frame that ends where a message ends, and of which nothing changes, goes on as it came. A message that is not whole
yet is held, and its windows are given back to the sender meanwhile (injector.wire.lanes), so that it arrives even if
it is longer than they are. A message that `Hold` keeps back keeps back what follows it; one that is put `Aside` does
not.

A strand can be joined in the middle (`attend` at any time): what is under way of a message then passes, and the next
one is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from injector.wire.inspection import Aside, Decision, Drop, Gate, Hold, Replace, Several
from injector.wire.lanes import Lane
from injector.wire.messages import PREFIX_BYTES, Message, joined

__all__ = ["Asked", "Dropped", "Strand"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked about a whole message, and told of those that nobody can be asked about."""

    decide: Callable[[bytes], Decision]
    unread: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Dropped:
    """The call ends here. `owed`: so much of the sender's connection window is still to be given back; `before` goes
    out first."""

    drop: Drop
    owed: int = 0
    before: bytes = b""


class Strand:
    """`cuts`: whole messages of a frame that holds the beginning of the next one go at once (the frame has then to be
    cut) instead of with it. `most_bytes`: longer messages pass unread, and no more than that is kept waiting behind a
    gate. `gates` collects the gates that messages wait for. Methods return the frames to send in the place of the unit
    just read; None: that unit as it came; or Dropped."""

    __slots__ = (
        "_awaited", "_cuts", "_decided", "_gate", "_gates", "_kept", "_most_bytes", "_passing", "_raw", "_started",
        "_then", "aside", "asked", "body", "ending", "lane", "over", "stream",
    )  # fmt: skip

    def __init__(self, lane: Lane, stream: int, *, most_bytes: int, gates: list[Gate], cuts: bool) -> None:
        self.lane, self.stream = lane, stream
        self._most_bytes, self._gates, self._cuts = most_bytes, gates, cuts
        self._kept = 0  # so much of `body` is decided: it stays as it came
        self.asked: Asked | None = None
        self.body = bytearray()  # what is held: from the beginning of a message on
        self._raw: list[tuple[bytes, int]] | None = []  # the frames it came in; None: they hold other things too
        self._awaited = 0  # not to be looked at before it is so long
        self._passing = 0  # so much more of a message passes unread
        self._started = bytearray()  # of the prefix of such a message
        self._gate: Gate | None = None
        self._then: Decision = None
        self._decided = False
        self.aside: list[Aside] = []
        self.over = False  # the sender's END_STREAM came with DATA
        self.ending = b""  # trailers that wait for the rest

    @property
    def waiting(self) -> bool:
        """Whether something waits for a gate."""
        return self._gate is not None or bool(self.aside)

    @property
    def stalled(self) -> bool:
        return self._gate is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is held."""
        return not self.body and self._gate is None and not self.aside

    @property
    def ready(self) -> bool:
        """Whether a gate has opened that something waits for."""
        return (self._gate is not None and self._gate.is_open) or (
            self._gate is None and any(aside.gate.is_open for aside in self.aside)
        )

    def discard(self) -> None:
        """The call is over: nothing of what is held will go."""
        self.body.clear()
        self.aside.clear()
        self._raw, self._gate, self._then, self._awaited, self._kept, self.ending = [], None, None, 0, 0, b""
        self._decided = False

    def attend(self, asked: Asked | None) -> bytes:
        """From the next message on. Returns what has to be sent of what was held for nobody any more."""
        self.asked = asked
        if asked is not None or self.idle:
            return b""
        held, self.body, self._raw, self._awaited, self._kept = bytes(self.body), bytearray(), [], 0, 0
        self._skim(held, on=True)
        return self.lane.made_up(self.stream, held)

    # DATA

    def data(self, raw: bytes, content: bytes, *, paid: int, ends: bool) -> bytes | Dropped | None:
        """One DATA frame: as it came, and what is in it without padding."""
        self.over = self.over or ends
        if self.asked is None:
            self._skim(content, on=True)
            return self._copy(raw, content, paid, ends)
        if not self.body and self._gate is None and not self._passing and not self._started:
            if _is_one_message(content) and not self.aside:
                decision = self.asked.decide(content[PREFIX_BYTES:])
                if decision is None:
                    return self._copy(raw, content, paid, ends)
                self._then, self._decided = decision, True
        elif self._passing or self._started:
            under_way = self._skim(content, on=False)
            if under_way == len(content):
                return self._copy(raw, content, paid, ends)
            self.lane.credit(self.stream, paid)
            first = self.lane.made_up(self.stream, content[:under_way])
            self.body += content[under_way:]
            self._raw = None
            rest = self._look(self.asked, b"", 0)
            return Dropped(rest.drop, before=first) if isinstance(rest, Dropped) else first + (rest or b"")
        self.body += content
        if self._gate is not None and len(self.body) > self._most_bytes:
            self.asked.unread(
                f"more than {self._most_bytes} bytes came behind a message that was held: it goes on early"
            )
            self._gate.open()
            self._gate, self._decided = None, True
        if self._gate is not None or (not ends and len(self.body) < self._awaited):
            return self._hold(raw, paid)
        return self._look(self.asked, raw, paid)

    def resume(self) -> bytes | Dropped:
        """A gate has opened."""
        if self._gate is not None and self._gate.is_open:
            self._gate, self._decided = None, True
        if self.asked is None or self._gate is not None:
            return b""
        sent = self._look(self.asked, b"", 0)
        return b"" if sent is None else sent

    def finish(self) -> bytes:
        """The sender ended its side with trailers: a cut-off message, and what was put aside, go before them."""
        payload = bytes(self.body) + b"".join(_framed(aside.later) for aside in self.aside)
        self.discard()
        return self.lane.made_up(self.stream, payload) if payload else b""

    # Deciding

    def _look(self, asked: Asked, raw: bytes, paid: int) -> bytes | Dropped | None:
        """Decide on all whole messages in `body`; send what is decided, hold the rest."""
        found = self._decide(asked)
        if isinstance(found, Drop):
            self.discard()
            return Dropped(found, paid)
        out, changed, at = found
        complete = at == len(self.body)
        if not complete and (not out or (not changed and self._gate is None and not self._cuts)):
            self._kept = at
            self._awaited += at
            return self._hold(raw, paid)
        self._kept = 0
        if complete and not changed and self._raw is not None:
            return self._send_as_it_came(raw, paid)
        if not complete:
            self.lane.credit(self.stream, paid)
            paid = 0
        del self.body[:at]
        ends = self.over and complete
        self._raw = [] if complete else None
        payload = b"".join(out)
        if not payload and not ends and not paid:
            return b""
        return self.lane.release(self.stream, payload, paid=paid, end_stream=ends)

    def _decide(self, asked: Asked) -> tuple[list[bytes], bool, int] | Drop:
        """What to send, whether it differs from what came, and how much of `body` it stands for."""
        body, at, changed = self.body, self._kept, False
        out = [bytes(body[:at])] if at else []
        self._awaited = 0
        while self._gate is None:
            if later := self._overtaken():
                out.append(later)
                changed = True
            length = _whole(body, at)
            if at + length > len(body):
                if length > self._most_bytes:
                    asked.unread(f"a message of more than {self._most_bytes} bytes is not looked at")
                    self._skim(body[at:], on=True)
                elif not self.over:
                    self._awaited = length
                    break
                out.append(bytes(body[at:]))
                at = len(body)
            if at == len(body):
                break
            message = bytes(body[at : at + length])
            decision = self._decision(asked, message)
            if isinstance(decision, Drop):
                return decision
            if isinstance(decision, Hold):
                self._gate, self._then = decision.gate, decision.then
                self._gates.append(decision.gate)
                break
            out.append(self._sent(message, decision))
            changed = changed or decision is not None
            at += length
        return out, changed, at

    def _decision(self, asked: Asked, message: bytes) -> Decision:
        if self._decided:
            decision, self._then, self._decided = self._then, None, False
        elif message[0]:
            asked.unread("the message is compressed")
            return None
        else:
            decision = asked.decide(message[PREFIX_BYTES:])
        if isinstance(decision, Hold) and decision.gate.is_open:
            return decision.then
        return decision

    def _sent(self, message: bytes, decision: Replace | Several | Aside | None) -> bytes:
        if decision is None:
            return message
        if isinstance(decision, Replace):
            return _framed((decision.message,))
        if isinstance(decision, Several):
            return _framed(decision.messages)
        self.aside.append(decision)
        self._gates.append(decision.gate)
        return _framed(decision.now)

    def _overtaken(self) -> bytes:
        """What was put aside and may go now, between two messages."""
        if not self.aside or self._passing or self._started:
            return b""
        ready = [aside for aside in self.aside if aside.gate.is_open]
        self.aside = [aside for aside in self.aside if not aside.gate.is_open]
        return b"".join(_framed(aside.later) for aside in ready)

    # Sending

    def _copy(self, raw: bytes, content: bytes, paid: int, ends: bool) -> bytes | None:
        if self.lane.copied(self.stream, paid, paid=paid):
            return None
        return self.lane.release(self.stream, content, paid=paid, end_stream=ends)

    def _hold(self, raw: bytes, paid: int) -> bytes:
        if self._raw is not None:
            self._raw.append((raw, paid))
        self.lane.credit(self.stream, paid)
        return b""

    def _send_as_it_came(self, raw: bytes, paid: int) -> bytes | None:
        assert self._raw is not None
        before, content = self._raw, self.body
        self._raw, self.body = [], bytearray()
        held = sum(paid for _, paid in before)
        if self.lane.copied(self.stream, held + paid, paid=paid):
            return b"".join([*(frame for frame, _ in before), raw]) if before else None
        return self.lane.release(self.stream, bytes(content), paid=paid, end_stream=self.over)

    # Messages that nobody looks at

    def _skim(self, content: bytes | bytearray, *, on: bool) -> int:
        """How much of `content` belongs to messages that pass unread: the one under way and, with `on`, all after it
        as well."""
        at, size = 0, len(content)
        while at < size:
            if self._passing:
                step = min(self._passing, size - at)
                self._passing -= step
                at += step
                continue
            if not (on or self._started):
                break
            piece = content[at : at + PREFIX_BYTES - len(self._started)]
            self._started += piece
            at += len(piece)
            if len(self._started) == PREFIX_BYTES:
                self._passing = int.from_bytes(self._started[1:], "big")
                self._started.clear()
        return at


def _is_one_message(content: bytes) -> bool:
    size = len(content)
    return (
        size >= PREFIX_BYTES
        and not content[0]
        and int.from_bytes(content[1:PREFIX_BYTES], "big") == size - PREFIX_BYTES
    )


def _whole(body: bytearray, at: int) -> int:
    """The length of the message that begins at `at`, with its prefix; of a cut-off prefix, the prefix's."""
    if len(body) - at < PREFIX_BYTES:
        return PREFIX_BYTES if at < len(body) else 0
    return PREFIX_BYTES + int.from_bytes(body[at + 1 : at + PREFIX_BYTES], "big")


def _framed(messages: tuple[bytes, ...]) -> bytes:
    return joined([Message(False, message) for message in messages])
