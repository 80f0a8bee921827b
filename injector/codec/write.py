"""Writing an object: the API's own JSON → the bytes that Kubernetes would store. The inverse of `to_tree`.

As gogo/protobuf's generated code writes (k8s.io/api v0.36.3, any generated.pb.go, `MarshalToSizedBuffer`): fields by
number, maps by key, lists unpacked, pointers and bytes only if they are set, everything else even if it is zero. Times,
quantities and raw JSON as the code written by hand has them (apimachinery: meta/v1/time_proto.go, micro_time_proto.go,
api/resource/quantity_proto.go). JSON as Go's encoding/json does, with a newline at its end.

One deliberate difference: a quantity is written as it is spelled (Kubernetes would make 1 of 1000m), because what a
person writes here may be meant to be wrong. A tree does not say all that bytes can (unknown fields, odd order, text
that is not UTF-8): `injector.codec.rewrite` changes bytes that are there.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache

from injector.codec.encoding import encode_scalar, encode_tag, encode_varint, integer_range
from injector.codec.envelope import MAGIC, Storage
from injector.codec.nodes import INT_OR_STRING, LEAF_FIELDS, MAX_DEPTH, short
from injector.codec.paths import join
from injector.codec.shapes import QUANTITY
from injector.codec.table import SCALARS, Field, FieldTable, Message, shipped_table
from injector.errors import CodecError, InputError, Problem
from injector.rules import JSONValue

__all__ = ["JSON_GROUPS", "Writer", "default_storage", "delimited", "names_of", "to_bytes"]

JSON_GROUPS = frozenset({"apiextensions.k8s.io", "apiregistration.k8s.io"})
"""Groups of the table that kube-apiserver stores as JSON all the same: its extension and aggregation servers use the
legacy codec with JSON (k8s.io/kubernetes v1.36.3, pkg/controlplane/apiserver)."""

_META = ("apiVersion", "kind")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$", re.ASCII)
_SECONDS = re.compile(r"(-?\d{1,19}) s after 1970-01-01T00:00:00Z$", re.ASCII)
"""How `to_tree` shows what lies beyond the year 9999."""
_ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""What Go's encoding/json escapes besides what it must."""
_SHOWN = 12
"""How many names an error gives (arbitrary: one line)."""


def to_bytes(tree: Mapping[str, JSONValue], *, storage: Storage | None = None, source: str = "the object") -> bytes:
    """The stored value of an object in the API's JSON shape, with its envelope.

    storage   how to store it; by default as kube-apiserver does (`default_storage`)
    source    what errors call the tree: a file's name

    Raises InputError with every problem at once, each with its path: unknown fields, wrong types, numbers out of range.
    """
    api_version, kind = (_named(tree, key, source) for key in _META)
    storage = storage or default_storage(api_version, kind)
    if storage is Storage.JSON:
        return _json_bytes(tree, source, in_order=shipped_table().of_kind(api_version, kind) is not None)
    message = shipped_table().of_kind(api_version, kind)
    if storage is not Storage.PROTOBUF or message is None:
        words = f"{api_version} {kind} can't be written as {storage.value}"
        raise InputError([Problem(source, "kind", words if message else f"{words}: the field table does not have it")])
    writer = Writer(source)
    body = writer.message(message.name, {key: found for key, found in tree.items() if key not in _META}, "", 0)
    writer.finish()
    meta = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return MAGIC + delimited(1, meta) + delimited(2, body) + delimited(3, b"") + delimited(4, b"")


def default_storage(api_version: str, kind: str) -> Storage:
    """How kube-apiserver stores a kind unless told otherwise (--storage-media-type)."""
    known = shipped_table().of_kind(api_version, kind) is not None
    return Storage.PROTOBUF if known and api_version.rpartition("/")[0] not in JSON_GROUPS else Storage.JSON


def delimited(number: int, payload: bytes) -> bytes:
    """A whole length-delimited field."""
    return encode_tag(number, 2) + encode_varint(len(payload)) + payload


def _named(tree: Mapping[str, JSONValue], key: str, source: str) -> str:
    found = tree.get(key)
    if isinstance(found, str) and found:
        return found
    raise InputError([Problem(source, key, f"expected the object's {key}, such as {_LIKE[key]}, got {found!r}")])


_LIKE = {"apiVersion": "apps/v1", "kind": "Deployment"}


