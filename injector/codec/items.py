"""JSON and CBOR with the place of every item: what both scanners produce and what locating and listing walk."""

from __future__ import annotations

from typing import NamedTuple

from injector.codec.envelope import Storage
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = ["CONTAINERS", "MAX_DEPTH", "Item", "Member", "members_by_name", "named_tree", "tree_of"]

MAX_DEPTH = 300
"""Objects and lists in each other that are followed. Go's decoders stop at 10,000; Python's stack ends sooner, and
stored objects reach about 60 (a schema in a CustomResourceDefinition)."""

CONTAINERS = frozenset({"object", "array"})


class Item(NamedTuple):
    """One value.

    type        object, array, string, bytes, int64, double, bool or null
    start, end  the token; a container's from its opening bracket or head to its end
    value       of a single value, as JSON; None for containers
    inside      where a container's first member stands or would stand
    members     of a container, in the order of the bytes
    head        CBOR: a container's head, None where it does not count (indefinite length)
    """

    type: str
    start: int
    end: int
    value: JSONValue = None
    inside: int = 0
    members: tuple[Member, ...] = ()
    head: tuple[int, int] | None = None


class Member(NamedTuple):
    """A member of an object (name "" for an element of a list). `start`: its first byte, name and tags included."""

    name: str
    start: int
    item: Item


def members_by_name(item: Item) -> dict[str, Member]:
    """An object's members; of several with one name the last counts, as in Go's decoder."""
    return {member.name: member for member in item.members}


def tree_of(item: Item) -> JSONValue:
    """The item as JSON."""
    if item.type == "object":
        return {member.name: tree_of(member.item) for member in item.members}
    if item.type == "array":
        return [tree_of(member.item) for member in item.members]
    return item.value


def named_tree(tree: JSONValue, storage: Storage) -> dict[str, JSONValue]:
    """The tree of a stored object. Raises CodecError where it is no object, or has no apiVersion or kind."""
    if (
        not isinstance(tree, dict)
        or not isinstance(tree.get("kind"), str)
        or not isinstance(tree.get("apiVersion"), str)
    ):
        raise CodecError(f"stored as {storage.name}, but without apiVersion and kind")
    return tree
