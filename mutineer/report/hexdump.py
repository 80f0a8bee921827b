"""Bytes before and after a fault, side by side: only the region around the change, the changed bytes marked.

Pure. `compare` finds what differs: the span that the injector reports, and single bytes before it that had to follow
(lengths of the messages around the field). Sizes in bytes, offsets from the start of the stored value.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Comparison", "Line", "Piece", "compare"]

WIDTH = 16
"""Bytes a line, as in hexdump and xxd."""

CONTEXT_LINES = 1
"""Lines shown above and below the change: enough to see the tag and length of the field."""

MAX_LINES = 12
"""Lines shown of a long change (192 bytes); the rest is counted. Arbitrary: fits a screen beside the timeline."""

MAX_LENGTH_BYTES = 16
"""More differing bytes before the span than this are no lengths: protobuf objects nest less deep than that."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring bytes of a line that are marked alike."""

    hex: str
    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Up to 16 bytes of both sides, from the same offset."""

    offset: str
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is shown of a change. `omitted` lines of the change are not shown; `lengths` tells bytes outside the shown
    lines that changed too, in words. `redacted` leaves only the sizes."""

    before_bytes: int
    after_bytes: int
    changed_before: int
    changed_after: int
    lines: tuple[Line, ...] = ()
    omitted: int = 0
    lengths: tuple[str, ...] = ()
    redacted: bool = False


def compare(before: bytes, after: bytes, *, span: tuple[int, int] | None = None, redacted: bool = False) -> Comparison:
    """Compares two stored values. `span` is [start, end) of the change in `before`, if the injector knows it."""
    ours, theirs = _spans(before, after, span)
    sizes = (len(before), len(after), ours[1] - ours[0], theirs[1] - theirs[0])
    if redacted or before == after:  # only delivered otherwise
        return Comparison(*sizes, redacted=redacted)
    lengths = [i for i in range(min(ours[0], theirs[0])) if before[i] != after[i]]
    first = max(ours[0] // WIDTH - CONTEXT_LINES, 0)
    last = max(ours[1] - 1, theirs[1] - 1, ours[0]) // WIDTH + CONTEXT_LINES
    last = min(last, max(len(before) - 1, len(after) - 1, 0) // WIDTH)
    shown = range(first, min(last, first + MAX_LINES - 1) + 1)
    marked_before, marked_after = {*lengths, *range(*ours)}, {*lengths, *range(*theirs)}
    return Comparison(
        *sizes,
        lines=tuple(
            Line(f"{n * WIDTH:06x}", _pieces(before, n, marked_before), _pieces(after, n, marked_after)) for n in shown
        ),
        omitted=max(last - shown[-1], 0) if shown else 0,
        lengths=tuple(
            f"0x{i:x}: {before[i]:02x} → {after[i]:02x}" for i in lengths if i // WIDTH not in shown
        ),
    )  # fmt: skip


def _spans(before: bytes, after: bytes, span: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """[start, end) of the change on both sides."""
    if span is not None:
        start, end = span
        tail = len(before) - end
        # The bytes after the span are the same on both sides, which gives its end in `after`; the bytes before it are
        # too, but for lengths (and if even a length's width changed, the plain difference below tells the truth).
        if (
            0 <= start <= end <= len(before)
            and len(after) - tail >= start
            and before[end:] == after[len(after) - tail :]
            and before[start:end] != after[start : len(after) - tail]
        ):
            differing = sum(1 for i in range(start) if before[i] != after[i])
            if differing <= MAX_LENGTH_BYTES:
                return (start, end), (start, len(after) - tail)
    return _difference(before, after)


def _difference(before: bytes, after: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """The shortest span that holds every differing byte: common start and common end are cut off."""
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    tail = next((i for i in range(shorter - start) if before[-1 - i] != after[-1 - i]), shorter - start)
    return (start, len(before) - tail), (start, len(after) - tail)


def _pieces(value: bytes, line: int, marked: set[int]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    run: list[int] = []
    for i in range(line * WIDTH, min((line + 1) * WIDTH, len(value))):
        if run and (i in marked) != (run[-1] in marked):
            pieces.append(_piece(value, run, marked))
            run = []
        run.append(i)
    return (*pieces, _piece(value, run, marked)) if run else ()


def _piece(value: bytes, run: list[int], marked: set[int]) -> Piece:
    text = "".join(chr(value[i]) if 0x20 <= value[i] < 0x7F else "·" for i in run)
    return Piece(" ".join(f"{value[i]:02x}" for i in run), text, run[0] in marked)
