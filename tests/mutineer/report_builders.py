"""A hand-made run that looks like a quickstart: every class, state and activation occurs, bytes are protobuf-like."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from campaigns.record import ExperimentRecord, IncidentMatch, PlannedExperiment, Reset
from classifiers.observation import (
    CanaryRecord,
    ComponentHealth,
    Observation,
    ProbeSample,
    ProbeSeries,
)
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from failure_db.catalogue import load
from failure_db.matching import match, signature_of
from injector.rules import Firing, JSONValue, NearMiss, Rule, Told
from injector.targets import Channel, Target
from mutineer.report.model import Deviation, RunMetadata, RunReport, build_report

NODES = ("node-1", "node-2", "node-3")
STAGES = ("created", "pod-created", "pod-scheduled", "pod-ready", "endpoints", "traffic")
ALIVE = dict(zip(STAGES, (0.1, 0.2, 0.3, 1.9, 2.1, 2.8), strict=True))
INCIDENTS = {incident.id: incident for incident in load()}
Out, Client = OrchestratorFailure, ClientFailure


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field with a one- or two-byte length."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([number << 3 | 2]) + length + content


def stored(api_version: str, kind: str, *parts: bytes) -> bytes:
    """Kubernetes' storage envelope around an object."""
    type_meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\x00" + field(1, type_meta) + field(2, b"".join(parts)) + b"\x1a\x00\x22\x00"


def service(app: str) -> bytes:
    meta = field(1, b"web") + field(3, b"default") + field(5, b"2f1c9a52-7c1e-4d0e-9f0e-6b1f0a6f2b11") + b"\x38\x01"
    port = field(1, b"http") + field(2, b"TCP") + b"\x18\x50" + field(4, b"\x08\x00\x10\x90\x3f\x1a\x00")
    spec = field(1, port) + field(2, field(1, b"app") + field(2, app.encode())) + field(3, b"10.96.34.120")
    return stored("v1", "Service", field(1, meta), field(2, spec))


def probes(seconds: float, outcomes: Sequence[tuple[float, str]], *, start: float = 3.2) -> tuple[ProbeSeries, ...]:
    """A request each 0.25 s from every node; `outcomes` are (from when, outcome), first ones until `start` refused."""
    series = []
    for n, node in enumerate(NODES):
        samples, at = [], 0.4 + 0.07 * n
        while at < seconds:
            outcome = "refused" if at < start + 0.3 * n else "ok"
            for since, then in outcomes:
                if at >= since + 0.4 * n:
                    outcome = then
            samples.append(ProbeSample(round(at, 3), 0.002 if outcome == "ok" else 1.0, outcome))
            at += 0.25
        series.append(ProbeSeries(service="web", vantage=node, samples=tuple(samples)))
    return tuple(series)


