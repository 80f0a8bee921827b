"""A trace with its values decoded, each once, and the graph of who owns, selects, is placed on or refers to whom.

Values are decoded by whoever asks (`Decode`), for this package knows no encodings.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from classifiers.observation import Observation
from classifiers.trace import Step, Trace, Value
from injector.rules import JSONValue

__all__ = ["Decode", "Decoded", "Fields", "Writers", "last_name", "writer"]

Fields = Mapping[str, JSONValue]
Decode = Callable[[bytes], Fields]
"""A stored object's fields: path → value; nothing of what can't be read."""
Writers = Callable[[bytes, bytes | None], tuple[str, ...]]
"""Who wrote a value, by it and the one before (injector.writers)."""


def writer(value: Value, before: Value, writers: Writers) -> str:
    """The first of them; "" where none is known."""
    if not isinstance(value, bytes):
        return ""
    return next(iter(writers(value, before if isinstance(before, bytes) else None)), "")


def last_name(path: str) -> str:
    """The last name in a path: `replicas` of `spec.replicas`, `app` of `spec.selector[app]`, `args` of `args[0]`."""
    whole, bracket, key = path.rpartition("[")
    if bracket and path.endswith("]"):
        inner = key[:-1]
        return inner if not inner.isdigit() else whole.rpartition(".")[2]
    return path.rpartition(".")[2]


class Decoded:
    """The trace of an experiment, by its observation, which has the identities of its keys. `volatile`: keys of which
    nothing is told, for they change all the time."""

    def __init__(
        self,
        observation: Observation,
        trace: Trace,
        decode: Decode,
        *,
        volatile: Callable[[str], bool] = lambda key: False,
    ) -> None:
        self.trace, self._decode, self._volatile = trace, decode, volatile
        self._known: dict[bytes, Fields] = {}
        self.identities: Mapping[str, str] = {write.key: write.identity for write in observation.writes}

    def fields(self, value: Value) -> Fields:
        if not isinstance(value, bytes):
            return {}
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self._decode(value)
        return found

    def texts_before(self, revision: int) -> frozenset[str]:
        """Every text that was stored before that revision, in what the trace knows."""
        values = [*self.trace.before.values(), *(s.value for s in self.trace.steps if s.revision < revision)]
        return frozenset(text for value in values for text in self.fields(value).values() if isinstance(text, str))

    def after(self, revision: int) -> Iterator[tuple[Step, Value]]:
        """Each later write, and what was before it."""
        now: dict[str, Value] = dict(self.trace.before)
        for step in self.trace.steps:
            before = now.get(step.key)
            now[step.key] = step.value
            if step.revision > revision:
                yield step, before

    def ends(self) -> Iterator[tuple[str, Value, Value]]:
        """Each key that was written, with what it held at r0 and holds at the end; not volatile ones."""
        for key, steps in self.trace.by_key.items():
            if not self._volatile(key):
                yield key, self.trace.before.get(key), steps[-1].value

    def came(self, key: str, path: str) -> tuple[Step, Value] | None:
        """The write that brought a field the value that it has at the end, and what was before that write."""
        before: Value = self.trace.before.get(key)
        found: tuple[Step, Value] | None = None
        for step in self.trace.by_key.get(key, ()):
            if self.fields(step.value).get(path) != self.fields(before).get(path):
                found = step, before
            before = step.value
        return found

    def distance(self, one: str, other: str) -> int | None:
        """Steps on the shortest way between two objects, by their identities; None where there is none."""
        seen, queue = {one: 0}, deque([one])
        while queue:
            here = queue.popleft()
            if here == other:
                return seen[here]
            for there in self._ways.get(here, ()):
                if there not in seen:
                    seen[there] = seen[here] + 1
                    queue.append(there)
        return None

    @cached_property
    def _ways(self) -> Mapping[str, frozenset[str]]:
        """Over all versions that the objects had."""
        versions = [
            (self.identities[key], self.fields(value))
            for key, value in (*self.trace.before.items(), *((s.key, s.value) for s in self.trace.steps))
            if key in self.identities and isinstance(value, bytes)
        ]
        by_uid = {str(fields["metadata.uid"]): who for who, fields in versions if fields.get("metadata.uid")}
        ways: dict[str, set[str]] = defaultdict(set)
        for who, fields in versions:
            for there in _related(who, fields, by_uid, versions):
                ways[who].add(there)
                ways[there].add(who)
        return {who: frozenset(there) for who, there in ways.items()}


def _related(who: str, fields: Fields, by_uid: Mapping[str, str], versions: list[tuple[str, Fields]]) -> Iterator[str]:
    """Whom an object names: owners and others by their uid, its node; of a Service, the pods that it selects."""
    for path, value in fields.items():
        if path.endswith(".uid") and path != "metadata.uid" and str(value) in by_uid:
            yield by_uid[str(value)]
        elif path == "spec.nodeName" and value:
            yield f"Node/{value}"
    if who.startswith("Service/"):
        namespace = who.split("/")[1]
        selector = {last_name(path): value for path, value in fields.items() if path.startswith("spec.selector[")}
        pods = ((other, theirs) for other, theirs in versions if selector and other.startswith(f"Pod/{namespace}/"))
        for other, theirs in pods:
            if all(theirs.get(f"metadata.labels[{key}]") == value for key, value in selector.items()):
                yield other
