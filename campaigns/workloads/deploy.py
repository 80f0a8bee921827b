"""Workload `deploy`: a Deployment with 6 replicas of an HTTP server, and its Service (the paper's first workload)."""

from __future__ import annotations

from campaigns.workloads.goals import PodsReady
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["DEPLOY"]

_REPLICAS = 6

DEPLOY = Workload(
    name="deploy",
    summary="A Deployment of 6 pods and its Service are created",
    steps=(Create(deployment("web", "default", _REPLICAS)), Create(service("web", "default"))),
    done=(PodsReady(_REPLICAS),),
    services=(ServiceName("default", "web"),),
    wanted_pods=_REPLICAS,
)
