"""Changing one field, or removing one node: its bytes and the lengths and counts around it, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from injector.codec.cbor_items import encode_head, head_of
from injector.codec.encoding import encode_varint
from injector.codec.envelope import Span
from injector.codec.located import Located, Place
from injector.errors import CodecError

__all__ = ["remove", "replace"]


class _Edit(NamedTuple):
    """Bytes [start, end) become `piece`."""

    start: int
    end: int
    piece: bytes


def replace(value: bytes, located: Located, payload: bytes) -> bytes:
    """The stored value with the located field's payload (see Located.span) exchanged for `payload`.

    Every enclosing length is put right, out to the envelope's; a length that stays the same keeps its bytes. An absent
    field is inserted with what has to stand before it. Raises CodecError where `located` does not belong to `value`.
    """
    start, end = located.span
    if value[start:end] != located.payload or end > len(value):
        raise CodecError(f"{located.path} was located in other bytes")
    piece, counted = payload, {}
    if not located.present:
        piece = located.tag + (encode_varint(len(payload)) if located.wire_type == 2 else b"") + payload
        counted = {located.counted: 1} if located.counted is not None else {}
    return _rewritten(value, [_Edit(start, end, piece)], located.enclosing, counted)


def remove(value: bytes, place: Place) -> bytes:
    """The stored value without the node: its bytes are cut out with tag or name, and the lengths and counts around them
    put right. Raises CodecError where `place` was found in a value of another size."""
    if place.size != len(value):
        raise CodecError(f"{place.path} was found in other bytes")
    counted: dict[tuple[int, int], int] = {}
    for cut in place.cuts:
        if cut.counted is not None:
            counted[cut.counted] = counted.get(cut.counted, 0) - 1
    spans = {span for cut in place.cuts for span in cut.enclosing}
    return _rewritten(value, [_Edit(cut.start, cut.end, b"") for cut in place.cuts], spans, counted)


def _rewritten(
    value: bytes, edits: list[_Edit], enclosing: Iterable[Span], counted: Mapping[tuple[int, int], int]
) -> bytes:
    """The edits done, which do not overlap, and what follows from them: lengths, from the inside out, and counts."""
    edits = edits + [_recounted(value, head, change) for head, change in counted.items()]
    for span in sorted(enclosing, key=lambda span: span.end - span.start):
        growth = sum(len(edit.piece) - edit.end + edit.start for edit in edits if span.start <= edit.start < span.end)
        growth += sum(len(edit.piece) for edit in edits if edit.start == edit.end == span.end)
        if growth:
            edits.append(_Edit(span.length_start, span.start, encode_varint(span.end - span.start + growth)))
    pieces: list[bytes] = []
    position = 0
    for edit in sorted(edits):
        pieces += (value[position : edit.start], edit.piece)
        position = edit.end
    return b"".join((*pieces, value[position:]))


def _recounted(value: bytes, head: tuple[int, int], change: int) -> _Edit:
    """A CBOR head that counts more or fewer elements."""
    found = head_of(value, head[0])
    if found.argument is None or found.end != head[1]:
        raise CodecError(f"byte {head[0]}: expected a head with a count")
    return _Edit(*head, encode_head(found.major, found.argument + change))
