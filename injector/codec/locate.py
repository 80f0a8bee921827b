"""Finding one field of a stored object by its path: a single value to change, or any node to remove."""

from __future__ import annotations

from collections.abc import Sequence

from injector.codec.documents import find_item, locate_item
from injector.codec.encoding import decode_scalar, encode_tag, scan
from injector.codec.envelope import Storage, refusal, storage_of
from injector.codec.located import Located, Place
from injector.codec.nodes import (
    NOT_MERGED,
    Node,
    Spot,
    cuts_of,
    entries,
    fields_by_name,
    is_leaf,
    leaf,
    names_present,
    root,
    short,
    spots_of,
)
from injector.codec.paths import Step, join, keyed, parse_path
from injector.codec.table import SCALARS, Field, shipped_table
from injector.codec.tree import value_of
from injector.errors import FaultError
from injector.rules import JSONValue

__all__ = ["find", "locate"]

_SHOWN = 12
"""How many of the fields that are there an error names (arbitrary: one line)."""


def locate(value: bytes, path: str) -> Located:
    """The field at `path`. Of an IntOrString, Quantity, Time, FieldsV1 or embedded object in protobuf it is the scalar
    that holds the value (`intVal` or `strVal`, the text, the seconds, the raw bytes).

    Raises FaultError for a path that leads nowhere (it says at which step, and what is there instead) and for encrypted
    values; CodecError for bytes that can't be decoded.
    """
    storage = _readable(value)
    if storage is not Storage.PROTOBUF:
        return locate_item(value, storage, path)
    *above, last = parse_path(path)
    node = _walk(value, above)
    found = _step(value, node, last)
    if found is None:
        return _absent(value, node, last, path)
    spot = leaf(value, found) if is_leaf(found.type) else None
    if spot is None:
        raise FaultError(_no_value(value, found))
    return _located(value, path, found.type, *spot)


def find(value: bytes, path: str) -> Place:
    """The node at `path`, whatever it is: a single value, a message, an element, a map's entry, or a list or map as a
    whole (`spec.ports`). What is not there has no place; errors as of `locate`."""
    storage = _readable(value)
    if storage is not Storage.PROTOBUF:
        return find_item(value, storage, path)
    *above, last = parse_path(path)
    node = _walk(value, above)
    chain, field = _field_named(node, last)
    if (field.repeated or field.map_key is not None) and not last.keys:
        return _whole(value, node, chain, field, path)
    found = _step(value, node, last)
    if found is None:
        raise FaultError(_nothing_there(value, node, last))
    content = value_of(value, [(spot.start, spot.end) for spot in found.spots], found.type)
    return Place(
        path=path, type=short(found.type), value=content, storage=storage, cuts=tuple(found.cuts), size=len(value)
    )


def _readable(value: bytes) -> Storage:
    storage = storage_of(value)
    if storage is Storage.ENCRYPTED:
        raise FaultError(refusal(value))
    return storage


def _walk(value: bytes, steps: Sequence[Step]) -> Node:
    node = root(value)
    for step in steps:
        found = _step(value, node, step)
        if found is None:
            raise FaultError(_nothing_there(value, node, step))
        node = found
    return node


def _whole(data: bytes, node: Node, chain: Sequence[Field], field: Field, path: str) -> Place:
    parents = _through(data, node.spots, chain)
    own = spots_of(data, parents, field)
    content: JSONValue
    if field.map_key is not None:
        content = {
            key: value_of(data, [(spot.start, spot.end)] if spot else [], field.type)
            for key, spot, _ in entries(data, own)
        }
    else:
        content = [value_of(data, [(spot.start, spot.end)], field.type) for spot in own]
    cuts = cuts_of(data, parents, field)
    if not cuts:
        raise FaultError(_nothing_there(data, node, Step(field.name, ())))
    return Place(
        path=path, type=short(field.type), value=content, storage=Storage.PROTOBUF, cuts=tuple(cuts), size=len(data)
    )


def _located(data: bytes, path: str, declared: str, type_name: str, spot: Spot) -> Located:
    return Located(
        path=path,
        type=type_name,
        kubernetes_type=short(declared),
        wire_type=spot.wire_type,
        present=True,
        span=(spot.start, spot.end),
        payload=data[spot.start : spot.end],
        value=decode_scalar(type_name, data, spot.start, spot.end),
        enclosing=spot.inside if spot.wire_type == 2 else spot.enclosing,
    )


def _step(data: bytes, node: Node, step: Step) -> Node | None:
    """The node one step down; None where a known field is absent. Raises FaultError for all else that is missing."""
    chain, field = _field_named(node, step)
    path = join(node.path, step.name)
    own = spots_of(data, _through(data, node.spots, chain), field)
    if field.map_key is not None:
        return _descend(data, _map_value(data, path, step, own, field), step.keys[1:])
    if field.repeated:
        key = _one_key(path, step, [keyed(path, i) for i in range(len(own))])
        return _descend(data, _element(data, path, key, own, field.type), step.keys[1:])
    if not own:
        return None
    merged = field.type not in SCALARS and field.type not in NOT_MERGED
    node = Node(path, field.type, own if merged else own[-1:], [spot.cut for spot in own])
    return _descend(data, node, step.keys)


