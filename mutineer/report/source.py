"""From a stored run to the report's values: the one module of the report that reads anything.

Of the run's metadata (campaigns.store) these names are read; each may be missing, which the report then says or leaves
out, and any value that is not of this form is shown as JSON:

    versions    {component: version}; this program's own version is added under "mutineer" if it is not there
    host        {fact: value}; `memory_bytes` is shown in GiB
    cluster     {fact: value}: kind, nodes, profile
    assets      {component: where its binary came from}
    deviations  ["COMPONENT SETTING: KUBEADM → OURS (WHY)"], as a campaign writes them, or the same as objects
                {"component", "setting", "ours", "kubeadm", "why"}; any other text is shown whole
    started, ended  ISO 8601 with zone
    sampled     true if the plan is a random sample
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import replace

from campaigns.record import ExperimentRecord
from campaigns.store import Run
from failure_db.catalogue import load
from injector.rules import JSONValue
from mutineer.report.model import Deviation, RunMetadata, RunReport, build_report

__all__ = ["read_report"]


def read_report(run: Run) -> RunReport:
    """All of a run, in the order of its plan. Raises StoreError where the record is broken."""
    records = [_slim(record) for record in run.records(in_plan_order=True)]
    known = run.metadata
    meta = RunMetadata(
        name=run.folder.resolve().name,
        spec=run.name,
        seed=run.plan.seed,
        planned=run.planned_count(golden=False),
        started=_text(known.get("started", "")),
        ended=_text(known.get("ended", "")),
        versions={"mutineer": importlib.metadata.version("mutineer"), **_texts(known.get("versions"))},
        host={**_host(known.get("host")), **_texts(known.get("cluster"))},
        deviations=_deviations(known.get("deviations")),
        assets=_texts(known.get("assets")),
        sampled=known.get("sampled") is True,
    )
    incidents = {incident.id: incident for incident in load()}
    populations = {stratum.name: stratum.population for stratum in run.plan.strata}
    return build_report(
        meta, records, incidents, populations=populations, whole=lambda slim: run.record(slim.planned.id) or slim
    )


def _slim(record: ExperimentRecord) -> ExperimentRecord:
    """With only those parts of its observation that stay small, so that a report of thousands fits into memory."""
    if record.observation is None:
        return record
    small = replace(
        record.observation, writes=(), probes=(), events=(), over_time=(), metrics=(), log_errors=(), audit=None
    )
    return replace(record, observation=small)


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts(value: JSONValue) -> Mapping[str, str]:
    return {name: _text(item) for name, item in value.items()} if isinstance(value, dict) else {}


def _host(value: JSONValue) -> Mapping[str, str]:
    facts = dict(value) if isinstance(value, dict) else {}
    size = facts.pop("memory_bytes", None)
    memory = {"memory": f"{size / 2**30:.1f} GiB"} if isinstance(size, int) else {}
    return {**memory, **_texts(facts)}


_DEVIATION = re.compile(r"(?P<component>\S+) (?P<setting>.+?): (?P<kubeadm>.*?) → (?P<ours>.*?) \((?P<why>.*)\)")


def _deviations(value: JSONValue) -> tuple[Deviation, ...]:
    made = []
    for item in value if isinstance(value, list) else []:
        parts = _DEVIATION.fullmatch(item) if isinstance(item, str) else None
        known = parts.groupdict() if parts else _texts(item)
        if not known:
            made.append(Deviation(component="", setting=_text(item)))
            continue
        names = ("component", "setting", "ours", "kubeadm", "why")
        made.append(Deviation(**{name: known.get(name, "") for name in names}))
    return tuple(made)
