"""Propagation: who took a wrong value over, how far from where it was put, and who healed it.

From the trace of one experiment. A later write took the value over if it brought it into another object: in a field of
the same name, or anywhere if the value is a text of its own (one that was nowhere before the fault). How far: steps in
the graph of who owns, selects, is placed on or refers to whom, over all versions that the objects had. The wrong value
is healed when its field has another value, or its object is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from classifiers.decoded import Decoded, Fields, Writers, last_name, writer
from classifiers.trace import Value
from injector.rules import Firing, JSONValue

__all__ = ["Healed", "Propagation", "Taken", "propagation"]

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


def propagation(history: Decoded, firing: Firing, field: str | None, *, writers: Writers) -> Propagation | None:
    """Of one firing that put a wrong value into `field` of what is stored. None for others: a message that was lost or
    came late, bytes without a field, what was told and not stored."""
    if field is None or firing.field_after == firing.field_before or not firing.accepted or not firing.revision:
        return None
    began_s = next((step.at_s for step in history.trace.steps if step.revision == firing.revision), firing.at_s)
    wrong = _Wrong(field, firing.field_after, partial(history.texts_before, firing.revision))
    taken: dict[str, Taken] = {}
    healed: Healed | None = None
    for step, before in history.after(firing.revision):
        if step.key == firing.key:
            if healed is None and history.fields(step.value).get(field) != firing.field_after:
                by, after_s = writer(step.value, before, writers), round(step.at_s - began_s, 4)
                healed = Healed(at_s=step.at_s, after_s=after_s, by=by, gone=step.value is None)
            continue
        identity = history.identities.get(step.key, step.key)
        if identity in taken or not wrong.may_be_in(step.value):
            continue
        fields, earlier = history.fields(step.value), history.fields(before)
        path = next((path for path in fields if wrong.is_in(path, fields, earlier)), None)
        if path is not None:
            steps = history.distance(history.identities.get(firing.key, firing.identity), identity)
            by = writer(step.value, before, writers)
            taken[identity] = Taken(identity=identity, field=path, at_s=step.at_s, by=by, steps=steps)
    return Propagation(taken=tuple(taken.values()), healed=healed)


_PLAIN = re.compile(r"[A-Za-z0-9._/:-]+")
"""Texts that JSON does not escape."""


class _Wrong:
    """The wrong value, and where it counts as taken over. `known`: all texts that were stored before it."""

    def __init__(self, field: str, value: JSONValue, known: Callable[[], frozenset[str]]) -> None:
        self._value, self._name = value, last_name(field)
        text = self._value if isinstance(self._value, str) else ""
        self._of_its_own = len(text) >= _SHORTEST and text not in known()
        self._bytes = text.encode() if _PLAIN.fullmatch(text) else b""

    def may_be_in(self, stored: Value) -> bool:
        """Whether decoding what is stored can show anything: a plain text is in it as it is, in every encoding."""
        return bool(self._value) and isinstance(stored, bytes) and self._bytes in stored

    def is_in(self, path: str, fields: Fields, earlier: Fields) -> bool:
        """Whether that write brought it into that field."""
        if fields[path] != self._value or type(fields[path]) is not type(self._value):
            return False
        if earlier.get(path) == self._value:
            return False
        return self._of_its_own or (last_name(path) == self._name and bool(self._value))
