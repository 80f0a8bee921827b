"""How a body is cut into messages (injector.wire.exchange.Cut), over any pieces that it comes in, and put together."""

from __future__ import annotations

from typing import Protocol

from injector.wire.exchange import Cut

__all__ = ["Cutter", "cutter"]

_PREFIX_BYTES = 4
"""k8s.io/apimachinery, pkg/util/framer: the length of what follows, big-endian."""


class Cutter(Protocol):
    """Where messages begin and end in one body. `inside`: whether a message that is not looked at is under way."""

    @property
    def inside(self) -> bool: ...

    def skim(self, content: bytes | bytearray, *, on: bool) -> int:
        """How much of `content` belongs to messages that pass: the one under way and, with `on`, all after it."""
        ...

    def whole(self, content: bytearray, *, ended: bool) -> tuple[bytes, int] | None:
        """The message that `content` begins with, and how much of `content` it takes; None: it is not all there."""
        ...

    def least_bytes(self, content: bytearray) -> int:
        """The message that `content` begins with is at least so long."""
        ...

    def framed(self, message: bytes) -> bytes: ...


def cutter(cut: Cut) -> Cutter:
    if cut is Cut.LINES:
        return _Lines()
    return _Prefixed() if cut is Cut.PREFIXED else _Whole()


class _Whole:
    inside = False

    def skim(self, content: bytes | bytearray, *, on: bool) -> int:
        self.inside = self.inside or on
        return len(content) if self.inside else 0

    def whole(self, content: bytearray, *, ended: bool) -> tuple[bytes, int] | None:
        return (bytes(content), len(content)) if ended else None

    def least_bytes(self, content: bytearray) -> int:
        return len(content)

    def framed(self, message: bytes) -> bytes:
        return message


class _Lines:
    def __init__(self) -> None:
        self.inside = False
        self._searched = 0  # a long line is not searched again for each piece of it

    def skim(self, content: bytes | bytearray, *, on: bool) -> int:
        if not content or not (on or self.inside):
            return 0
        self._searched = 0
        if on:
            self.inside = content[-1] != 0x0A
            return len(content)
        at = content.find(b"\n")
        self.inside = at < 0
        return len(content) if at < 0 else at + 1

    def whole(self, content: bytearray, *, ended: bool) -> tuple[bytes, int] | None:
        at = content.find(b"\n", self._searched)
        self._searched = len(content) if at < 0 else 0
        return None if at < 0 else (bytes(content[:at]), at + 1)

    def least_bytes(self, content: bytearray) -> int:
        return len(content)

    def framed(self, message: bytes) -> bytes:
        return message + b"\n"


class _Prefixed:
    def __init__(self) -> None:
        self._passing = 0  # so much more of a message passes
        self._started = bytearray()  # of the prefix of such a message

    @property
    def inside(self) -> bool:
        return bool(self._passing or self._started)

    def skim(self, content: bytes | bytearray, *, on: bool) -> int:
        at, size = 0, len(content)
        while at < size and (on or self.inside):
            if self._passing:
                step = min(self._passing, size - at)
                self._passing -= step
                at += step
                continue
            piece = content[at : at + _PREFIX_BYTES - len(self._started)]
            self._started += piece
            at += len(piece)
            if len(self._started) == _PREFIX_BYTES:
                self._passing = int.from_bytes(self._started, "big")
                self._started.clear()
        return at

    def whole(self, content: bytearray, *, ended: bool) -> tuple[bytes, int] | None:
        end = self.least_bytes(content)
        return (bytes(content[_PREFIX_BYTES:end]), end) if len(content) >= end else None

    def least_bytes(self, content: bytearray) -> int:
        if len(content) < _PREFIX_BYTES:
            return _PREFIX_BYTES
        return _PREFIX_BYTES + int.from_bytes(content[:_PREFIX_BYTES], "big")

    def framed(self, message: bytes) -> bytes:
        return len(message).to_bytes(_PREFIX_BYTES, "big") + message
