"""The campaign made concrete: a pure function from spec to the list of experiments, in the order they are to run.

Ids are hashes of content: what is done to which cluster under which workload, and nothing that does not change the
experiment (no seed, no reason, no place in the list). The same fault keeps its id from one campaign to another,
which is how two runs are compared; the same spec gives the same plan, byte for byte, on any machine.

Golden runs are interleaved: GOLDENS_FIRST of each workload up front, so that verdicts can be given from then on, the
rest spread evenly among the faults, so that a machine that slows down during the run slows them too. Faults are put
in an order that the seed fixes, so that no kind of fault is always the one after the same other.

Form of the JSON (`plan_to_json`), schema 1 (the first):
    {"schema": 1, "name": …, "seed": …, "experiments": [{"id", "workload", "why", "rule": null or injector.rules_json}]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from campaigns.fault_checks import preferred_group
from campaigns.record import PlannedExperiment
from campaigns.spec import CampaignSpec, ClusterSpec, FaultSpec
from classifiers.record import from_json, to_json
from injector.errors import StoreError
from injector.rules import JSONValue, Rule
from injector.rules_json import rule_to_json
from injector.targets import Channel, Target

__all__ = ["GOLDENS_FIRST", "SCHEMA", "Plan", "plan", "plan_from_json", "plan_to_json"]

SCHEMA = 1

GOLDENS_FIRST = 3
"""Golden runs of a workload before its first fault: classifiers.numbers.MIN_GOLDENS, below which nothing is judged."""

_ID_DIGITS = 12
"""Hexadecimal digits of an id, 48 bits: among ten thousand experiments two collide with a chance of 2e-7."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Experiments in the order they are to run."""

    name: str
    seed: int
    experiments: tuple[PlannedExperiment, ...]


def plan(spec: CampaignSpec) -> Plan:
    """The plan of a spec. Pure."""
    experiments: list[PlannedExperiment] = []
    for workload in spec.workloads:
        goldens = [_golden(spec.cluster, workload, n) for n in range(1, spec.golden + 1)]
        faults = [_fault(spec.cluster, workload, fault) for fault in spec.faults]
        faults.sort(key=lambda e: hashlib.sha256(f"{spec.seed}:{e.id}".encode()).digest())
        experiments += _interleave(goldens, faults)
    return Plan(spec.name, spec.seed, tuple(experiments))


def plan_to_json(made: Plan) -> str:
    """Stable text: sorted keys, one line per leaf, a newline at the end."""
    document = {
        "schema": SCHEMA,
        "name": made.name,
        "seed": made.seed,
        "experiments": [to_json(e) for e in made.experiments],
    }
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def plan_from_json(text: str) -> Plan:
    """The plan again. StoreError if the text is none, or of another schema."""
    try:
        document: JSONValue = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"the plan is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else document
        raise StoreError(f"the plan is of schema {found!r:.40}; this program reads schema {SCHEMA}")
    name, seed, experiments = document.get("name"), document.get("seed"), document.get("experiments")
    if not isinstance(name, str) or not isinstance(seed, int) or not isinstance(experiments, list):
        raise StoreError("the plan lacks its name, seed or experiments")
    read = (from_json(PlannedExperiment, e, where=f"experiments[{i}]") for i, e in enumerate(experiments))
    return Plan(name, seed, tuple(read))


def _interleave(goldens: Sequence[PlannedExperiment], faults: Sequence[PlannedExperiment]) -> list[PlannedExperiment]:
    """The first goldens, then the faults with the other goldens at equal distances among them."""
    mixed, rest = list(goldens[:GOLDENS_FIRST]), goldens[GOLDENS_FIRST:]
    placed = 0
    for done, fault in enumerate(faults):
        due = done * (len(rest) + 1) // len(faults)
        mixed += [*rest[placed:due], fault]
        placed = due
    return [*mixed, *rest[placed:]]


def _golden(cluster: ClusterSpec, workload: str, number: int) -> PlannedExperiment:
    content: JSONValue = {"cluster": cluster.content(), "workload": workload, "golden": number}
    return PlannedExperiment(id=f"g{_digest(content)}", workload=workload, why=f"golden run {number} of {workload}")


def _fault(cluster: ClusterSpec, workload: str, fault: FaultSpec) -> PlannedExperiment:
    target = fault.target
    group = preferred_group(target.kind) if target.group is None else target.group
    unnamed = Rule(
        id="",
        channel=Channel(fault.channel),
        model=fault.model,
        target=Target(
            kind=target.kind,
            group=group,
            identity=target.identity or "",
            namespace=target.namespace or "",
            labels=target.labels or "",
            field=target.field,
            role=target.role or "",
            by=target.by or "",
            after=target.after or "",
            operation=target.operation,
            component=target.component or "",
            occurrence=target.occurrence,
        ),
        parameters=dict(sorted(fault.parameters.items())),
        times=None if fault.times == "always" else fault.times,
        reread=fault.reread,
    )
    done = {key: value for key, value in rule_to_json(unnamed).items() if key != "id"}
    content: JSONValue = {"cluster": cluster.content(), "workload": workload, "rule": done}
    identifier = f"e{_digest(content)}"
    return PlannedExperiment(id=identifier, workload=workload, rule=replace(unnamed, id=identifier), why=fault.why)


def _digest(content: JSONValue) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]