class Writer:
    """Encodes values of the table's types. Problems are collected; `finish` raises them."""

    def __init__(self, source: str, table: FieldTable | None = None) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._table = table or shipped_table()

    def finish(self) -> None:
        """Raises InputError if there were problems."""
        if self.problems:
            raise InputError(self.problems)

    def problem(self, path: str, words: str) -> bytes:
        """Notes it; returns what stands in for the bytes."""
        self.problems.append(Problem(self.source, path, words))
        return b""

    def message(self, type_name: str, value: JSONValue, path: str, depth: int) -> bytes:
        """The payload of a message: of a leaf (Time, Quantity, …) too, and of one that is nothing but a list."""
        if depth > MAX_DEPTH:
            return self.problem(f"{path[:80]}…", f"more than {MAX_DEPTH} messages in each other")
        message = self._table.message(type_name)
        if type_name in LEAF_FIELDS or (type_name == INT_OR_STRING and not isinstance(value, dict)):
            return self._leaf(type_name, value, path)
        if message.alias:
            (field,) = message.fields.values()
            return self.field(field, value, path, depth)
        if not isinstance(value, dict):
            return self.problem(path, f"expected a mapping ({short(type_name)}), got {value!r:.60}")
        self.refuse_unknown(type_name, value, path)
        return self.body(message, value, path, depth)

    def refuse_unknown(self, type_name: str, value: Iterable[str], path: str) -> None:
        """A problem for each name that the message does not have."""
        known = names_of(type_name)
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {_some(known)}"
                self.problem(join(path, name), f"a {short(type_name)} has no field {name!r}; {hint}")

    def body(self, message: Message, value: Mapping[str, JSONValue], path: str, depth: int) -> bytes:
        """All fields of a message by number; those of inlined ones are taken from the same mapping."""
        parts = []
        for number, field in message.fields.items():
            if field.inline:
                parts.append(delimited(number, self.body(self._table.message(field.type), value, path, depth + 1)))
            else:
                parts.append(self.field(field, value.get(field.name), join(path, field.name), depth))
        return b"".join(parts)

    def field(self, field: Field, value: JSONValue, path: str, depth: int) -> bytes:
        """Every occurrence of one field with tags. None is absent, as Go reads `null`: what can't be left out is then
        written as its zero."""
        if field.map_key is not None:
            return self._map(field, value, path, depth) if value is not None else b""
        if field.repeated:
            return self._list(field, value, path, depth) if value is not None else b""
        if value is None and field.optional:
            return b""
        return self.element(field, _ZERO[field.type] if value is None and field.type in SCALARS else value, path, depth)

    def element(self, field: Field, value: JSONValue, path: str, depth: int) -> bytes:
        """One occurrence of a field, with its tag: a single value or one of a list."""
        tag, payload = encode_tag(field.number, field.wire_type), self.value(field.type, value, path, depth)
        return tag + (encode_varint(len(payload)) if field.wire_type == 2 else b"") + payload

    def entry(self, field: Field, key: str, value: JSONValue, path: str, depth: int) -> bytes:
        """One entry of a map, with its tag."""
        inner = delimited(1, self.value("string", key, path, depth))
        if value is not None or field.type != "bytes":  # only bytes can be nil as a map's value
            inner += delimited(2, self.value(field.type, value, path, depth))
        return delimited(field.number, inner)

    def value(self, type_name: str, value: JSONValue, path: str, depth: int) -> bytes:
        """The payload of a scalar or message. An absent message is what its zero is in Go."""
        if type_name not in SCALARS:
            zero: JSONValue = None if type_name in LEAF_FIELDS else 0 if type_name == INT_OR_STRING else {}
            return self.message(type_name, zero if value is None else value, path, depth + 1)
        try:
            return encode_scalar(type_name, value)
        except CodecError as error:
            return self.problem(path, _expected(type_name, value, error))

    def _map(self, field: Field, value: JSONValue, path: str, depth: int) -> bytes:
        if not isinstance(value, dict):
            return self.problem(path, f"expected a mapping of {short(field.type)}, got {value!r:.60}")
        keys = sorted(value)  # Go sorts by bytes; in UTF-8 that is the order of code points
        return b"".join(self.entry(field, key, value[key], f"{path}[{key}]", depth) for key in keys)

    def _list(self, field: Field, value: JSONValue, path: str, depth: int) -> bytes:
        if not isinstance(value, list):
            return self.problem(path, f"expected a list of {short(field.type)}, got {value!r:.60}")
        return b"".join(self.element(field, each, f"{path}[{i}]", depth) for i, each in enumerate(value))

    def _leaf(self, type_name: str, value: JSONValue, path: str) -> bytes:
        try:
            return _LEAVES[short(type_name)](value)
        except (CodecError, ValueError) as error:
            return self.problem(path, f"{error}")
        except RecursionError:
            return self.problem(path, "JSON that is nested too deep to be written")


@cache
def names_of(type_name: str) -> frozenset[str]:
    """The names that JSON has for a message's fields: those of inlined messages among its own."""
    found: set[str] = set()
    for field in shipped_table().message(type_name).fields.values():
        found.update(names_of(field.type) if field.inline else {field.name})
    return frozenset(found)


