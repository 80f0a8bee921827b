"""Builders of the record's values: a golden run of `deploy` and how to make it wrong in one respect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from classifiers.golden import Baseline
from classifiers.observation import (
    CanaryRecord,
    ComponentHealth,
    Observation,
    PodFinal,
    ProbeKind,
    ProbeSample,
    ProbeSeries,
    Write,
)
from injector.rules import Firing, Rule, Told
from injector.targets import Channel, Target

NODES = ("node-1", "node-2", "node-3")
SECONDS = 20.0
UP_AT_S = 4.0
HZ = 10
CANARY = {"created": 0.1, "pod-created": 0.2, "pod-scheduled": 0.3, "pod-ready": 1.8, "endpoints": 1.9, "traffic": 2.9}
COUNTS = {"Pod": 6, "ReplicaSet": 1, "Deployment": 1, "Service": 1, "EndpointSlice": 1, "Endpoints": 1, "Event": 40}
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet/node-1")
SERVICE = "default/web"
POD_KEY = "/registry/pods/default/web-abc-1"
SERVICE_KEY = "/registry/services/specs/default/web"


def samples(
    outcome: Callable[[float], str] = lambda at_s: "ok" if at_s >= UP_AT_S else "refused",
    *,
    latency_s: float = 0.002,
    until_s: float = SECONDS,
) -> tuple[ProbeSample, ...]:
    """Requests at HZ from 0 to `until_s`; `outcome` tells how each went."""
    times = [i / HZ for i in range(int(until_s * HZ))]
    return tuple(ProbeSample(at_s=t, latency_s=latency_s, outcome=outcome(t)) for t in times)


def probes(
    series: Sequence[ProbeSample] | None = None,
    *,
    only: str | None = None,
    service: str = SERVICE,
    kind: ProbeKind = ProbeKind.HTTP,
) -> tuple[ProbeSeries, ...]:
    """One series per node; `series` (from `only` that node, or from all) instead of a good one."""
    good = samples()
    return tuple(
        ProbeSeries(
            service=service,
            vantage=node,
            kind=kind,
            samples=tuple(series) if series is not None and only in (None, node) else good,
        )
        for node in NODES
    )


def pods(count: int = 6, *, ready: int | None = None) -> tuple[PodFinal, ...]:
    """`count` pods, the first `ready` of them ready."""
    good = count if ready is None else ready
    return tuple(
        PodFinal(
            identity=f"Pod/default/web#{i + 1}",
            phase="Running" if i < good else "Pending",
            ready=i < good,
            node=NODES[i % 3],
            ip=f"10.244.{i % 3}.{i + 2}",
        )
        for i in range(count)
    )


def writes(pod_count: int = 6) -> tuple[Write, ...]:
    """A short but whole history: Deployment, Service, slices, ReplicaSet, each pod created, bound, made ready."""
    steps = [
        (0.1, "/registry/deployments/default/web", "Deployment", "Deployment/default/web", "create"),
        (0.2, SERVICE_KEY, "Service", "Service/default/web", "create"),
        (0.3, "/registry/endpointslices/default/web-x", "EndpointSlice", "EndpointSlice/default/web#1", "create"),
        (0.3, "/registry/replicasets/default/web-abc", "ReplicaSet", "ReplicaSet/default/web#1", "create"),
    ]
    for n in range(1, pod_count + 1):
        key, identity = f"/registry/pods/default/web-abc-{n}", f"Pod/default/web#{n}"
        steps += [(0.4 + n / 100, key, "Pod", identity, "create"), (0.6 + n / 100, key, "Pod", identity, "update")]
        steps += [(2.0 + n / 100, key, "Pod", identity, "update")]
    steps += [
        (3.0, "/registry/endpointslices/default/web-x", "EndpointSlice", "EndpointSlice/default/web#1", "update"),
        (3.1, "/registry/deployments/default/web", "Deployment", "Deployment/default/web", "update"),
        (3.2, "/registry/events/default/web.1", "Event", "Event/default/web.1", "create"),
    ]
    return tuple(
        Write(revision=100 + i, at_s=at, key=key, kind=kind, identity=identity, operation=operation, size_bytes=500)
        for i, (at, key, kind, identity, operation) in enumerate(steps)
    )


def components(**changed: ComponentHealth) -> tuple[ComponentHealth, ...]:
    """All up; `changed` by name with `_` for what no identifier may hold."""
    by_name = {c.name: c for c in changed.values()}
    return tuple(by_name.get(n, ComponentHealth(name=n, alive=True, ready=True)) for n in COMPONENTS)


def canary(**stages: float | None) -> CanaryRecord:
    """A canary that came right, but for `stages` (`_` for `-`)."""
    return CanaryRecord(stages={**CANARY, **{k.replace("_", "-"): v for k, v in stages.items()}}, deadline_s=10.0)


def observation(**changes: Any) -> Observation:
    """A golden run of `deploy`, with `changes`."""
    golden = Observation(
        workload="deploy",
        seconds=SECONDS,
        r0=99,
        milestones={"applied": 0.2, "pods-ready": 2.1, "traffic": UP_AT_S, "settled": 6.0},
        wanted_pods=6,
        pods=pods(),
        final_counts=dict(COUNTS),
        peak_counts=dict(COUNTS),
        probes=probes(),
        canary=canary(),
        components=components(),
        writes=writes(),
    )
    return replace(golden, **changes)


def counts(**changed: int) -> Mapping[str, int]:
    return {**COUNTS, **changed}


def goldens(count: int = 5) -> tuple[Observation, ...]:
    """Golden runs that differ a little in time, as real ones do."""
    return tuple(
        observation(
            milestones={
                "applied": 0.2,
                "pods-ready": 2.1 + i / 20,
                "traffic": UP_AT_S - i / 20,
                "settled": 6.0 + i / 10,
            },
            final_counts=counts(Event=40 + i),
        )
        for i in range(count)
    )


def baseline(count: int = 5) -> Baseline:
    return Baseline.from_observations("deploy", goldens(count))


PODS = "pods of default"


def all_paths(**changed: Sequence[ProbeSample]) -> tuple[ProbeSeries, ...]:
    """A good service, its name and pods on other nodes from every node; `http`, `dns` or `pod` with other samples."""
    services = {ProbeKind.HTTP: SERVICE, ProbeKind.DNS: SERVICE, ProbeKind.POD: PODS}
    return tuple(
        s for kind, service in services.items() for s in probes(changed.get(kind.value), service=service, kind=kind)
    )


def baseline_of_all_paths() -> Baseline:
    return Baseline.from_observations("deploy", [replace(run, probes=all_paths()) for run in goldens()])


def rule(**changes: Any) -> Rule:
    target = Target(kind="Service", identity="Service/default/web", field="spec.selector[app]")
    built = Rule(
        id="e0123456789",
        channel=Channel.APISERVER_TO_ETCD,
        model="value-set",
        target=target,
        parameters={"value": "wax"},
    )
    return replace(built, **changes)


def firing(**changes: Any) -> Firing:
    """A Service selector changed in flight at its creation (revision 101 of `writes`)."""
    built = Firing(
        rule_id="e0123456789",
        at_s=0.2,
        key=SERVICE_KEY,
        identity="Service/default/web",
        operation="put",
        before=b"k8s\x00 app=web",
        after=b"k8s\x00 app=wax",
        span=(11, 12),
        field_before="web",
        field_after="wax",
        accepted=True,
        revision=101,
    )
    return replace(built, **changes)


def drop(**changes: Any) -> Firing:
    """The same message held back."""
    return firing(
        **{
            "operation": "drop",
            "after": b"",
            "span": None,
            "field_before": None,
            "field_after": None,
            "accepted": False,
            "revision": None,
            "told": Told.SUCCESS,
            **changes,
        }
    )


def faulty(**changes: Any) -> Observation:
    """An experiment in which one fault fired, like a golden run in all else but `changes`."""
    return observation(**{"armed": True, "firings": (firing(),), **changes})
