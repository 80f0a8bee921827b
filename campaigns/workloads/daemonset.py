"""Workload `daemonset`: a DaemonSet puts a pod on every node."""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import RolledOut
from campaigns.workloads.objects import pod_template, service
from campaigns.workloads.steps import Create
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["DAEMONSET"]

_DAEMON_SET: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "agent", "namespace": "default", "labels": {"app": "agent"}},
    "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": pod_template("agent")},
}

DAEMONSET = Workload(
    name="daemonset",
    summary="A DaemonSet, with a pod on every node, and its Service are created",
    steps=(Create(_DAEMON_SET), Create(service("agent", "default"))),
    done=(RolledOut("DaemonSet/default/agent"),),
    services=(ServiceName("default", "agent"),),
    wanted_pods_per_node=1,
)
