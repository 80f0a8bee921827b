"""Workloads: what the cluster is asked to do while the fault goes in. One file each; the registry is passed in.

workload, steps, goals   what a workload is: values
driving                  carries steps out: through the API as its user, or through the cluster's Protocol
user                     talks to the API, and keeps what it was told
objects                  manifests that several workloads share
"""

from __future__ import annotations

from campaigns.workloads.autoscale import AUTOSCALE
from campaigns.workloads.config_change import CONFIG_CHANGE
from campaigns.workloads.daemonset import DAEMONSET
from campaigns.workloads.deploy import DEPLOY
from campaigns.workloads.failover import FAILOVER
from campaigns.workloads.jobs import CRONJOB, JOB
from campaigns.workloads.namespace_delete import NAMESPACE_DELETE
from campaigns.workloads.registry import Registry
from campaigns.workloads.rollouts import ROLLBACK, ROLLING_UPDATE
from campaigns.workloads.scale import SCALE
from campaigns.workloads.stateful import STATEFUL
from campaigns.workloads.workload import ServiceName, Workload

__all__ = ["WORKLOADS", "Registry", "ServiceName", "Workload"]

WORKLOADS = Registry(
    (
        DEPLOY,
        SCALE,
        FAILOVER,
        ROLLING_UPDATE,
        ROLLBACK,
        STATEFUL,
        DAEMONSET,
        JOB,
        CRONJOB,
        AUTOSCALE,
        NAMESPACE_DELETE,
        CONFIG_CHANGE,
    )
)
