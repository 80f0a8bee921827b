"""Finding one field of a stored object by its path, and listing all there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from injector.codec.encoding import decode_scalar, encode_tag, scan
from injector.codec.envelope import Span, Storage, parse_json, storage_of
from injector.codec.nodes import Node, children, is_leaf, join, leaf, root, short
from injector.codec.paths import Step, parse_path
from injector.codec.table import SCALARS, Field, shipped_table
from injector.errors import FaultError
from injector.rules import JSONValue

__all__ = ["FieldValue", "Located", "list_fields", "locate"]

_SHOWN = 12
"""How many of the fields that are there an error names (arbitrary: one line)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """One field of one stored object: where it lies and what it is.

    path             as asked for
    type             scalar type on the wire (`string`, `bytes`, `bool`, `int32`, `int64`, `double`, …)
    kubernetes_type  what the API calls it: `IntOrString`, `Quantity`, `Time`, … or the scalar again
    wire_type        of the field, 0, 1, 2 or 5
    present          False for an optional scalar that is not there; `span` is then empty and says where it belongs
    span             [start, end) of the payload in the stored value, without tag and length
    payload          the bytes in `span`
    value            the payload as JSON; None where it is absent
    enclosing        spans whose lengths depend on it, outermost first; a length-delimited field's own is the last
    tag              the tag to write if the field is absent, else b""
    """

    path: str
    type: str
    kubernetes_type: str
    wire_type: int
    present: bool
    span: tuple[int, int]
    payload: bytes
    value: JSONValue
    enclosing: tuple[Span, ...]
    tag: bytes = b""


class FieldValue(NamedTuple):
    """One leaf field that is present: a path that `locate` takes, its scalar type, its value as JSON."""

    path: str
    type: str
    value: JSONValue


def locate(value: bytes, path: str) -> Located:
    """The field at `path`. Of an IntOrString, Quantity, Time, FieldsV1 or embedded object it is the scalar that holds
    the value (`intVal` or `strVal`, the text, the seconds, the raw bytes).

    Raises FaultError for a path that leads nowhere (it says at which step, and what is there instead) and for objects
    stored as JSON; CodecError for bytes that can't be decoded.
    """
    steps = parse_path(path)
    _refuse_json(value)
    node = root(value)
    for number, step in enumerate(steps):
        found = _step(value, node, step)
        if found is None:
            if number == len(steps) - 1:
                return _absent(value, node, step, path)
            raise FaultError(_nothing_there(value, node, step))
        node = found
    spot = leaf(value, node) if is_leaf(node.type) else None
    if spot is None:
        raise FaultError(_no_value(value, node))
    return _located(value, path, node, spot)


def list_fields(value: bytes) -> list[FieldValue]:
    """Every leaf field that is present, in the order of the bytes; map entries of equal keys once, the last.

    Raises CodecError for bytes that can't be decoded, FaultError for objects stored as JSON.
    """
    _refuse_json(value)
    found: dict[str, FieldValue] = {}
    for item in _leaves(value, root(value)):
        found[item.path] = item
    return list(found.values())


def _refuse_json(value: bytes) -> None:
    if storage_of(value) is Storage.JSON:
        tree = parse_json(value)
        raise FaultError(
            f"{tree['apiVersion']} {tree['kind']} is stored as JSON; field faults on JSON objects come with a later "
            "version. Faults on the whole message (byte-flip, drop) work"
        )


def _leaves(data: bytes, node: Node) -> Iterator[FieldValue]:
    for _, child in children(data, node):
        if is_leaf(child.type):
            spot = leaf(data, child)
            if spot is not None:
                yield FieldValue(child.path, spot.type, decode_scalar(spot.type, data, spot.start, spot.end))
        else:
            yield from _leaves(data, child)


def _located(data: bytes, path: str, node: Node, spot: Node) -> Located:
    delimited = spot.wire_type == 2
    return Located(
        path=path,
        type=spot.type,
        kubernetes_type=short(node.type),
        wire_type=spot.wire_type,
        present=True,
        span=(spot.start, spot.end),
        payload=data[spot.start : spot.end],
        value=decode_scalar(spot.type, data, spot.start, spot.end),
        enclosing=spot.inside if delimited else spot.enclosing,
    )


def _step(data: bytes, node: Node, step: Step) -> Node | None:
    """The node one step down; None where a known field is absent. Raises FaultError for all else that is missing."""
    field = _field_named(node, step)
    own = [child for other, child in children(data, node) if other == field]
    if field.map_key is not None:
        return _map_value(node, step, own, data)
    if field.repeated:
        return _descend(data, _element(data, join(node.path, step.name), _one_key(node, step, own), own), step.keys[1:])
    if not own:
        return None
    return _descend(data, own[-1], step.keys)


