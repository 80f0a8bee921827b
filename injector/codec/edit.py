"""Changing one field: its bytes and the lengths around it, nothing else."""

from __future__ import annotations

from injector.codec.encoding import encode_varint
from injector.codec.locate import Located
from injector.errors import CodecError

__all__ = ["replace"]


def replace(value: bytes, located: Located, payload: bytes) -> bytes:
    """The stored value with the located field's payload (without tag and length) exchanged for `payload`.

    Every enclosing length is put right, out to the envelope's; a length that stays the same keeps its bytes. An absent
    field is inserted with its tag. Raises CodecError where `located` does not belong to `value`.
    """
    start, end = located.span
    if value[start:end] != located.payload or end > len(value):
        raise CodecError(f"{located.path} was located in other bytes")
    piece = payload
    if not located.present:
        piece = located.tag + (encode_varint(len(payload)) if located.wire_type == 2 else b"") + payload
    for span in reversed(located.enclosing):
        piece = value[span.start : start] + piece + value[end : span.end]
        same = len(piece) == span.end - span.start
        prefix = value[span.length_start : span.start] if same else encode_varint(len(piece))
        piece, start, end = prefix + piece, span.length_start, span.end
    return value[:start] + piece + value[end:]
