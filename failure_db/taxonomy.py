"""The words an incident is classified with: a fault becomes an error, an error becomes a failure.

The chain is the paper's (Mutiny! How does Kubernetes fail, and what can we do about it?, DSN 2024, arXiv 2404.11169,
section on real-world failures): the *fault* is what went wrong first (a person, a bug, a machine), the *error* is the
wrong part of the system's state that the fault left behind, the *failure* is what became visible. Injection starts at
the error: it writes a wrong state and asks which failure follows, whatever the fault was.

The failure's words are those of the verdict (classifiers.verdict.OrchestratorFailure), so that an experiment and an
incident can be compared at all. Descriptions are ours and are printed by `mutineer incidents show`.
"""

from __future__ import annotations

from enum import StrEnum

from classifiers.verdict import ClientFailure, OrchestratorFailure

__all__ = [
    "CLIENT_CLASSES",
    "DESCRIPTIONS",
    "ClientImpact",
    "Confidence",
    "ErrorKind",
    "FaultKind",
    "Replicable",
    "SourceKind",
    "WholeObject",
]


class FaultKind(StrEnum):
    """What went wrong first."""

    MISCONFIGURATION = "misconfiguration"
    HUMAN_MISTAKE = "human-mistake"
    SOFTWARE_BUG = "software-bug"
    COMPONENT_FAILURE = "component-failure"
    OVERLOAD = "overload"
    LOW_LEVEL_ISSUE = "low-level-issue"
    UNKNOWN = "unknown"


class ErrorKind(StrEnum):
    """The part of the system that was wrong because of the fault."""

    WRONG_STATE = "wrong-state"
    STATE_RETRIEVAL = "state-retrieval"
    MISBEHAVING_LOGIC = "misbehaving-logic"
    COMMUNICATION = "communication"
    RESOURCE_EXHAUSTION = "resource-exhaustion"
    CONTROL_PLANE_UNAVAILABLE = "control-plane-unavailable"
    NODE_LOCAL = "node-local"
    UNKNOWN = "unknown"


class ClientImpact(StrEnum):
    """What the clients of the services saw."""

    UNREACHABLE = "unreachable"
    INTERMITTENT = "intermittent"
    HIGHER_LATENCY = "higher-latency"
    NONE = "none"
    UNKNOWN = "unknown"


class Replicable(StrEnum):
    """Whether a wrong value in the cluster's stored state can bring the failure back."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


class Confidence(StrEnum):
    """How sure the classification is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class SourceKind(StrEnum):
    """What kind of page the source is."""

    ISSUE = "issue"
    POSTMORTEM = "postmortem"
    BLOG = "blog"
    TALK = "talk"


class WholeObject(StrEnum):
    """What was wrong with an object as a whole, where no field (or not only a field) was."""

    DELETED = "deleted"
    PRESENT = "present"
    TOO_MANY = "too-many"
    UNREADABLE = "unreadable"


CLIENT_CLASSES: dict[ClientImpact, ClientFailure] = {
    ClientImpact.UNREACHABLE: ClientFailure.UNREACHABLE,
    ClientImpact.INTERMITTENT: ClientFailure.INTERMITTENT,
    ClientImpact.HIGHER_LATENCY: ClientFailure.SLOWER,
    ClientImpact.NONE: ClientFailure.NONE,
}
"""Client impact in the verdict's words; an unknown impact has none and agrees with nothing."""

DESCRIPTIONS: dict[StrEnum, str] = {
    FaultKind.MISCONFIGURATION: "a setting that was wrong for what it had to do",
    FaultKind.HUMAN_MISTAKE: "a person did something else than was meant",
    FaultKind.SOFTWARE_BUG: "a defect in Kubernetes, an operator or another program",
    FaultKind.COMPONENT_FAILURE: "a machine, disk or process failed",
    FaultKind.OVERLOAD: "more was asked than was planned for",
    FaultKind.LOW_LEVEL_ISSUE: "kernel, storage or hardware altered or lost something",
    FaultKind.UNKNOWN: "the source does not tell",
    ErrorKind.WRONG_STATE: "the cluster's stored state said something wrong",
    ErrorKind.STATE_RETRIEVAL: "the stored state could not be read, or was read stale or incomplete",
    ErrorKind.MISBEHAVING_LOGIC: "a controller did the wrong thing with correct state",
    ErrorKind.COMMUNICATION: "components could not reach or trust each other",
    ErrorKind.RESOURCE_EXHAUSTION: "memory, disk, addresses or requests ran out",
    ErrorKind.CONTROL_PLANE_UNAVAILABLE: "the control plane did not answer",
    ErrorKind.NODE_LOCAL: "something was wrong on the nodes, beneath the cluster's state",
    ErrorKind.UNKNOWN: "the source does not tell",
    OrchestratorFailure.OUTAGE: "running services went down",
    OrchestratorFailure.STALL: "the cluster kept what it had and could do nothing new",
    OrchestratorFailure.NETWORK: "pods ran and could not be reached",
    OrchestratorFailure.MORE_RESOURCES: "more objects than asked for",
    OrchestratorFailure.LESS_RESOURCES: "fewer objects than asked for",
    OrchestratorFailure.TIMING: "as asked, but late",
}
"""What each word means, in one line."""
