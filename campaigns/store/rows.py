"""Records as rows of the tables, and back."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from campaigns.record import ExperimentRecord
from campaigns.store.tables import observations
from campaigns.store.values import Judgement
from classifiers.observation import Observation
from classifiers.record import from_json, observation_from_json, observation_to_json, to_json
from classifiers.verdict import Verdict
from injector.errors import StoreError
from injector.rules import JSONValue

if TYPE_CHECKING:
    from campaigns.planning.plan import Plan

__all__ = [
    "document_of",
    "dump",
    "judgement_row",
    "load",
    "plan_file_row",
    "planned_rows",
    "read_observation",
    "record_of",
    "record_row",
    "write_observation",
]

_LEVEL = 6
"""zlib's own default; see campaigns.store.tables for what else was measured."""


def planned_rows(plan: Plan) -> list[dict[str, object]]:
    """The plan's lines as rows."""
    return [
        {"seq": place, "id": e.id, "workload": e.workload, "golden": e.golden, "stratum": e.stratum}
        for place, e in enumerate(plan.experiments, start=1)
    ]


def plan_file_row(plan: Plan, text: bytes) -> dict[str, object]:
    """What is kept of plan.json, whose whole text this is."""
    return {"name": plan.name, "seed": plan.seed, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}


def record_row(record: ExperimentRecord) -> dict[str, object]:
    """The columns that experiments and repeats share."""
    return {
        **_class_columns(record.verdict),
        "seconds": record.seconds,
        "document": dump(to_json(replace(record, observation=None))),
    }


def judgement_row(judgement: Judgement) -> dict[str, object]:
    """The columns that judgements of experiments and of repeats share. The document has those fields of an
    ExperimentRecord that judging sets."""
    kept = {
        "verdict": to_json(judgement.verdict),
        "incidents": to_json(judgement.incidents),
        "error": judgement.error,
    }
    return {**_class_columns(judgement.verdict), "document": dump(kept)}


def _class_columns(verdict: Verdict) -> dict[str, object]:
    return {
        "state": verdict.state.value,
        "orchestrator": verdict.orchestrator.value if verdict.orchestrator else None,
        "client": verdict.client.value if verdict.client else None,
        "activation": verdict.activation.value if verdict.activation else None,
    }


def document_of(document: str, judgement: str | None, where: str) -> dict[str, JSONValue]:
    """The stored JSON of a record (its observation null) with its latest judgement in place of its first. StoreError
    names `where`."""
    first = load(document, where)
    latest = load(judgement, f"{where}, its judgement") if judgement is not None else {}
    if not isinstance(first, dict) or not isinstance(latest, dict):
        raise StoreError(f"{where} is corrupted: a document is no object")
    return {**first, **latest}


def record_of(document: str, judgement: str | None, where: str) -> ExperimentRecord:
    """The same as a record."""
    return from_json(ExperimentRecord, document_of(document, judgement, where), where=where)


def write_observation(connection: sa.Connection, observation: Observation | None) -> str | None:
    """Adds the observation unless its like is there; returns its hash (None for none)."""
    if observation is None:
        return None
    text = dump(observation_to_json(observation)).encode()
    digest = hashlib.sha256(text).hexdigest()
    if connection.scalar(sa.select(sa.literal(1)).where(observations.c.hash == digest)) is None:
        connection.execute(observations.insert().values(hash=digest, body=zlib.compress(text, _LEVEL)))
    return digest


def read_observation(body: bytes | None, digest: str, where: str) -> Observation:
    """The observation that has this hash. StoreError names `where` if it rotted."""
    try:
        text = zlib.decompress(body or b"")
    except zlib.error as error:
        raise StoreError(f"{where}: its observation is corrupted: {error}") from error
    if hashlib.sha256(text).hexdigest() != digest:
        raise StoreError(f"{where}: its observation is corrupted: the content does not have its hash")
    return observation_from_json(load(text.decode(), where))


def dump(value: JSONValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def load(text: str, where: str) -> JSONValue:
    """StoreError names `where` if the text is no JSON."""
    try:
        value: JSONValue = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"{where} is corrupted: {error}") from error
    return value
