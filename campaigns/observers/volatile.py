"""The keys that change although nobody asked for anything: they neither count as progress nor as a difference.

Hand-written and short; each line has its reason.
"""

from __future__ import annotations

__all__ = ["VOLATILE_PREFIXES", "is_volatile"]

VOLATILE_PREFIXES: tuple[tuple[str, str], ...] = (
    ("/registry/leases/kube-node-lease/", "every kubelet renews its lease every quarter of its duration"),
    ("/registry/leases/kube-system/", "leader election and kube-apiserver's identity renew theirs every few seconds"),
    ("/registry/masterleases/", "kube-apiserver renews its endpoint lease every 10 s"),
    ("/registry/peerserverleases/", "kube-apiserver tells its peers every 30 s that it is there"),
    ("/registry/events/", "events tell of what happened and live by a TTL; nothing reads them to decide"),
)  # fmt: skip


def is_volatile(key: str) -> bool:
    """Whether a write of `key` says nothing about progress."""
    return key.startswith(tuple(prefix for prefix, _ in VOLATILE_PREFIXES))
