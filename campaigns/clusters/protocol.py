"""What an experiment needs of a cluster, whichever kind it is: sandbox today, kind and attach next.

A cluster serves etcd and the API at addresses that the caller can reach, has the forwarder between the two, lets
probes run from its nodes, tells how its components are, and can be made clean again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from campaigns.record import Reset
from classifiers.observation import ComponentHealth
from injector.channels.control import ForwarderClient

__all__ = ["Cluster"]

T = TypeVar("T")


class Cluster(Protocol):
    """A running cluster with a clean baseline. All methods raise ClusterError in words when the harness's own
    machinery fails; what the cluster under study does is never an exception."""

    name: str
    kubeconfig: Path
    """Cluster administrator's; every client can use it from where the experiment runs."""
    etcd_address: tuple[str, int]
    """Host and port of etcd itself, not of the forwarder: observers and at-rest faults go there."""
    forwarder: ForwarderClient
    """Control of the channel between kube-apiserver and etcd."""
    pids: dict[str, int]
    """Component name → process id, where the component is a local process."""

    def vantage_points(self) -> Sequence[str]:
        """Names of the nodes from which probes can run."""

    def on_node(self, node: str, function: Callable[[], T]) -> T:
        """Runs `function` in the node's network; sockets that it opens stay there."""

    def health(self) -> tuple[ComponentHealth, ...]:
        """Every component, asked now."""

    def reset(self, *, thorough: bool) -> Reset:
        """Makes the cluster clean again and proves it; `thorough` skips rungs that may leave something behind.
        ClusterError if it can't be proven: the caller recreates the cluster."""