def observation(
    *,
    seconds: float = 24.0,
    milestones: Mapping[str, float | None] | None = None,
    outcomes: Sequence[tuple[float, str]] = (),
    canary: CanaryRecord | None = None,
    **more: object,
) -> Observation:
    base = Observation(
        workload="deploy",
        seconds=seconds,
        r0=412,
        milestones=milestones or {"applied": 0.3, "pods-ready": 3.1, "traffic": 3.9, "settled": 9.4},
        wanted_pods=6,
        pods=(),
        final_counts={"Pod": 6, "ReplicaSet": 1},
        peak_counts={"Pod": 6, "ReplicaSet": 1},
        probes=probes(seconds, outcomes),
        canary=canary or CanaryRecord(stages=ALIVE, deadline_s=20),
        components=(ComponentHealth(name="kube-controller-manager", alive=True),),
        writes=(),
    )  # fmt: skip
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def firing(before: bytes, after: bytes, *, span: tuple[int, int] | None = None, **more: object) -> Firing:
    base = Firing(
        rule_id="r",
        at_s=0.8,
        key="/registry/services/specs/default/web",
        identity="Service/default/web",
        operation="put",
        before=before,
        after=after,
        span=span,
        accepted=True,
        revision=431,
    )
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def experiment(
    name: str,
    *,
    kind: str,
    identity: str,
    model: str,
    field: str | None = None,
    parameters: Mapping[str, JSONValue] | None = None,
    channel: Channel = Channel.APISERVER_TO_ETCD,
    verdict: Verdict,
    seen: Observation | None = None,
    why: str = "",
    rung: str = "rollback",
    error: str | None = None,
) -> ExperimentRecord:
    rule = Rule(
        id=f"r-{name}",
        channel=channel,
        model=model,
        target=Target(kind=kind, identity=identity, field=field),
        parameters=parameters or {},
    )
    matches = match(signature_of(rule, verdict, seen), tuple(INCIDENTS.values()))
    return ExperimentRecord(
        planned=PlannedExperiment(id=name, workload="deploy", rule=rule, why=why),
        verdict=verdict,
        observation=seen,
        incidents=tuple(IncidentMatch(m.id, m.score, m.why) for m in matches),
        reset=Reset(rung, 0.41 if rung == "rollback" else 4.2, "1 184 keys equal to the baseline; nodes clean"),
        seconds=(seen.seconds if seen else 3.0) + 1.4,
        sandbox="sandbox-1",
        error=error,
    )


def judged(
    orchestrator: OrchestratorFailure,
    *reasons: str,
    client: ClientFailure = Client.NONE,
    activation: Activation = Activation.EFFECTIVE,
    also: tuple[OrchestratorFailure, ...] = (),
    aware: bool | None = False,
) -> Verdict:
    return Verdict(
        state=State.JUDGED,
        reasons=reasons,
        orchestrator=orchestrator,
        also=also,
        client=client,
        activation=activation,
        aware=aware,
    )


def golden(n: int, shift: float = 0.0) -> ExperimentRecord:
    seen = observation(milestones={
        "applied": 0.3, "pods-ready": 2.9 + shift, "traffic": 3.6 + shift, "settled": 9.0 + 2 * shift,
    })  # fmt: skip
    return ExperimentRecord(
        planned=PlannedExperiment(id=f"g{n:03d}a7", workload="deploy"),
        verdict=Verdict(
            state=State.JUDGED, reasons=("as the golden runs",), orchestrator=Out.NONE, client=Client.NONE, aware=False
        ),
        observation=seen,
        reset=Reset("rollback", 0.4, "equal"),
        seconds=24.9 + shift,
    )


def service_selector(name: str = "e4b81c02") -> ExperimentRecord:
    before, after = service("web"), service("veb")
    at = before.rindex(b"\x03web\x1a") + 1
    return experiment(
        name,
        kind="Service",
        identity="Service/default/web",
        model="bit-flip",
        field="spec.selector[app]",
        parameters={"bit": 0, "character": 0},
        why="a Service that selects no pod: dependency by labels",
        verdict=judged(
            Out.NETWORK,
            "no request through the ClusterIP of web succeeded from any of 3 nodes; golden: first success at 3.6 s",
            "6 of 6 pods are Ready, so the pods are not the reason",
            client=Client.UNREACHABLE,
        ),
        seen=observation(
            milestones={"applied": 0.3, "pods-ready": 3.0, "traffic": None, "settled": 8.8},
            outcomes=((0.0, "refused"),),
            firings=(
                firing(before, after, span=(at, at + 3), field_before="web", field_after="veb"),
            ),
        ),
    )  # fmt: skip


def dead_canary(last: int, error: str | None = None) -> CanaryRecord:
    stages = {stage: (0.1 * (n + 1) if n < last else None) for n, stage in enumerate(STAGES)}
    return CanaryRecord(stages=stages, deadline_s=20, error=error)


