"""What stored objects say: which pods are ready, where a Service is. As far as they can be decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from campaigns.observers.history import History, StoredObject

__all__ = ["is_ready", "ready_pods", "service_address"]


def ready_pods(history: History, namespace: str) -> list[StoredObject]:
    """Pods whose stored status says Ready and that are not being deleted."""
    return [o for o in history.objects("Pod", namespace) if o.tree and is_ready(o.tree)]


def is_ready(pod: Any) -> bool:
    """Whether a pod's tree says Ready."""
    # nothing is taken for granted: any part may be what a fault removed
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def is_unspoken(pod: Any) -> bool:
    """Whether a pod's tree says that it is bound to a node whose kubelet has told nothing of it yet."""
    bound = (pod.get("spec") or {}).get("nodeName") and not (pod.get("metadata") or {}).get("deletionTimestamp")
    return bool(bound) and not (pod.get("status") or {}).get("startTime")


def service_address(history: History, name: str, namespace: str) -> tuple[str, int] | None:
    """ClusterIP and first port of a Service as it is stored now; None if there is none."""
    stored = history.get(f"/registry/services/specs/{namespace}/{name}")
    if stored is None or not stored.tree:
        return None
    spec = stored.tree.get("spec") or {}
    address, ports = spec.get("clusterIP"), spec.get("ports") or ()
    return (str(address), int(ports[0].get("port", 0))) if address and address != "None" and ports else None
