"""The canary: a new Deployment and Service must come to life after the workload has settled.

It tells a cluster that no longer gets anything done (stall) from one that is merely different. It lives in a namespace
of its own, which the baseline holds, and each of its stages is seen in the stored state, but for the last (traffic).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from campaigns.clusters.protocol import CANARY_NAMESPACE, Cluster
from campaigns.observers.history import History
from campaigns.observers.paths import ServicePath
from campaigns.observers.probes import Prober
from campaigns.observers.stored import ready_pods
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create
from campaigns.workloads.user import User
from campaigns.workloads.workload import ServiceName
from classifiers.observation import CanaryRecord

__all__ = ["CANARY_STEPS", "STAGES", "run_canary"]

STAGES = ("created", "pod-created", "pod-scheduled", "pod-ready", "endpoints", "traffic")
_NAME = "canary"


def _steps(name: str) -> tuple[Create, ...]:
    return Create(deployment(name, CANARY_NAMESPACE, 1)), Create(service(name, CANARY_NAMESPACE))


CANARY_STEPS = _steps(_NAME)


def run_canary(
    cluster: Cluster,
    history: History,
    kubeconfig_user: User,
    *,
    deadline_s: float,
    name: str = _NAME,
    without: Collection[str] = (),
) -> CanaryRecord:
    """Creates one called `name` and waits for its stages in order; returns at the last, or at the deadline. Nobody is a
    client on the nodes `without`."""
    began = time.monotonic()
    stages: dict[str, float | None] = dict.fromkeys(STAGES)
    before = len(kubeconfig_user.told)
    steps = _steps(name)
    created = sum(kubeconfig_user.create(step.manifest) for step in steps) == len(steps)
    error = "; ".join(kubeconfig_user.told[before:]) or None
    del kubeconfig_user.told[before:]
    if created:
        stages["created"] = time.monotonic() - began
    prober = Prober(cluster, [ServicePath(history, ServiceName(CANARY_NAMESPACE, name))], began=began, without=without)
    try:
        prober.start()
        for stage, reached in _conditions(history, prober, name).items():
            if not history.wait(reached, deadline=began + deadline_s):
                break
            stages[stage] = time.monotonic() - began
    finally:
        prober.stop()
    return CanaryRecord(stages=stages, deadline_s=deadline_s, error=error, blind=prober.blind)


def _conditions(history: History, prober: Prober, name: str) -> dict[str, Callable[[], bool]]:
    def own(kind: str) -> list[Any]:
        found = history.objects(kind, CANARY_NAMESPACE)
        return [o.tree for o in found if o.tree and o.who.name.startswith(f"{name}-")]

    def pods() -> list[Any]:
        return own("Pod")

    def has_endpoints() -> bool:
        return any(slice_.get("endpoints") for slice_ in own("EndpointSlice"))

    return {
        "pod-created": lambda: bool(pods()),
        "pod-scheduled": lambda: any((pod.get("spec") or {}).get("nodeName") for pod in pods()),
        "pod-ready": lambda: any(o.who.name.startswith(f"{name}-") for o in ready_pods(history, CANARY_NAMESPACE)),
        "endpoints": has_endpoints,
        "traffic": lambda: prober.first_ok_s() is not None,
    }
