"""The words a verdict is made of, and the one place where their order is written (design.md, "Words")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Activation",
    "ClientFailure",
    "Means",
    "OrchestratorFailure",
    "Recovered",
    "Recovery",
    "Sign",
    "State",
    "Symptom",
    "Verdict",
]


class State(StrEnum):
    """Whether an experiment could be judged. Unknown is never `none`."""

    JUDGED = "judged"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class OrchestratorFailure(StrEnum):
    """What became of the cluster, gravest first: where several hold, the first of them is the class (the paper's
    Out, Sta, Net, MoR, LeR, Tim, No)."""

    OUTAGE = "outage"
    STALL = "stall"
    NETWORK = "network"
    MORE_RESOURCES = "more-resources"
    LESS_RESOURCES = "less-resources"
    TIMING = "timing"
    NONE = "none"


class ClientFailure(StrEnum):
    """What the service's clients saw, gravest first (the paper's SU, IA, HRT, NSI)."""

    UNREACHABLE = "unreachable"
    INTERMITTENT = "intermittent"
    SLOWER = "slower"
    NONE = "none"


class Activation(StrEnum):
    """How far the fault got. See docs/verdicts.md for how each is proven."""

    NOT_FIRED = "not-fired"
    FIRED = "fired"
    ACCEPTED = "accepted"
    CONSUMED = "consumed"
    EFFECTIVE = "effective"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One class that held, with the evidence in words (what was seen, what golden runs did)."""

    orchestrator: OrchestratorFailure
    why: str


class Recovered(StrEnum):
    """What it took for the cluster to come back once the fault was removed."""

    BY_ITSELF = "by itself"
    AFTER_RESTART = "after a restart of its components"
    NOT = "not at all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """`after_s`: from what was done until the cluster had come to rest; None if it never did."""

    how: Recovered
    after_s: float | None
    why: str


class Means(StrEnum):
    """By what Kubernetes told."""

    CRASH = "crash"
    READYZ = "readyz"
    LOG = "log"
    METRIC = "metric"
    EVENT = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One sign. `at_s`: when it was first seen, in seconds since the experiment's start; None: only at the end is it
    known. `alert`: the rule that would fire, "" if none; `pages`: its severity is critical."""

    means: Means
    component: str
    why: str
    at_s: float | None = None
    alert: str = ""
    pages: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one experiment. Classes are None unless `state` is judged. `also` are the other orchestrator
    classes that held; `activation` is None for golden runs; `aware` is None where no user asked, `aware_s` when they
    were told, in seconds since the start, if that is known; `detected` is what Kubernetes itself told
    (classifiers.detection); `recovery` is None unless it was tried (classifiers.recovery). `to_be_alone`: it was late
    and nothing else, beside other experiments: not judged until it has been done again alone."""

    state: State
    reasons: tuple[str, ...]
    orchestrator: OrchestratorFailure | None = None
    also: tuple[OrchestratorFailure, ...] = ()
    client: ClientFailure | None = None
    activation: Activation | None = None
    aware: bool | None = None
    aware_s: float | None = None
    detected: tuple[Sign, ...] = ()
    recovery: Recovery | None = None
    to_be_alone: bool = False
