"""Who wrote a stored value: the field manager, as the object's own metadata.managedFields tell it.

kube-apiserver notes for every manager (and operation, and subresource) which fields it owns and when that last changed
(apimachinery v0.36.3, pkg/util/managedfields). It does not note who wrote last, so that is concluded:

    a create                 the entry that there is
    an update, the value     whose entry is new, has another time or names more fields than before; where there is none,
    before it known          whose names fewer; where no entry changed (a heartbeat writes fields that it owns already,
                             and an entry's time then stays as it was), who owns a field that changed. What nobody owns
                             (a pod's binding, a deletionTimestamp) has no author
    the same, not known      whose entry has the newest time, or none (of a scale it has none)

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
        entries = _changed_entries(_entries(old), entries) or _owners(entries, old, tree)
    newest = max((entry.time for entry in entries), default="")
    return tuple(sorted({entry.manager for entry in entries if entry.time in ("", newest) and entry.manager}))


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


def _changed_entries(before: Sequence[_Entry], after: Sequence[_Entry]) -> list[_Entry]:
    """The entries that tell of a write: another manager's write may have taken fields out of an entry, but never puts
    any in, nor sets its time."""
    known = {(entry.manager, entry.about): entry for entry in before}
    gained, lost = list[_Entry](), list[_Entry]()
    for entry in after:
        old = known.get((entry.manager, entry.about))
        if old is None or old.time != entry.time or not _within(entry.owned, old.owned):
            gained.append(entry)
        elif entry != old:
            lost.append(entry)
    return gained or lost


def _within(owned: JSONValue, wider: JSONValue) -> bool:
    """Whether every field that `owned` names is named by `wider`."""
    if not isinstance(owned, dict) or not isinstance(wider, dict):
        return owned == wider
    return all(name in wider and _within(below, wider[name]) for name, below in owned.items())


def _owners(entries: Sequence[_Entry], before: Tree, after: Tree) -> list[_Entry]:
    """The entries that own a field which differs."""
    changed = list(_changed(before, after))
    return [entry for entry in entries if any(_owns(entry.owned, path) for path in changed)]


def _changed(
    before: JSONValue | Tree, after: JSONValue | Tree, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Paths of what differs, through objects; a list counts as one field."""
    if before == after:
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
