"""The host guard's cap on memory: which component stands still from how much on.

Pods are capped by the kubelets and stored bytes by etcd's quota, but what is stored costs memory many times its size
in whoever watches it. Measured: a Deployment of a million replicas makes up to 100 pods a second, 3 KB each in etcd
and about 80 KB each in the components together, so etcd's quota alone would let a sandbox grow to some 12 GB within
half an hour; with this guard it stops at 17,500 pods and 2.9 GB (PSS, 120 running containers included). Without
cgroups nothing in the kernel bounds a group of processes, and a bound on each (RLIMIT_DATA) would crash kube-
apiserver, which looks like a failure of the cluster. So who creates objects is made to stand still: first the
controllers, and if somebody else goes on, kube-apiserver. Both can be resumed by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["standing_still"]

_CAPS = {"kube-controller-manager": 2 << 30, "kube-apiserver": 3 << 30}
"""Component → bytes of all components together from which on it stands still. Arbitrary: a sandbox at rest has 0.8 GB,
an experiment that fills every node 1.3 GB; a machine with 8 GB survives two that are full."""


def standing_still(rss_bytes: Mapping[str, int]) -> dict[str, str]:
    """Component → why it has to stand still, in words. `rss_bytes`: what each component has."""
    total = sum(rss_bytes.values())
    return {
        name: f"{name} stands still: the components have {total / 1e9:.1f} GB, the cap is {cap / 1e9:.1f} GB"
        for name, cap in _CAPS.items()
        if total >= cap
    }
