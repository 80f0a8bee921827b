"""The campaign made concrete: a pure function from spec and recordings to the list of experiments, in their order.

Ids are hashes of content: what is done to which cluster under which workload, and nothing that does not change the
experiment (no seed, no reason, no place in the list). The same fault keeps its id from one campaign to another, drawn
or named, which is how two runs are compared; the same spec and recordings give the same plan, byte for byte, on any
machine.

Golden runs are interleaved: GOLDENS_FIRST of each workload up front, so that verdicts can be given from then on, the
rest spread evenly among the faults, so that a machine that slows down during the run slows them too. Faults of all
workloads are put in an order that the seed fixes, so that no kind of fault is always the one after the same other, and
what was done when a run is stopped is a sample of all.

Form of the JSON (`plan_to_json`):
    {"schema": 1, "name": …, "seed": …, "experiments": [{"id", "workload", "why", "rule": null or injector.rules_json}]}
    a plan with a sample: schema 2, each drawn experiment with its "stratum", and
        "strata": [{"name", "population", "planned"}], "left_out": [{"workload", "channel", "why", "number"}],
        "recordings": [{"workload", "sha256", "seconds"}]
History of the schema: 1 (first), 2 (a sample; plans without one stay 1).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from campaigns.planning.draw import Drawn, NotPlanned, Planned, draw
from campaigns.planning.recording import Recording
from campaigns.planning.strata import Stratum
from campaigns.record import PlannedExperiment
from campaigns.spec.campaign_spec import CampaignSpec, ClusterSpec, FaultSpec
from campaigns.spec.fault_checks import preferred_group
from classifiers.record import from_json, to_json
from injector.errors import InputError, StoreError
from injector.rules import JSONValue, Rule
from injector.rules_json import rule_to_json
from injector.targets import Channel, Target

__all__ = ["GOLDENS_FIRST", "SCHEMA", "NotPlanned", "Plan", "Stratum", "Used", "plan", "plan_from_json", "plan_to_json"]

T = TypeVar("T")

SCHEMA = 2
_WITHOUT_SAMPLE = 1

GOLDENS_FIRST = 3
"""Golden runs of a workload before its first fault: classifiers.numbers.MIN_GOLDENS, below which nothing is judged."""

_ID_DIGITS = 12
"""Hexadecimal digits of an id, 48 bits: among ten thousand experiments two collide with a chance of 2e-7."""

_REREAD = frozenset({Channel.AT_REST_SILENT})
"""Where a drawn fault has what is stored read anew: without it nearly nobody reads it (docs/consumed.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A recording that a plan was drawn from; `seconds`: what a golden run took in it with its reset, the median."""

    workload: str
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Experiments in the order they are to run. Of a sample also its strata, what was left out of the population and
    why, and the recordings that it was drawn from."""

    name: str
    seed: int
    experiments: tuple[PlannedExperiment, ...]
    strata: tuple[Stratum, ...] = ()
    left_out: tuple[NotPlanned, ...] = ()
    recordings: tuple[Used, ...] = ()


def plan(spec: CampaignSpec, recordings: Mapping[str, Recording] | None = None) -> Plan:
    """The plan of a spec; `recordings` by workload, which a spec with a sample needs (InputError if one is missing).
    Pure."""
    named = {w: [_fault(spec.cluster, w, fault) for fault in spec.faults] for w in spec.workloads}
    known = {each.id for faults in named.values() for each in faults}
    drawn, sampled = _drawn(spec, recordings or {}, known)
    first: list[PlannedExperiment] = []
    later: list[PlannedExperiment] = []
    faults: list[PlannedExperiment] = []
    for workload in spec.workloads:
        own = [*named[workload], *(each for each in sampled if each.workload == workload)]
        number = max(spec.golden, math.ceil(len(own) / (spec.golden_every - 1)))
        goldens = [_golden(spec.cluster, workload, n) for n in range(1, number + 1)]
        first += goldens[:GOLDENS_FIRST]
        later += goldens[GOLDENS_FIRST:]
        faults += own
    later = _in_order(later, spec.seed) if len(spec.workloads) > 1 else later
    experiments = [*first, *_interleave(later, _in_order(faults, spec.seed))]
    if drawn is None:
        return Plan(spec.name, spec.seed, tuple(experiments))
    used = (
        Used(workload=name, sha256=each.sha256, seconds=each.seconds_median)
        for name, each in sorted((recordings or {}).items())
        if name in spec.workloads
    )
    return Plan(spec.name, spec.seed, tuple(experiments), drawn.strata, drawn.left_out, tuple(used))


def _drawn(
    spec: CampaignSpec, recordings: Mapping[str, Recording], named: set[str]
) -> tuple[Drawn | None, list[PlannedExperiment]]:
    """The sample and its experiments; those that the spec names already are planned once, and not of a stratum."""
    if spec.sample is None:
        return None, []
    missing = [workload for workload in spec.workloads if workload not in recordings]
    if missing:
        raise InputError(f"a sample is drawn from recordings; there is none of {', '.join(missing)}")
    drawn = draw(spec.sample, {workload: recordings[workload] for workload in spec.workloads}, seed=spec.seed)
    if not drawn.faults:
        why = "; ".join(f"{each.number} {each.workload}, {each.channel}: {each.why}" for each in drawn.left_out)
        of = ", ".join(spec.workloads)
        asked = f"sample: no message in {of} has a field that `targets`, `channels` and `models` ask for"
        raise InputError(f"{asked}{f'; left out: {why}' if why else ''} (`mutineer fields KIND` lists those of a kind)")
    made = [_sampled(spec.cluster, each) for each in drawn.faults]
    twice = [each.stratum for each in made if each.id in named]
    strata = tuple(
        replace(s, population=s.population - twice.count(s.name), planned=s.planned - twice.count(s.name))
        for s in drawn.strata
    )
    return replace(drawn, strata=strata), [each for each in made if each.id not in named]


def plan_to_json(made: Plan) -> str:
    """Stable text: sorted keys, one line per experiment and stratum, a newline at the end."""
    sampled = bool(made.strata)
    document: dict[str, JSONValue] = {
        "schema": SCHEMA if sampled else _WITHOUT_SAMPLE,
        "name": made.name,
        "seed": made.seed,
        "experiments": [_without(to_json(e), "stratum") for e in made.experiments],
    }
    if sampled:
        document["strata"] = [to_json(stratum) for stratum in made.strata]
        document["left_out"] = [to_json(each) for each in made.left_out]
        document["recordings"] = [to_json(each) for each in made.recordings]
    parts = [f" {json.dumps(name)}: {_lines(document[name])}" for name in sorted(document)]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _without(document: JSONValue, name: str) -> JSONValue:
    """Without that key where it is empty."""
    assert isinstance(document, dict)
    return {key: value for key, value in document.items() if key != name or value}


def _lines(value: JSONValue) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"  {json.dumps(e, sort_keys=True, ensure_ascii=False)}" for e in value) + "\n ]"


