"""Workloads: what the cluster is asked to do while the fault goes in. One file each; the registry is passed in.

A workload declares its steps (what its user asks for through the API), what "done" means, and what its clients probe.
"""

from __future__ import annotations

from campaigns.workloads.deploy import Deploy
from campaigns.workloads.registry import Registry, Workload

__all__ = ["WORKLOADS", "Registry", "Workload"]

WORKLOADS = Registry()
WORKLOADS.add(Deploy())
