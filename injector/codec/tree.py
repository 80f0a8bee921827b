"""A stored object as the API's own JSON.

As the API shows it: IntOrString as number or text, Quantity as text, Time and MicroTime as RFC 3339, FieldsV1 and
embedded objects as JSON, bytes in base64, inlined messages beside their siblings, zero values left out where Go's tags
leave them out. Not as the API shows it: what is absent from the bytes stays absent (the API writes `null` for some
empty lists), strings that are not UTF-8 show their bytes as `\\xNN`, and nothing is defaulted or converted, because
this is what is stored. Unknown fields are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from injector.codec.documents import parse_document
from injector.codec.encoding import decode_scalar, read_varint, scan, scan_map_entry, signed, text_of
from injector.codec.envelope import Storage, open_envelope, storage_of
from injector.codec.nodes import MAX_DEPTH, NOT_MERGED, check_wire_type, message_of, packed_elements
from injector.codec.shapes import BYTES_AS_TEXT, SHAPES
from injector.codec.table import SCALARS, Field, Message, shipped_table
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = ["to_tree", "value_of"]

Tree = dict[str, JSONValue]
Spans = list[tuple[int, int]]


def to_tree(value: bytes) -> Tree:
    """The object as JSON, whole. Raises CodecError wherever Kubernetes' decoder would refuse the bytes, and for kinds
    that the field table does not have."""
    storage = storage_of(value)
    if storage is not Storage.PROTOBUF:
        return parse_document(value, storage)
    envelope = open_envelope(value)
    raw = envelope.raw
    spans = [(raw.start, raw.end)] if raw is not None else []
    body = _message(value, spans, message_of(envelope).name, 0)
    assert isinstance(body, dict)
    return {"apiVersion": envelope.api_version, "kind": envelope.kind, **body}


def value_of(data: bytes, spans: Spans, type_name: str) -> JSONValue:
    """One field's value as JSON; several spans are one message that was written in pieces, none is the type's zero."""
    if type_name not in SCALARS:
        return _message(data, spans, type_name, 0)
    if not spans:
        return "" if type_name in ("string", "bytes") else False if type_name == "bool" else 0
    return decode_scalar(type_name, data, *spans[-1])


class _Form(IntEnum):
    """How the commonest fields are read, without a detour; OTHER is read by general rules."""

    TEXT = 0
    WHOLE = 1
    MESSAGE = 2
    MESSAGES = 3
    TEXTS = 4
    OTHER = 5


class _Reader(NamedTuple):
    """What to do with a tag. `omit`: a zero is left out of JSON."""

    form: int
    name: str
    type: str
    omit: bool
    field: Field


class _Layout(NamedTuple):
    """A message laid out for reading: readers by tag (number and wire type, as it stands in the bytes)."""

    readers: dict[int, _Reader]
    message: Message
    shape: Callable[[Tree], JSONValue] | None


@cache
def _layout(type_name: str) -> _Layout:
    message, shape = shipped_table().message(type_name), SHAPES.get(type_name)
    readers = {}
    for field in message.fields.values():
        omit = field.omit_zero and shape is None
        readers[field.number << 3 | field.wire_type] = _Reader(_form_of(field), field.name, field.type, omit, field)
    if shape is None and message.alias:
        shape = _elements
    return _Layout(readers, message, shape)


def _elements(plain: Tree) -> JSONValue:
    """Of a message that is nothing but a list."""
    return plain.get("items", [])


def _form_of(field: Field) -> _Form:
    if field.map_key is not None or (field.repeated and field.type in SCALARS):
        return _Form.TEXTS if field.repeated and field.type == "string" else _Form.OTHER
    if field.type not in SCALARS:
        return _Form.MESSAGES if field.repeated else _Form.MESSAGE
    if field.type == "string":
        return _Form.TEXT
    return _Form.WHOLE if SCALARS[field.type] == 0 else _Form.OTHER


def _message(data: bytes, spans: Spans, type_name: str, depth: int) -> JSONValue:
    """A message's JSON. Several spans are one message that was written in pieces: protobuf merges them."""
    if depth > MAX_DEPTH:
        raise CodecError(f"byte {spans[0][0]}: more than {MAX_DEPTH} messages in each other")
    layout = _layout(type_name)
    plain: Tree = {}
    pieces: dict[int, Spans] = {}
    for start, end in spans:
        _read(data, start, end, layout, plain, pieces, depth)
    for tag, own in pieces.items():
        if len(own) > 1:
            reader = layout.readers[tag]
            merged = own[-1:] if reader.type in NOT_MERGED else own
            _put(plain, reader, _message(data, merged, reader.type, depth + 1))
    return plain if layout.shape is None else layout.shape(plain)


