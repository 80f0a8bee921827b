"""Observations (and the other plain values of a record) as JSON and back, exactly.

Dataclasses become objects with their fields' names, enums their values, bytes base64, tuples lists; the types that come
in numbers (Write, EventRecord, …) become rows, lists of their fields in order. Samples of probes, of which there are
thousands, become {"at": […], "took": […], "outcomes": [[outcome, times], …]}, where `at` (differences, the first to 0)
and `took` are in tenths of a millisecond; a series with times that are no such number becomes rows. Older records have
rows everywhere. Numbers keep every bit (JSON text of a float is its shortest exact form). Reading checks every type and
names the place of what is wrong; unknown keys are refused, missing ones take the field's default, so that a field added
later, with a default, reads old records.
Rules, firings and near misses have a form of their own (injector.rules_json).

An observation's document is {"schema": classifiers.observation.SCHEMA, "observation": {…}}; history there.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from itertools import accumulate, groupby, pairwise
from typing import Any, TypeVar

from classifiers.observation import (
    SCHEMA,
    AuditEvent,
    ComponentSample,
    EventRecord,
    Observation,
    ProbeSample,
    Write,
)
from injector.errors import StoreError
from injector.rules import Firing, JSONValue, NearMiss, Rule
from injector.rules_json import (
    firing_from_json,
    firing_to_json,
    near_miss_from_json,
    near_miss_to_json,
    rule_from_json,
    rule_to_json,
)

__all__ = ["from_json", "observation_from_json", "observation_to_json", "to_json"]

T = TypeVar("T")

_ROWS = (ProbeSample, Write, ComponentSample, EventRecord, AuditEvent)
_TICKS = 10_000
"""A second in the unit of a series' columns: what probes round to."""


def observation_to_json(observation: Observation) -> dict[str, JSONValue]:
    """The observation as a JSON document."""
    return {"schema": SCHEMA, "observation": to_json(observation)}


def observation_from_json(document: JSONValue) -> Observation:
    """The observation again, equal to the one that was written. StoreError if the document is newer than this program,
    or not an observation; the message names the place."""
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise StoreError("not an observation: no schema number")
    if document["schema"] != SCHEMA:
        raise StoreError(f"an observation of schema {document['schema']}; this program reads schema {SCHEMA}")
    return from_json(Observation, document.get("observation"), where="observation")


