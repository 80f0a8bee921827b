"""Who is who on the component channels: objects are numbered once, though many components are told of each.

Known are the baseline and what any component was told since: a key has one life at a time, by its uid; a message about
a life that is over, which reaches one component later than another, names it as it was.

An object that is created here is numbered when the request is sent (kube-apiserver has yet to make up its name, if all
that is given is a generateName), and gets its key by the answer; refused, it gives its number back. Watchers may hear
of it before that answer came: then it is taken for the oldest such request that waits, and exchanged once the answer
says which one it was. Such objects differ in nothing but their names, and the answer comes within milliseconds.

A watch that begins tells what is there by key, not by age (sendInitialEvents, which client-go 0.36's informers ask
for), so only what is in the baseline is numbered by age beyond doubt; lists are taken in order of resourceVersion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from injector.channels.bodies import Part
from injector.channels.memory import Memory, text
from injector.channels.resources import ApiRequest, Resource
from injector.codec import Meta, read_meta
from injector.errors import CodecError
from injector.identity import Identified, IdentityTracker, kind_of_key

__all__ = ["EVERY", "Creation", "Roster", "revision_of"]

EVERY = "*"
"""Instead of a target's kind: any, as a recorder asks."""

_PARTIAL = "PartialObjectMetadata"

_OWNERS: dict[str, tuple[str, ...]] = {
    "Pod": ("ReplicaSet", "Job"),
    "ReplicaSet": ("Deployment",),
    "Job": ("CronJob",),
    "EndpointSlice": ("Service",),
    "Event": ("Pod", "ReplicaSet", "Job", "Deployment", "CronJob"),
}
"""Kinds by which others are named, if they are not named after themselves (injector.identity)."""


@dataclass(slots=True)
class Creation:
    """An object that a request creates. `key`: where it is kept until its own is known; `numbered`: by this request;
    `claimed`: the key at which watchers saw what was taken for it."""

    key: str
    identified: Identified
    numbered: bool
    generates: str = ""
    claimed: str | None = None


