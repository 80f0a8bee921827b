"""Built observations with the class that belongs to them: one respect wrong in each."""

from __future__ import annotations

from classifiers.observation import CanaryRecord, ComponentHealth, Observation, Write
from classifiers.verdict import OrchestratorFailure as O
from tests.builders import CANARY, SECONDS, canary, components, counts, faulty, pods, probes, samples, writes

TIMEOUTS = samples(lambda t: "timeout")
UP_THEN_DOWN = samples(lambda t: "ok" if 4 <= t < 12 else "refused")


def dead(name: str) -> tuple[ComponentHealth, ...]:
    return components(it=ComponentHealth(name=name, alive=False, restarts=1, detail="exit 2"))


def runaway(total: int = 200) -> tuple[Write, ...]:
    """Pods made evenly to the very end."""
    more = tuple(
        Write(
            revision=1000 + i,
            at_s=SECONDS * i / total,
            key=f"/registry/pods/default/web-abc-x{i}",
            kind="Pod",
            identity=f"Pod/default/web#{i + 7}",
            operation="create",
            size_bytes=500,
        )
        for i in range(total)
    )
    return (*writes(), *more)


LABELLED: dict[str, tuple[Observation, O]] = {
    "nothing wrong": (faulty(), O.NONE),
    "kube-apiserver dead": (faulty(components=dead("kube-apiserver")), O.OUTAGE),
    "etcd dead": (faulty(components=dead("etcd")), O.OUTAGE),
    "kube-apiserver not ready": (
        faulty(components=components(it=ComponentHealth(name="kube-apiserver", alive=True, ready=False))),
        O.OUTAGE,
    ),
    "kube-apiserver in a crash loop": (
        faulty(components=components(it=ComponentHealth(name="kube-apiserver", alive=True, ready=True, restarts=4))),
        O.OUTAGE,
    ),
    "services and control plane down": (
        faulty(
            probes=probes(UP_THEN_DOWN),
            canary=CanaryRecord(stages=dict.fromkeys(CANARY), deadline_s=10.0, error="500 from the API"),
        ),
        O.OUTAGE,
    ),
    "canary refused, services run": (
        faulty(canary=CanaryRecord(stages=dict.fromkeys(CANARY), deadline_s=10.0, error="500 from the API")),
        O.STALL,
    ),
    "canary's pod never made": (
        faulty(canary=canary(pod_created=None, pod_scheduled=None, pod_ready=None, endpoints=None, traffic=None)),
        O.STALL,
    ),
    "canary's pod never scheduled": (
        faulty(canary=canary(pod_scheduled=None, pod_ready=None, endpoints=None, traffic=None)),
        O.STALL,
    ),
    "canary's endpoints never came": (faulty(canary=canary(endpoints=None, traffic=None)), O.STALL),
    "scheduler dead": (faulty(components=dead("kube-scheduler")), O.STALL),
    "controller-manager in a crash loop": (
        faulty(components=components(it=ComponentHealth(name="kube-controller-manager", alive=True, restarts=3))),
        O.STALL,
    ),
    "workload hot-loops": (
        faulty(
            milestones={"applied": 0.2, "pods-ready": None, "traffic": None, "settled": None},
            pods=(),
            final_counts=counts(Pod=0),
            writes=tuple(w for w in writes() if w.kind != "Pod"),
            probes=probes(TIMEOUTS),
        ),
        O.STALL,
    ),
    "service unreachable from everywhere": (faulty(probes=probes(TIMEOUTS)), O.NETWORK),
    "service unreachable from one node": (faulty(probes=probes(UP_THEN_DOWN, only="node-2")), O.NETWORK),
    "one request in six fails": (
        faulty(probes=probes(samples(lambda t: "ok" if t < 12 or int(t * 10) % 6 else "timeout"))),
        O.NETWORK,
    ),
    "unreachable though five of six pods are ready": (
        faulty(probes=probes(TIMEOUTS), pods=pods(6, ready=5)),
        O.NETWORK,
    ),
    "canary gets endpoints, no traffic": (faulty(canary=canary(traffic=None)), O.NETWORK),
    "the Service was lost": (
        faulty(
            probes=probes(TIMEOUTS),
            final_counts=counts(Service=0, EndpointSlice=0, Endpoints=0),
            writes=tuple(w for w in writes() if w.kind not in ("Service", "EndpointSlice")),
        ),
        O.NETWORK,
    ),
    "one pod too many": (
        faulty(pods=pods(7), final_counts=counts(Pod=7), peak_counts=counts(Pod=7), writes=writes(7)),
        O.MORE_RESOURCES,
    ),
    "a second ReplicaSet": (faulty(final_counts=counts(ReplicaSet=2)), O.MORE_RESOURCES),
    "twice the pods at the peak": (faulty(peak_counts=counts(Pod=12)), O.MORE_RESOURCES),
    "runaway creation": (faulty(writes=runaway()), O.MORE_RESOURCES),
    "one pod not ready": (faulty(pods=pods(6, ready=5)), O.LESS_RESOURCES),
    "no pods at all": (
        faulty(pods=(), final_counts=counts(Pod=0), probes=probes(TIMEOUTS)),
        O.LESS_RESOURCES,
    ),
    "an object missing that no client needs": (faulty(final_counts=counts(Endpoints=0)), O.LESS_RESOURCES),
    "pods ready late": (
        faulty(milestones={"applied": 0.2, "pods-ready": 9.0, "traffic": 4.0, "settled": 6.0}),
        O.TIMING,
    ),
    "never quiet": (
        faulty(milestones={"applied": 0.2, "pods-ready": 2.1, "traffic": 4.0, "settled": None}),
        O.TIMING,
    ),
    "canary slow": (faulty(canary=canary(pod_ready=6.0, endpoints=6.1, traffic=7.0)), O.TIMING),
    # Neighbours that must stay `none`
    "one pod replaced within the surge": (faulty(peak_counts=counts(Pod=8)), O.NONE),
    "many Events": (faulty(final_counts=counts(Event=900), peak_counts=counts(Event=900)), O.NONE),
    "the kubelet restarted once": (
        faulty(components=components(it=ComponentHealth(name="kubelet/node-1", alive=True, ready=True, restarts=1))),
        O.NONE,
    ),
    "the scheduler restarted once": (
        faulty(components=components(it=ComponentHealth(name="kube-scheduler", alive=True, ready=True, restarts=1))),
        O.NONE,
    ),
    "a second late": (
        faulty(milestones={"applied": 0.3, "pods-ready": 3.1, "traffic": 5.0, "settled": 7.0}),
        O.NONE,
    ),
    "two requests lost": (
        faulty(probes=probes(samples(lambda t: "ok" if t >= 4 and t not in (9.0, 19.0) else "reset"))),
        O.NONE,
    ),
}
