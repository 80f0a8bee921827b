"""etcd's full history since r0, by watch, and the stored state that follows from it.

The watch goes to etcd itself, past the forwarder: it sees what is really stored. Values are decoded only when asked
for, once each.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from campaigns.clusters.keyspace import Change, KeySpace, Stored
from campaigns.observers.trace import Keeper
from campaigns.observers.volatile import is_volatile
from classifiers.observation import Write
from classifiers.trace import Step, Trace, Value
from injector.codec import locate, read_meta, to_tree
from injector.errors import ClusterError, CodecError, InjectionError
from injector.identity import Identified, IdentityTracker

__all__ = ["History", "StoredObject"]


_ENCRYPTED = b"k8s:enc:"
"""What kube-apiserver puts before a value that it encrypts (apiserver/pkg/server/options/encryptionconfig, v1.36)."""

_SLICES, _SERVICE = "/registry/endpointslices/", "metadata.labels[kubernetes.io/service-name]"


def _called(key: str, value: bytes) -> tuple[str, ...] | None:
    """By what caches that are fed by a watch know the object: its namespace and name, not its key; kube-proxy also by
    the Service of a slice (k8s.io/kubernetes v1.36.3, pkg/proxy/endpointslicecache.go). None if it can't be decoded."""
    try:
        meta = read_meta(value)
    except InjectionError:
        return None
    if not key.startswith(_SLICES):
        return meta.namespace, meta.name
    try:
        service = locate(value, _SERVICE).value
    except InjectionError:
        service = None
    return meta.namespace, meta.name, str(service)


@dataclass(slots=True)
class StoredObject:
    """A live object: where it is stored, who it is, its bytes; `tree` in the API's JSON shape, None if undecodable."""

    key: str
    who: Identified
    value: bytes
    _tree: Any = None
    _decoded: bool = False

    @property
    def tree(self) -> Any:
        if not self._decoded:
            try:
                self._tree = to_tree(self.value)
            except CodecError:
                self._tree = None
            self._decoded = True
        return self._tree


