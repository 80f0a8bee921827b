"""What later writes made of a wrong value: carried on, or put right. From an experiment's history. Pure but for reading
old values of etcd's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from classifiers.observation import Write
from injector.codec import locate
from injector.errors import InjectionError
from injector.rules import Firing, JSONValue
from injector.targets import OPERATIONS, Channel, is_told
from injector.writers import writer_of

__all__ = ["later_writes"]

_MOST_WRITES = 8
"""Later writes of an object that are looked at; arbitrary: what happens soon."""


def later_writes(
    firing: Firing, path: str | None, writes: Iterable[Write], value_at: Callable[[str, int], bytes | None]
) -> tuple[str, ...]:
    """The first later write that carried the wrong value on, and the first that did not, each with its author: at most
    two. `path` is the field that was changed; of a fault on the whole message only that it was written again is known.
    `value_at` gives a key's value at a revision, None where etcd does not have it any more."""
    if firing.operation in _NO_OBJECT or firing.accepted is False or not firing.after:
        return ()
    said: dict[str, str] = {}
    before = _stored(firing, value_at)
    for write in _later(firing, writes):
        gone = write.operation == "delete"
        value = None if gone else value_at(firing.key, write.revision)
        if value is None and not gone:
            break  # compacted away: nobody can tell any more
        what = _what(firing, path, value)
        author = (value is not None and writer_of(value, before)) or "somebody"
        said.setdefault(what, f"{what} by {author} at revision {write.revision}")
        if value is None or what not in _CARRIED:
            break
        before = value
    return tuple(said.values())


def _stored(firing: Firing, value_at: Callable[[str, int], bytes | None]) -> bytes | None:
    """What etcd held once the message was done with, None if that is not known."""
    if is_told(firing.operation):
        return firing.before
    if firing.operation.partition("/")[0] not in OPERATIONS[Channel.COMPONENT_TO_APISERVER]:
        return firing.after
    return value_at(firing.key, firing.revision) if firing.revision is not None else None  # a request is less than that


_NO_OBJECT = ("drop", "delete", "bind", "create/eviction", "create/token")
"""Operations of what was lost, and of messages that are not the object that is stored."""

_CARRIED = ("carried on", "carried into etcd")


def _later(firing: Firing, writes: Iterable[Write]) -> list[Write]:
    of_key = (write for write in writes if write.key == firing.key)
    if firing.revision is not None:
        found = [write for write in of_key if write.revision > firing.revision]
    else:
        found = [write for write in of_key if write.at_s >= firing.at_s]
    return sorted(found, key=lambda write: write.revision)[:_MOST_WRITES]


def _what(firing: Firing, path: str | None, value: bytes | None) -> str:
    if value is None:
        return "deleted"
    if path is None:
        return "written again"
    carried = _at(value, path) == firing.field_after
    if is_told(firing.operation):
        return "carried into etcd" if carried else "written without it"
    return "carried on" if carried else "overwritten"


def _at(value: bytes, path: str) -> JSONValue:
    try:
        return locate(value, path).value
    except InjectionError:
        return None
