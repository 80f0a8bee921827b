"""Stable identities: names for objects that hold between runs, in spite of random suffixes.

    KIND/NAMESPACE/NAME      an object whose name was chosen: no controller owns it, no generateName
    KIND/NAMESPACE/STEM#N    all others; N is the 1-based order of creation under that kind, namespace and stem
    KIND/NAME, KIND/STEM#N   the same for cluster-scoped objects

STEM is
  - the name of the topmost owner along the chain of controllers, as far as it is known (Pod → ReplicaSet
    `web-7c5d…` → Deployment `web`: `web`). Of an unknown ReplicaSet the pod-template-hash is cut off, because its name
    is its Deployment's and that hash.
  - without a controller: generateName without the dash at its end.
  - for an Event (its name is `OBJECT.HEX`): the stem of the object it is about.
  - for an IPAddress (its name is a random address): the name of its Service.

An identity stays with its key until the key is deleted, whatever is written meanwhile: a corrupted owner reference does
not rename the object. Objects that can't be decoded are named after their key.

N counts since the tracker began. Objects that existed before are given with `seed` (or `seen(..., baseline=True)`) and
come first, in order of their keys: among pods of one Deployment that order is arbitrary but the same for the same
baseline. Pure: feeds on keys and values in the order of their writes, opens nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from injector.codec import Meta, locate, read_meta
from injector.codec.table import shipped_table
from injector.errors import InjectionError

__all__ = ["Identified", "IdentityTracker", "KeyParts", "kind_of_key", "plural"]


@dataclass(frozen=True, slots=True)
class Identified:
    """Who an object is. `api_version` is "" where the object could not be decoded; `namespace` is "" for cluster-scoped
    objects; `name` is the real one, with its suffix."""

    kind: str
    group: str
    api_version: str
    namespace: str
    name: str
    identity: str


class KeyParts(NamedTuple):
    """What a key in etcd says by itself. `kind` is the resource's last path segment for kinds not known here."""

    group: str
    kind: str
    namespace: str
    name: str


_SPECIAL_RESOURCES = {
    "minions": ("", "Node"),
    "controllers": ("", "ReplicationController"),
    "ingress": ("networking.k8s.io", "Ingress"),
    "services/specs": ("", "Service"),
    "services/endpoints": ("", "Endpoints"),
    "masterleases": ("", "Endpoints"),
    "peerserverleases": ("", "Endpoints"),
    "ranges": ("", "RangeAllocation"),
}
"""Keys that are not the resource's name: kubernetes v1.36.3 pkg/kubeapiserver/default_storage_factory_builder.go, and
pkg/controlplane (leases of API servers, ranges of addresses and ports), which stores Endpoints and RangeAllocations."""

_LAST_GROUPS = ("extensions", "events.k8s.io")
"""Groups whose kinds are stored under another group's name (AddCohabitatingResources in the same file)."""

_TEMPLATE_HASH = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{1,10}$")
"""A 32-bit hash in the alphabet of k8s.io/apimachinery v0.36.3 pkg/util/rand SafeEncodeString."""

_EVENT_NAME = re.compile(r"(.+)\.[0-9a-f]+$")
"""client-go v0.36.3 tools/record/event.go makeEvent: the object's name, a dot, the time in hex."""


def plural(kind: str) -> str:
    """The resource's name, as the API conventions form it."""
    low = kind.lower()
    if low.endswith("y") and low[-2] not in "aeiou":
        return f"{low[:-1]}ies"
    return f"{low}es" if low.endswith(("s", "x", "ch")) else f"{low}s"


@lru_cache(maxsize=1)
def _resources() -> dict[str, tuple[str, str]]:
    """Resource → (group, kind), for all kinds in the field table."""
    found: dict[str, tuple[str, str]] = {}
    kinds = [(api_version.rpartition("/")[0], kind) for api_version, kind in shipped_table().kinds()]
    for group, kind in sorted(kinds, key=lambda item: (item[0] in _LAST_GROUPS, item)):
        found.setdefault(plural(kind), (group, kind))
    return found | _SPECIAL_RESOURCES


def kind_of_key(key: str) -> KeyParts:
    """What a key such as `/registry/pods/default/web` says by itself. Never raises; what it does not say is ""."""
    parts = key.strip("/").split("/")[1:]
    group = parts.pop(0) if len(parts) > 1 and "." in parts[0] else None
    resource = parts.pop(0) if parts else ""
    if resource == "services" and parts and f"services/{parts[0]}" in _SPECIAL_RESOURCES:
        resource = f"services/{parts.pop(0)}"
    known = _resources().get(resource)
    if group is None:
        group, kind = known or ("", resource)
    else:
        kind = known[1] if known is not None and known[0] == group else resource
    namespace = parts.pop(0) if len(parts) > 1 else ""
    return KeyParts(group, kind, namespace, "/".join(parts))