def quickstart_records() -> tuple[ExperimentRecord, ...]:
    """Eight golden runs and twelve faults."""
    base = service("web")
    meta = field(1, field(1, b"web") + field(3, b"default"))
    replicas_before = stored("apps/v1", "Deployment", meta, field(2, b"\x08\x06"))
    replicas_after = stored("apps/v1", "Deployment", meta, field(2, b"\x08\x86\x02"))
    start = replicas_before.index(b"\x12\x02\x08\x06") + 3
    slice_before = stored(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        field(1, field(1, b"web-x7k2p") + field(3, b"default")),
        *[field(2, field(1, f"10.244.{n}.{n + 2}".encode()) + field(2, b"\x08\x01")) for n in range(3)],
    )
    flipped = bytearray(slice_before)
    flipped[40] ^= 0x80
    faults = (
        service_selector(),
        experiment(
            "e0d17f3a", kind="Deployment", identity="Deployment/default/web", model="bit-flip", field="spec.replicas",
            parameters={"bit": 8}, why="an integer with a high bit set: more of everything",
            verdict=judged(
                Out.MORE_RESOURCES, "31 pods at the end, 6 wanted; golden runs: 6 (all of 8)",
                "the guard's cap of 30 pods a node was hit and is not counted as an outage", also=(Out.TIMING,),
            ),
            seen=observation(
                seconds=41.0, final_counts={"Pod": 31, "ReplicaSet": 1}, peak_counts={"Pod": 31, "ReplicaSet": 1},
                milestones={"applied": 0.3, "pods-ready": 19.5, "traffic": 4.4, "settled": None},
                caps=("pods per node: 30 of 30 on node-2",),
                firings=(firing(
                    replicas_before, replicas_after, span=(start, start + 1), field_before=6, field_after=262,
                    key="/registry/deployments/default/web", identity="Deployment/default/web",
                ),),
            ),
        ),
        experiment(
            "e77c20de", kind="ReplicaSet", identity="ReplicaSet/default/web#1", model="value-set",
            field="metadata.ownerReferences[0].uid", parameters={"value": "00000000-0000-0000-0000-000000000000"},
            why="an owner that does not exist: the garbage collector's decision", channel=Channel.AT_REST_WRITE,
            verdict=judged(
                Out.LESS_RESOURCES, "0 pods for 2.9 s, 6 wanted: the ReplicaSet was collected and made anew",
                client=Client.INTERMITTENT, also=(Out.NETWORK, Out.TIMING), aware=True,
            ),
            seen=observation(
                outcomes=((6.0, "timeout"), (8.9, "ok")), user_errors=("Warning FailedCreate replicaset-controller",),
                firings=(firing(
                    stored("apps/v1", "ReplicaSet", field(1, field(1, b"web-6d4cf56db6") + field(4, b"5b0e7c54-2a0b-4a39-8a63-3d1c2f5d8e77"))),  # noqa: E501
                    stored("apps/v1", "ReplicaSet", field(1, field(1, b"web-6d4cf56db6") + field(4, b"00000000-0000-0000-0000-000000000000"))),  # noqa: E501
                    at_s=5.6, key="/registry/replicasets/default/web-6d4cf56db6", identity="ReplicaSet/default/web#1",
                    field_before="5b0e7c54-2a0b-4a39-8a63-3d1c2f5d8e77", field_after="00000000-0000-0000-0000-000000000000",  # noqa: E501
                ),),
            ),
        ),
        experiment(
            "e912aa40", kind="EndpointSlice", identity="EndpointSlice/default/web#1", model="byte-flip",
            parameters={"offset": 40, "mask": 128}, why="a stored object that can't be decoded", rung="restart",
            verdict=judged(
                Out.STALL, "the canary's pods were created and never got an address through its Service in 20 s",
                "kube-apiserver answers 500 to every list of EndpointSlices: 1 key can't be decoded",
                client=Client.UNREACHABLE, also=(Out.NETWORK,), aware=True,
            ),
            seen=observation(
                seconds=46.0, canary=dead_canary(4), outcomes=((0.0, "refused"), (20.0, "http-503")),
                milestones={"applied": 0.3, "pods-ready": 3.2, "traffic": None, "settled": None},
                user_errors=("500 InternalError: unable to transform or decode key",),
                undecodable=("/registry/endpointslices/default/web-x7k2p",),
                components=(ComponentHealth(
                    name="kube-controller-manager", alive=True, restarts=2, ready=False,
                    detail="informer for EndpointSlice never synced",
                ),),
                firings=(firing(
                    slice_before, bytes(flipped), span=(40, 41), key="/registry/endpointslices/default/web-x7k2p",
                    identity="EndpointSlice/default/web#1", at_s=1.4,
                ),),
            ),
        ),
        experiment(
            "e5510b9c", kind="Pod", identity="Pod/default/web#3", model="drop", parameters={"told": "success"},
            why="an acknowledged write that is lost",
            verdict=judged(
                Out.TIMING, "pods-ready after 11.7 s; golden runs: 2.9 to 3.3 s", client=Client.SLOWER,
            ),
            seen=observation(
                milestones={"applied": 0.3, "pods-ready": 11.7, "traffic": 4.1, "settled": 17.0},
                firings=(firing(
                    stored("v1", "Pod", field(1, field(1, b"web-6d4cf56db6-q8zkd"))), b"", operation="drop",
                    key="/registry/pods/default/web-6d4cf56db6-q8zkd", identity="Pod/default/web#3", accepted=False,
                    revision=None, told=Told.SUCCESS, at_s=1.1,
                ),),
            ),
        ),
        experiment(
            "e2f9d611", kind="Pod", identity="Pod/default/web#2", model="bit-flip", field="spec.nodeName",
            parameters={"bit": 0}, why="a pod bound to a node that does not exist",
            verdict=judged(Out.LESS_RESOURCES, "5 of 6 pods Ready until the pod was deleted after 40 s"),
            seen=observation(
                milestones={"applied": 0.3, "pods-ready": None, "traffic": 3.8, "settled": 12.0},
                firings=(firing(base, base.replace(b"default", b"dufault"), key="/registry/pods/default/web-a",
                                identity="Pod/default/web#2", field_before="node-1", field_after="node-0", at_s=1.2),),
            ),
        ),
        experiment(
            "e6c3e1f0", kind="Namespace", identity="Namespace/kube-system", model="value-set",
            field="metadata.deletionTimestamp", parameters={"value": "2026-01-01T00:00:00Z"},
            channel=Channel.AT_REST_WRITE, rung="recreate", why="a namespace marked for deletion",
            verdict=judged(
                Out.OUTAGE, "kube-proxy and CoreDNS were deleted; running services went down on every node",
                client=Client.UNREACHABLE, also=(Out.STALL, Out.NETWORK, Out.LESS_RESOURCES),
            ),
            seen=observation(
                seconds=60.0, canary=dead_canary(0, "namespaces \"kube-system\" is being terminated"),
                outcomes=((14.0, "timeout"),),
                firings=(firing(
                    stored("v1", "Namespace", field(1, field(1, b"kube-system"))),
                    stored("v1", "Namespace", field(1, field(1, b"kube-system") + field(9, b"\x08\x80\xe0"))),
                    key="/registry/namespaces/kube-system", identity="Namespace/kube-system", at_s=9.8,
                    field_after="2026-01-01T00:00:00Z",
                ),),
            ),
        ),
        experiment(
            "e8a0f7b3", kind="Deployment", identity="Deployment/default/web", model="boolean-invert",
            field="spec.paused", why="a boolean: nothing new is rolled out", channel=Channel.AT_REST_WRITE,
            verdict=judged(Out.NONE, "nothing differs from the golden runs", activation=Activation.CONSUMED),
            seen=observation(firings=(firing(
                replicas_before, replicas_before + b"\x38\x01", key="/registry/deployments/default/web",
                identity="Deployment/default/web", field_before=False, field_after=True, at_s=7.0,
            ),)),
        ),
        experiment(
            "e1d4c8a9", kind="Secret", identity="Secret/default/token", model="byte-flip", field="data[password]",
            parameters={"value": "aHVudGVyMg=="}, why="a secret value",
            verdict=judged(Out.NONE, "nothing differs from the golden runs", activation=Activation.ACCEPTED),
            seen=observation(firings=(firing(
                stored("v1", "Secret", field(2, b"hunter2")), stored("v1", "Secret", field(2, b"hunter3")),
                key="/registry/secrets/default/token", identity="Secret/default/token",
                field_before="aHVudGVyMg==", field_after="aHVudGVyMw==",
            ),)),
        ),
        experiment(
            "e3b7700e", kind="ConfigMap", identity="ConfigMap/default/settings", model="value-set",
            field="data[colour]", parameters={"value": ""}, why="a value nobody reads",
            verdict=Verdict(
                state=State.INCONCLUSIVE, activation=Activation.NOT_FIRED,
                reasons=("the fault did not fire: no write of ConfigMap/default/settings carried data[colour]",),
            ),
            seen=observation(armed=True, near_misses=(
                NearMiss(identity="ConfigMap/kube-system/coredns", why="another object of that kind", times=2),
            )),
        ),
        experiment(
            "e99ad013", kind="Lease", identity="Lease/kube-system/kube-scheduler", model="value-set",
            field="spec.holderIdentity", parameters={"value": "nobody"}, why="who leads",
            verdict=Verdict(
                state=State.INCONCLUSIVE, activation=Activation.FIRED,
                reasons=("the probe on node-3 was blind for 12.0 of 24.0 s",),
            ),
            seen=observation(
                blind=("probe on node-3: could not enter its network namespace",),
                probes=(
                    *probes(24.0, ())[:2],
                    ProbeSeries(service="web", vantage="node-3", samples=(), blind="could not enter its namespace"),
                ),
                firings=(firing(base, base[:-1] + b"\x01", key="/registry/leases/kube-system/kube-scheduler",
                                identity="Lease/kube-system/kube-scheduler", field_before="a", field_after="nobody"),),
            ),
        ),
        experiment(
            "efe00d11", kind="Node", identity="Node/node-2", model="bit-flip", field="spec.podCIDR",
            verdict=Verdict(state=State.ERROR, reasons=("etcd of the sandbox did not start in 30 s",)),
            error="injector.errors.ClusterError: etcd did not answer in 30 s\n  last log line: bind: address in use",
        ),
    )  # fmt: skip
    return (*(golden(n, shift=0.05 * n) for n in range(8)), *faults)


def metadata(**changes: object) -> RunMetadata:
    base = RunMetadata(
        name="quickstart-2026-03-02",
        spec="quickstart",
        seed=7,
        planned=13,
        started="2026-03-02T09:14:03+01:00",
        ended="2026-03-02T09:18:41+01:00",
        versions={"mutineer": "0.1.0", "kubernetes": "1.36.3", "etcd": "3.6.8", "coredns": "1.14.2"},
        host={"cores": "2", "memory": "24.0 GiB", "kernel": "6.18.5", "nodes": "3, process runtime"},
        deviations=(
            Deviation(component="etcd", setting="--unsafe-no-fsync", ours="true", kubeadm="false", why="in memory"),
            Deviation(component="kubelet", setting="nodeLeaseDurationSeconds", ours="8", kubeadm="40", why="fast"),
        ),
        assets={"kube-apiserver": "built with Go 1.26.8", "etcd": "built with Go 1.26.8", "coredns": "PATH"},
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def quickstart_report() -> RunReport:
    return build_report(metadata(), quickstart_records(), INCIDENTS)
