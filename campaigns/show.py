"""A run as the JSON document of `mutineer show RUN --json`. Its schema ships: mutineer/schemas/show.schema.json.

Pure: a run is read, nothing is judged again or rendered. Keys are added, never renamed, types never change; `SCHEMA`
would count what breaks that. History of the form: 1 (first; since then came `sessions`, `stratum`,
`repeats`, `detected`, `aware_s`,
`recovery`).

Experiments are made from their stored JSON, record by record: a run of a hundred thousand needs no more memory than one
of ten.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from campaigns.record import ExperimentRecord
from campaigns.redaction import is_secret_target
from campaigns.store import Count, Repeat, Run
from classifiers.record import to_json
from classifiers.verdict import ClientFailure, OrchestratorFailure, State
from injector.errors import StoreError
from injector.rules import JSONValue

__all__ = ["SCHEMA", "document", "experiment_document", "golden_document", "stream"]

SCHEMA = 1

_REDACTED = "(redacted: of a Secret)"
"""In place of every parameter of a fault on a Secret: a value to set may be one."""

_CHOSEN_BY = ("namespace", "labels", "role", "by", "after")
"""What a target may be chosen by besides its identity; null where it is not."""

Stored = Mapping[str, Any]
"""The JSON of a record, as classifiers.record has it."""


def document(run: Run) -> dict[str, JSONValue]:
    """The whole run: what is finished of it, in the order of the plan. `summary` counts experiments, not golden runs;
    classes of those that were judged. StoreError if the record can't be read."""
    return {**_head(run), "golden": [*_goldens(run)], "experiments": [*_experiments(run)]}


def stream(run: Run) -> Iterator[str]:
    """The same as text, piece by piece: a line for each golden run and experiment."""
    yield _text(_head(run))[:-1]
    for name, values in (("golden", _goldens(run)), ("experiments", _experiments(run))):
        yield f',\n"{name}": ['
        for place, value in enumerate(values):
            yield f"{',' if place else ''}\n{_text(value)}"
        yield "]"
    yield "}\n"


def experiment_document(record: ExperimentRecord, repeats: Sequence[Repeat] = ()) -> dict[str, JSONValue]:
    """One experiment with a fault. ValueError for a golden run."""
    if record.planned.rule is None:
        raise ValueError(f"{record.planned.id} is a golden run")
    return _experiment(_stored(record), [_repeat(each) for each in repeats])


def golden_document(record: ExperimentRecord) -> dict[str, JSONValue]:
    """One golden run."""
    return _golden(_stored(record))


def _head(run: Run) -> dict[str, JSONValue]:
    faults = [count for count in run.counts() if not count.golden]
    return {
        "schema": SCHEMA,
        "name": run.name,
        "summary": {
            "experiments": sum(count.experiments for count in faults),
            "planned": run.planned_count(golden=False),
            "by_verdict": _by(faults, lambda count: count.state, State),
            "by_orchestrator": _by(faults, lambda count: count.orchestrator, OrchestratorFailure),
            "by_client": _by(faults, lambda count: count.client, ClientFailure),
        },
        "sessions": [
            {"number": s.number, "began": s.began, "ended": s.ended, "why": s.why, "experiments": s.added}
            for s in run.sessions()
        ],
    }


def _by(
    counts: Iterable[Count], what: Callable[[Count], StrEnum | None], words: Iterable[StrEnum]
) -> dict[str, JSONValue]:
    """How often each word came, those that never did among them, gravest first."""
    found: Counter[StrEnum | None] = Counter()
    for count in counts:
        found[what(count)] += count.experiments
    return {word.value: found[word] for word in words}


def _goldens(run: Run) -> Iterator[dict[str, JSONValue]]:
    for stored in run.documents(golden=True):
        yield _made(run, stored, _golden)


def _experiments(run: Run) -> Iterator[dict[str, JSONValue]]:
    repeats: dict[str, list[JSONValue]] = {}
    for each in run.repeats(observations=False):
        repeats.setdefault(each.record.planned.id, []).append(_repeat(each))
    for stored in run.documents(golden=False):
        yield _made(run, stored, lambda s: _experiment(s, repeats.get(s["planned"]["id"], [])))


def _made(run: Run, stored: Stored, make: Callable[[Stored], dict[str, JSONValue]]) -> dict[str, JSONValue]:
    try:
        return make(stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{run.folder}: a record is corrupted, it lacks {error}: {stored!s:.200}") from error


def _experiment(stored: Stored, repeats: list[JSONValue]) -> dict[str, JSONValue]:
    planned, verdict, reset = stored["planned"], stored["verdict"], stored["reset"]
    rule = planned["rule"]
    target, parameters = rule["target"], rule["parameters"]
    secret = is_secret_target(target["kind"], target.get("identity", ""))
    return {
        "id": planned["id"],
        "workload": planned["workload"],
        "why": planned["why"],
        "channel": rule["channel"],
        "model": rule["model"],
        "parameters": dict.fromkeys(parameters, _REDACTED) if secret else parameters,
        "target": {
            "kind": target["kind"],
            "group": target["group"],
            "identity": target.get("identity", ""),
            "field": target["field"],
            "operation": target.get("operation"),
            "component": target.get("component"),
            "occurrence": target["occurrence"],
            **{name: target.get(name) for name in _CHOSEN_BY},
        },
        "activation": verdict["activation"],
        "verdict": verdict["state"],
        "reasons": verdict["reasons"],
        "orchestrator": verdict["orchestrator"],
        "also": verdict["also"],
        "client": verdict["client"],
        "aware": verdict["aware"],
        "aware_s": verdict.get("aware_s"),
        "detected": verdict.get("detected", []),
        "recovery": verdict.get("recovery"),
        "incidents": [{"id": i["id"], "score": i["score"], "why": i["why"]} for i in stored["incidents"]],
        "reset": {"rung": reset["rung"], "seconds": reset["seconds"]} if reset else None,
        "seconds": stored["seconds"],
        "stratum": planned.get("stratum", ""),
        "repeats": repeats,
    }


def _golden(stored: Stored) -> dict[str, JSONValue]:
    verdict = stored["verdict"]
    return {
        "id": stored["planned"]["id"],
        "workload": stored["planned"]["workload"],
        "verdict": verdict["state"],
        "orchestrator": verdict["orchestrator"],
        "client": verdict["client"],
        "reasons": verdict["reasons"],
        "seconds": stored["seconds"],
    }


def _repeat(repeat: Repeat) -> JSONValue:
    verdict = repeat.record.verdict
    return {
        "purpose": repeat.purpose,
        "number": repeat.number,
        "verdict": verdict.state.value,
        "orchestrator": verdict.orchestrator.value if verdict.orchestrator else None,
        "client": verdict.client.value if verdict.client else None,
    }


def _stored(record: ExperimentRecord) -> Stored:
    stored = to_json(replace(record, observation=None))
    assert isinstance(stored, dict)
    return stored


def _text(value: JSONValue) -> str:
    return json.dumps(value, ensure_ascii=False)