def _field_named(node: Node, step: Step) -> Field:
    if node.type in SCALARS:
        raise FaultError(f"{node.path} is of type {node.type}; it has no field {step.name!r}")
    known = _fields_by_name(node.type)
    if step.name not in known:
        raise FaultError(
            f"{_name(node)} has no field {step.name!r}; a {short(node.type)} has {', '.join(sorted(known)) or 'none'}"
        )
    return known[step.name]


def _fields_by_name(type_name: str) -> dict[str, Field]:
    """The fields of a message as JSON has them: those of inlined messages among its own."""
    table = shipped_table()
    found: dict[str, Field] = {}
    for field in table.message(type_name).fields.values():
        found.update(_fields_by_name(field.type) if field.inline else {field.name: field})
    return found


def _one_key(node: Node, step: Step, own: Sequence[Node]) -> str:
    if not step.keys:
        where = join(node.path, step.name)
        raise FaultError(f"{where} holds several values; say which in brackets. There are: {_list(own)}")
    return step.keys[0]


def _map_value(node: Node, step: Step, own: Sequence[Node], data: bytes) -> Node:
    key = _one_key(node, step, own)
    wanted = f"{join(node.path, step.name)}[{key}]"
    matching = [child for child in own if child.path == wanted]
    if not matching:
        raise FaultError(f"{join(node.path, step.name)} has no key {key!r}; there are: {_list(own)}")
    return _descend(data, matching[-1], step.keys[1:])


def _element(data: bytes, path: str, key: str, own: Sequence[Node]) -> Node:
    if key.isdecimal():
        if int(key) < len(own):
            return own[int(key)]
        raise FaultError(f"{path} has {len(own)} elements; there is no {path}[{key}]")
    name, equals, wanted = key.partition("=")
    if not equals:
        raise FaultError(f"{path} is a list; expected an index or FIELD=VALUE in brackets, got {key!r}")
    seen = []
    for element in own:
        for field, child in children(data, element) if element.type not in SCALARS else ():
            if field.name == name and is_leaf(child.type) and (spot := leaf(data, child)) is not None:
                text = str(decode_scalar(spot.type, data, spot.start, spot.end))
                if text == wanted:
                    return element
                seen.append(text)
    raise FaultError(f"{path} has no element with {name} {wanted!r}; there are: {', '.join(seen) or 'none'}")


def _descend(data: bytes, node: Node, keys: Sequence[str]) -> Node:
    """Further brackets: into messages that are nothing but a list."""
    for key in keys:
        if node.type in SCALARS or not shipped_table().message(node.type).alias:
            raise FaultError(f"{node.path} is of type {short(node.type)}, not a list or map; [{key}] leads nowhere")
        node = _element(data, node.path, key, [child for _, child in children(data, node)])
    return node


def _absent(data: bytes, node: Node, step: Step, path: str) -> Located:
    """Where an optional scalar would stand: behind the last field with a lower number, as Kubernetes writes them."""
    field = _field_named(node, step)
    direct = shipped_table().message(node.type).fields.get(field.number)
    if field.type not in SCALARS or direct != field:
        raise FaultError(_nothing_there(data, node, step))
    place = node.start
    for raw in scan(data, node.start, node.end):
        if raw.number <= field.number:
            place = raw.end
    return Located(
        path=path,
        type=field.type,
        kubernetes_type=field.type,
        wire_type=field.wire_type,
        present=False,
        span=(place, place),
        payload=b"",
        value=None,
        enclosing=node.inside,
        tag=encode_tag(field.number, field.wire_type),
    )


def _name(node: Node) -> str:
    return node.path or "the object"


def _list(own: Sequence[Node]) -> str:
    shown = ", ".join(child.path for child in own[:_SHOWN])
    return (shown + (", …" if len(own) > _SHOWN else "")) or "none"


def _present(data: bytes, node: Node) -> str:
    return ", ".join(dict.fromkeys(field.name for field, _ in children(data, node))) or "nothing"


def _nothing_there(data: bytes, node: Node, step: Step) -> str:
    return f"{join(node.path, step.name)} is absent; {_name(node)} holds {_present(data, node)}"


def _no_value(data: bytes, node: Node) -> str:
    if is_leaf(node.type):
        return f"{_name(node)} is a {short(node.type)} without a value"
    return f"{_name(node)} is a {short(node.type)}, not a single value; it holds {_present(data, node)}"
