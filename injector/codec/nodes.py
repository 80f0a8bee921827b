"""A stored protobuf object as nodes: which field lies where, under which path. Locating and listing walk these.

Paths are those of the API's JSON: inlined messages add no step, map values and list elements stand in brackets.
Where a singular field occurs twice the last one counts, as in Kubernetes' decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from injector.codec.encoding import RawField, decode_scalar, read_varint, scan, scan_map_entry, text_of
from injector.codec.envelope import Envelope, Span, open_envelope
from injector.codec.table import SCALARS, Field, FieldTable, Message, shipped_table
from injector.errors import CodecError, FaultError

__all__ = [
    "INT_OR_STRING",
    "LEAF_FIELDS",
    "MAX_DEPTH",
    "Node",
    "check_wire_type",
    "children",
    "is_leaf",
    "join",
    "leaf",
    "message_of",
    "packed_elements",
    "root",
    "short",
]

MAX_DEPTH = 100
"""Messages in messages that are followed; protobuf's own decoders stop there too, stored objects reach about 15."""

_FIXED = {1: 8, 5: 4}
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
INT_OR_STRING = "k8s.io.apimachinery.pkg.util.intstr.IntOrString"
LEAF_FIELDS = {
    f"{_META}Time": 1,
    f"{_META}MicroTime": 1,
    f"{_META}FieldsV1": 1,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": 1,
    "k8s.io.apimachinery.pkg.runtime.RawExtension": 1,
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": 1,
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1beta1.JSON": 1,
}
"""Messages that are one value in JSON, with the field that holds it (seconds, string, raw)."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value in the bytes of a stored object.

    type        scalar or full message name
    wire_type   as stored
    tag_start   first byte of its tag (of its value, for an element of a packed list)
    length_start, start, end   its length prefix (== start where it has none) and payload
    enclosing   the length-delimited spans around it, outermost first
    """

    path: str
    type: str
    wire_type: int
    tag_start: int
    length_start: int
    start: int
    end: int
    enclosing: tuple[Span, ...]

    @property
    def inside(self) -> tuple[Span, ...]:
        """The enclosing spans of what lies in this node."""
        return (*self.enclosing, Span(self.length_start, self.start, self.end))


def root(value: bytes, table: FieldTable | None = None) -> Node:
    """The object inside the envelope; path "".

    Raises CodecError where there is none, or of a kind that the table does not have.
    """
    envelope = open_envelope(value)
    message, raw = message_of(envelope, table), envelope.raw
    if raw is None:
        raise CodecError("the envelope has no object in it")
    return Node("", message.name, 2, raw.length_start, raw.length_start, raw.start, raw.end, ())


def message_of(envelope: Envelope, table: FieldTable | None = None) -> Message:
    """The message that an envelope's kind is stored as. Raises CodecError for a kind that the table does not have."""
    message = (table or shipped_table()).of_kind(envelope.api_version, envelope.kind)
    if message is None:
        raise CodecError(f"stored as protobuf, but {envelope.api_version} {envelope.kind} is not in the field table")
    return message


def check_wire_type(raw: RawField, field: Field) -> bool:
    """True where the field is a packed list. Raises CodecError as Kubernetes' decoder does for a wrong wire type."""
    if raw.wire_type == field.wire_type:
        return False
    if raw.wire_type == 2 and field.repeated and field.type in SCALARS:
        return True
    raise CodecError(
        f"byte {raw.tag_start}: field {raw.number} ({field.name}) has wire type {raw.wire_type}, "
        f"expected {field.wire_type}"
    )


def children(data: bytes, node: Node, table: FieldTable | None = None) -> Iterator[tuple[Field, Node]]:
    """What lies directly in a message, in the order of the bytes; of a singular field only what counts."""
    found = table or shipped_table()
    if len(node.enclosing) >= MAX_DEPTH:
        raise CodecError(f"{node.path[:80]}…: more than {MAX_DEPTH} messages in each other")
    message = found.message(node.type)
    known: list[tuple[Field, RawField]] = []
    for raw in scan(data, node.start, node.end):
        field = message.fields.get(raw.number)
        if field is not None:
            known.append((field, raw))
    last = {raw.number: raw for _, raw in known}
    counts: dict[int, int] = {}
    for field, raw in known:
        packed = check_wire_type(raw, field)
        if field.map_key is not None:
            yield from _map_value(data, node, field, raw)
        elif field.repeated:
            around = (*node.inside, Span(raw.value_start, raw.start, raw.end)) if packed else node.inside
            for spot in packed_elements(data, raw, field) if packed else [raw]:
                index = counts[raw.number] = counts.get(raw.number, -1) + 1
                prefix = node.path if field.alias else join(node.path, field.name)
                yield field, _node(f"{prefix}[{index}]", field.type, spot, around)
        elif last[raw.number] is raw:
            if field.inline:
                yield from children(data, _node(node.path, field.type, raw, node.inside), found)
            else:
                yield field, _node(join(node.path, field.name), field.type, raw, node.inside)


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _node(path: str, type_name: str, raw: RawField, around: tuple[Span, ...]) -> Node:
    return Node(path, type_name, raw.wire_type, raw.tag_start, raw.value_start, raw.start, raw.end, around)


def _map_value(data: bytes, node: Node, field: Field, raw: RawField) -> Iterator[tuple[Field, Node]]:
    around = (*node.inside, Span(raw.value_start, raw.start, raw.end))
    inner = {spot.number: spot for spot in scan_map_entry(data, raw.start, raw.end, raw.end)}
    key, value = inner.get(1), inner.get(2)
    if value is not None:
        text = text_of(data[key.start : key.end]) if key is not None else ""
        yield field, _node(f"{join(node.path, field.name)}[{text}]", field.type, value, around)


def packed_elements(data: bytes, raw: RawField, field: Field) -> Iterator[RawField]:
    """The elements of a packed list, as fields without a tag."""
    position = raw.start
    while position < raw.end:
        stop = position + _FIXED[field.wire_type] if field.wire_type else read_varint(data, position, raw.end)[1]
        if stop > raw.end:
            raise CodecError(f"byte {position}: the data ends inside a packed list")
        yield RawField(raw.number, field.wire_type, position, position, position, stop)
        position = stop


def leaf(data: bytes, node: Node, table: FieldTable | None = None) -> Node | None:
    """The scalar that a node is: itself, or the field that holds the value of an IntOrString, Quantity, Time, ….

    None where that field is absent. Raises FaultError for a message that is more than one value.
    """
    if node.type in SCALARS:
        return node
    number = LEAF_FIELDS.get(node.type)
    found = {field.number: child for field, child in children(data, node, table)} if number or is_choice(node) else {}
    if is_choice(node):
        chosen = found.get(1)
        number = 3 if chosen is not None and decode_scalar("int64", data, chosen.start, chosen.end) == 1 else 2
    if number is None:
        raise FaultError(f"{node.path or 'the object'} is a {short(node.type)}, not a single value")
    child = found.get(number)
    return replace(child, path=node.path) if child is not None else None


def is_choice(node: Node) -> bool:
    return node.type == INT_OR_STRING


def is_leaf(type_name: str) -> bool:
    """Whether JSON shows this type as one value."""
    return type_name in SCALARS or type_name in LEAF_FIELDS or type_name == INT_OR_STRING


def short(type_name: str) -> str:
    """`Quantity` for `k8s.io.apimachinery.pkg.api.resource.Quantity`."""
    return type_name.rpartition(".")[2]
