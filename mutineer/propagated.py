"""How far the fault of a stored experiment got, from its trace."""

from __future__ import annotations

from collections.abc import Mapping

from classifiers.observation import Observation
from classifiers.propagation import Propagation, propagation
from classifiers.trace import Trace
from injector.rules import JSONValue, Rule
from injector.writers import writers_of
from mutineer.history import fields_of

__all__ = ["propagated"]


def propagated(observation: Observation, trace: Trace | None, rule: Rule | None) -> Propagation | None:
    """Of the first firing that put a wrong value into the store; None where there is none, or no trace was kept."""
    if trace is None or rule is None:
        return None
    found = (
        propagation(observation, trace, each, each.field or rule.target.field, decode=_fields, writers=writers_of)
        for each in observation.firings
    )
    return next((each for each in found if each is not None), None)


def _fields(value: bytes) -> Mapping[str, JSONValue]:
    return fields_of(value) or {}
