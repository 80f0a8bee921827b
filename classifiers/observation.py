"""What was seen in one experiment: the only thing a classifier reads.

Values only, no I/O. All times are seconds since the experiment's start (monotonic) unless a name says otherwise.
The stored form is JSON (`to_json`/`from_json`, see classifiers.record); `SCHEMA` counts its incompatible changes.

History of the form: 1 (first; fields that came later have defaults, so that older records read).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from injector.rules import Firing, NearMiss

__all__ = [
    "SCHEMA",
    "AuditEvent",
    "AuditRecord",
    "CanaryRecord",
    "ComponentHealth",
    "ComponentSample",
    "ComponentSeries",
    "EventRecord",
    "Handled",
    "LogErrors",
    "Look",
    "MetricChange",
    "Observation",
    "PodFinal",
    "ProbeKind",
    "ProbeSample",
    "ProbeSeries",
    "Write",
]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One revision of one key in etcd's history since r0.

    operation  create, update or delete
    identity   stable identity (injector.identity), e.g. `Pod/default/web#3`
    """

    revision: int
    at_s: float
    key: str
    kind: str
    identity: str
    operation: str
    size_bytes: int
    decodable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What the API would still do, at the end, with an object that a fault was in: asked by dry runs, which change
    nothing. `read`, `update` (with what was read) and `delete` are "" where it would, else its words. `decodable`: by
    this project's codec, from what is stored."""

    key: str
    identity: str
    decodable: bool
    read: str = ""
    update: str = ""
    delete: str = ""

    @property
    def invalid(self) -> bool:
        """It can be decoded, and could not be written back as it is."""
        return self.decodable and not self.read and bool(self.update)


class ProbeKind(StrEnum):
    """What a client asks."""

    HTTP = "http"
    """A Service, at its address."""
    DNS = "dns"
    """The cluster's DNS, for a Service's name."""
    POD = "pod"
    """Pods on other nodes, at their own addresses."""


