"""Listing every field of a stored object that holds a value."""

from __future__ import annotations

from collections.abc import Iterator

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
    """Every leaf field that is present, in the order of the bytes; map entries of equal keys once, the last.

    Raises CodecError for bytes that can't be decoded and for encrypted values.
    """
    storage = storage_of(value)
    if storage is Storage.ENCRYPTED:
        raise CodecError(refusal(value))
    if storage is not Storage.PROTOBUF:
        return list_items(value, storage)
    found: dict[str, FieldValue] = {}
    top = root(value)
    spans = [(spot.start, spot.end) for spot in top.spots]
    for item in _leaves(value, spans, top.type, "", 0):
        found[item.path] = item
    return list(found.values())


Spans = list[tuple[int, int]]


def _leaves(data: bytes, spans: Spans, type_name: str, path: str, depth: int) -> Iterator[FieldValue]:
    """The leaves of a message; several spans are one message that was written in pieces."""
    if depth > MAX_DEPTH:
        raise CodecError(f"{path[:80]}…: more than {MAX_DEPTH} messages in each other")
    known = shipped_table().message(type_name).fields
    raws = [(known[raw.number], raw) for span in spans for raw in scan(data, *span) if raw.number in known]
    packed = {id(raw) for field, raw in raws if check_wire_type(raw, field)}
    counts: dict[int, int] = {}
    done: set[int] = set()
    for field, raw in raws:
        if field.map_key is not None or field.repeated:
            where = path if field.alias else join(path, field.name)
            items = _entry(data, raw) if field.map_key is not None else _elements(data, raw, field, counts, packed)
            for key, item in items:
                own = keyed(where, key)
                yield from _values(data, [(item.start, item.end)], field, item.wire_type, own, depth)
        elif raw.number not in done:
            done.add(raw.number)
            pieces = [(other.start, other.end) for _, other in raws if other.number == raw.number]
            if field.inline:
                yield from _leaves(data, pieces, field.type, path, depth + 1)
            else:
                yield from _values(data, pieces, field, raw.wire_type, join(path, field.name), depth)


def _entry(data: bytes, raw: RawField) -> Iterator[tuple[str, RawField]]:
    key, value = map_entry(data, raw.start, raw.end)
    if value is not None:
        yield key, value


def _elements(
    data: bytes, raw: RawField, field: Field, counts: dict[int, int], packed: set[int]
) -> Iterator[tuple[int, RawField]]:
    for item in packed_elements(data, raw, field) if id(raw) in packed else (raw,):
        index = counts[raw.number] = counts.get(raw.number, -1) + 1
        yield index, item


def _values(data: bytes, spans: Spans, field: Field, wire_type: int, path: str, depth: int) -> Iterator[FieldValue]:
    type_name = field.type
    if type_name in SCALARS:
        yield _listed(data, path, type_name, type_name, wire_type, *spans[-1])
    elif is_leaf(type_name):
        found = leaf_in(data, spans[-1:] if type_name in NOT_MERGED else spans, type_name)
        if found is not None:
            scalar, raw = found
            yield _listed(data, path, scalar, type_name, raw.wire_type, raw.start, raw.end)
    else:
        yield from _leaves(data, spans, type_name, path, depth + 1)


def _listed(data: bytes, path: str, scalar: str, declared: str, wire_type: int, start: int, end: int) -> FieldValue:
    content = decode_scalar(scalar, data, start, end)
    return FieldValue(path, scalar, content, short(declared), wire_type, (start, end))
