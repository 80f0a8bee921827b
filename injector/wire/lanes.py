"""One direction of a forwarded connection, and the flow control that keeps both of its ends right (RFC 9113, 5.2).

As long as every frame is copied, the sender's idea of the window and the receiver's are one and the same and nothing
needs to be done. They part when a message is held back, grows, shrinks, is swallowed or made up. For the connection
and for each watched stream a `Window` keeps

    budget   what the receiver lets us send
    lead     what the sender believes it may send, minus (budget minus what is waiting in our queue)

and these rules hold `lead` at 0 or above:

- what is held back while a message is collected is given back to the sender at once, so a message longer than the
  window arrives;
- what is sent that the sender did not pay for (it got the bytes back, or the message grew) raises `lead`, and the
  receiver's later WINDOW_UPDATEs are first used to pay it off;
- what the sender paid for that is never sent (a message shrank or was swallowed) lowers it; below 0 the difference
  goes to the sender as a WINDOW_UPDATE of our own;
- what does not fit into `budget` waits in the queue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from injector.wire.frames import (
    DATA,
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    END_STREAM,
    ErrorCode,
    Http2Error,
    frame,
    window_update,
)
from injector.wire.headers import HeaderFollower

__all__ = ["Lane", "Window"]


@dataclass(slots=True)
class Window:
    """See the module. Both in bytes; `queued` is what waits for `budget`."""

    budget: int
    lead: int = 0
    queued: int = 0


_NOTHING = memoryview(b"")


@dataclass(slots=True)
class _Waiting:
    """Bytes that wait for the receiver's window: the payload of DATA frames, or frames that must not overtake them.
    `turn` keeps header blocks in order across streams, as HPACK needs them."""

    payload: memoryview
    end_stream: bool = False
    raw: bytes = b""
    turn: int | None = None


class Lane:
    """Frames from one sender to one receiver. `out` collects for the receiver, `back` for the sender; methods that
    return bytes leave it to the caller to send them, in the order of what was received."""

    __slots__ = (
        "_leaving",
        "_turns",
        "back",
        "headers",
        "initial",
        "max_frame",
        "out",
        "pending",
        "streams",
        "tail",
        "window",
    )

    def __init__(self, out: list[bytes], back: list[bytes]) -> None:
        self.out, self.back = out, back
        self.tail = b""
        self.headers = HeaderFollower()
        self.window = Window(DEFAULT_WINDOW_BYTES)
        self.streams: dict[int, Window] = {}
        self.pending: dict[int, deque[_Waiting]] = {}
        self._turns: deque[int] = deque()
        self._leaving: set[int] = set()
        self.initial = DEFAULT_WINDOW_BYTES
        self.max_frame = DEFAULT_MAX_FRAME_BYTES

    # What the receiver says

    def receiver_settings(self, *, initial: int | None = None, max_frame: int | None = None) -> None:
        """The receiver's SETTINGS. Windows of open streams move with INITIAL_WINDOW_SIZE (RFC 9113, 6.9.2); the
        largest frame size ever announced stays allowed, because a smaller one counts only once acknowledged."""
        if initial is not None:
            for window in self.streams.values():
                window.budget += initial - self.initial
            self.initial = initial
        if max_frame is not None:
            self.max_frame = max(self.max_frame, max_frame)

    def granted(self, stream: int, increment: int) -> int:
        """The receiver's WINDOW_UPDATE. Returns how much of it the sender may have."""
        window = self.streams.get(stream) if stream else self.window
        if window is None:
            return increment
        window.budget += increment
        window.lead -= increment
        if self.pending and (sent := self.flush()):
            self.out.append(sent)
        due = max(0, -window.lead)
        window.lead += due
        return due

    # What becomes of the sender's DATA. `paid` is its flow-controlled length: payload and padding.

    def watch(self, stream: int) -> None:
        self.streams[stream] = Window(self.initial)

    def forget(self, stream: int) -> None:
        """No more accounting for the stream, once its queue is empty."""
        if stream in self.pending:
            self._leaving.add(stream)
        else:
            self.streams.pop(stream, None)

    def copied(self, stream: int, length: int, *, paid: int) -> bool:
        """Whether DATA frames of `length` flow-controlled bytes can go out as they came; if so they are accounted
        for. `paid` is less than `length` where some were held and given back before."""
        window = self.streams.get(stream)
        if length > self.window.budget or (window and length > window.budget) or stream in self.pending:
            return False
        self.window.budget -= length
        self.window.lead += length - paid
        if window:
            window.budget -= length
            window.lead += length - paid
        return True

    def credit(self, stream: int, paid: int) -> None:
        """A DATA frame is held back: give the sender its windows back."""
        if paid:
            self.back.append(window_update(0, paid) + window_update(stream, paid))

    def release(self, stream: int, payload: bytes, *, paid: int, end_stream: bool) -> bytes:
        """Send `payload` for DATA that the sender paid `paid` bytes for and did not get back."""
        self._check_paid(paid)
        for window in self._windows(stream):
            window.queued += len(payload)
            window.lead += len(payload) - paid
        self.pending.setdefault(stream, deque()).append(_Waiting(memoryview(payload), end_stream))
        sent = self.flush()
        self._settle(0, self.window)
        if not end_stream and stream in self.streams:
            self._settle(stream, self.streams[stream])
        return sent

    def made_up(self, stream: int, payload: bytes, *, end_stream: bool = False) -> bytes:
        """Send `payload`, which nobody paid for or whose payer got it back."""
        return self.release(stream, payload, paid=0, end_stream=end_stream)

    def swallow(self, paid: int) -> None:
        """DATA of a stream that is over for the receiver: only the connection's window has to be given back."""
        self.window.lead -= paid
        self._settle(0, self.window)

    def after_pending(self, stream: int, block: bytes, *, in_turn: bool = True) -> bytes:
        """Send a header block after whatever of the stream is waiting, and (`in_turn`) after the blocks before it."""
        if stream not in self.pending and not (in_turn and self._turns):
            return block
        turn = None
        if in_turn:
            turn = self._turns[-1] + 1 if self._turns else 0
            self._turns.append(turn)
        self.pending.setdefault(stream, deque()).append(_Waiting(_NOTHING, raw=block, turn=turn))
        return b""

    def cancel(self, stream: int) -> None:
        """The stream was reset: forget what is waiting but for header blocks, which the receiver's table needs."""
        queue = self.pending.pop(stream, deque())
        waiting = sum(len(w.payload) for w in queue)
        if blocks := deque(w for w in queue if w.turn is not None):
            self.pending[stream] = blocks
        self.window.lead -= waiting
        self.window.queued -= waiting
        self.streams.pop(stream, None)
        self._leaving.discard(stream)
        self._settle(0, self.window)

    def flush(self) -> bytes:
        """Everything waiting that fits into the windows now."""
        sent: list[bytes] = []
        turns = -1
        while turns != len(self._turns):  # a header block that went out may let one of an earlier stream go
            turns = len(self._turns)
            for stream in list(self.pending):
                self._flush_stream(stream, sent)
        return b"".join(sent)

    def _flush_stream(self, stream: int, sent: list[bytes]) -> None:
        queue = self.pending[stream]
        while queue and self._send_first(stream, queue[0], sent):
            if queue.popleft().end_stream:
                self.streams.pop(stream, None)
        if not queue:
            del self.pending[stream]
            if stream in self._leaving:
                self._leaving.remove(stream)
                self.streams.pop(stream, None)

    def _send_first(self, stream: int, waiting: _Waiting, sent: list[bytes]) -> bool:
        """Send as much of `waiting` as may go; True if nothing of it is left."""
        if waiting.raw:
            if waiting.turn is not None:
                if self._turns[0] != waiting.turn:
                    return False
                self._turns.popleft()
            sent.append(waiting.raw)
            return True
        windows = self._windows(stream)
        while waiting.payload:
            room = min(self.max_frame, *(w.budget for w in windows))
            if room <= 0:
                return False
            part, waiting.payload = waiting.payload[:room], waiting.payload[room:]
            for window in windows:
                window.budget -= len(part)
                window.queued -= len(part)
            last = waiting.end_stream and not waiting.payload
            sent.append(frame(DATA, END_STREAM if last else 0, stream, bytes(part)))
            if last:
                return True
        if waiting.end_stream:
            sent.append(frame(DATA, END_STREAM, stream, b""))
        return True

    def _windows(self, stream: int) -> tuple[Window, ...]:
        window = self.streams.get(stream)
        return (self.window,) if window is None else (self.window, window)

    def _settle(self, stream: int, window: Window) -> None:
        if window.lead < 0:
            self.back.append(window_update(stream, -window.lead))
            window.lead = 0

    def _check_paid(self, paid: int) -> None:
        """A sender that ignores its window would fill our queue without end."""
        if paid > self.window.budget - self.window.queued + self.window.lead:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's flow-control window")
