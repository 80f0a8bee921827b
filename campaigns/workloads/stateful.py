"""Workload `stateful`: a StatefulSet of three pods, one after the other, each with a volume of its own."""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import Field, RolledOut
from campaigns.workloads.objects import pod_template, service
from campaigns.workloads.steps import Create
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["STATEFUL"]

_REPLICAS = 3


def _stateful_set() -> dict[str, Any]:
    template = pod_template("db")
    template["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default", "labels": {"app": "db"}},
        "spec": {
            "replicas": _REPLICAS,
            "serviceName": "db-pods",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template,
            "volumeClaimTemplates": [claim],
        },
    }


def _headless() -> dict[str, Any]:
    made = service("db", "default")
    made["metadata"] |= {"name": "db-pods"}
    made["spec"] |= {"clusterIP": "None"}
    return made


STATEFUL = Workload(
    name="stateful",
    summary=f"A StatefulSet of {_REPLICAS} pods with a PersistentVolumeClaim each, and its Services, are created",
    steps=(Create(_headless()), Create(service("db", "default")), Create(_stateful_set())),
    done=(
        RolledOut("StatefulSet/default/db"),
        *(Field(f"PersistentVolumeClaim/default/data-db-{n}", "status.phase", "Bound") for n in range(_REPLICAS)),
    ),
    services=(ServiceName("default", "db"),),
    wanted_pods=_REPLICAS,
    furniture=("volumes",),
)
