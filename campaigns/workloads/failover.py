"""Workload `failover`: a node dies, and its pods must move to the others (the paper's third workload).

The node is switched off, without notice: its pods get SIGKILL and its network is gone. Nothing is written until the
node's grace period is over (8 s in profile fast, 50 s in kubeadm's); waiting for it is a step. The pods tolerate that
for 2 s instead of the cluster's default of 10 s (fast) or 300 s (kubeadm), as a service would that is to fail over
quickly. It is `node-2` always: pods are spread evenly, so each node has two. CoreDNS, which may have come to live
there, is moved to `node-1` first, as a cluster has it whose DNS runs beside the control plane: else some runs would
lose their DNS for half a minute, and others not.

A node that comes back has other containers and addresses than before, so its cluster is never proven clean in place;
it is made anew (campaigns.running.worker).
"""

from __future__ import annotations

from campaigns.clusters.actions import Action
from campaigns.workloads.goals import Condition, PodsReady, RolledOut
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create, ObjectName, Patch, ToNode, Wait
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["FAILOVER"]

_REPLICAS, _NODE = 6, "node-2"
_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}
    for taint in ("not-ready", "unreachable")
]
_LOST = Condition(f"Node/{_NODE} Ready=Unknown")

FAILOVER = Workload(
    name="failover",
    summary=f"{_NODE} is switched off, and its share of a Deployment's {_REPLICAS} pods must move to the other nodes",
    prepare=(
        Patch(
            ObjectName("apps/v1", "Deployment", "kube-system", "coredns"),
            {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "node-1"}}}}},
            why="only on node-1",
        ),
        Create(deployment("web", "default", _REPLICAS, pod={"tolerations": _TOLERATIONS})),
        Create(service("web", "default")),
    ),
    ready=(RolledOut("Deployment/kube-system/coredns"), RolledOut("Deployment/default/web")),
    steps=(ToNode(_NODE, Action.KILL), Wait(_LOST)),
    done=(_LOST, PodsReady(_REPLICAS, not_on=_NODE)),
    services=(ServiceName("default", "web"),),
    wanted_pods=_REPLICAS,
    nodes=2,
)
