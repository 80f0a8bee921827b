"""Listing every field of a stored object that holds a value."""

from __future__ import annotations

from collections.abc import Iterable

from injector.codec.documents import list_items
from injector.codec.encoding import RawField, decode_scalar, scan
from injector.codec.envelope import Storage, refusal, storage_of
from injector.codec.located import FieldValue
from injector.codec.nodes import (
    MAX_DEPTH,
    NOT_MERGED,
    check_wire_type,
    is_leaf,
    leaf_in,
    map_entry,
    packed_elements,
    root,
    short,
)
from injector.codec.paths import join, keyed
from injector.codec.table import SCALARS, Field, shipped_table
from injector.errors import CodecError

__all__ = ["list_fields"]


def list_fields(value: bytes) -> list[FieldValue]:
    """Every leaf field that is present, in the order in which fields begin in the bytes; of what is there twice, what
    counts.

    Raises CodecError for bytes that can't be decoded and for encrypted values.
    """
    storage = storage_of(value)
    if storage is Storage.ENCRYPTED:
        raise CodecError(refusal(value))
    if storage is not Storage.PROTOBUF:
        return list_items(value, storage)
    top, found = root(value), list[FieldValue]()
    _leaves(value, [(spot.start, spot.end) for spot in top.spots], top.type, "", 0, found)
    return found


Spans = list[tuple[int, int]]


def _leaves(data: bytes, spans: Spans, type_name: str, path: str, depth: int, into: list[FieldValue]) -> None:
    """The leaves of a message; several spans are one message that was written in pieces."""
    if depth > MAX_DEPTH:
        raise CodecError(f"{path[:80]}…: more than {MAX_DEPTH} messages in each other")
    known = shipped_table().message(type_name).fields
    groups: dict[int, list[RawField]] = {}
    for start, end in spans:
        for raw in scan(data, start, end):
            if raw.number in known:
                groups.setdefault(raw.number, []).append(raw)
    for number, raws in groups.items():
        field = known[number]
        where = path if field.inline or field.alias else join(path, field.name)
        for key, pieces in _occurrences(data, field, raws):
            own = where if key is None else keyed(where, key)
            _values(data, [(raw.start, raw.end) for raw in pieces], field, pieces[-1].wire_type, own, depth, into)


def _occurrences(data: bytes, field: Field, raws: list[RawField]) -> Iterable[tuple[str | int | None, list[RawField]]]:
    """(key, pieces) of a field's values: an index, a map's key, or None and all the pieces of a singular field."""
    packed = [check_wire_type(raw, field) for raw in raws]
    if field.map_key is not None:
        entries = dict(map_entry(data, raw.start, raw.end) for raw in raws)
        return [(key, [value]) for key, value in entries.items() if value is not None]
    if not field.repeated:
        return [(None, raws)]
    if any(packed):
        raws = [
            item
            for raw, is_packed in zip(raws, packed, strict=True)
            for item in (packed_elements(data, raw, field) if is_packed else [raw])
        ]
    return [(index, [raw]) for index, raw in enumerate(raws)]


def _values(
    data: bytes, spans: Spans, field: Field, wire_type: int, path: str, depth: int, into: list[FieldValue]
) -> None:
    """A field's own value, or the leaves below it."""
    scalar, (start, end) = field.type, spans[-1]
    if scalar not in SCALARS:
        if not is_leaf(scalar):
            _leaves(data, spans, scalar, path, depth + 1, into)
            return
        found = leaf_in(data, spans[-1:] if scalar in NOT_MERGED else spans, scalar)
        if found is None:
            return
        scalar, (_, wire_type, _, _, start, end) = found
    content = decode_scalar(scalar, data, start, end)
    into.append(FieldValue(path, scalar, content, short(field.type), wire_type, (start, end)))