def plan_from_json(text: str) -> Plan:
    """The plan again. StoreError if the text is none, or of another schema."""
    try:
        document: JSONValue = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"the plan is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") not in (_WITHOUT_SAMPLE, SCHEMA):
        found = document.get("schema") if isinstance(document, dict) else document
        raise StoreError(
            f"the plan is of schema {found!r:.40}; this program reads schemas {_WITHOUT_SAMPLE} to {SCHEMA}"
        )
    name, seed = document.get("name"), document.get("seed")
    if not isinstance(name, str) or not isinstance(seed, int) or not isinstance(document.get("experiments"), list):
        raise StoreError("the plan lacks its name, seed or experiments")
    return Plan(
        name,
        seed,
        _read(PlannedExperiment, document, "experiments"),
        _read(Stratum, document, "strata"),
        _read(NotPlanned, document, "left_out"),
        _read(Used, document, "recordings"),
    )


def _read(kind: type[T], document: Mapping[str, JSONValue], name: str) -> tuple[T, ...]:
    found = document.get(name, [])
    if not isinstance(found, list):
        raise StoreError(f"{name}: expected a list, got {found!r:.40}")
    return tuple(from_json(kind, each, where=f"{name}[{i}]") for i, each in enumerate(found))


def _in_order(experiments: Sequence[PlannedExperiment], seed: int) -> list[PlannedExperiment]:
    return sorted(experiments, key=lambda e: hashlib.sha256(f"{seed}:{e.id}".encode()).digest())


def _interleave(goldens: Sequence[PlannedExperiment], faults: Sequence[PlannedExperiment]) -> list[PlannedExperiment]:
    """The faults with the goldens at equal distances among them."""
    mixed: list[PlannedExperiment] = []
    placed = 0
    for done, fault in enumerate(faults):
        due = done * (len(goldens) + 1) // len(faults)
        mixed += [*goldens[placed:due], fault]
        placed = due
    return [*mixed, *goldens[placed:]]


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
    return _experiment(cluster, workload, unnamed, fault.why)


def _sampled(cluster: ClusterSpec, planned: Planned) -> PlannedExperiment:
    candidate = planned.candidate
    channel = candidate.site.channel
    unnamed = Rule(
        id="",
        channel=channel,
        model=candidate.model,
        target=candidate.target,
        parameters=dict(sorted(candidate.parameters.items())),
        reread=channel in _REREAD,
    )
    return _experiment(cluster, planned.workload, unnamed, candidate.sentence, planned.stratum)


def _experiment(cluster: ClusterSpec, workload: str, unnamed: Rule, why: str, stratum: str = "") -> PlannedExperiment:
    done = {key: value for key, value in rule_to_json(unnamed).items() if key != "id"}
    content: JSONValue = {"cluster": cluster.content(), "workload": workload, "rule": done}
    identifier = f"e{_digest(content)}"
    rule = replace(unnamed, id=identifier)
    return PlannedExperiment(id=identifier, workload=workload, rule=rule, why=why, stratum=stratum)


def _digest(content: JSONValue) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]
