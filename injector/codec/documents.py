"""Fields of objects stored as JSON or CBOR: by the same paths as protobuf's, found in the bytes themselves.

Nothing says which objects are maps here, so a member is found in either spelling, `labels[app]` or `labels.app`.
Listed are members of what Kubernetes' own types call a map in brackets, and names that a path can't hold otherwise.
`null` is a value (of type null) when asked for, and no field when listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from injector.codec.cbor_items import encode_string, parse_cbor, scan_cbor
from injector.codec.envelope import Storage, refusal
from injector.codec.items import CONTAINERS, Item, Member, members_by_name, named_tree, tree_of
from injector.codec.json_tokens import encode_token, parse_json, scan_json
from injector.codec.located import ANY, Cut, FieldValue, Located, Place
from injector.codec.paths import join, keyed, parse_path
from injector.codec.table import shipped_table
from injector.errors import CodecError, FaultError
from injector.rules import JSONValue

__all__ = ["find_item", "list_items", "locate_item", "parse_document"]

_SHOWN = 12
"""How many of the members that are there an error names (arbitrary: one line)."""

_NAME = re.compile(r"[\w$-]+")


def parse_document(value: bytes, storage: Storage) -> dict[str, JSONValue]:
    """An object stored as JSON or CBOR. Raises CodecError for what can't be read, which encrypted values can't."""
    if storage is Storage.JSON:
        return parse_json(value)
    if storage is Storage.CBOR:
        return parse_cbor(value)
    raise CodecError(refusal(value))


def locate_item(value: bytes, storage: Storage, path: str) -> Located:
    """As `locate`, for JSON and CBOR."""
    *above, last = _accesses(path)
    item, where = _scan(value, storage), ""
    for access in above:
        member = _member(item, where, access)
        if member is None:
            raise FaultError(_nothing_there(item, where, access))
        item, where = member.item, access.path
    member = _member(item, where, last)
    if member is None:
        return _absent(value, storage, item, last, path)
    item = member.item
    if item.type in CONTAINERS:
        raise FaultError(f"{last.path} is an {item.type}, not a single value; it holds {_present(item)}")
    return Located(
        path=path,
        type=item.type,
        kubernetes_type=item.type,
        wire_type=None,
        present=True,
        span=(item.start, item.end),
        payload=value[item.start : item.end],
        value=item.value,
        enclosing=(),
        storage=storage,
    )


def list_items(value: bytes, storage: Storage) -> list[FieldValue]:
    """As `list_fields`, for JSON and CBOR."""
    return list(_leaves(_scan(value, storage), "", in_map=False))


def find_item(value: bytes, storage: Storage, path: str) -> Place:
    """As `find`, for JSON and CBOR."""
    item, where, parent, same = _scan(value, storage), "", None, []
    for access in _accesses(path):
        member = _member(item, where, access)
        if member is None:
            raise FaultError(_nothing_there(item, where, access))
        parent = item
        same = [i for i, other in enumerate(parent.members) if other is member or _same_name(other, member)]
        item, where = member.item, access.path
    assert parent is not None
    cuts = (_json_cuts if storage is Storage.JSON else _cbor_cuts)(parent, same)
    return Place(path=path, type=item.type, value=tree_of(item), storage=storage, cuts=tuple(cuts), size=len(value))


def _same_name(one: Member, other: Member) -> bool:
    return bool(one.name) and one.name == other.name


def _scan(value: bytes, storage: Storage) -> Item:
    item = scan_json(value) if storage is Storage.JSON else scan_cbor(value)
    heads = {name: member.item.value for name, member in members_by_name(item).items()}
    named_tree(heads, storage)
    return item


class _Access(NamedTuple):
    """One step to a member (by name) or an element: the key, whether it stood in brackets, and the path so far."""

    key: str
    bracket: bool
    path: str


def _accesses(path: str) -> list[_Access]:
    found, where = [], ""
    for step in parse_path(path):
        where = join(where, step.name)
        found.append(_Access(step.name, False, where))
        for key in step.keys:
            where = keyed(where, key)
            found.append(_Access(key, True, where))
    return found


def _member(item: Item, where: str, access: _Access) -> Member | None:
    """The member; None where an object has none of that name. Raises FaultError for all else that leads nowhere."""
    if item.type == "object":
        return members_by_name(item).get(access.key)
    if item.type == "array" and access.bracket:
        return _element(item, where, access.key)
    if item.type == "array":
        raise FaultError(f"{where} holds several values; say which in brackets. There are {len(item.members)} elements")
    if access.bracket:
        raise FaultError(f"{where} is of type {item.type}, not a list or map; [{access.key}] leads nowhere")
    raise FaultError(f"{where} is of type {item.type}; it has no field {access.key!r}")


def _element(item: Item, where: str, key: str) -> Member:
    if key.isdecimal():
        if int(key) < len(item.members):
            return item.members[int(key)]
        raise FaultError(f"{where} has {len(item.members)} elements; there is no {where}[{key}]")
    name, equals, wanted = key.partition("=")
    if not equals:
        raise FaultError(f"{where} is a list; expected an index or FIELD=VALUE in brackets, got {key!r}")
    seen = []
    for element in item.members:
        own = members_by_name(element.item).get(name) if element.item.type == "object" else None
        if own is not None and own.item.type not in CONTAINERS:
            if str(own.item.value) == wanted:
                return element
            seen.append(str(own.item.value))
    raise FaultError(f"{where} has no element with {name} {wanted!r}; there are: {', '.join(seen) or 'none'}")


def _absent(value: bytes, storage: Storage, item: Item, access: _Access, path: str) -> Located:
    """Where a new member would stand: behind the last."""
    place = item.members[-1].item.end if item.members else item.inside
    if storage is Storage.JSON:
        tag = (b"," if item.members else b"") + encode_token(access.key) + b":"
    else:
        tag = encode_string(access.key.encode("utf-8"))
    return Located(
        path=path,
        type=ANY,
        kubernetes_type=ANY,
        wire_type=None,
        present=False,
        span=(place, place),
        payload=b"",
        value=None,
        enclosing=(),
        tag=tag,
        storage=storage,
        counted=item.head,
    )


def _leaves(item: Item, path: str, *, in_map: bool) -> Iterator[FieldValue]:
    last = {id(member) for member in members_by_name(item).values()} if item.type == "object" else ()
    for index, (name, _, own) in enumerate(item.members):
        if item.type == "array":
            where = f"{path}[{index}]"
        elif id(item.members[index]) not in last:
            continue
        else:
            where = f"{path}[{name}]" if in_map or not _NAME.fullmatch(name) else join(path, name)
        if own.type in CONTAINERS:
            yield from _leaves(own, where, in_map=own.type == "object" and name in _map_names())
        elif own.type != "null":
            yield FieldValue(where, own.type, own.value, own.type, None, (own.start, own.end))


@lru_cache(maxsize=1)
def _map_names() -> frozenset[str]:
    """Names of fields that are maps wherever Kubernetes' own types have them: labels, annotations, limits, …"""
    maps: set[str] = set()
    others: set[str] = set()
    table = shipped_table()
    for name in table.message_names():
        for field in table.message(name).fields.values():
            (maps if field.map_key is not None else others).add(field.name)
    return frozenset(maps - others)


def _json_cuts(parent: Item, doomed: list[int]) -> list[Cut]:
    """Runs of neighbours with the commas that they leave over."""
    members, cuts, position = parent.members, [], 0
    while position < len(doomed):
        first = last = doomed[position]
        while position + 1 < len(doomed) and doomed[position + 1] == last + 1:
            position, last = position + 1, last + 1
        position += 1
        if last + 1 < len(members):
            cuts.append(Cut(members[first].start, members[last + 1].start))
        else:
            start = members[first - 1].item.end if first else members[first].start
            cuts.append(Cut(start, members[last].item.end))
    return cuts


def _cbor_cuts(parent: Item, doomed: list[int]) -> list[Cut]:
    members = parent.members
    return [Cut(members[i].start, members[i].item.end, counted=parent.head) for i in doomed]


def _list(item: Item) -> str:
    names = list(members_by_name(item))
    return (", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")) or "nothing"


def _present(item: Item) -> str:
    return f"{len(item.members)} elements" if item.type == "array" else _list(item)


def _nothing_there(item: Item, where: str, access: _Access) -> str:
    return f"{access.path} is absent; {where or 'the object'} holds {_present(item)}"
