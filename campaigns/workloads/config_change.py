"""Workload `config-change`: a ConfigMap gets other values, and the pods that have it as a volume are rolled out anew.

The rollout is asked for by an annotation of the template, as `kubectl rollout restart` and Helm's checksums do it: pods
that merely run on would see the new file within a minute or so.
"""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import Field, RolledOut
from campaigns.workloads.objects import deployment, ending_gently, service
from campaigns.workloads.steps import Create, ObjectName, Patch, PatchType
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["CONFIG_CHANGE"]

_REPLICAS = 3
_CONFIG = ObjectName("v1", "ConfigMap", "default", "web-config")
_WEB = ObjectName("apps/v1", "Deployment", "default", "web")


def _mounting() -> dict[str, Any]:
    made = deployment(
        "web", "default", _REPLICAS, pod={"volumes": [{"name": "config", "configMap": {"name": _CONFIG.name}}]}
    )
    made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "config", "mountPath": "/config"}]
    made["spec"]["template"]["metadata"]["annotations"] = {"config": "1"}
    return ending_gently(made)


CONFIG_CHANGE = Workload(
    name="config-change",
    summary=f"A ConfigMap is changed, and the {_REPLICAS} pods that have it as a volume are rolled out anew",
    prepare=(
        Create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": _CONFIG.name, "namespace": "default", "labels": {"app": "web"}},
                "data": {"greeting": "hello"},
            }
        ),
        Create(_mounting()),
        Create(service("web", "default")),
    ),
    ready=(RolledOut(str(_WEB)),),
    steps=(
        Patch(_CONFIG, {"data": {"greeting": "good evening"}}, PatchType.MERGE, why="another greeting"),
        Patch(
            _WEB,
            {"spec": {"template": {"metadata": {"annotations": {"config": "2"}}}}},
            why="roll out with the new config",
        ),
    ),
    done=(
        Field(str(_WEB), "spec.template.metadata.annotations[config]", "2"),
        RolledOut(str(_WEB)),
        Field(str(_CONFIG), "data[greeting]", "good evening"),
    ),
    services=(ServiceName("default", "web"),),
    wanted_pods=_REPLICAS,
)
