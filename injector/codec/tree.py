"""A stored object as the API's own JSON.

As the API shows it: IntOrString as number or text, Quantity as text, Time and MicroTime as RFC 3339, FieldsV1 and
embedded objects as JSON, bytes in base64, inlined messages beside their siblings, zero values left out where Go's tags
leave them out. Not as the API shows it: what is absent from the bytes stays absent (the API writes `null` for some
empty lists), strings that are not UTF-8 show their bytes as `\\xNN`, and nothing is defaulted or converted, because
this is what is stored. Unknown fields are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple, TypeVar, cast

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
Container = TypeVar("Container", dict[str, JSONValue], list[JSONValue])

_KEY_TAG, _VALUE_TAG = 0x0A, 0x12
_LEAVES = frozenset((*NOT_MERGED, "k8s.io.apimachinery.pkg.api.resource.Quantity"))
"""Messages that JSON shows as text, so that what was made of one can be kept."""
_MOST_LEAF_BYTES = 64
"""Of those that are kept. Arbitrary: a time has at most 17, a quantity in use some ten."""
_SIGNS = 1 << 31
"""Smaller numbers are themselves in every integer type."""
_TAG_MASK = (1 << 35) - 1
"""Go keeps 32 bits of a field's number, and 3 of the wire type."""


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


_TEXT, _WHOLE, _MESSAGE, _MESSAGES, _TEXTS, _MAP, _EMBEDDED, _OTHER = range(8)
"""How a field is read: the commoner without a detour, OTHER by general rules. Plain numbers, for they are compared in
the one loop where every look-up counts."""


class _Reader(NamedTuple):
    """What to do with a tag. `omit`: a zero is left out of JSON."""

    form: int
    name: str
    type: str
    omit: bool
    field: Field


_UNKNOWN = _Reader(_OTHER, "", "", False, Field(0, "", "bytes"))


class _Layout(NamedTuple):
    """A message laid out for reading: readers by tag (number and wire type, as it stands in the bytes)."""

    readers: dict[int, _Reader]
    message: Message
    shape: Callable[[Tree], JSONValue] | None
    leaf: bool


@cache
def _layout(type_name: str) -> _Layout:
    message, shape = shipped_table().message(type_name), SHAPES.get(type_name)
    readers = {}
    for field in message.fields.values():
        omit = field.omit_zero and shape is None
        form = _form_of(field, embedded=shape is not None)
        readers[field.number << 3 | field.wire_type] = _Reader(form, field.name, field.type, omit, field)
    if shape is None and message.alias:
        shape = _elements
    return _Layout(readers, message, shape, type_name in _LEAVES)


def _elements(plain: Tree) -> JSONValue:
    """Of a message that is nothing but a list."""
    return plain.get("items", [])


def _form_of(field: Field, *, embedded: bool) -> int:
    if field.map_key is not None:
        return _MAP
    if field.type not in SCALARS:
        return _MESSAGES if field.repeated else _MESSAGE
    if field.repeated:
        return _TEXTS if field.type == "string" else _OTHER
    if field.type == "bytes" and embedded:
        return _EMBEDDED
    return _TEXT if field.type == "string" else _WHOLE if SCALARS[field.type] == 0 else _OTHER


def _message(data: bytes, spans: Spans, type_name: str, depth: int) -> JSONValue:
    """A message's JSON. Several spans are one message that was written in pieces: protobuf merges them."""
    if depth > MAX_DEPTH:
        raise CodecError(f"byte {spans[0][0]}: more than {MAX_DEPTH} messages in each other")
    layout = _layout(type_name)
    if layout.leaf and len(spans) == 1 and spans[0][1] - spans[0][0] <= _MOST_LEAF_BYTES:
        text = _leaf(data[slice(*spans[0])], type_name)
        if text is not None:
            return text
    plain: Tree = {}
    pieces: dict[int, Spans] = {}
    again = False
    for start, end in spans:
        again |= _read(data, start, end, layout, plain, pieces, depth + 1)
    for tag, own in pieces.items() if again else ():
        if len(own) > 1:
            reader = layout.readers[tag]
            merged = own[-1:] if reader.type in NOT_MERGED else own
            _put(plain, reader, _message(data, merged, reader.type, depth + 1))
    return plain if layout.shape is None else layout.shape(plain)


@lru_cache(maxsize=4096)
def _leaf(data: bytes, type_name: str) -> JSONValue:
    """A message that JSON shows as text; None where it holds nothing, or is wrong. Cached, because most times and
    quantities of an object are equal, and so are those of its next version."""
    layout = _layout(type_name)
    plain: Tree = {}
    try:
        _read(data, 0, len(data), layout, plain, {}, 0)
        return layout.shape(plain) if layout.shape else None
    except CodecError:  # whoever reads it in its place can say where
        return None


