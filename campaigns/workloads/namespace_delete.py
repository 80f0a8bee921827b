"""Workload `namespace-delete`: a namespace goes with everything that serves in it.

Its pods are given 1 s to end: the namespace controller looks again after half of the longest grace period of its pods
(pkg/controller/namespace, v1.36.3), which is 16 s with the default of 30 s.
"""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import Gone, RolledOut
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create, Delete, ObjectName
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["NAMESPACE_DELETE"]

_SHOP = ObjectName("v1", "Namespace", "", "shop")
_CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "prices", "namespace": "shop"},
    "data": {"currency": "EUR"},
}

NAMESPACE_DELETE = Workload(
    name="namespace-delete",
    summary="A namespace with a Deployment of 3 pods that serve, a Service and a ConfigMap is deleted",
    prepare=(
        Create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        Create(_CONFIG),
        Create(deployment("web", "shop", 3, pod={"terminationGracePeriodSeconds": 1})),
        Create(service("web", "shop")),
    ),
    ready=(RolledOut("Deployment/shop/web"),),
    steps=(Delete(_SHOP),),
    done=(Gone(str(_SHOP)),),
    services=(ServiceName("shop", "web"),),
    namespaces=("shop",),
)
