"""Workload `scale`: two Deployments that serve get more replicas, at once (the paper's second workload)."""

from __future__ import annotations

from campaigns.workloads.goals import RolledOut
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create, ObjectName, scale
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["SCALE"]

_NAMES, _BEFORE, _AFTER = ("web", "api"), 2, 4
_OBJECTS = tuple(ObjectName("apps/v1", "Deployment", "default", name) for name in _NAMES)
_THERE = tuple(RolledOut(str(each)) for each in _OBJECTS)

SCALE = Workload(
    name="scale",
    summary=f"{len(_NAMES)} Deployments that serve are scaled from {_BEFORE} to {_AFTER} pods each",
    prepare=tuple(
        Create(manifest)
        for name in _NAMES
        for manifest in (deployment(name, "default", _BEFORE), service(name, "default"))
    ),
    ready=_THERE,
    steps=tuple(scale(each, _AFTER) for each in _OBJECTS),
    done=_THERE,
    services=tuple(ServiceName("default", name) for name in _NAMES),
    wanted_pods=len(_NAMES) * _AFTER,
)
