"""A run as the JSON document of `mutineer show RUN --json`. Its schema ships: mutineer/schemas/show.schema.json.

Pure: a run is read, nothing is judged again or rendered. Keys are added, never renamed, types never change; `SCHEMA`
would count what breaks that. History of the form: 1 (first).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from campaigns.record import ExperimentRecord
from campaigns.redaction import is_secret_rule
from campaigns.store import Run
from classifiers.verdict import ClientFailure, OrchestratorFailure, State
from injector.rules import JSONValue, Rule

__all__ = ["SCHEMA", "document", "experiment_document", "golden_document"]

SCHEMA = 1

_REDACTED = "(redacted: of a Secret)"
"""In place of every parameter of a fault on a Secret: a value to set may be one."""


def document(run: Run) -> dict[str, JSONValue]:
    """The whole run: what is finished of it, in the order of the plan. `summary` counts experiments, not golden runs;
    classes of those that were judged. StoreError if the record can't be read."""
    order = {planned.id: place for place, planned in enumerate(run.plan.experiments)}
    records = sorted(run.records(observations=False), key=lambda r: order.get(r.planned.id, len(order)))
    faults = [r for r in records if not r.planned.golden]
    return {
        "schema": SCHEMA,
        "name": run.plan.name,
        "summary": {
            "experiments": len(faults),
            "planned": sum(1 for planned in run.plan.experiments if not planned.golden),
            "by_verdict": _count((r.verdict.state.value for r in faults), (s.value for s in State)),
            "by_orchestrator": _count(
                (r.verdict.orchestrator.value for r in faults if r.verdict.orchestrator),
                (c.value for c in OrchestratorFailure),
            ),
            "by_client": _count(
                (r.verdict.client.value for r in faults if r.verdict.client), (c.value for c in ClientFailure)
            ),
        },
        "golden": [golden_document(r) for r in records if r.planned.golden],
        "experiments": [experiment_document(r) for r in faults],
    }


def experiment_document(record: ExperimentRecord) -> dict[str, JSONValue]:
    """One experiment with a fault. ValueError for a golden run."""
    rule, verdict = record.planned.rule, record.verdict
    if rule is None:
        raise ValueError(f"{record.planned.id} is a golden run")
    return {
        "id": record.planned.id,
        "workload": record.planned.workload,
        "why": record.planned.why,
        "channel": rule.channel.value,
        "model": rule.model,
        "parameters": dict.fromkeys(rule.parameters, _REDACTED) if is_secret_rule(rule) else dict(rule.parameters),
        "target": _target(rule),
        "activation": verdict.activation.value if verdict.activation else None,
        "verdict": verdict.state.value,
        "reasons": list(verdict.reasons),
        "orchestrator": verdict.orchestrator.value if verdict.orchestrator else None,
        "also": [c.value for c in verdict.also],
        "client": verdict.client.value if verdict.client else None,
        "aware": verdict.aware,
        "incidents": [{"id": i.id, "score": i.score, "why": i.why} for i in record.incidents],
        "reset": {"rung": record.reset.rung, "seconds": record.reset.seconds} if record.reset else None,
        "seconds": record.seconds,
    }


def golden_document(record: ExperimentRecord) -> dict[str, JSONValue]:
    """One golden run."""
    verdict = record.verdict
    return {
        "id": record.planned.id,
        "workload": record.planned.workload,
        "verdict": verdict.state.value,
        "orchestrator": verdict.orchestrator.value if verdict.orchestrator else None,
        "client": verdict.client.value if verdict.client else None,
        "reasons": list(verdict.reasons),
        "seconds": record.seconds,
    }


def _target(rule: Rule) -> dict[str, JSONValue]:
    target = rule.target
    return {
        "kind": target.kind,
        "group": target.group,
        "identity": target.identity,
        "field": target.field,
        "operation": target.operation,
        "component": target.component or None,
        "occurrence": target.occurrence,
        "namespace": target.namespace or None,
        "labels": target.labels or None,
        "role": target.role or None,
        "by": target.by or None,
        "after": target.after or None,
    }


def _count(values: Iterable[str], words: Iterable[str]) -> dict[str, JSONValue]:
    """How often each word came, those that never did among them, gravest first."""
    counted = Counter(values)
    return {word: counted[word] for word in words}
