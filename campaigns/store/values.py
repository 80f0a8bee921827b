"""What a run keeps beside its experiments' records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from campaigns.record import ExperimentRecord, IncidentMatch, Purpose
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.rules import JSONValue

__all__ = ["Count", "Judgement", "Repeat", "Session"]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A planned experiment done once more, which never replaces the first time. `number` counts from 1 within
    experiment and purpose, in the order they were added."""

    purpose: Purpose
    number: int
    record: ExperimentRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One process that added to the run: `run` begins the first, each `resume` another.

    number      from 1, in the order they began
    began       ISO 8601 with zone, the machine's clock; so is `ended`
    ended, why  None where the process was killed, or is still at work
    added       experiments of the plan that it recorded
    """

    number: int
    began: str
    document: Mapping[str, JSONValue]
    ended: str | None
    why: str | None
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many experiments have these classes by their latest judgement, none of them zero."""

    workload: str
    golden: bool
    state: State
    orchestrator: OrchestratorFailure | None
    client: ClientFailure | None
    activation: Activation | None
    experiments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What judging an experiment again says: of its first time, or of a repeat (`purpose` and `number` as there)."""

    experiment: str
    verdict: Verdict
    incidents: tuple[IncidentMatch, ...] = ()
    error: str | None = None
    purpose: Purpose | None = None
    number: int = 0

    @classmethod
    def of(cls, record: ExperimentRecord) -> Judgement:
        """The judgement that stands in a record."""
        return cls(experiment=record.planned.id, verdict=record.verdict, incidents=record.incidents, error=record.error)