def _some(names: Iterable[str]) -> str:
    known = sorted(names)
    return ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "") or "none"


_ZERO: Mapping[str, JSONValue] = {
    "string": "", "bytes": "", "bool": False, "double": 0.0, "float": 0.0,
    "int32": 0, "int64": 0, "uint32": 0, "uint64": 0,
}  # fmt: skip


def _expected(type_name: str, value: JSONValue, error: CodecError) -> str:
    limits = integer_range(type_name)
    if limits is not None:
        return f"expected a whole number from {limits[0]} to {limits[1]} ({type_name}), got {value!r:.60}"
    if type_name == "bytes" and isinstance(value, str):
        return f"expected bytes in base64, got {value!r:.60}"
    if type_name == "string" and isinstance(value, str):
        return f"expected text that UTF-8 can hold, got {value!r:.60}"
    return f"expected {_IN_WORDS.get(type_name, 'a number')}, got {value!r:.60}"


_IN_WORDS = {"string": "text", "bytes": "bytes in base64", "bool": "true or false"}


# leaves: messages that are one value in JSON


def _integer_fields(first: int, second: int) -> bytes:
    return b"\x08" + encode_varint(first) + b"\x10" + encode_varint(second)


def _time(value: JSONValue) -> bytes:
    if value is None:
        return b""
    return _integer_fields(_since_epoch(value)[0], 0)  # Time.ProtoTime leaves fractions of a second out


def _micro_time(value: JSONValue) -> bytes:
    if value is None:
        return b""
    seconds, microseconds = _since_epoch(value)
    return _integer_fields(seconds, microseconds * 1000)


def _since_epoch(value: JSONValue) -> tuple[int, int]:
    """(seconds, microseconds after that)."""
    if isinstance(value, str) and (beyond := _SECONDS.match(value)):
        return int(beyond.group(1)), 0
    if not isinstance(value, str) or not _MOMENT.match(value):
        raise CodecError(f"expected a time such as 2026-01-31T12:00:00Z, got {value!r:.60}")
    try:
        passed = datetime.fromisoformat(value).astimezone(UTC) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise CodecError(f"expected a time such as 2026-01-31T12:00:00Z, got {value!r}: {error}") from error
    seconds = passed // timedelta(seconds=1)
    return seconds, (passed - timedelta(seconds=seconds)) // timedelta(microseconds=1)


def _quantity(value: JSONValue) -> bytes:
    text = "0" if value is None else str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text or not QUANTITY.match(text):
        raise CodecError(f"expected a quantity such as 500m or 2Gi, got {value!r:.60}")
    return delimited(1, text.encode())


def _int_or_string(value: JSONValue) -> bytes:
    if isinstance(value, str):
        return _integer_fields(1, 0) + delimited(3, encode_scalar("string", value))
    if isinstance(value, bool) or not isinstance(value, int):
        raise CodecError(f"expected a whole number or text, got {value!r:.60}")
    if not -(1 << 31) <= value < 1 << 31:
        raise CodecError(f"expected a whole number from {-(1 << 31)} to {(1 << 31) - 1}, or text, got {value!r}")
    return _integer_fields(0, value) + delimited(3, b"")


def _embedded(value: JSONValue) -> bytes:
    return b"" if value is None else delimited(1, _json_text(value).encode())


_LEAVES = {
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "FieldsV1": _embedded,
    "RawExtension": _embedded,
    "JSON": _embedded,
}


# JSON


def _json_bytes(tree: Mapping[str, JSONValue], source: str, *, in_order: bool) -> bytes:
    """Kinds of the table are Go structs, whose order the tree has; custom resources are maps, which Go sorts."""
    try:
        text = _json_text(dict(tree), in_order=in_order)
        return text.encode() + b"\n"
    except (ValueError, RecursionError) as error:  # a number that JSON does not have, half of a surrogate pair
        raise InputError([Problem(source, "", f"can't be written as JSON: {error}")]) from error


def _json_text(value: JSONValue, *, in_order: bool = True) -> str:
    """As Go's encoding/json has it: compact, HTML's characters escaped, numbers its own way. ValueError for others."""
    if isinstance(value, dict):
        items = value.items() if in_order else sorted(value.items(), key=lambda item: item[0].encode())
        return "{" + ",".join(f"{_quoted(key)}:{_json_text(each, in_order=in_order)}" for key, each in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_json_text(each, in_order=in_order) for each in value) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return _go_float(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)


def _go_float(value: float) -> str:
    """encoding/json, floatEncoder: with an exponent below 1e-6 and from 1e21 on, as ECMAScript has it."""
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is no number in JSON")
    if value and not 1e-6 <= abs(value) < 1e21:
        return re.sub(r"e-0(\d)$", r"e-\1", repr(value))
    return format(Decimal(repr(value)), "f").removesuffix(".0")
