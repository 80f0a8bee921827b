"""The pods of one node: identity, network, addresses."""

from __future__ import annotations

import ipaddress
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.network import NodeNetwork, attach_pod, detach_pod, route_pod_cidr

__all__ = ["NOT_READY", "READY", "NodePods", "Pod"]

READY, NOT_READY = 0, 1
"""runtime.v1.PodSandboxState."""


@dataclass(slots=True)
class Pod:
    """A pod sandbox in the CRI's sense. `network` is None on the host network."""

    id: str
    config: Any
    address: str
    network: Path | None
    state: int = READY
    created_at: int = field(default_factory=time.time_ns)


class NodePods:
    """Addresses and pods of one node. The podCIDR comes from the kubelet (UpdateRuntimeConfig), which has it from
    Node.spec.podCIDR; until then the node's network is not ready."""

    def __init__(self, node: NodeNetwork, nodes: list[NodeNetwork], folder: Path) -> None:
        self.node = node
        self.pods: dict[str, Pod] = {}
        self.cidr: str | None = None
        self._nodes, self._folder = nodes, folder
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._addresses: Iterator[str] = iter(())

    def set_cidr(self, cidr: str) -> None:
        """Routes `cidr` to this node from everywhere. Pods that have an address keep it, as with any network plugin."""
        with self._lock:
            if cidr == self.cidr:
                return
            route_pod_cidr(self._nodes, self.node, cidr, previous=self.cidr)
            self.cidr = cidr
            self._addresses = iter(())

    def _take_address(self) -> str:
        assert self.cidr is not None
        for fresh in (False, True):
            if fresh:  # start over: .0 is the network, .1 is left to a gateway as host-local does
                hosts = ipaddress.ip_network(self.cidr).hosts()  # lazily: a corrupted podCIDR may hold 2^32 of them
                self._addresses = (str(a) for a in itertools.islice(hosts, 1, None))
            for address in self._addresses:
                if address not in self._used:
                    self._used.add(address)
                    return address
        raise RuntimeError(f"no free address in {self.cidr}")

    def run(self, pod_id: str, config: Any) -> Pod:
        """RuntimeError while the node has no podCIDR, or no address is free."""
        if config.linux.security_context.namespace_options.network == 2:  # NamespaceMode NODE
            pod = Pod(pod_id, config, self.node.address, None)
        else:
            with self._lock:
                if self.cidr is None:
                    raise RuntimeError("network plugin is not ready: the node has no podCIDR")
                address = self._take_address()
            path = self._folder / pod_id[:12]
            try:
                attach_pod(self.node, path, address)
            except Exception:
                self._used.discard(address)
                raise
            pod = Pod(pod_id, config, address, path)
        self.pods[pod_id] = pod
        return pod

    def stop(self, pod: Pod) -> None:
        """Gives its network back. Idempotent."""
        with self._lock:
            if pod.state == NOT_READY:
                return
            pod.state = NOT_READY
        if pod.network is not None:
            detach_pod(self.node, pod.network, pod.address)
            self._used.discard(pod.address)

    def remove(self, pod: Pod) -> None:
        self.stop(pod)
        self.pods.pop(pod.id, None)
