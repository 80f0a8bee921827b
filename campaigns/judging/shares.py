"""Failures by what was hit: of each field role, kind, model or channel, the share of every class of failure.

Estimated for the whole population that the plan was drawn from, by the weights of its strata; a plan without a sample
stands for itself. Intervals respect that experiments on one object are alike. Each share has its denominator:

    planned     every experiment that is finished; one that was not judged had none of the failures, as far as is known
    fired       those that fired and were judged
    effective   those of them whose fault had any effect

Pure: values in, values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from campaigns.judging.gate import roles_of
from campaigns.judging.gate_policy import WHOLE_MESSAGE
from campaigns.judging.statistics import Draw, Interval, clustered_share, wilson
from campaigns.record import ExperimentRecord
from classifiers.verdict import Activation, OrchestratorFailure, State
from injector.roles import Role
from injector.rules import Rule

__all__ = ["DIMENSIONS", "GROUPS", "PAPER", "Base", "Group", "Row", "caveats", "in_words", "rows"]


class Base(StrEnum):
    """What a percentage is of."""

    PLANNED = "planned"
    FIRED = "fired"
    EFFECTIVE = "effective"


class Group(StrEnum):
    """Failures as the paper sums them up."""

    CLUSTER_WIDE = "cluster-wide"
    NETWORK = "network"
    PROVISIONING = "provisioning"
    TIMING = "timing"


GROUPS: Mapping[Group, tuple[OrchestratorFailure, ...]] = {
    Group.CLUSTER_WIDE: (OrchestratorFailure.OUTAGE, OrchestratorFailure.STALL),
    Group.NETWORK: (OrchestratorFailure.NETWORK,),
    Group.PROVISIONING: (OrchestratorFailure.MORE_RESOURCES, OrchestratorFailure.LESS_RESOURCES),
    Group.TIMING: (OrchestratorFailure.TIMING,),
}

PAPER: Mapping[Group, float] = {Group.CLUSTER_WIDE: 0.03, Group.NETWORK: 0.04, Group.PROVISIONING: 0.24}
"""Shares of the injections in "Mutiny! How does Kubernetes fail, and what can we do about it?" (DSN 2024, arXiv
2404.11169): Kubernetes 1.27 on machines, other faults. Of its cluster-wide failures 51 % were by fields that track
dependencies."""

WHOLE = "whole message"


def role_label(record: ExperimentRecord) -> str:
    """The role of the field that was hit; WHOLE where none was."""
    found = roles_of(record.planned)
    if Role.DEPENDENCY.value in found:
        return Role.DEPENDENCY.value
    (role,) = found
    return WHOLE if role == WHOLE_MESSAGE else role


def _rule(record: ExperimentRecord) -> Rule:
    assert record.planned.rule is not None, "a golden run hits nothing"
    return record.planned.rule


DIMENSIONS: Mapping[str, Callable[[ExperimentRecord], str]] = {
    "role": role_label,
    "kind": lambda record: _rule(record).target.kind,
    "model": lambda record: _rule(record).model,
    "channel": lambda record: _rule(record).channel.value,
    "workload": lambda record: record.planned.workload,
}
"""What a table can be made by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line. `experiments` of this base; `population`: how many faults they stand for; `shares` of each group."""

    name: str
    experiments: int
    population: float
    shares: Mapping[Group, Interval]


def rows(
    records: Sequence[ExperimentRecord],
    populations: Mapping[str, int],
    by: Callable[[ExperimentRecord], str],
    base: Base,
) -> tuple[Row, ...]:
    """A row for each label, the most frequent first, and one of all of them ("all") as the last. `records`: finished
    experiments with a fault; `populations`: stratum → how many faults it has; what is of none stands for itself."""
    counted = [record for record in records if _is_in(record, base)]
    weights = _weights(counted, populations)
    labelled: dict[str, list[ExperimentRecord]] = {}
    for record in counted:
        labelled.setdefault(by(record), []).append(record)
    named = sorted(labelled.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(_row(name, each, weights) for name, each in (*named, ("all", counted)) if each)


def _weights(counted: Sequence[ExperimentRecord], populations: Mapping[str, int]) -> dict[str, float]:
    """How many faults each experiment of a stratum stands for: a run need not be finished."""
    numbers = Counter(record.planned.stratum for record in counted)
    return {name: populations[name] / number for name, number in numbers.items() if name in populations}


def in_words(share: Interval) -> str:
    """`3.1 % [1, 8]`"""
    return f"{share.estimate * 100:.1f} % [{share.low * 100:.0f}, {share.high * 100:.0f}]"


def _row(name: str, records: Sequence[ExperimentRecord], weights: Mapping[str, float]) -> Row:
    found = {}
    for group, classes in GROUPS.items():
        interval = clustered_share(
            [_draw(record, weights, record.verdict.orchestrator in classes) for record in records]
        )
        found[group] = interval if interval is not None else Interval(0.0, 0.0, 1.0)
    population = sum(weights.get(record.planned.stratum, 1.0) for record in records)
    return Row(name=name, experiments=len(records), population=population, shares=found)


def _draw(record: ExperimentRecord, weights: Mapping[str, float], held: bool) -> Draw:
    target = _rule(record).target
    cluster = f"{record.planned.workload} {target.identity or f'{target.kind} {target.namespace} {target.labels}'}"
    return Draw(held, weights.get(record.planned.stratum, 1.0), cluster)


def _is_in(record: ExperimentRecord, base: Base) -> bool:
    if base is Base.PLANNED:
        return True
    if record.verdict.state is not State.JUDGED:
        return False
    return base is Base.FIRED or record.verdict.activation is Activation.EFFECTIVE


def caveats(records: Sequence[ExperimentRecord], populations: Mapping[str, int], base: Base) -> list[str]:
    """What the table cannot tell, and how many of the grave ones are by dependencies, beside the paper's share."""
    counted = [record for record in records if _is_in(record, base)]
    weights = _weights(counted, populations)
    grave = [record for record in counted if record.verdict.orchestrator in GROUPS[Group.CLUSTER_WIDE]]
    said = []
    if grave:
        by = clustered_share([_draw(record, weights, role_label(record) == Role.DEPENDENCY) for record in grave])
        half = (wilson(len(grave) / 2, len(grave)).high - 0.5) * 100
        if by is not None:
            told = f"{by.estimate * 100:.0f} % [{by.low * 100:.0f}, {by.high * 100:.0f}]"
            said.append(f"Of the cluster-wide failures {told} are by fields that track dependencies; the paper: 51 %.")
        said.append(
            f"{len(grave)} cluster-wide failures among {len(counted)} experiments: a share of them has an interval of "
            f"about ±{half:.0f} points."
        )
    else:
        most = wilson(0, len(counted)).high * 100 if counted else 100.0
        said.append(f"No cluster-wide failure among {len(counted)} experiments: their share may be up to {most:.1f} %.")
    unjudged = sum(record.verdict.state is not State.JUDGED for record in records)
    if unjudged and base is Base.PLANNED:
        said.append(f"{unjudged} of {len(records)} were not judged, and count as without a failure.")
    elif unjudged:
        said.append(f"{unjudged} of {len(records)} were not judged, and are not in the table.")
    if weights:
        unknown = sum(population for name, population in populations.items() if name not in weights)
        of = f"; nothing is known of the strata with the other {unknown:,} faults" if unknown else ""
        said.append(f"Shares are weighted by the strata{of}.")
    return said
