"""Which addresses a sandbox has. Apart from `network`, which makes them: that one loads a netlink library (0.3 s),
and the command line needs none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CLUSTER_CIDR", "CONTROL_PLANE_ADDRESS", "SERVICE_CIDR", "NodeNetwork"]

CONTROL_PLANE_ADDRESS = "172.30.0.1"
CLUSTER_CIDR = "10.244.0.0/16"
"""kubeadm's usual --pod-network-cidr (flannel's default)."""
SERVICE_CIDR = "10.96.0.0/12"
"""kubeadm's default serviceSubnet."""


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A node's name, address on the bridge, and the file that its network namespace is bound to."""

    name: str
    address: str
    path: Path
