"""How stable a verdict is: an experiment that was done again, compared with the first time. Only the class of the
cluster's failure is compared when findings are confirmed (or the state, where one of them was not judged), for by it a
person acts; who replays one experiment is told of clients as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from campaigns.record import ExperimentRecord, Purpose
from campaigns.store import Run
from classifiers.verdict import ClientFailure

__all__ = ["Agreement", "agreement", "agreements", "class_of", "classes_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of `times` repeats `same` had the class `was`; `again`: the classes of all of them, in order."""

    id: str
    was: str
    same: int
    times: int
    again: tuple[str, ...]


def class_of(record: ExperimentRecord) -> str:
    """The class of the cluster's failure; `inconclusive` or `error` where there is none."""
    verdict = record.verdict
    return verdict.orchestrator.value if verdict.orchestrator is not None else verdict.state.value


def classes_of(record: ExperimentRecord) -> str:
    """The same, and what befell clients, if anything did: `none, clients intermittent`."""
    client = record.verdict.client
    seen = f", clients {client.value}" if client not in (None, ClientFailure.NONE) else ""
    return f"{class_of(record)}{seen}"


def agreement(
    first: ExperimentRecord,
    again: Iterable[ExperimentRecord],
    of: Callable[[ExperimentRecord], str] = class_of,
) -> Agreement:
    """Of one experiment, by `class_of` or `classes_of`."""
    was, classes = of(first), tuple(map(of, again))
    return Agreement(
        id=first.planned.id, was=was, same=sum(each == was for each in classes), times=len(classes), again=classes
    )


def agreements(run: Run, purpose: Purpose) -> list[Agreement]:
    """Of every experiment of a run with such repeats, in the order they were first done again."""
    again: dict[str, list[ExperimentRecord]] = {}
    for repeat in run.repeats(purpose=purpose, observations=False):
        again.setdefault(repeat.record.planned.id, []).append(repeat.record)
    first = {r.planned.id: r for r in run.records(observations=False) if r.planned.id in again} if again else {}
    return [agreement(first[name], records) for name, records in again.items() if name in first]
