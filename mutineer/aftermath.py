"""What became of a stored experiment's fault, from its trace and those of golden runs: how far the wrong value got, and
what ended otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from campaigns.observers.volatile import is_volatile
from campaigns.record import ExperimentRecord
from campaigns.store import Run
from classifiers.decoded import Decoded
from classifiers.final_state import Difference, GoldenState, differences
from classifiers.observation import Observation
from classifiers.propagation import Propagation, propagation
from classifiers.trace import trace_from_bytes
from injector.errors import StoreError
from injector.rules import JSONValue
from injector.writers import writers_of
from mutineer.history import fields_of

__all__ = ["Aftermath", "aftermath"]

_GOLDENS = 20
"""Golden runs whose final states are compared: more make the mask hardly wider, and each takes some 20 ms to read."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """`went`: of the first firing that put a wrong value into the store, None where there is none. `ended`: None where
    no golden run of the workload has a trace."""

    went: Propagation | None
    ended: tuple[Difference, ...] | None


def aftermath(run: Run, record: ExperimentRecord) -> Aftermath | None:
    """None for golden runs, and where no trace was kept."""
    observation, rule = record.observation, record.planned.rule
    if observation is None or rule is None or (history := _decoded(run, record.planned.id, observation)) is None:
        return None
    found = (
        propagation(history, each, each.field or rule.target.field, writers=writers_of) for each in observation.firings
    )
    golden = GoldenState.of(islice(_goldens(run, record.planned.workload), _GOLDENS))
    wrong = [(each.key, each.field or rule.target.field) for each in observation.firings]
    ended = differences(history, golden, wrong, writers=writers_of) if golden.runs else None
    return Aftermath(next((each for each in found if each is not None), None), ended)


def _goldens(run: Run, workload: str) -> Iterator[Decoded]:
    for record in run.goldens(workload, spoiled=lambda identifier, why: None):
        if record.observation is not None and not record.observation.unclean:
            try:
                history = _decoded(run, record.planned.id, record.observation)
            except StoreError:
                continue  # the others tell, too
            if history is not None:
                yield history


def _decoded(run: Run, identifier: str, observation: Observation) -> Decoded | None:
    trace = run.trace(identifier)
    if trace is None:
        return None
    return Decoded(observation, trace_from_bytes(trace), _fields, volatile=is_volatile)


def _fields(value: bytes) -> Mapping[str, JSONValue]:
    return fields_of(value) or {}
