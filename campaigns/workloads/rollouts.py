"""Workloads `rolling-update` and `rollback`: a Deployment that serves gets a new pod template, or its old one back.

A version is an environment variable of the container: the sandbox pulls no images, and a template is a template.
"""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import Field, RolledOut
from campaigns.workloads.objects import deployment, ending_gently, service
from campaigns.workloads.steps import Create, ObjectName, Patch, PatchType, Wait
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["ROLLBACK", "ROLLING_UPDATE"]

_REPLICAS = 6
_WEB = ObjectName("apps/v1", "Deployment", "default", "web")
_ROLLED_OUT = RolledOut(str(_WEB))


def _of_version(version: str) -> dict[str, Any]:
    made = ending_gently(deployment("web", "default", _REPLICAS))
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "VERSION", "value": version}]
    return made


def _updated(version: str) -> Patch:
    """What `kubectl set env` sends."""
    container: dict[str, Any] = {"name": "web", "env": [{"name": "VERSION", "value": version}]}
    return Patch(_WEB, {"spec": {"template": {"spec": {"containers": [container]}}}}, why=f"version {version}")


def _is_of(version: str) -> Field:
    """Without it a rollout that was asked for and lost would be done before it began."""
    return Field(str(_WEB), "spec.template.spec.containers[0].env[0].value", version)


_FIRST = (Create(_of_version("1")), Create(service("web", "default")))

ROLLING_UPDATE = Workload(
    name="rolling-update",
    summary=f"A Deployment of {_REPLICAS} pods that serve is given a new version of their template",
    prepare=_FIRST,
    ready=(_ROLLED_OUT,),
    steps=(_updated("2"),),
    done=(_is_of("2"), _ROLLED_OUT),
    services=(ServiceName("default", "web"),),
    wanted_pods=_REPLICAS,
)

ROLLBACK = Workload(
    name="rollback",
    summary=f"A Deployment of {_REPLICAS} pods is taken back to its earlier version, whose ReplicaSet is still there",
    prepare=(*_FIRST, Wait(_ROLLED_OUT), _updated("2")),
    ready=(_is_of("2"), _ROLLED_OUT),
    # what `kubectl rollout undo` sends (kubectl v0.36.3, pkg/polymorphichelpers/rollback.go, getDeploymentPatch)
    steps=(
        Patch(
            _WEB,
            [{"op": "replace", "path": "/spec/template", "value": _of_version("1")["spec"]["template"]}],
            PatchType.JSON,
            why="undo the rollout",
        ),
    ),
    done=(_is_of("1"), _ROLLED_OUT),
    services=(ServiceName("default", "web"),),
    wanted_pods=_REPLICAS,
)