class Roster:
    """Feeds on what is sent and told, in the order in which it passes. `kind` and `group`: the target's; `awaited`: the
    kind of an object that it waits for; `told`: gets every object that someone is told of, as it is."""

    def __init__(
        self,
        tracker: IdentityTracker,
        memory: Memory,
        baseline: Iterable[tuple[bytes, bytes]],
        *,
        kind: str,
        group: str,
        awaited: str = "",
        told: Callable[[Identified, bytes], None] = lambda _identified, _value: None,
    ) -> None:
        self._tracker, self._memory = tracker, memory
        self._group = group
        self._told = told
        self._every = kind == EVERY
        self._kinds = _with_owners(kind) | (_with_owners(awaited) if awaited else frozenset())
        self._uids: dict[str, str] = {}
        self._revisions: dict[str, int] = {}
        self._gone: dict[str, Identified] = {}
        self._waiting: list[Creation] = []
        self._made = 0
        for key, value in baseline:
            known = tracker.get(text(key))
            if known is not None and self._means(known.kind) and (uid := _meta(value).uid):
                self._uids[text(key)] = uid

    def follows(self, resource: Resource) -> bool:
        """Whether objects of that resource may be the target, or name it."""
        if self._every:
            return True
        return resource.kind in self._kinds if resource.kind else resource.group == self._group

    def _means(self, kind: str) -> bool:
        return self._every or kind in self._kinds

    def named(self, request: ApiRequest) -> Identified:
        """The object that a request names in its path."""
        key = request.key()
        known = self._tracker.get(key)
        if known is not None:
            return known
        resource = request.resource
        kind = resource.kind or kind_of_key(key).kind
        place = f"{request.namespace}/{request.name}" if request.namespace else request.name
        return Identified(kind, resource.group, "", request.namespace, request.name, f"{kind}/{place}")

    def creating(self, request: ApiRequest, part: Part) -> Creation | None:
        """An object on its way to be created; None if the body does not tell which."""
        meta = _meta(part.value)
        if part.opaque or not (meta.name or meta.generate_name):
            return None
        meta = _as_stored(meta, request)
        if meta.name:
            key = request.key(name=meta.name)
            known = self._tracker.get(key)
            found = Creation(key, known or self._tracker.seen_as(key, meta, part.value), known is None)
        else:
            self._made += 1
            key = request.key(name=f"{meta.generate_name}\0{self._made}")
            found = Creation(key, self._tracker.seen_as(key, meta, part.value), True, meta.generate_name)
            self._waiting.append(found)
        return found

    def refused(self, creation: Creation) -> None:
        """It never came to be, or nobody can tell. What somebody was told of is there, whoever made it."""
        if creation in self._waiting:
            self._waiting.remove(creation)
        if creation.numbered and creation.claimed is None and creation.key not in self._uids:
            self._tracker.retract(creation.key)

    def created(self, creation: Creation, request: ApiRequest, part: Part) -> Identified:
        """kube-apiserver says what it made of the request."""
        meta = _meta(part.value)
        if creation in self._waiting:
            self._waiting.remove(creation)
            self._bind(creation, request.key(name=meta.name), meta.name)
        return self.saw(request, part) or creation.identified

    def who(self, creation: Creation) -> Identified:
        """The object of a creation, by its own name once that is known."""
        return self._tracker.get(creation.claimed or creation.key) or creation.identified

    def _bind(self, creation: Creation, key: str, name: str) -> None:
        """The creation's object is the one at `key`, whoever was taken for it until now."""
        if creation.claimed == key:
            return
        other = next((each for each in self._waiting if each.claimed == key), None)
        seen = creation.claimed
        if seen is not None:
            self._tracker.moved(seen, creation.key, "")
        if other is not None:
            self._tracker.moved(key, other.key, "")
            other.claimed = seen
        self._tracker.moved(creation.key, key, name)
        creation.claimed = key
        if other is not None and seen is not None:
            self._tracker.moved(other.key, seen, seen.rpartition("/")[2])

    def saw(self, request: ApiRequest, part: Part, *, gone: bool = False) -> Identified | None:
        """An object that someone is told of; `gone`: that it is no more. None if the message does not tell which."""
        meta = _meta(part.value)
        partial, resource = meta.kind == _PARTIAL, request.resource
        if part.opaque or not meta.name or not (partial or meta.kind == (resource.kind or meta.kind) != "Status"):
            return None
        key = request.key(namespace=meta.namespace, name=meta.name)
        if meta.uid in self._gone:
            return self._gone[meta.uid]
        revision = revision_of(meta)
        if self._uids.get(key, meta.uid) != meta.uid:
            if revision < self._revisions.get(key, 0):
                return None  # late news of a life that was never seen
            self._end(key)
        known = self._tracker.get(key) or self._claimed(request, key, meta)
        if known is None:
            if partial and not resource.kind:
                return None
            known = self._tracker.seen_as(key, _as_stored(meta, request), part.value)
        self._uids[key] = meta.uid
        self._revisions[key] = max(revision, self._revisions.get(key, 0))
        if gone:
            self._end(key)
        elif not partial:
            self._memory.saw(key.encode(), part.value, revision)
            self._told(known, part.value)
        return known

    def _end(self, key: str) -> None:
        known = self._tracker.seen(key, None)
        if uid := self._uids.pop(key, ""):
            self._gone[uid] = known
        self._revisions.pop(key, None)
        self._memory.forget(key.encode())

    def _claimed(self, request: ApiRequest, key: str, meta: Meta) -> Identified | None:
        """An object that is told of before its creation was answered."""
        for creation in self._waiting:
            alike = creation.generates == meta.generate_name and creation.identified.namespace == meta.namespace
            if alike and creation.claimed is None and creation.key.startswith(request.resource.prefix):
                creation.claimed = key
                self._tracker.moved(creation.key, key, meta.name)
                return self._tracker.get(key)
        return None


def revision_of(meta: Meta) -> int:
    """The resourceVersion, 0 where there is none."""
    return int(meta.resource_version) if meta.resource_version.isdecimal() else 0


def _with_owners(kind: str) -> frozenset[str]:
    kinds, more = {kind}, [kind]
    while more:
        new = [each for each in _OWNERS.get(more.pop(), ()) if each not in kinds]
        kinds.update(new)
        more += new
    return frozenset(kinds)


def _meta(value: bytes) -> Meta:
    """What the object says of itself; nothing where it can't be read."""
    try:
        return read_meta(value)
    except CodecError:
        return Meta("", "", "", "", "", "", "", None, False)


def _as_stored(meta: Meta, request: ApiRequest) -> Meta:
    """With what the request's path says of the object, and a message may leave out or say otherwise."""
    resource, version = request.resource, request.api_version.rpartition("/")[2]
    return meta._replace(
        api_version=f"{resource.group}/{version}" if resource.group else version,
        kind=resource.kind or meta.kind,
        namespace=request.namespace or meta.namespace,
    )