class IdentityTracker:
    """Gives every object of one cluster its identity. Not for use from several threads at once."""

    __slots__ = ("_counts", "_known", "_stems", "_stems_by_name")

    def __init__(self) -> None:
        self._known: dict[str, Identified] = {}
        self._counts: dict[tuple[str, str, str], int] = {}
        # Both keep what was deleted: events about an object, and its dependents, may come after its end.
        self._stems: dict[tuple[str, str, str], str] = {}
        self._stems_by_name: dict[tuple[str, str], str] = {}

    def seed(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Objects that exist already, as (key, value) in any order: numbered in order of key, after all owners among
        them are known (a pod's key sorts before its ReplicaSet's)."""
        found = sorted(items)
        metas: dict[tuple[str, str, str], Meta] = {}
        for _, value in found:
            try:
                meta = read_meta(value)
            except InjectionError:
                continue
            metas[meta.kind, meta.namespace, meta.name] = meta
        for place in metas:
            self._stems[place] = self._top(place, metas)
        for key, value in found:
            self.seen(key, value, baseline=True)

    def _top(self, place: tuple[str, str, str], metas: dict[tuple[str, str, str], Meta]) -> str:
        """The topmost owner's name; a ring of owners ends where it closes."""
        passed = {place}
        meta = metas[place]
        while meta.owner is not None:
            owner = meta.owner
            above = next((p for ns in (meta.namespace, "") if (p := (owner.kind, ns, owner.name)) in metas), None)
            if above is None or above in passed:
                return _unknown_owner(owner.kind, owner.name)
            passed.add(above)
            meta = metas[above]
        return _chosen_or_generated(meta)

    def seen(self, key: str, value: bytes | None, *, baseline: bool = False) -> Identified:
        """Who the object at `key` is; to be called for every write (`value`) and delete (None) in their order.

        A key that is known costs a look-up; a new one is decoded and numbered. A delete forgets the key, so that the
        next write there is a new object. `baseline` says that the object existed before: it is numbered like one that
        is created now, so such objects are to be fed in order of key (`seed` does, and knows the owners first). Never
        raises: what can't be decoded is named after its key.
        """
        found = self._known.get(key)
        if value is None:
            if found is not None:
                del self._known[key]
                return found
            return _from_key(key)
        if found is None:
            found = self._known[key] = self._identify(key, value)
        return found

    def seen_as(self, key: str, meta: Meta, value: bytes) -> Identified:
        """As `seen`, of a message that leaves out what else is known of its object (its namespace, its kind), which
        `meta` says. An object whose name is yet to be generated is numbered all the same."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._identify_by(key, meta, value)
        return found

    def moved(self, key: str, to: str, name: str) -> None:
        """The object at `key`, whose name was not known yet, lives at `to`. Nothing if nobody lives at `key`. `name`:
        its own, "" where it is again to be found out."""
        found = self._known.pop(key, None)
        if found is None:
            return
        self._known[to] = dataclasses.replace(found, name=name)
        if not name:
            return
        stem = found.identity.rpartition("/")[2].partition("#")[0]
        self._stems[found.kind, found.namespace, name] = stem
        self._stems_by_name.setdefault((found.namespace, name), stem)

    def get(self, key: str) -> Identified | None:
        """Who lives at `key`, None if nobody that was seen; changes nothing."""
        return self._known.get(key)

    def retract(self, key: str) -> None:
        """Takes a creation back that never came to be (refused, dropped): the key is forgotten, and its number is given
        to the next one unless another was created since."""
        found = self._known.pop(key, None)
        if found is None:
            return
        stem, mark, number = found.identity.rpartition("/")[2].rpartition("#")
        place = (found.kind, found.namespace, stem)
        if mark and self._counts.get(place) == int(number):
            self._counts[place] -= 1

    def _identify(self, key: str, value: bytes) -> Identified:
        try:
            meta = read_meta(value)
        except InjectionError:
            return _from_key(key)
        return self._identify_by(key, meta, value)

    def _identify_by(self, key: str, meta: Meta, value: bytes) -> Identified:
        if not meta.name and not meta.generate_name:
            # leases of API servers and ranges of ports have no metadata worth the name
            named = _from_key(key)
            return _identified(meta, named.namespace, named.name, named.name)
        stem = self._stem(meta, value)
        own = stem or self._stems.get((meta.kind, meta.namespace, meta.name)) or meta.name
        if meta.kind != "Event" and meta.name:
            self._stems[meta.kind, meta.namespace, meta.name] = own
            self._stems_by_name.setdefault((meta.namespace, meta.name), own)
        if stem is None:
            return _identified(meta, meta.namespace, meta.name, meta.name)
        place = (meta.kind, meta.namespace, stem)
        number = self._counts[place] = self._counts.get(place, 0) + 1
        return _identified(meta, meta.namespace, meta.name, f"{stem}#{number}")

    def _stem(self, meta: Meta, value: bytes) -> str | None:
        """The stem of a controlled or generated object, None for a chosen name."""
        if meta.owner is not None:
            kind, name = meta.owner.kind, meta.owner.name
            stems = self._stems
            return stems.get((kind, meta.namespace, name)) or stems.get((kind, "", name)) or _unknown_owner(kind, name)
        if meta.generate_name:
            return _chosen_or_generated(meta)
        if meta.kind == "Event" and (about := _EVENT_NAME.match(meta.name)):
            names, name = self._stems_by_name, about.group(1)
            return names.get((meta.namespace, name)) or names.get(("", name)) or name
        return _service_of_address(value) if meta.kind == "IPAddress" else None


def _identified(meta: Meta, namespace: str, name: str, stem: str) -> Identified:
    identity = f"{meta.kind}/{namespace}/{stem}" if namespace else f"{meta.kind}/{stem}"
    return Identified(meta.kind, meta.group, meta.api_version, namespace, name, identity)


def _from_key(key: str) -> Identified:
    group, kind, namespace, name = kind_of_key(key)
    identity = f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"
    return Identified(kind, group, "", namespace, name, identity)


def _unknown_owner(kind: str, name: str) -> str:
    return _TEMPLATE_HASH.sub("", name) if kind == "ReplicaSet" else name


def _chosen_or_generated(meta: Meta) -> str:
    return meta.generate_name.rstrip("-") or meta.name if meta.generate_name else meta.name


def _service_of_address(value: bytes) -> str | None:
    try:
        found = locate(value, "spec.parentRef.name").value
    except InjectionError:
        return None
    return found if isinstance(found, str) and found else None