class History:
    """Starts watching at once; `changed` is notified after every batch. Use as a context manager.

    Times are seconds since `began` (time.monotonic()), to a tenth of a millisecond: what a watch tells is no closer.
    `values` has what was written, in the order of `writes`, as a trace may show it (campaigns.observers.trace).
    """

    def __init__(self, keyspace: KeySpace, baseline: Mapping[str, Stored], *, r0: int, began: float) -> None:
        self.r0 = r0
        self.blind: str | None = None
        self.writes: list[Write] = []
        self.keeper, self.values = Keeper(), list[Value]()
        self.changed = threading.Condition()
        self.last_change_s = 0.0
        self.seen_revision = r0
        self.peaks: Counter[str] = Counter()
        self._keyspace, self._began = keyspace, began
        self._tracker = IdentityTracker()
        self._live: dict[str, StoredObject] = {}
        self._identities: dict[tuple[str, str, str], str] = {}
        self._tracker.seed((key, stored.value) for key, stored in baseline.items())
        for key, stored in baseline.items():
            if (who := self._tracker.get(key)) is not None:
                self._live[key] = StoredObject(key, who, stored.value)
                self._identities[who.kind, who.namespace, who.name] = who.identity
        self._renamed: dict[str, None] = {}
        self._counts: dict[str, Counter[str]] = {}
        for live in self._live.values():
            self._count(live.who, 1)
        self._unwatch = self._watch()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self._unwatch()

    def trace(self, baseline: Mapping[str, Stored]) -> Trace:
        """The history so far. `baseline` is the key space at r0."""
        with self.changed:
            written = list(zip(self.writes, self.values, strict=True))
        keep = self.keeper.keep
        keys = sorted({write.key for write, _ in written})
        before = {key: keep(key, baseline[key].value if key in baseline else None) for key in keys}
        steps = tuple(Step(write.revision, write.at_s, write.key, value) for write, value in written)
        return Trace(r0=self.r0, before=before, steps=steps)

    def _watch(self) -> Callable[[], None]:
        return self._keyspace.watch(self.seen_revision + 1, self._told, self._failed)

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Inside, etcd may be stopped; afterwards, when it serves again, the watch goes on where it was: nothing is
        missed, but what was written meanwhile is stamped with the time at which it is told."""
        self._unwatch()
        try:
            yield
        finally:
            self._unwatch = self._watch()

    def _failed(self, why: str) -> None:
        with self.changed:
            self.blind = why
            self.changed.notify_all()

    def _told(self, changes: list[Change]) -> None:
        at_s = round(time.monotonic() - self._began, 4)
        with self.changed:
            for change in changes:
                self._apply(change, at_s)
            self.changed.notify_all()

    def _apply(self, change: Change, at_s: float) -> None:
        self.seen_revision = max(self.seen_revision, change.revision)
        who = self._tracker.seen(change.key, change.value)
        operation = "delete" if change.value is None else "create" if change.created else "update"
        if operation == "delete":
            self._live.pop(change.key, None)
            self._count(who, -1)
        else:
            value, before = change.value or b"", self._live.get(change.key)
            if before is not None and not is_volatile(change.key):
                names = {_called(change.key, before.value), _called(change.key, value)} - {None}
                if len(names) > 1:
                    self._renamed[change.key] = None
            self._live[change.key] = StoredObject(change.key, who, value)
            if operation == "create":
                self._count(who, 1)
                self._identities[who.kind, who.namespace, who.name] = who.identity
        if not is_volatile(change.key):
            self.last_change_s = at_s
        self.values.append(self.keeper.keep(change.key, change.value))
        self.writes.append(
            Write(
                revision=change.revision,
                at_s=at_s,
                key=change.key,
                kind=who.kind,
                identity=who.identity,
                operation=operation,
                size_bytes=len(change.value or b""),
                decodable=who.api_version != "",
            )
        )

    def _count(self, who: Identified, step: int) -> None:
        counts = self._counts.setdefault(who.namespace, Counter())
        counts[who.kind] += step
        self.peaks[f"{who.namespace}/{who.kind}"] = max(self.peaks[f"{who.namespace}/{who.kind}"], counts[who.kind])

    def counts(self, namespace: str) -> dict[str, int]:
        """Live objects by kind in one namespace."""
        with self.changed:
            return {kind: number for kind, number in sorted(self._counts.get(namespace, {}).items()) if number}

    def peak_counts(self, namespace: str) -> dict[str, int]:
        """Most live objects at one moment, by kind, in one namespace."""
        with self.changed:
            prefix = f"{namespace}/"
            return {
                key.removeprefix(prefix): n for key, n in sorted(self.peaks.items()) if key.startswith(prefix) and n
            }

    def objects(self, kind: str, namespace: str) -> list[StoredObject]:
        """Live objects in order of their keys. Decodable or not."""
        with self.changed:
            found = [o for o in self._live.values() if o.who.kind == kind and o.who.namespace == namespace]
        return sorted(found, key=lambda stored: stored.key)

    def of_kind(self, kind: str) -> list[StoredObject]:
        """Live objects of one kind in all namespaces."""
        with self.changed:
            return [o for o in self._live.values() if o.who.kind == kind]

    def get(self, key: str) -> StoredObject | None:
        """The live object at one etcd key."""
        with self.changed:
            return self._live.get(key)

    def identity_of(self, kind: str, namespace: str, name: str) -> str | None:
        """Of the object that has that name now, or had it last since r0; None if there was none."""
        with self.changed:
            return self._identities.get((kind, namespace, name))

    def identities(self, kind: str, namespace: str) -> list[str]:
        """Of all objects of a kind that there were at r0 or since."""
        with self.changed:
            return [i for (k, n, _), i in self._identities.items() if (k, n) == (kind, namespace)]

    def live(self) -> Iterator[StoredObject]:
        """All live objects, in order of their keys."""
        with self.changed:
            return iter([self._live[key] for key in sorted(self._live)])

    def wait(self, condition: Callable[[], bool], *, deadline: float) -> bool:
        """Waits until `condition()` holds, asked after every change and at least each 0.1 s (for what else it may
        depend on); False if time.monotonic() passes `deadline` first."""
        with self.changed:
            while not condition():
                if (left := deadline - time.monotonic()) <= 0 or self.blind:
                    return False
                self.changed.wait(min(left, 0.1))
        return True

    def since_s(self, key: str, holds: Callable[[Any], bool] = lambda tree: True) -> float | None:
        """When what is stored at `key` was first written so that `holds` is true of its tree, as it has been in every
        write since; None if it was not written since r0, or is not so now."""
        with self.changed:
            written = [(w.at_s, v) for w, v in zip(self.writes, self.values, strict=True) if w.key == key]
        since = None
        for at_s, value in reversed(written):
            try:
                if not isinstance(value, bytes) or not holds(to_tree(value)):
                    break
            except CodecError:
                break
            since = at_s
        return since

    def undecodable(self) -> tuple[str, ...]:
        """Keys of live objects, written since r0, that can't be decoded now; what is encrypted at rest is not meant to
        be read here."""
        with self.changed:
            written = {write.key for write in self.writes} & self._live.keys()
        return tuple(
            key
            for key in sorted(written)
            if not is_volatile(key)
            and self._live[key].tree is None
            and not self._live[key].value.startswith(_ENCRYPTED)
        )

    def renamed(self) -> tuple[str, ...]:
        """Keys of objects that were stored under another name, in another namespace, or, of a slice of endpoints, for
        another Service than before. Whoever watches knows two objects from then on, and the end of one of them is never
        told."""
        with self.changed:
            return tuple(self._renamed)

    def caught_up(self, *, within_s: float = 5.0) -> bool:
        """Waits until the watch has delivered everything that etcd holds now; False if it has not in time, or if
        etcd does not answer."""
        try:
            revision = self._keyspace.revision()
        except ClusterError:
            return False
        return self.wait(lambda: self.seen_revision >= revision, deadline=time.monotonic() + within_s)
