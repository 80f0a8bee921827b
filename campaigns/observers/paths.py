"""Where probes go (campaigns.observers.probes tells what each kind means): looked up in the stored state each time, as
far as that can be decoded."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from campaigns.clusters.protocol import Cluster
from campaigns.observers.asking import Address, HttpGet, NameLookup
from campaigns.observers.history import History
from campaigns.observers.probes import Path
from campaigns.observers.stored import ready_pods, service_address
from campaigns.workloads.workload import ServiceName
from classifiers.observation import ProbeKind

__all__ = ["PodPath", "ServicePath", "paths_to"]

_DOMAIN = "svc.cluster.local"
"""kubeadm's; kubelets tell pods the same."""


@dataclass(frozen=True, slots=True)
class ServicePath:
    """See the module."""

    history: History
    served: ServiceName
    kind: ProbeKind = ProbeKind.HTTP

    @property
    def service(self) -> str:
        return str(self.served)

    def request(self, node: str) -> HttpGet | str:
        address = service_address(self.history, self.served.name, self.served.namespace)
        return HttpGet(address) if address else "no-address"


@dataclass(frozen=True, slots=True)
class NamePath:
    """See the module. `server`: where pods ask for names."""

    history: History
    served: ServiceName
    server: Address
    kind: ProbeKind = ProbeKind.DNS

    @property
    def service(self) -> str:
        return str(self.served)

    def request(self, node: str) -> NameLookup:
        return NameLookup(self.server, f"{self.served.name}.{self.served.namespace}.{_DOMAIN}", self._right)

    def _right(self) -> frozenset[str] | None:
        """The addresses that are right now; None: any (of a headless Service, whose pods come and go)."""
        stored = self.history.get(f"/registry/services/specs/{self.served.namespace}/{self.served.name}")
        if stored is None or not stored.tree:
            return frozenset()
        spec = stored.tree.get("spec") or {}
        addresses = [spec.get("clusterIP"), *(spec.get("clusterIPs") or ())]
        return None if "None" in addresses else frozenset(str(a) for a in addresses if a and ":" not in str(a))


@dataclass(slots=True)
class PodPath:
    """See the module. Which pods there are is looked up once for each revision, for all nodes."""

    history: History
    namespaces: Sequence[str]
    kind: ProbeKind = ProbeKind.POD
    _seen_revision: int = -1
    _by_node: Mapping[str, Sequence[Address]] = field(default_factory=dict)
    _turns: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def service(self) -> str:
        return f"pods of {', '.join(self.namespaces)}"

    def request(self, node: str) -> HttpGet | None:
        with self._lock:
            if self._seen_revision != (revision := self.history.seen_revision):
                self._by_node, self._seen_revision = self._look(), revision
            elsewhere = [address for other, found in self._by_node.items() if other != node for address in found]
            turn = self._turns[node] = self._turns.get(node, -1) + 1
        return HttpGet(elsewhere[turn % len(elsewhere)]) if elsewhere else None

    def _look(self) -> dict[str, list[Address]]:
        found: dict[str, list[Address]] = {}
        for namespace in self.namespaces:
            for stored in ready_pods(self.history, namespace):
                port, address = _readiness_port(stored.tree), (stored.tree.get("status") or {}).get("podIP")
                if port and address:
                    node = str((stored.tree.get("spec") or {}).get("nodeName"))
                    found.setdefault(node, []).append((str(address), port))
        return found


def _readiness_port(pod: Any) -> int | None:
    """Of the first container that has an HTTP readiness probe of its path `/`; None if none has."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        get = (container.get("readinessProbe") or {}).get("httpGet") or {}
        port = get.get("port")
        if isinstance(port, str):
            named = (p.get("containerPort") for p in container.get("ports") or () if p.get("name") == port)
            port = next(named, None)
        if isinstance(port, int) and get.get("path", "/") == "/" and get.get("scheme", "HTTP") == "HTTP":
            return port
    return None


def paths_to(cluster: Cluster, history: History, services: Sequence[ServiceName]) -> tuple[Path, ...]:
    """Every path for these services: themselves, their names where the cluster has DNS, and the pods of their
    namespaces."""
    paths: list[Path] = [ServicePath(history, served) for served in services]
    if cluster.dns_address is not None:
        paths += [NamePath(history, served, cluster.dns_address) for served in services]
    if services:
        paths.append(PodPath(history, tuple(dict.fromkeys(served.namespace for served in services))))
    return tuple(paths)
