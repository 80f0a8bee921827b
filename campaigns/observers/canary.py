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
CANARY_STEPS = (Create(deployment(_NAME, CANARY_NAMESPACE, 1)), Create(service(_NAME, CANARY_NAMESPACE)))


def run_canary(
    cluster: Cluster, history: History, kubeconfig_user: User, *, deadline_s: float, without: Collection[str] = ()
) -> CanaryRecord:
    """Creates it and waits for its stages in order; returns at the last, or at the deadline. Nobody is a client on the
    nodes `without`."""
    began = time.monotonic()
    stages: dict[str, float | None] = dict.fromkeys(STAGES)
    before = len(kubeconfig_user.told)
    created = sum(kubeconfig_user.create(step.manifest) for step in CANARY_STEPS) == len(CANARY_STEPS)
    error = "; ".join(kubeconfig_user.told[before:]) or None
    del kubeconfig_user.told[before:]
    if created:
        stages["created"] = time.monotonic() - began
    prober = Prober(cluster, [ServicePath(history, ServiceName(CANARY_NAMESPACE, _NAME))], began=began, without=without)
    try:
        prober.start()
        for name, reached in _conditions(history, prober).items():
            if not history.wait(reached, deadline=began + deadline_s):
                break
            stages[name] = time.monotonic() - began
    finally:
        prober.stop()
    return CanaryRecord(stages=stages, deadline_s=deadline_s, error=error, blind=prober.blind)


def _conditions(history: History, prober: Prober) -> dict[str, Callable[[], bool]]:
    def pods() -> list[Any]:
        return [o.tree for o in history.objects("Pod", CANARY_NAMESPACE) if o.tree]

    def has_endpoints() -> bool:
        slices = [o.tree for o in history.objects("EndpointSlice", CANARY_NAMESPACE) if o.tree]
        return any(slice_.get("endpoints") for slice_ in slices)

    return {
        "pod-created": lambda: bool(pods()),
        "pod-scheduled": lambda: any((pod.get("spec") or {}).get("nodeName") for pod in pods()),
        "pod-ready": lambda: bool(ready_pods(history, CANARY_NAMESPACE)),
        "endpoints": has_endpoints,
        "traffic": lambda: prober.first_ok_s() is not None,
    }
