"""What an experiment needs of a cluster, whichever kind it is: sandbox today, kind and attach next.

A cluster serves etcd and the API at addresses that the caller can reach, has the forwarder between the two, lets
probes run from its nodes, tells how its components are, and can be made clean again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from campaigns.clusters.actions import Action
from campaigns.clusters.keyspace import KeySpace
from campaigns.record import Reset
from classifiers.observation import ComponentHealth
from injector.channels.control import ForwarderClient
from injector.etcd_tls import EtcdTls
from injector.targets import Channel

__all__ = ["CANARY_NAMESPACE", "HARNESS_COMPONENTS", "Action", "Cluster"]

T = TypeVar("T")

HARNESS_COMPONENTS = ("forwarder", "component-forwarder", "runtime")
"""Components that are ours: when one of them ends, nothing that follows is the cluster's doing."""
CANARY_NAMESPACE = "mutineer-canary"
"""Where the canary lives; every cluster's baseline holds it."""


class Cluster(Protocol):
    """A running cluster with a clean baseline. All methods raise ClusterError in words when the harness's own
    machinery fails; what the cluster under study does is never an exception."""

    name: str
    kubeconfig: Path
    """Cluster administrator's; every client can use it from where the experiment runs."""
    etcd_address: tuple[str, int]
    """Host and port of etcd itself, not of the forwarder: observers and at-rest faults go there."""
    etcd_tls: EtcdTls | None
    """What etcd asks of whoever goes there; None where it speaks plain text."""
    etcd_files: Sequence[Path]
    """The database files of etcd's members, where they can be reached while etcd is stopped; () where they can't."""
    dns_address: tuple[str, int] | None
    """Where pods ask for names; None where the cluster has no DNS."""

    def forwarder(self, channel: Channel) -> ForwarderClient:
        """Control of whatever carries out faults in that channel, which is one in flight. FaultError where this cluster
        does not have it."""

    @property
    def pids(self) -> Mapping[str, int]:
        """Component name → process id, where the component is a local process."""

    @property
    def logs(self) -> Mapping[str, Path]:
        """Component → its log, where it is a file that can be read here."""

    @property
    def audit_log(self) -> Path | None:
        """kube-apiserver's audit log, a JSON event a line; None where it writes none."""

    def ask(self, component: str, path: str, *, timeout_s: float) -> tuple[int, bytes] | None:
        """GET of one of a component's own pages (/readyz, /metrics), as the administrator: HTTP status and answer, 0
        and the reason where nobody answers in time; None for a component that serves none."""

    @property
    def pods_per_node(self) -> int | None:
        """The host guard's cap on pods of one node; None if there is none of ours."""

    @property
    def caps(self) -> tuple[str, ...]:
        """Other caps of the host guard that were hit, in words."""

    def vantage_points(self) -> Sequence[str]:
        """Names of the nodes from which probes can run."""

    def on_node(self, node: str, function: Callable[[], T]) -> T:
        """Runs `function` in the node's network; sockets that it opens stay there."""

    def health(self) -> tuple[ComponentHealth, ...]:
        """Every component, asked now."""

    def component(self, name: str, action: Action) -> None:
        """Does `action` to one component of the control plane or one kubelet; ClusterError for a name that is none."""

    def node(self, name: str, action: Action) -> None:
        """Does `action` to a whole node: its kubelet, all its pods, its network."""

    def rollback(self, keyspace: KeySpace, *, within_s: float) -> Reset:
        """The first rung of the reset: makes the cluster clean in place and proves it. ClusterError if it can't be
        proven: the caller recreates the cluster."""
