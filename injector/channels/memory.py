"""Stored values that a channel has seen, as a fault model may need them: the one before, or another object's.

Of every key the last two values are kept (a sandbox's key space is a few MiB). Keys that were deleted are forgotten as
live objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from injector.identity import IdentityTracker

__all__ = ["Around", "Memory", "text"]


class Memory:
    """What is known of the stored values. `revision` is etcd's, 0 where it is not known."""

    def __init__(self, tracker: IdentityTracker, baseline: Iterable[tuple[bytes, bytes]]) -> None:
        self._tracker = tracker
        self._values: dict[bytes, list[tuple[int, bytes]]] = {key: [(0, value)] for key, value in baseline}

    def saw(self, key: bytes, value: bytes, revision: int = 0) -> None:
        """This was stored at that revision; older ones than those that are known are not kept."""
        values = self._values.setdefault(key, [])
        if values and (values[-1][1] == value or (revision and revision <= values[-1][0])):
            return
        values.append((revision, value))
        del values[:-2]

    def forget(self, key: bytes) -> None:
        self._values.pop(key, None)

    def before(self, key: bytes, value: bytes, revision: int = 0) -> bytes | None:
        """The newest other value that was stored there, before `revision` if that is known."""
        for stored_at, stored in reversed(self._values.get(key, ())):
            if stored != value and (not revision or stored_at < revision):
                return stored
        return None

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        """Key and value of a live object."""
        for key, values in self._values.items():
            known = self._tracker.get(text(key))
            if known is not None and known.identity == identity:
                return key, values[-1][1]
        return None


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds one value: `injector.corrupt.Surroundings`. `stored_before` is what its message itself says."""

    memory: Memory
    key: bytes
    value: bytes
    revision: int = 0
    stored_before: bytes | None = None

    def previous(self) -> bytes | None:
        if self.stored_before is not None:
            return self.stored_before
        return self.memory.before(self.key, self.value, self.revision)

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        return self.memory.other(identity)


def text(key: bytes) -> str:
    """A key as identities and firings show it."""
    return key.decode(errors="backslashreplace")
