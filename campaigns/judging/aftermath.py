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
from classifiers.numbers import MIN_GOLDENS
from classifiers.observation import Observation
from classifiers.propagation import Propagation, propagation
from classifiers.trace import trace_from_bytes
from injector.codec import list_fields
from injector.errors import CodecError, StoreError
from injector.rules import JSONValue
from injector.writers import writers_of

__all__ = ["Aftermath", "Aftermaths", "fields_of"]

_GOLDENS = 20
"""Golden runs whose final states are compared: more make the mask hardly wider, and each takes some 20 ms to read."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """`went`: of the first firing that put a wrong value into the store, None where there is none. `ended`: None where
    too few golden runs of the workload have a trace."""

    went: Propagation | None
    ended: tuple[Difference, ...] | None


class Aftermaths:
    """Those of one open run; what golden runs left is read once for each workload."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._golden: dict[str, GoldenState] = {}

    def of(self, record: ExperimentRecord) -> Aftermath | None:
        """None for golden runs, and where no trace was kept. StoreError if it can't be read."""
        observation, rule = record.observation, record.planned.rule
        if observation is None or rule is None or (history := self._decoded(record.planned.id, observation)) is None:
            return None
        put = [(each, each.field or rule.target.field) for each in observation.firings]
        went = (propagation(history, each, field, writers=writers_of) for each, field in put)
        golden = self._left_by_golden_runs(record.planned.workload)
        wrong = [(each.key, field) for each, field in put]
        return Aftermath(
            next((each for each in went if each is not None), None),
            differences(history, golden, wrong, writers=writers_of) if golden.runs >= MIN_GOLDENS else None,
        )

    def _left_by_golden_runs(self, workload: str) -> GoldenState:
        if workload not in self._golden:
            self._golden[workload] = GoldenState.of(islice(self._goldens(workload), _GOLDENS))
        return self._golden[workload]

    def _goldens(self, workload: str) -> Iterator[Decoded]:
        for record in self._run.goldens(workload, spoiled=lambda identifier, why: None):
            if record.observation is not None and not record.observation.unclean:
                try:
                    history = self._decoded(record.planned.id, record.observation)
                except StoreError:
                    continue  # the others tell, too
                if history is not None:
                    yield history

    def _decoded(self, identifier: str, observation: Observation) -> Decoded | None:
        trace = self._run.trace(identifier)
        if trace is None:
            return None
        return Decoded(observation, trace_from_bytes(trace), _readable, volatile=is_volatile)


def fields_of(value: bytes) -> dict[str, JSONValue] | None:
    """Path → value of a stored object; None if it can't be read."""
    try:
        return {item.path: item.value for item in list_fields(value)}
    except CodecError:
        return None


def _readable(value: bytes) -> Mapping[str, JSONValue]:
    return fields_of(value) or {}