def _put(plain: Tree, reader: _Reader, found: JSONValue) -> None:
    """A singular message among its siblings."""
    if reader.field.inline and isinstance(found, dict):
        plain.update(found)
    elif found or not reader.omit:
        plain[reader.name] = found
    else:
        plain.pop(reader.name, None)


def _read(
    data: bytes, position: int, end: int, layout: _Layout, plain: Tree, pieces: dict[int, Spans], inner_depth: int
) -> bool:
    """The fields in data[position:end] into `plain`, and where singular messages lie into `pieces`; whether one of them
    was there before. One pass with numbers of one or two bytes in line: this is where decoding spends its time."""
    readers, again = layout.readers, False
    while position < end:
        tag_start = position
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = read_varint(data, tag_start, end)
            tag &= _TAG_MASK
        form, name, type_name, omit, field = reader = readers.get(tag, _UNKNOWN)
        if form == _OTHER:
            position = _other(data, tag_start, end, layout, plain)
            continue
        if position < end and (number := data[position]) < 0x80:
            position += 1
        elif position + 1 < end and (high := data[position + 1]) < 0x80:
            number += (high << 7) - 0x80
            position += 2
        else:
            number, position = read_varint(data, position, end)
        if form == _WHOLE:
            whole = number != 0 if type_name == "bool" else number if number < _SIGNS else signed(number, type_name)
            if whole or not omit:
                plain[name] = whole
            else:
                plain.pop(name, None)
            continue
        start = position
        position += number  # the length
        if position > end:
            raise CodecError(f"byte {start}: a field reaches {position - end} bytes beyond its message")
        if form == _TEXT:
            if number or not omit:
                plain[name] = data[start:position].decode("utf-8", "backslashreplace")  # text_of, in line
            else:
                plain.pop(name, None)
        elif form == _MESSAGE:
            if tag in pieces:  # merged when all of them are there
                pieces[tag].append((start, position))
                again = True
                continue
            pieces[tag] = own = [(start, position)]
            found = _message(data, own, type_name, inner_depth)
            if found and not field.inline:
                plain[name] = found
            else:
                _put(plain, reader, found)
        elif form == _MAP:
            key, entry = _entry(data, start, position, end, field, inner_depth)
            _held(plain, name, {})[key] = entry
        elif form == _EMBEDDED:
            plain[name] = data[start:position].decode(BYTES_AS_TEXT)
        elif form == _MESSAGES:
            _held(plain, name, []).append(_message(data, [(start, position)], type_name, inner_depth))
        else:
            _held(plain, name, []).append(text_of(data[start:position]))
    return again


def _held(plain: Tree, name: str, empty: Container) -> Container:
    """The list or map of that name, made if it is not there yet."""
    found = plain.get(name)
    if found is None:
        found = plain[name] = empty
    return cast(Container, found)


def _other(data: bytes, start: int, end: int, layout: _Layout, plain: Tree) -> int:
    """One field that is unknown, has another wire type than its own, or is of a rarer form; the position after it."""
    raw = next(scan(data, start, end))
    field = layout.message.fields.get(raw.number)
    if field is None:
        return raw.end
    packed = check_wire_type(raw, field)
    if field.repeated:
        for spot in packed_elements(data, raw, field) if packed else [raw]:
            _held(plain, field.name, []).append(decode_scalar(field.type, data, spot.start, spot.end))
        return raw.end
    found = decode_scalar(field.type, data, raw.start, raw.end)
    if found or not field.omit_zero:
        plain[field.name] = found
    else:
        plain.pop(field.name, None)
    return raw.end


def _entry(data: bytes, start: int, end: int, limit: int, field: Field, inner_depth: int) -> tuple[str, JSONValue]:
    """(key, value) of the map's entry in data[start:end]. As all entries are written, key before value and both short,
    they are read at once."""
    middle = start + 2 + data[start + 1] if end - start > 3 and data[start] == _KEY_TAG else end
    if middle + 1 < end and data[middle] == _VALUE_TAG and middle + 2 + data[middle + 1] == end and end - start < 0x84:
        key, spans = text_of(data[start + 2 : middle]), [(middle + 2, end)]
    else:
        inner = {spot.number: spot for spot in scan_map_entry(data, start, end, limit)}
        key = text_of(data[inner[1].start : inner[1].end]) if 1 in inner else ""
        spans = [(inner[2].start, inner[2].end)] if 2 in inner else []
    if field.type == "string":
        return key, text_of(data[slice(*spans[-1])]) if spans else ""
    return key, value_of(data, spans, field.type) if field.type in SCALARS else _message(
        data, spans, field.type, inner_depth
    )
