"""Workload `autoscale`: a HorizontalPodAutoscaler finds pods above its target, and makes as many as it may.

It goes by memory, since CPU is not believed before a pod has run for minutes (kube-controller-manager's
--horizontal-pod-autoscaler-cpu-initialization-period): any web server holds more than 1 MiB. A scale-up may add four
pods at a time (the API's default behavior), so from 2 to 6 is one step.
"""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import Field, RolledOut
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["AUTOSCALE"]

_LEAST, _MOST = 2, 6
_AUTOSCALER: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": _LEAST,
        "maxReplicas": _MOST,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Mi"}},
            }
        ],
    },
}
_ROLLED_OUT = RolledOut("Deployment/default/web")

AUTOSCALE = Workload(
    name="autoscale",
    summary=f"A HorizontalPodAutoscaler on memory scales a Deployment that serves from {_LEAST} to {_MOST} pods",
    prepare=(Create(deployment("web", "default", _LEAST)), Create(service("web", "default"))),
    ready=(_ROLLED_OUT,),
    steps=(Create(_AUTOSCALER),),
    done=(Field("Deployment/default/web", "spec.replicas", _MOST), _ROLLED_OUT),
    services=(ServiceName("default", "web"),),
    wanted_pods=_MOST,
    furniture=("metrics",),
)
