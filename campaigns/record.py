"""One experiment, planned and done: the values that the rooms of this package pass to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from classifiers.observation import Observation
from classifiers.verdict import Verdict
from injector.channels.recording import Recorded
from injector.rules import Rule
from injector.targets import Channel

__all__ = [
    "ExperimentRecord",
    "IncidentMatch",
    "Limits",
    "PlannedExperiment",
    "Purpose",
    "RecordedRun",
    "Reset",
    "Result",
]


class Purpose(StrEnum):
    """Why an experiment is done: because the plan says so; or once more, for what was late beside others may not be so
    while nothing else runs (alone), the campaign's policy wants to see a finding again (confirm), or a person asked
    (replay)."""

    PLANNED = "planned"
    ALONE = "alone"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long an experiment waits, all in seconds.

    prepare_s deadline for what the workload prepares
    settle_s  deadline for the workload to come to rest
    quiet_s   no change but volatile ones for so long is rest, once everything asked for is there
    stuck_s   ... and if it is not: longer, since controllers back off between tries
    unspoken_s  ... and longer still while a kubelet has told nothing of a pod that is bound to its node
    dormant_s rest after a fault that may take its time (at rest, or in a Lease) does not come sooner after it
    steady_s  clients go on for so long after it came to rest, so that "at the end" has samples
    canary_s  deadline of the canary
    heal_s    deadline for it to come back once the fault is removed, and once more after a restart; 0: nobody looks
    """

    settle_s: float
    quiet_s: float
    stuck_s: float
    steady_s: float
    canary_s: float
    prepare_s: float = 30.0
    unspoken_s: float = 0.0
    dormant_s: float = 0.0
    heal_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one task. Exactly one of `observation` and `error` is set. `seconds` with its reset.

    trace   the whole history with its values, as the worker packed it (None where it made none)
    times   seconds by part (campaigns.running.timing)
    recorded, baseline   of a RecordedRun: what passed, by channel, and what was stored before it, by key
    """

    planned: PlannedExperiment
    observation: Observation | None
    error: str | None
    reset: Reset | None
    seconds: float
    sandbox: str
    purpose: Purpose = Purpose.PLANNED
    trace: bytes | None = None
    times: Mapping[str, float] = field(default_factory=dict)
    recorded: Mapping[Channel, Recorded] = field(default_factory=dict)
    baseline: Mapping[str, bytes] = field(default_factory=dict)