def _put(plain: Tree, reader: _Reader, found: JSONValue) -> None:
    """A singular message among its siblings."""
    if reader.field.inline and isinstance(found, dict):
        plain.update(found)
    elif found or not reader.omit:
        plain[reader.name] = found
    else:
        plain.pop(reader.name, None)


def _read(
    data: bytes, position: int, end: int, layout: _Layout, plain: Tree, pieces: dict[int, Spans], depth: int
) -> None:
    """The fields in data[position:end] into `plain`, and where singular messages lie into `pieces`. One pass with
    single-byte numbers in line: this is where decoding spends its time."""
    readers = layout.readers
    while position < end:
        tag_start = position
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = read_varint(data, tag_start, end)
        reader = readers.get(tag)
        if reader is None or reader[0] == 5:
            position = _other(data, tag_start, end, layout, plain, depth)
            continue
        form, name, type_name, omit, _ = reader
        if position >= end:
            raise CodecError(f"byte {position}: the data ends inside a field")
        length = data[position]
        position += 1
        if length >= 0x80:
            length, position = read_varint(data, position - 1, end)
        if form == 1:
            found: JSONValue = length != 0 if type_name == "bool" else signed(length, type_name)
            if found or not omit:
                plain[name] = found
            else:
                plain.pop(name, None)
            continue
        start = position
        position += length
        if position > end:
            raise CodecError(f"byte {start}: a field reaches {position - end} bytes beyond its message")
        if form == 0:
            if length or not omit:
                plain[name] = text_of(data[start:position])
            else:
                plain.pop(name, None)
        elif form == 2:
            own = pieces.setdefault(tag, [])
            own.append((start, position))
            if len(own) == 1:
                _put(plain, reader, _message(data, own, type_name, depth + 1))
        else:
            item: JSONValue = text_of(data[start:position])
            if form == 3:
                item = _message(data, [(start, position)], type_name, depth + 1)
            items = plain.setdefault(name, [])
            assert isinstance(items, list)
            items.append(item)


def _other(data: bytes, start: int, end: int, layout: _Layout, plain: Tree, depth: int) -> int:
    """One field that is unknown, has another wire type than its own, or is of a rarer form; the position after it."""
    raw = next(scan(data, start, end))
    field = layout.message.fields.get(raw.number)
    if field is None:
        return raw.end
    packed = check_wire_type(raw, field)
    if field.map_key is not None:
        entries = plain.setdefault(field.name, {})
        assert isinstance(entries, dict)
        key, entry = _entry(data, raw.start, raw.end, end, field, depth)
        entries[key] = entry
    elif field.repeated:
        items = plain.setdefault(field.name, [])
        assert isinstance(items, list)
        for spot in packed_elements(data, raw, field) if packed else [raw]:
            items.append(value_of(data, [(spot.start, spot.end)], field.type))
    elif field.type == "bytes" and layout.shape is not None:
        plain[field.name] = data[raw.start : raw.end].decode(BYTES_AS_TEXT)
    else:
        found = decode_scalar(field.type, data, raw.start, raw.end)
        if found or not field.omit_zero or layout.shape is not None:
            plain[field.name] = found
        else:
            plain.pop(field.name, None)
    return raw.end


def _entry(data: bytes, start: int, end: int, limit: int, field: Field, depth: int) -> tuple[str, JSONValue]:
    inner = {spot.number: spot for spot in scan_map_entry(data, start, end, limit)}
    key = text_of(data[inner[1].start : inner[1].end]) if 1 in inner else ""
    if field.type in SCALARS:
        return key, value_of(data, [(inner[2].start, inner[2].end)] if 2 in inner else [], field.type)
    return key, _message(data, [(inner[2].start, inner[2].end)] if 2 in inner else [], field.type, depth + 1)
