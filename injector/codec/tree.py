"""A stored object as the API's own JSON.

As the API shows it: IntOrString as number or text, Quantity as text, Time and MicroTime as RFC 3339, FieldsV1 and
embedded objects as JSON, bytes in base64, inlined messages beside their siblings, zero values left out where Go's tags
leave them out. Not as the API shows it: what is absent from the bytes stays absent (the API writes `null` for some
empty lists), strings that are not UTF-8 show their bytes as `\\xNN`, and nothing is defaulted or converted, because
this is what is stored. Unknown fields are left out.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from injector.codec.documents import parse_document
from injector.codec.encoding import RawField, decode_scalar, scan, scan_map_entry, text_of
from injector.codec.envelope import Storage, open_envelope, storage_of
from injector.codec.nodes import (
    INT_OR_STRING,
    LEAF_FIELDS,
    MAX_DEPTH,
    NOT_MERGED,
    check_wire_type,
    message_of,
    packed_elements,
    short,
)
from injector.codec.table import SCALARS, Field, FieldTable, Message, shipped_table
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = ["QUANTITY", "to_tree", "value_of"]

QUANTITY = re.compile(r"[+-]?\d*(\.\d*)?([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,18})?$", re.ASCII)
"""What k8s.io/apimachinery v0.36.3 pkg/api/resource ParseQuantity takes (it takes `m` and `.`, too)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_tree(value: bytes) -> dict[str, JSONValue]:
    """The object as JSON, whole. Raises CodecError wherever Kubernetes' decoder would refuse the bytes, and for kinds
    that the field table does not have."""
    storage = storage_of(value)
    if storage is not Storage.PROTOBUF:
        return parse_document(value, storage)
    envelope = open_envelope(value)
    raw = envelope.raw
    spans = [(raw.start, raw.end)] if raw is not None else []
    body = _message(value, spans, message_of(envelope).name, shipped_table(), 0)
    assert isinstance(body, dict)
    return {"apiVersion": envelope.api_version, "kind": envelope.kind, **body}


Spans = list[tuple[int, int]]


def value_of(data: bytes, spans: Spans, type_name: str) -> JSONValue:
    """One field's value as JSON; several spans are one message that was written in pieces, none is the type's zero."""
    if type_name not in SCALARS:
        return _message(data, spans, type_name, shipped_table(), 0)
    if not spans:
        return "" if type_name in ("string", "bytes") else False if type_name == "bool" else 0
    return decode_scalar(type_name, data, *spans[-1])


def _message(data: bytes, spans: Spans, type_name: str, table: FieldTable, depth: int) -> JSONValue:
    """A message's JSON. Several spans are one message that was written in pieces: protobuf merges them."""
    if depth > MAX_DEPTH:
        raise CodecError(f"byte {spans[0][0]}: more than {MAX_DEPTH} messages in each other")
    message = table.message(type_name)
    plain, pieces = _collect(data, spans, message, table, depth)
    for field, own in pieces.values():
        found: JSONValue = None
        for run in [[span] for span in own] if field.type in NOT_MERGED else [own]:
            found = _message(data, run, field.type, table, depth + 1)
        if field.inline and isinstance(found, dict):
            plain.update(found)
        elif found or not field.omit_zero:
            plain[field.name] = found
    special = _SPECIAL.get(type_name)
    if special is not None:
        return special(plain)
    return plain.get("items", []) if message.alias else plain


def _collect(
    data: bytes, spans: Spans, message: Message, table: FieldTable, depth: int
) -> tuple[dict[str, JSONValue], dict[int, tuple[Field, Spans]]]:
    """Scalars, lists and maps by name; singular messages as the spans they are written in."""
    plain: dict[str, JSONValue] = {}
    pieces: dict[int, tuple[Field, Spans]] = {}
    for start, end in spans:
        for raw in scan(data, start, end):
            field = message.fields.get(raw.number)
            if field is None:
                continue
            packed = check_wire_type(raw, field)
            if field.map_key is not None:
                entries = plain.setdefault(field.name, {})
                assert isinstance(entries, dict)
                key, entry = _entry(data, raw, end, field, table, depth)
                entries[key] = entry
            elif field.repeated:
                items = plain.setdefault(field.name, [])
                assert isinstance(items, list)
                for spot in packed_elements(data, raw, field) if packed else [raw]:
                    items.append(_value(data, spot.start, spot.end, field.type, table, depth))
            elif field.type in SCALARS:
                found = decode_scalar(field.type, data, raw.start, raw.end)
                if found or not field.omit_zero or message.name in _SPECIAL:
                    plain[field.name] = found
                else:
                    plain.pop(field.name, None)
            else:
                pieces.setdefault(raw.number, (field, []))[1].append((raw.start, raw.end))
    return plain, pieces


def _value(data: bytes, start: int, end: int, type_name: str, table: FieldTable, depth: int) -> JSONValue:
    if type_name in SCALARS:
        return decode_scalar(type_name, data, start, end)
    return _message(data, [(start, end)], type_name, table, depth + 1)


def _entry(
    data: bytes, raw: RawField, limit: int, field: Field, table: FieldTable, depth: int
) -> tuple[str, JSONValue]:
    inner = {spot.number: spot for spot in scan_map_entry(data, raw.start, raw.end, limit)}
    key = text_of(data[inner[1].start : inner[1].end]) if 1 in inner else ""
    at = (inner[2].start, inner[2].end) if 2 in inner else (raw.end, raw.end)
    return key, _value(data, *at, field.type, table, depth)


def _whole(plain: dict[str, JSONValue], key: str) -> int:
    found = plain.get(key, 0)
    return found if isinstance(found, int) else 0


def _moment(plain: dict[str, JSONValue], nanos: int, timespec: str) -> JSONValue:
    if not plain:
        return None
    seconds = _whole(plain, "seconds")
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=int(nanos / 1000))
    except OverflowError:  # Go goes on counting years; Python ends at 9999
        return f"{seconds} s after 1970-01-01T00:00:00Z"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def _time(plain: dict[str, JSONValue]) -> JSONValue:
    return _moment(plain, 0, "seconds")  # Time.Unmarshal ignores the nanoseconds


def _micro_time(plain: dict[str, JSONValue]) -> JSONValue:
    return _moment(plain, _whole(plain, "nanos"), "microseconds")


def _int_or_string(plain: dict[str, JSONValue]) -> JSONValue:
    kind = _whole(plain, "type")
    if kind in (0, 1):
        return plain.get("strVal", "") if kind else plain.get("intVal", 0)
    return plain


def _quantity(plain: dict[str, JSONValue]) -> JSONValue:
    text = plain.get("string", "0")
    assert isinstance(text, str)
    if not text or not QUANTITY.match(text):
        raise CodecError(f"{text!r} is no quantity; Kubernetes refuses the whole object")
    return text


def _embedded(plain: dict[str, JSONValue]) -> JSONValue:
    """Raw JSON; where it is none, the bytes in base64."""
    raw = plain.get("raw", plain.get("Raw", ""))
    assert isinstance(raw, str)
    if not raw:
        return None
    try:
        found: JSONValue = json.loads(base64.b64decode(raw))
    except (ValueError, RecursionError):
        return raw
    return found


_BY_NAME: dict[str, Callable[[dict[str, JSONValue]], JSONValue]] = {
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "FieldsV1": _embedded,
    "RawExtension": _embedded,
    "JSON": _embedded,
}
_SPECIAL = {INT_OR_STRING: _int_or_string, **{name: _BY_NAME[short(name)] for name in LEAF_FIELDS}}
