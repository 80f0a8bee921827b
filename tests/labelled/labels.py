"""Reads the labelled injections, as a campaign each workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from campaigns.planning.plan import plan
from campaigns.spec.campaign_spec import CampaignSpec, parse_spec
from classifiers.verdict import OrchestratorFailure

__all__ = ["LABELS", "Label", "campaign_texts", "campaigns", "labels"]

GOLDENS = 20
LABELS = Path(__file__).parent / "injections.yaml"


@dataclass(frozen=True, slots=True)
class Label:
    """One injection: the id that a plan gives it, and the class that is expected of it."""

    id: str
    workload: str
    expected: OrchestratorFailure
    why: str


def campaigns() -> Mapping[str, CampaignSpec]:
    """Workload → the campaign with all its injections. InputError with all that is wrong with them."""
    return {
        workload: parse_spec(text, file=f"{LABELS.name} ({workload})") for workload, text in campaign_texts().items()
    }


def campaign_texts() -> Mapping[str, str]:
    """The same as a person would write them."""
    by_workload: dict[str, list[dict[str, Any]]] = {}
    for entries in _read().values():
        for entry in entries:
            fault = {name: value for name, value in entry.items() if name != "workload"}
            by_workload.setdefault(entry["workload"], []).append(fault)
    return {
        workload: yaml.safe_dump(
            {"name": f"labelled-{workload}", "workloads": [workload], "golden": GOLDENS, "faults": faults}
        )
        for workload, faults in by_workload.items()
    }


def labels() -> tuple[Label, ...]:
    """All of them, with the ids of the experiments that the campaigns' plans have."""
    expected = {
        (entry["workload"], entry["why"]): OrchestratorFailure(name)
        for name, entries in _read().items()
        for entry in entries
    }
    planned = (
        (workload, each) for workload, spec in campaigns().items() for each in plan(spec).experiments if not each.golden
    )
    return tuple(Label(each.id, workload, expected[workload, each.why], each.why) for workload, each in planned)


def _read() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(LABELS.read_text(encoding="utf-8"))
    return found
