"""A stand-in for the stored state: objects of one moment, as campaigns.observers.history tells them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from campaigns.observers.history import History, StoredObject
from injector.identity import IdentityTracker

__all__ = ["state"]


class _State:
    seen_revision = 0

    def __init__(self, objects: list[StoredObject]) -> None:
        self._objects = objects
        self.writes = [SimpleNamespace(key=stored.key) for stored in objects]

    def since_s(self, key: str, holds: Callable[[Any], bool] = lambda tree: True) -> float | None:
        found = self.get(key)
        return 1.5 if found is not None and holds(found.tree) else None

    def of_kind(self, kind: str) -> list[StoredObject]:
        return [stored for stored in self._objects if stored.who.kind == kind]

    def get(self, key: str) -> StoredObject | None:
        return next((stored for stored in self._objects if stored.key == key), None)

    def counts(self, namespace: str) -> dict[str, int]:
        return dict(Counter(stored.who.kind for stored in self._objects if stored.who.namespace == namespace))

    peak_counts = counts

    def objects(self, kind: str, namespace: str) -> list[StoredObject]:
        return [stored for stored in self.of_kind(kind) if stored.who.namespace == namespace]


def state(*manifests: Mapping[str, Any] | bytes) -> History:
    """Objects as JSON, which a stored value may be; bytes are stored as they are, as a Pod's. Services have the key by
    which they are found."""
    tracker, objects = IdentityTracker(), []
    for number, manifest in enumerate(manifests):
        value = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        key = f"/registry/pods/default/broken-{number}" if isinstance(manifest, bytes) else f"/registry/x/{number}"
        if not isinstance(manifest, bytes) and manifest["kind"] == "Service":
            key = f"/registry/services/specs/{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
        objects.append(StoredObject(key, tracker.seen(key, value), value))
    return cast(History, _State(objects))
