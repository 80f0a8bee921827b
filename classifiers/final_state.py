"""The final state: what golden runs leave in etcd, field by field, and where a run left something else.

What tells nothing is learnt: a field of a kind in which two golden runs differ, in an object that both have, is left
out of every comparison. By hand only classifiers.numbers.VOLATILE_KINDS and VOLATILE_FIELDS. From traces, decoded by
whoever asks; a Secret's values are not in them, so Secrets are not compared.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from classifiers import numbers
from classifiers.decoded import Decoded, Fields, Writers, writer
from classifiers.trace import Withheld
from injector.rules import JSONValue

__all__ = ["Difference", "GoldenState", "What", "differences"]

_INDEX = re.compile(r"\[\d+\]")
_PARTS = ("spec", "data", "status", "")
"""What of an object tells most, first."""


class What(StrEnum):
    """How an object differs at the end."""

    MADE = "made"
    GONE = "gone"
    OTHERWISE = "otherwise"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that did not end as in golden runs. `field`, `value` and `golden`: of OTHERWISE the most telling field
    (None: not there), `more`: how many fields else. `at_s`, `by`: the write that made it so, "" and None where that is
    not known; `steps` from the fault's object in the graph of owners, selectors, nodes and references."""

    identity: str
    what: What
    field: str = ""
    value: JSONValue = None
    golden: JSONValue = None
    more: int = 0
    at_s: float | None = None
    by: str = ""
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenState:
    """What `runs` golden runs left. expected: identity → path → value, of objects that all of them wrote and left;
    before: those of them that were there at r0, as they were then; sometimes: identities that only some wrote and left;
    varies: kind and path, with `[]` for each index, of what they do not agree
    in: they left it unlike each other, or only some changed it."""

    runs: int
    expected: Mapping[str, Fields]
    before: Mapping[str, Fields]
    sometimes: frozenset[str]
    varies: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, runs: Iterable[Decoded]) -> GoldenState:
        """One after another: none is kept."""
        first: dict[str, Fields] = {}
        before: dict[str, Fields] = {}
        seen: Counter[str] = Counter()
        varies: set[tuple[str, str]] = set()
        moved: dict[str, set[tuple[str, str]]] = defaultdict(set)
        count = 0
        for run in runs:
            count += 1
            for identity, was, fields in _left(run):
                seen[identity] += 1
                varies.update(_named(identity, path) for path in _unlike(first.setdefault(identity, fields), fields))
                if was:
                    before.setdefault(identity, was)
                    moved[identity].update(_named(identity, path) for path in _unlike(was, fields))
        always = {identity for identity, times in seen.items() if times == count}
        varies.update(*(paths for identity, paths in moved.items() if identity not in always))
        expected = {
            identity: {path: value for path, value in fields.items() if _named(identity, path) not in varies}
            for identity, fields in first.items()
            if identity in always
        }
        return cls(
            runs=count, expected=expected, before=before, sometimes=frozenset(seen) - always, varies=frozenset(varies)
        )

    def unlike(self, identity: str, golden: Fields, fields: Fields) -> list[str]:
        """Paths in which an object differs, of those that tell anything; the most telling first: what is asked for
        before what is, and what lies high before what lies deep."""
        told = [path for path in _unlike(golden, fields) if _named(identity, path) not in self.varies]
        return sorted(told, key=_telling_most)


def differences(
    run: Decoded, golden: GoldenState, wrong: Iterable[tuple[str, str | None]], *, writers: Writers
) -> tuple[Difference, ...]:
    """Of one experiment, in the order of time. `wrong`: keys, and fields (None: no single one), that a fault was put
    into, which are not told."""
    put = set(wrong)
    sources = sorted({run.identities.get(key, "") for key, _ in put})
    found = [_placed(each, key, run, sources, writers) for key, each in _differ(run, golden, put)]
    return tuple(sorted(found, key=lambda each: (each.at_s is None, each.at_s or 0.0, each.identity)))


def _differ(
    run: Decoded, golden: GoldenState, wrong: Collection[tuple[str, str | None]]
) -> Iterator[tuple[str, Difference]]:
    touched = set()
    for key, before, end in run.ends():
        identity = run.identities.get(key)
        if identity is None or _kind(identity) in numbers.VOLATILE_KINDS:
            continue
        touched.add(identity)
        if isinstance(end, Withheld):
            continue
        known = golden.expected.get(identity)
        if known is None and isinstance(before, bytes):
            known = _telling(run.fields(before))
        if end is None:
            if known is not None and identity not in golden.sometimes:
                yield key, Difference(identity=identity, what=What.GONE)
        elif not (fields := _telling(run.fields(end))):
            yield key, Difference(identity=identity, what=What.UNREADABLE)
        elif known is not None:
            own = frozenset(path for at, path in wrong if at == key)
            if (each := _otherwise(identity, golden, known, fields, own)) is not None:
                yield key, each
        elif identity not in golden.sometimes:
            yield key, Difference(identity=identity, what=What.MADE)
    for identity, known in golden.expected.items():
        if identity in touched:
            continue
        if identity not in golden.before:
            yield "", Difference(identity=identity, what=What.GONE)
        elif (each := _otherwise(identity, golden, known, golden.before[identity])) is not None:
            yield "", each


def _otherwise(
    identity: str, golden: GoldenState, known: Fields, fields: Fields, own: Collection[str | None] = ()
) -> Difference | None:
    """What of an object is unlike golden runs', but for the fields `own`; None if nothing is."""
    paths = [path for path in golden.unlike(identity, known, fields) if path not in own]
    if not paths:
        return None
    first, *more = paths
    return Difference(
        identity=identity,
        what=What.OTHERWISE,
        field=first,
        value=fields.get(first),
        golden=known.get(first),
        more=len(more),
    )


def _placed(each: Difference, key: str, run: Decoded, sources: list[str], writers: Writers) -> Difference:
    """With when it came, by whom, and how far from the fault."""
    path = each.field if each.what is What.OTHERWISE else "metadata.uid"
    came = run.came(key, path)
    ways = [run.distance(source, each.identity) for source in sources]
    steps = min((way for way in ways if way is not None), default=None)
    if came is None:
        return replace(each, steps=steps)
    step, before = came
    return replace(each, at_s=step.at_s, by=writer(step.value, before, writers), steps=steps)


def _left(run: Decoded) -> Iterator[tuple[str, Fields, Fields]]:
    """What a run left of all that it wrote: identity, fields at r0 (none where it was not there), fields at the end."""
    for key, before, end in run.ends():
        identity = run.identities.get(key)
        if identity is not None and isinstance(end, bytes) and _kind(identity) not in numbers.VOLATILE_KINDS:
            yield identity, _telling(run.fields(before)), _telling(run.fields(end))


def _telling(fields: Fields) -> Fields:
    return {path: value for path, value in fields.items() if not any(name in path for name in numbers.VOLATILE_FIELDS)}


def _telling_most(path: str) -> tuple[int, int, str]:
    part = next(place for place, part in enumerate(_PARTS) if path.startswith(part))
    return part, len(path), path


def _unlike(one: Fields, other: Fields) -> Iterator[str]:
    return (path for path in dict.fromkeys((*one, *other)) if one.get(path) != other.get(path))


def _named(identity: str, path: str) -> tuple[str, str]:
    return _kind(identity), _INDEX.sub("[]", path)


def _kind(identity: str) -> str:
    return identity.partition("/")[0]