def _through(data: bytes, spots: list[Spot], chain: Sequence[Field]) -> list[Spot]:
    """The pieces of a message that is inlined in JSON, or the message's own."""
    for field in chain:
        spots = spots_of(data, spots, field)
    return spots


def _field_named(node: Node, step: Step) -> tuple[tuple[Field, ...], Field]:
    if node.type in SCALARS:
        raise FaultError(f"{node.path} is of type {node.type}; it has no field {step.name!r}")
    known = fields_by_name(node.type)
    if step.name not in known:
        raise FaultError(
            f"{_name(node)} has no field {step.name!r}; a {short(node.type)} has {', '.join(sorted(known)) or 'none'}"
        )
    return known[step.name]


def _one_key(path: str, step: Step, there: Sequence[str]) -> str:
    if not step.keys:
        raise FaultError(f"{path} holds several values; say which in brackets. There are: {_list(there)}")
    return step.keys[0]


def _map_value(data: bytes, path: str, step: Step, own: list[Spot], field: Field) -> Node:
    found = entries(data, own)
    there = list(dict.fromkeys(keyed(path, entry.key) for entry in found))
    key = _one_key(path, step, there)
    matching = [entry for entry in found if entry.key == key]
    if not matching:
        raise FaultError(f"{path} has no key {key!r}; there are: {_list(there)}")
    spot = matching[-1].value
    return Node(keyed(path, key), field.type, [spot] if spot else [], [entry.cut for entry in matching])


def _element(data: bytes, path: str, key: str, own: Sequence[Spot], type_name: str) -> Node:
    if key.isdecimal():
        if int(key) < len(own):
            spot = own[int(key)]
            return Node(keyed(path, int(key)), type_name, [spot], [spot.cut])
        raise FaultError(f"{path} has {len(own)} elements; there is no {path}[{key}]")
    name, equals, wanted = key.partition("=")
    if not equals:
        raise FaultError(f"{path} is a list; expected an index or FIELD=VALUE in brackets, got {key!r}")
    seen = []
    chain, field = fields_by_name(type_name).get(name, ((), None)) if type_name not in SCALARS else ((), None)
    for index, spot in enumerate(own):
        text = _text_of(data, spot, chain, field) if field is not None else None
        if text == wanted:
            return Node(keyed(path, index), type_name, [spot], [spot.cut])
        if text is not None:
            seen.append(text)
    raise FaultError(f"{path} has no element with {name} {wanted!r}; there are: {', '.join(seen) or 'none'}")


def _text_of(data: bytes, element: Spot, chain: Sequence[Field], field: Field) -> str | None:
    """The value of an element's field as text, None where it is absent or no single value."""
    own = spots_of(data, _through(data, [element], chain), field)
    if not own or not is_leaf(field.type) or field.repeated or field.map_key is not None:
        return None
    found = leaf(data, Node("", field.type, own[-1:], []))
    return str(decode_scalar(found[0], data, found[1].start, found[1].end)) if found else None


def _descend(data: bytes, node: Node, keys: Sequence[str]) -> Node:
    """Further brackets: into messages that are nothing but a list."""
    for key in keys:
        message = shipped_table().message(node.type) if node.type not in SCALARS else None
        if message is None or not message.alias:
            raise FaultError(f"{node.path} is of type {short(node.type)}, not a list or map; [{key}] leads nowhere")
        field = next(iter(message.fields.values()))
        node = _element(data, node.path, key, spots_of(data, node.spots, field), field.type)
    return node


def _absent(data: bytes, node: Node, step: Step, path: str) -> Located:
    """Where an optional scalar would stand: behind the last field with a lower number, as Kubernetes writes them."""
    chain, field = _field_named(node, step)
    if field.type not in SCALARS or chain or not node.spots:
        raise FaultError(_nothing_there(data, node, step))
    parent = node.spots[-1]
    place = parent.start
    for raw in scan(data, parent.start, parent.end):
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
        enclosing=parent.inside,
        tag=encode_tag(field.number, field.wire_type),
    )


def _name(node: Node) -> str:
    return node.path or "the object"


def _list(paths: Sequence[str]) -> str:
    return (", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")) or "none"


def _present(data: bytes, node: Node) -> str:
    return ", ".join(names_present(data, node)) or "nothing"


def _nothing_there(data: bytes, node: Node, step: Step) -> str:
    return f"{join(node.path, step.name)} is absent; {_name(node)} holds {_present(data, node)}"


def _no_value(data: bytes, node: Node) -> str:
    if is_leaf(node.type):
        return f"{_name(node)} is a {short(node.type)} without a value"
    return f"{_name(node)} is a {short(node.type)}, not a single value; it holds {_present(data, node)}"
