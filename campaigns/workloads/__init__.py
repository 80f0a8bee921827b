"""Workloads: what the cluster is asked to do while the fault goes in. One file each; the registry is passed in.

workload, steps, goals   what a workload is: values
driving                  carries steps out: through the API as its user, or through the cluster's Protocol
user                     talks to the API, and keeps what it was told
objects                  manifests that several workloads share
"""

from __future__ import annotations

from campaigns.workloads.deploy import DEPLOY
from campaigns.workloads.registry import Registry
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["WORKLOADS", "Registry", "ServiceName", "Workload"]

WORKLOADS = Registry((DEPLOY,))
