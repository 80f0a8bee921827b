"""Propagation: who took a wrong value over, how far from where it was put, and who healed it.

From the trace of one experiment. A later write took the value over if it brought it into another object: in a field of
the same name, or anywhere if the value is a text of its own (one that was nowhere before the fault). How far: steps in
the graph of who owns, selects, is placed on or refers to whom, over all versions that the objects had. The wrong value
is healed when its field has another value, or its object is gone.

Values are decoded by whoever asks (`Decode`), for this package knows no encodings.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from classifiers.observation import Observation
from classifiers.trace import Step, Trace, Value
from injector.rules import Firing, JSONValue

__all__ = ["Decode", "Healed", "Propagation", "Taken", "Writers", "propagation"]

Fields = Mapping[str, JSONValue]
Decode = Callable[[bytes], Fields]
"""A stored object's fields: path → value; nothing of what can't be read."""
Writers = Callable[[bytes, bytes | None], tuple[str, ...]]
"""Who wrote a value, by it and the one before (injector.writers)."""

_SHORTEST = 3
"""Characters of a text that can be told to be of its own. Arbitrary: `0`, `v1` and `ok` are everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One object that took the value over, when it did so first. `by`: the field manager, "" where it is not known;
    `steps`: from the target, None where no way leads there."""

    identity: str
    field: str
    at_s: float
    by: str
    steps: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """The field has another value (`gone`: its object is deleted). `after_s`: since the fault."""

    at_s: float
    after_s: float
    by: str
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """`taken` in the order of time. `healed` None: the value stood to the end."""

    taken: tuple[Taken, ...]
    healed: Healed | None


def propagation(
    observation: Observation, trace: Trace, firing: Firing, field: str | None, *, decode: Decode, writers: Writers
) -> Propagation | None:
    """Of one firing that put a wrong value into `field` of what is stored. None for others: a message that was lost or
    came late, bytes without a field, what was told and not stored."""
    if field is None or firing.field_after == firing.field_before or not firing.accepted or not firing.revision:
        return None
    history = _History(observation, trace, decode)
    began_s = next((step.at_s for step in trace.steps if step.revision == firing.revision), firing.at_s)
    wrong = _Wrong(field, firing.field_after, history.texts_before(firing.revision))
    taken: dict[str, Taken] = {}
    healed: Healed | None = None
    for step, before, fields, earlier in history.after(firing.revision):
        by = _by(step.value, before, writers)
        if step.key == firing.key:
            if healed is None and fields.get(field) != firing.field_after:
                healed = Healed(at_s=step.at_s, after_s=round(step.at_s - began_s, 4), by=by, gone=step.value is None)
            continue
        identity = history.identities.get(step.key, step.key)
        path = next((path for path in fields if wrong.is_in(path, fields, earlier)), None)
        if path is not None and identity not in taken:
            steps = history.distance(history.identities.get(firing.key, firing.identity), identity)
            taken[identity] = Taken(identity=identity, field=path, at_s=step.at_s, by=by, steps=steps)
    return Propagation(taken=tuple(taken.values()), healed=healed)


def _by(value: Value, before: Value, writers: Writers) -> str:
    if not isinstance(value, bytes):
        return ""
    return next(iter(writers(value, before if isinstance(before, bytes) else None)), "")


class _Wrong:
    """The wrong value, and where it counts as taken over."""

    def __init__(self, field: str, value: JSONValue, known: frozenset[str]) -> None:
        self._value, self._name = value, _name(field)
        text = self._value if isinstance(self._value, str) else ""
        self._of_its_own = len(text) >= _SHORTEST and text not in known

    def is_in(self, path: str, fields: Fields, earlier: Fields) -> bool:
        """Whether that write brought it into that field."""
        if fields[path] != self._value or type(fields[path]) is not type(self._value):
            return False
        if earlier.get(path) == self._value:
            return False
        return self._of_its_own or (_name(path) == self._name and bool(self._value))


def _name(path: str) -> str:
    """The last name in a path: `replicas` of `spec.replicas`, `app` of `spec.selector[app]`, `args` of `args[0]`."""
    whole, bracket, key = path.rpartition("[")
    if bracket and path.endswith("]"):
        inner = key[:-1]
        return inner if not inner.isdigit() else whole.rpartition(".")[2]
    return path.rpartition(".")[2]


class _History:
    """A trace with its values decoded, each once."""

    def __init__(self, observation: Observation, trace: Trace, decode: Decode) -> None:
        self._trace, self._decode = trace, decode
        self._known: dict[bytes, Fields] = {}
        self.identities = {write.key: write.identity for write in observation.writes}
        self._ways: Mapping[str, frozenset[str]] | None = None

    def _fields(self, value: Value) -> Fields:
        if not isinstance(value, bytes):
            return {}
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self._decode(value)
        return found

    def texts_before(self, revision: int) -> frozenset[str]:
        """Every text that was stored before that revision, in what the trace knows."""
        values = [*self._trace.before.values(), *(s.value for s in self._trace.steps if s.revision < revision)]
        return frozenset(text for value in values for text in self._fields(value).values() if isinstance(text, str))

    def after(self, revision: int) -> Iterator[tuple[Step, Value, Fields, Fields]]:
        """Each later write: what was before it, its fields, and those before it."""
        now: dict[str, Value] = dict(self._trace.before)
        for step in self._trace.steps:
            before = now.get(step.key)
            now[step.key] = step.value
            if step.revision > revision:
                yield step, before, self._fields(step.value), self._fields(before)

    def distance(self, one: str, other: str) -> int | None:
        """Steps on the shortest way between two objects."""
        if self._ways is None:
            self._ways = self._graph()
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

    def _graph(self) -> Mapping[str, frozenset[str]]:
        versions = [
            (self.identities[key], self._fields(value))
            for key, value in (*self._trace.before.items(), *((s.key, s.value) for s in self._trace.steps))
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
        selector = {_name(path): value for path, value in fields.items() if path.startswith("spec.selector[")}
        pods = ((other, theirs) for other, theirs in versions if selector and other.startswith(f"Pod/{namespace}/"))
        for other, theirs in pods:
            if all(theirs.get(f"metadata.labels[{key}]") == value for key, value in selector.items()):
                yield other
