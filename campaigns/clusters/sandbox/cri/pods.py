"""The pods of one node: identity, namespaces, addresses.

A pod's address comes from the subnet in the node's CNI configuration, which the route agent's DaemonSet writes; until
it has, the node's network is not ready.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.cri.host_ports import close_ports, open_ports, wanted_ports
from campaigns.clusters.sandbox.cri.spawning import Child
from campaigns.clusters.sandbox.network import attach_pod, detach_pod
from campaigns.clusters.sandbox.roots import inside

__all__ = ["NOT_READY", "READY", "NodePods", "Pod"]

READY, NOT_READY = 0, 1
"""runtime.v1.PodSandboxState."""
POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3
"""runtime.v1.NamespaceMode."""
_CNI = "/etc/cni/net.d"


@dataclass(slots=True)
class Pod:
    """A pod sandbox in the CRI's sense. `namespaces` is the file of its network namespace (the node's own for a pod
    on the host's network); its ipc namespace lies beside it."""

    id: str
    config: Any
    address: str
    network: Path
    ipc: Path | None
    has_host_ports: bool = False
    state: int = READY
    created_at: int = field(default_factory=time.time_ns)
    stopping: bool = False
    """From the first call to stop it on: nothing is started in it any more."""
    pause: Child | None = None
    """First process of the pid namespace that its containers share, where they do."""

    @property
    def shown_state(self) -> int:
        """What the kubelet is told: a pod whose first process has ended is not ready, and will be made anew."""
        return NOT_READY if self.pause is not None and self.pause.ended.is_set() else self.state

    @property
    def on_host(self) -> bool:
        return bool(self.config.linux.security_context.namespace_options.network == NODE)


class NodePods:
    """Addresses and pods of one node. `root` is the node's root folder, `folder` where its pods' namespaces lie."""

    def __init__(self, node: NodeNetwork, root: Path, folder: Path) -> None:
        self.node, self.root = node, root
        self.pods: dict[str, Pod] = {}
        self._folder = folder
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._subnet: str | None = None
        self._addresses: Iterator[str] = iter(())

    def subnet(self) -> str | None:
        """What the first CNI configuration says now, as containerd picks it (lexicographically); None without one."""
        for path in sorted(inside(self.root, _CNI).glob("*.conflist")):
            try:
                plugins = json.loads(path.read_text())["plugins"]
                return str(ipaddress.IPv4Network(plugins[0]["ipam"]["subnet"], strict=False))
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                continue  # half-written or not ours: not a network yet
        return None

    def _take_address(self) -> str:
        subnet = self.subnet()
        if subnet is None:
            raise RuntimeError("cni plugin not initialized: no configuration in /etc/cni/net.d of the node")
        for fresh in (subnet != self._subnet, True):
            if fresh:  # start over: .0 is the network, .1 is left to a gateway as host-local does
                self._subnet = subnet
                hosts = ipaddress.ip_network(subnet).hosts()  # lazily: a corrupted podCIDR may hold 2^32 of them
                self._addresses = (str(a) for a in itertools.islice(hosts, 1, None))
            for address in self._addresses:
                if address not in self._used:
                    self._used.add(address)
                    return address
        raise RuntimeError(f"no free address in {subnet}")

    def run(self, pod_id: str, config: Any) -> Pod:
        """RuntimeError while the node has no network, or no address is free."""
        options = config.linux.security_context.namespace_options
        if options.network == NODE:
            pod = Pod(pod_id, config, self.node.address, self.node.path, None)
        else:
            with self._lock:
                address = self._take_address()
            path = self._folder / pod_id[:12]
            ipc = None if options.ipc == NODE else path.with_name(f"{path.name}.ipc")
            ports = wanted_ports(config.port_mappings)
            try:
                attach_pod(self.node, path, address, ipc=ipc, sysctls=dict(config.linux.sysctls))
                if ports:
                    open_ports(self.node, path.name, address, ports)
            except Exception:
                detach_pod(self.node, path, address, ipc=ipc)
                self._used.discard(address)
                raise
            pod = Pod(pod_id, config, address, path, ipc, has_host_ports=bool(ports))
        self.pods[pod_id] = pod
        return pod

    def stop(self, pod: Pod) -> None:
        """Gives its network back. Idempotent; where it fails, the next call tries again."""
        with self._lock:
            if pod.state == NOT_READY:
                return
            if pod.pause is not None:
                pod.pause.kill()
            if pod.has_host_ports:
                close_ports(self.node, pod.network.name)
            if not pod.on_host:
                detach_pod(self.node, pod.network, pod.address, ipc=pod.ipc)
                self._used.discard(pod.address)
            pod.state = NOT_READY

    def remove(self, pod: Pod) -> None:
        self.stop(pod)
        self.pods.pop(pod.id, None)
