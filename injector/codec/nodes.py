"""A stored protobuf object as nodes: which field lies where. Locating, finding and listing walk these.

Paths are those of the API's JSON: inlined messages add no step, map values and list elements stand in brackets. Where a
singular value occurs twice the last one counts, where a singular message does, its pieces are merged, as in Kubernetes'
decoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from injector.codec.encoding import RawField, decode_scalar, read_varint, scan, scan_map_entry, text_of
from injector.codec.envelope import Envelope, Span, open_envelope
from injector.codec.located import Cut
from injector.codec.table import SCALARS, Field, Message, shipped_table
from injector.errors import CodecError

__all__ = [
    "INT_OR_STRING",
    "LEAF_FIELDS",
    "MAX_DEPTH",
    "NOT_MERGED",
    "Entry",
    "Node",
    "Spot",
    "check_wire_type",
    "cuts_of",
    "entries",
    "fields_by_name",
    "is_leaf",
    "leaf",
    "leaf_in",
    "map_entry",
    "message_of",
    "names_present",
    "packed_elements",
    "root",
    "short",
    "spots_of",
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

NOT_MERGED = frozenset((f"{_META}Time", f"{_META}MicroTime"))
"""Written twice, the last one counts: their decoders are written by hand (apimachinery, meta/v1/time_proto.go)."""


class Spot(NamedTuple):
    """One occurrence of a field in the bytes.

    length_start, start, end   its length prefix (== start where it has none) and payload
    enclosing                  the length-delimited spans around it, outermost first
    cut                        what to remove so that it is gone (of a map's value, its whole entry)
    """

    wire_type: int
    length_start: int
    start: int
    end: int
    enclosing: tuple[Span, ...]
    cut: Cut

    @property
    def inside(self) -> tuple[Span, ...]:
        """The enclosing spans of what lies in it."""
        return (*self.enclosing, Span(self.length_start, self.start, self.end))


class Node(NamedTuple):
    """One value of a stored object. `type`: scalar or full message name. `spots`: where it lies, several for a message
    that was written in pieces. `cuts`: what to remove so that nothing of it is left, values that do not count, too."""

    path: str
    type: str
    spots: list[Spot]
    cuts: list[Cut]


def root(value: bytes) -> Node:
    """The object inside the envelope; path "", no cuts.

    Raises CodecError where there is none, or of a kind that the table does not have.
    """
    envelope = open_envelope(value)
    message, raw = message_of(envelope), envelope.raw
    if raw is None:
        raise CodecError("the envelope has no object in it")
    return Node("", message.name, [Spot(2, raw.length_start, raw.start, raw.end, (), Cut(0, 0))], [])


def message_of(envelope: Envelope) -> Message:
    """The message that an envelope's kind is stored as. Raises CodecError for a kind that the table does not have."""
    message = shipped_table().of_kind(envelope.api_version, envelope.kind)
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


@cache
def fields_by_name(type_name: str) -> Mapping[str, tuple[tuple[Field, ...], Field]]:
    """The fields of a message as JSON has them: with those of inlined messages among its own, and the inlined messages
    that lead to each."""
    found: dict[str, tuple[tuple[Field, ...], Field]] = {}
    for field in shipped_table().message(type_name).fields.values():
        if field.inline:
            inner = fields_by_name(field.type)
            found |= {name: ((field, *through), own) for name, (through, own) in inner.items()}
        else:
            found[field.name] = ((), field)
    return found


def spots_of(data: bytes, parents: Iterable[Spot], field: Field) -> list[Spot]:
    """Every occurrence of a field in the pieces of its message; elements of a packed list one by one."""
    found: list[Spot] = []
    for parent in parents:
        inside = parent.inside
        for raw in scan(data, parent.start, parent.end):
            if raw.number != field.number:
                continue
            if not check_wire_type(raw, field):
                cut = Cut(raw.tag_start, raw.end, inside)
                found.append(Spot(raw.wire_type, raw.value_start, raw.start, raw.end, inside, cut))
                continue
            around = (*inside, Span(raw.value_start, raw.start, raw.end))
            for spot in packed_elements(data, raw, field):
                cut = Cut(spot.start, spot.end, around)
                found.append(Spot(spot.wire_type, spot.start, spot.start, spot.end, around, cut))
    return found


def cuts_of(data: bytes, parents: Iterable[Spot], field: Field) -> list[Cut]:
    """What to remove so that nothing of a field is left."""
    return [
        Cut(raw.tag_start, raw.end, parent.inside)
        for parent in parents
        for raw in scan(data, parent.start, parent.end)
        if raw.number == field.number
    ]


class Entry(NamedTuple):
    """One entry of a map; `value` is None where it has none in the bytes (it is then the type's zero)."""

    key: str
    value: Spot | None
    cut: Cut


def entries(data: bytes, own: Iterable[Spot]) -> list[Entry]:
    """A map's entries, those that later ones replace among them."""
    found = []
    for entry in own:
        key, value = map_entry(data, entry.start, entry.end)
        spot = None
        if value is not None:
            spot = Spot(value.wire_type, value.value_start, value.start, value.end, entry.inside, entry.cut)
        found.append(Entry(key, spot, entry.cut))
    return found


def map_entry(data: bytes, start: int, end: int) -> tuple[str, RawField | None]:
    """(key, value) of the map's entry in data[start:end]."""
    inner = {raw.number: raw for raw in scan_map_entry(data, start, end, end)}
    key = inner.get(1)
    return text_of(data[key.start : key.end]) if key is not None else "", inner.get(2)


def packed_elements(data: bytes, raw: RawField, field: Field) -> list[RawField]:
    """The elements of a packed list, as fields without a tag."""
    found, position = [], raw.start
    while position < raw.end:
        stop = position + _FIXED[field.wire_type] if field.wire_type else read_varint(data, position, raw.end)[1]
        if stop > raw.end:
            raise CodecError(f"byte {position}: the data ends inside a packed list")
        found.append(RawField(raw.number, field.wire_type, position, position, position, stop))
        position = stop
    return found


def leaf(data: bytes, node: Node) -> tuple[str, Spot] | None:
    """(scalar type, where) of the scalar that a node is: itself, or the field that holds the value of an IntOrString,
    Quantity, Time, ….

    None where that field is absent. The node's type must be one of those (see is_leaf).
    """
    if not node.spots:
        return None
    if node.type in SCALARS:
        return node.type, node.spots[-1]
    found = leaf_in(data, [(spot.start, spot.end) for spot in node.spots], node.type)
    if found is None:
        return None
    type_name, raw = found
    parent = next(spot for spot in node.spots if spot.start <= raw.tag_start < spot.end)
    cut = Cut(raw.tag_start, raw.end, parent.inside)
    return type_name, Spot(raw.wire_type, raw.value_start, raw.start, raw.end, parent.inside, cut)


def leaf_in(data: bytes, spans: Iterable[tuple[int, int]], type_name: str) -> tuple[str, RawField] | None:
    """(scalar type, where) of the scalar that holds the value of an IntOrString, Quantity, Time, …; None if absent."""
    message = shipped_table().message(type_name)
    found: dict[int, RawField] = {}
    for start, end in spans:
        for raw in scan(data, start, end):
            field = message.fields.get(raw.number)
            if field is not None:
                check_wire_type(raw, field)
                found[raw.number] = raw
    number = LEAF_FIELDS.get(type_name, 2)
    if type_name == INT_OR_STRING:
        chosen = found.get(1)
        if chosen is not None and decode_scalar("int64", data, chosen.start, chosen.end) == 1:
            number = 3
    return (message.fields[number].type, found[number]) if number in found else None


def is_leaf(type_name: str) -> bool:
    """Whether JSON shows this type as one value."""
    return type_name in SCALARS or type_name in LEAF_FIELDS or type_name == INT_OR_STRING


def names_present(data: bytes, node: Node) -> list[str]:
    """Names of the fields that a message holds, in the order of the bytes."""
    message, found = shipped_table().message(node.type), []
    for spot in node.spots:
        for raw in scan(data, spot.start, spot.end):
            field = message.fields.get(raw.number)
            if field is not None and field.inline:
                inner = Node(node.path, field.type, spots_of(data, [spot], field), [])
                found += names_present(data, inner)
            elif field is not None:
                found.append(field.name)
    return list(dict.fromkeys(found))


@cache
def short(type_name: str) -> str:
    """`Quantity` for `k8s.io.apimachinery.pkg.api.resource.Quantity`."""
    return type_name.rpartition(".")[2]