def to_json(value: object) -> JSONValue:
    """Any of the record's plain values as JSON."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Rule):
        return typing.cast(JSONValue, rule_to_json(value))
    if isinstance(value, Firing):
        return typing.cast(JSONValue, firing_to_json(value))
    if isinstance(value, NearMiss):
        return typing.cast(JSONValue, near_miss_to_json(value))
    if isinstance(value, _ROWS):
        return [to_json(getattr(value, f.name)) for f in dataclasses.fields(value)]
    if dataclasses.is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        columns = _columns(value) if value and all(isinstance(v, ProbeSample) for v in value) else None
        return columns or [to_json(v) for v in value]
    raise TypeError(f"a record holds no {type(value).__name__}")


def _columns(samples: Sequence[ProbeSample]) -> JSONValue:
    """None if a time is not in whole ticks."""
    at, took = [round(s.at_s * _TICKS) for s in samples], [round(s.latency_s * _TICKS) for s in samples]
    exact = all((a / _TICKS, t / _TICKS) == (s.at_s, s.latency_s) for a, t, s in zip(at, took, samples, strict=True))
    outcomes: list[JSONValue] = [[outcome, len(list(run))] for outcome, run in groupby(s.outcome for s in samples)]
    differences = [later - earlier for earlier, later in pairwise((0, *at))]
    return {"at": [*differences], "took": [*took], "outcomes": outcomes} if exact else None


def from_json(kind: type[T], document: JSONValue, *, where: str) -> T:
    """The value of type `kind` (a dataclass of the record) that `to_json` wrote. StoreError names the place, under
    `where`, of what does not fit."""
    return typing.cast(T, _read(kind, document, where))


def _read(kind: Any, document: JSONValue, where: str) -> object:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _read_optional(arguments, document, where)
    if origin is tuple and arguments[0] is ProbeSample and isinstance(document, dict):
        return _read_columns(document, where)
    if origin is tuple:
        return tuple(_read(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(_list(document, where)))
    if origin is not None and issubclass(origin, Mapping):
        return {k: _read(arguments[1], v, f"{where}.{k}") for k, v in _dict(document, where).items()}
    if kind in _SPECIAL:
        return _read_special(kind, document, where)
    if dataclasses.is_dataclass(kind):
        return _read_row(kind, document, where) if kind in _ROWS else _read_fields(kind, document, where)
    return _read_scalar(kind, document, where)


def _read_optional(arguments: tuple[Any, ...], document: JSONValue, where: str) -> object:
    others = [a for a in arguments if a is not types.NoneType]
    if len(others) != 1:
        raise TypeError(f"{where}: only `X | None` can be read")
    return None if document is None else _read(others[0], document, where)


_SPECIAL: Mapping[object, Any] = {Rule: rule_from_json, Firing: firing_from_json, NearMiss: near_miss_from_json}


def _read_special(kind: Any, document: JSONValue, where: str) -> object:
    try:
        return _SPECIAL[kind](_dict(document, where))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where}: no {kind.__name__}: {error}") from error


def _read_fields(kind: Any, document: JSONValue, where: str) -> object:
    given, hints = _dict(document, where), _hints(kind)
    unknown = sorted(set(given) - set(hints))
    if unknown:
        raise StoreError(f"{where}: {kind.__name__} has no {', '.join(unknown)}")
    values = {name: _read(hints[name], v, f"{where}.{name}") for name, v in given.items()}
    return _build(kind, values, where)


def _read_columns(document: dict[str, JSONValue], where: str) -> tuple[ProbeSample, ...]:
    """Samples from their columns."""
    try:
        at = accumulate(_whole(t) for t in _list(document["at"], where))
        outcomes = [str(outcome) for outcome, times in document["outcomes"] for _ in range(_whole(times))]  # type: ignore[union-attr, misc, str-unpack]
        columns = zip(at, _list(document["took"], where), outcomes, strict=True)
        return tuple(ProbeSample(a / _TICKS, _whole(t) / _TICKS, outcome) for a, t, outcome in columns)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where}: no columns of samples: {error!r}") from error


def _whole(value: JSONValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {value!r:.60}")
    return value


def _read_row(kind: Any, document: JSONValue, where: str) -> object:
    row, hints = _list(document, where), _hints(kind)
    if len(row) > len(hints):
        raise StoreError(f"{where}: {kind.__name__} has {len(hints)} fields, got {len(row)}")
    values = {n: _read(h, v, f"{where}.{n}") for (n, h), v in zip(hints.items(), row, strict=False)}
    return _build(kind, values, where)


def _build(kind: Any, values: Mapping[str, object], where: str) -> object:
    missing = [f.name for f in dataclasses.fields(kind) if _required(f) and f.name not in values]
    if missing:
        raise StoreError(f"{where}: {kind.__name__} without {', '.join(missing)}")
    return kind(**values)


def _read_scalar(kind: Any, document: JSONValue, where: str) -> object:
    if kind is float and isinstance(document, (int, float)) and not isinstance(document, bool):
        return float(document)
    if kind is int and isinstance(document, int) and not isinstance(document, bool):
        return document
    if kind in (str, bool) and isinstance(document, kind):
        return document
    try:
        if kind is bytes and isinstance(document, str):
            return base64.b64decode(document, validate=True)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(document)
    except (binascii.Error, ValueError) as error:
        raise StoreError(f"{where}: {error}") from error
    raise StoreError(f"{where}: expected {getattr(kind, '__name__', kind)}, got {document!r:.60}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _dict(document: JSONValue, where: str) -> dict[str, JSONValue]:
    if not isinstance(document, dict):
        raise StoreError(f"{where}: expected an object, got {document!r:.60}")
    return document


def _list(document: JSONValue, where: str) -> list[JSONValue]:
    if not isinstance(document, list):
        raise StoreError(f"{where}: expected a list, got {document!r:.60}")
    return document
