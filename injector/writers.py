"""Who wrote a stored value: the field manager, as the object's own metadata.managedFields tell it.

kube-apiserver notes for every manager (and operation, and subresource) which fields it owns and when that last changed
(apimachinery v0.36.3, pkg/util/managedfields). It does not note who wrote last, so that is concluded:

    a create                 the entry that there is
    an update, the value     whose entry is new or another than before; where none is (a heartbeat writes fields that it
    before it known          owns already, and an entry's time then stays as it was): who owns a field that changed
    the same, not known      whose entry has the newest time

Of several that are left the newest count, to the second; where those are of several managers nobody can tell which. A
delete has no author: managedFields say nothing of it. Who writes past field management (an editor of etcd's keys, or
kube-apiserver its masterleases) is not known. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from injector.codec import to_tree
from injector.errors import InjectionError
from injector.rules import JSONValue

__all__ = ["writer_of", "writers_of"]

Tree = Mapping[str, JSONValue]


def writers_of(value: bytes, before: bytes | None) -> tuple[str, ...]:
    """The managers one of which wrote `value`, sorted: one where it can be told, none where nothing is known. `before`
    is the version before it, None where there was none or it is not known."""
    tree = _tree(value)
    entries = _entries(tree)
    if before is not None:
        old = _tree(before)
        known = _entries(old)
        entries = [entry for entry in entries if entry not in known] or _owners(entries, old, tree)
    newest = max((entry.time for entry in entries), default="")
    return tuple(sorted({entry.manager for entry in entries if entry.time == newest and entry.manager}))


def writer_of(value: bytes, before: bytes | None) -> str:
    """The manager that wrote `value`, "" where that can't be told."""
    found = writers_of(value, before)
    return found[0] if len(found) == 1 else ""


class _Entry(NamedTuple):
    manager: str
    time: str
    about: tuple[str, ...]
    owned: JSONValue


def _tree(value: bytes) -> Tree:
    try:
        return to_tree(value)
    except InjectionError:
        return {}


def _entries(tree: Tree) -> list[_Entry]:
    metadata = tree.get("metadata")
    found = metadata.get("managedFields") if isinstance(metadata, dict) else None
    return [_entry(entry) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _entry(entry: Tree) -> _Entry:
    about = tuple(str(entry.get(name, "")) for name in ("operation", "subresource", "apiVersion"))
    return _Entry(str(entry.get("manager", "")), str(entry.get("time", "")), about, entry.get("fieldsV1"))


def _owners(entries: Sequence[_Entry], before: Tree, after: Tree) -> list[_Entry]:
    """The entries that own a field which differs."""
    changed = list(_changed(before, after))
    return [entry for entry in entries if any(_owns(entry.owned, path) for path in changed)]


def _changed(
    before: JSONValue | Tree, after: JSONValue | Tree, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Paths of what differs, through objects; a list counts as one field."""
    if before == after or path == ("metadata", "managedFields"):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {*before, *after}:
            yield from _changed(before.get(name), after.get(name), (*path, name))
    else:
        yield path


def _owns(owned: JSONValue, path: tuple[str, ...]) -> bool:
    """Whether `fieldsV1` names the field, or (where nothing is told below it) one that it lies in."""
    for name in path:
        if not isinstance(owned, dict):
            return False
        if not owned:
            return True
        owned = owned.get(f"f:{name}")
    return owned is not None