@dataclass(frozen=True, slots=True)
class ProbeSample:
    """One client request. `outcome` is `ok`, `no-address`, `refused`, `timeout`, `reset`, `http-NNN` or `other: …`; of
    DNS also `nxdomain`, `servfail`, `dns-N` (another response code), `no-records` or `wrong-address`."""

    at_s: float
    latency_s: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSeries:
    """All requests of one kind to one service from one vantage point (a node). `service` is a name in `default`,
    `NAMESPACE/NAME`, or, for pods, `pods of NAMESPACE`. `blind` says why the probe could not run."""

    service: str
    vantage: str
    samples: tuple[ProbeSample, ...]
    blind: str | None = None
    kind: ProbeKind = ProbeKind.HTTP

    @property
    def path(self) -> str:
        """What is asked, in words: with the vantage, a name for this client."""
        return f"DNS of {self.service}" if self.kind is ProbeKind.DNS else self.service


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFinal:
    """A pod of the workload at the end, as stored."""

    identity: str
    phase: str
    ready: bool
    node: str
    ip: str
    deleting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRecord:
    """The canary: a new Deployment and Service that must come to life after the workload has settled.

    stages  seconds from the canary's start to `created`, `pod-created`, `pod-scheduled`, `pod-ready`, `endpoints`,
            `traffic` (HTTP 200 through its ClusterIP from every node); None where the deadline passed first
    error   what the API said if the canary could not even be created
    blind   which of its clients could not see, in words; also in Observation.blind
    """

    stages: Mapping[str, float | None]
    deadline_s: float
    error: str | None = None
    blind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """A control-plane or node component over the experiment.

    restarts  times its process ended and was started again (or ended for good) in the experiment
    alive     at the end; `ready` what its own readyz/healthz said at the end (None: has none or was not asked)
    """

    name: str
    alive: bool
    restarts: int = 0
    ready: bool | None = None
    detail: str = ""
    cpu_s: float = 0.0
    rss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ComponentSample:
    """A component at one moment. `cpu_s` since its process started; `ready` None: not asked, or no answer is known."""

    at_s: float
    alive: bool
    restarts: int
    cpu_s: float
    rss_bytes: int
    ready: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSeries:
    """A component over time; its restarts counted from the experiment's start."""

    name: str
    samples: tuple[ComponentSample, ...]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One write of an object of kind Event. `type` is Normal or Warning, `about` the identity of the object that it is
    about (`KIND/NAMESPACE/NAME` where that is not known), `who` the component that reported it, `count` how often it
    has happened by then."""

    at_s: float
    type: str
    reason: str
    about: str
    message: str
    who: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A component's metric (the sum over its labels that are of interest: campaigns.observers.metrics) at the start and
    at the end; None where it did not tell. A counter begins anew with its process."""

    component: str
    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogErrors:
    """Lines of a component's log since the start that tell of an error: how many, and the first few. Without texts
    where the fault was aimed at a Secret."""

    component: str
    count: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One request as kube-apiserver's audit log has it. `what` is RESOURCE[/SUBRESOURCE][ NAMESPACE/NAME]."""

    at_s: float
    user: str
    verb: str
    what: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """What the audit log tells since the start: every request that changes something and every one that failed, as far
    as there was room; `others` are reads that were answered, `left_out` what there was no room for."""

    events: tuple[AuditEvent, ...]
    others: int
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the cluster was once something had been done about the fault (`done`, in words). Times in seconds:

    since_s   when that was, since the experiment's start; `seconds`: when clients were last looked at
    rested_s  from then until all was quiet and as the workload wants it; None: never, in the time that there was
    components  with their restarts since then

    The others as of an Observation.
    """

    done: str
    since_s: float
    seconds: float
    rested_s: float | None
    pods: tuple[PodFinal, ...]
    final_counts: Mapping[str, int]
    probes: tuple[ProbeSeries, ...]
    canary: CanaryRecord
    components: tuple[ComponentHealth, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything collected in one experiment.

    milestones      name → seconds: `applied` (user's last request answered), `pods-ready` (all asked-for pods Ready),
                    `traffic` (first HTTP 200 from every node); None where it never came. A `settled` milestone tells
                    when nothing but volatile keys changed any more; None: the deadline came first. A fault at rest
                    goes in after that, and `settled-after-fault` is the rest after it
    final_counts    kind → live objects of the workload's namespace at the end (`Pod`, `ReplicaSet`, …)
    peak_counts     kind → most live objects at one moment
    wanted_pods     how many pods the user asked for
    user_errors     what the API told the workload's user: errors, warnings, failed conditions, in words
    told_s          of those, as far as it is known, when they were told first, in seconds since the start
    caps            caps of the host guard that were hit, in words
    blind           observers that could not see, in words (never silently empty)
    firings         their `at_s` set to seconds since the experiment's start by the collector
    near_misses     filled if a rule was armed and never fired
    unclean         what was not as in the baseline when the experiment started, in words
    undecodable     keys that could not be decoded at the end, though they could at r0 or were written since
    renamed         keys of objects that were stored as another one than before, by name, namespace or Service
    handled         what could still be done, at the end, with what a fault was in and is still there
    looks           what became of it after the fault had been removed, and after a restart; empty: nobody looked
    components      those of the control plane and the nodes, and kube-system's workloads (`kube-system/coredns`)
    over_time       components of which one could be looked at each second
    metrics, log_errors    nothing where the cluster has no way to ask for them
    audit           None: the cluster writes no audit log
    missing         what could not be seen of those parts that no class is drawn from (events to audit), in words
    """

    workload: str
    seconds: float
    r0: int
    milestones: Mapping[str, float | None]
    wanted_pods: int
    pods: tuple[PodFinal, ...]
    final_counts: Mapping[str, int]
    peak_counts: Mapping[str, int]
    probes: tuple[ProbeSeries, ...]
    canary: CanaryRecord
    components: tuple[ComponentHealth, ...]
    writes: tuple[Write, ...]
    armed: bool = False
    firings: tuple[Firing, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    user_errors: tuple[str, ...] = ()
    told_s: Mapping[str, float] = field(default_factory=dict)
    user_asked: bool = True
    caps: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    undecodable: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    handled: tuple[Handled, ...] = ()
    looks: tuple[Look, ...] = ()
    unclean: tuple[str, ...] = ()
    load: Mapping[str, float] = field(default_factory=dict)
    events: tuple[EventRecord, ...] = ()
    over_time: tuple[ComponentSeries, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    log_errors: tuple[LogErrors, ...] = ()
    audit: AuditRecord | None = None
    missing: tuple[str, ...] = ()
