"""One experiment, planned and done: the values that the planner, the runner and the store pass to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from classifiers.observation import Observation
from classifiers.verdict import Verdict
from injector.rules import Rule
from injector.targets import Channel

__all__ = ["ExperimentRecord", "IncidentMatch", "PlannedExperiment", "Purpose", "RecordedRun", "Reset"]


class Purpose(StrEnum):
    """Why an experiment is done: because the plan says so; or once more, for the campaign's policy wants to see a
    finding again (confirm), or a person asked (replay)."""

    PLANNED = "planned"
    CONFIRM = "confirm"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExperiment:
    """One line of the plan. `rule` is None for a golden run. `id` is a hash of content (`g…` golden, `e…` fault):
    the same spec and seed give the same ids on any machine. `why` tells a reader why it was chosen; `stratum` names the
    part of the population that it was drawn from ("": it was not sampled)."""

    id: str
    workload: str
    rule: Rule | None = None
    why: str = ""
    stratum: str = ""

    @property
    def golden(self) -> bool:
        return self.rule is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun(PlannedExperiment):
    """A golden run in which is noted what passes in these channels, at most one of each forwarder's
    (campaigns.planning.recording)."""

    record: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Reset:
    """How the cluster was made clean again. rung: rollback, restart, recreate; `proof` tells what was compared."""

    rung: str
    seconds: float
    proof: str = ""


@dataclass(frozen=True, slots=True)
class IncidentMatch:
    """A real-world incident that looks like this experiment. score 0..1; `why` in words."""

    id: str
    score: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """What the store keeps of one experiment. `observation` is None only where `verdict.state` is error;
    `error` then holds the traceback or the component's last log lines. `times`: seconds by part (running.timing)."""

    planned: PlannedExperiment
    verdict: Verdict
    observation: Observation | None
    incidents: tuple[IncidentMatch, ...] = ()
    reset: Reset | None = None
    seconds: float = 0.0
    sandbox: str = ""
    error: str | None = None
    times: Mapping[str, float] = field(default_factory=dict)
