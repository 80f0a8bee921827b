"""What a fresh cluster is given through its API: YAML files, their placeholders, and the POSTs that create them.

    kube-proxy, routes, coredns    the networking, as workloads (kubeadm's add-ons and a flannel)

A file holds one or more documents as kubectl would take them. `${name}` in it is replaced before it is parsed; nothing
else is (`$(NODE_NAME)` is the kubelet's). Loading is here, creating in `applying`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from campaigns.clusters.sandbox.addresses import CLUSTER_CIDR, CONTROL_PLANE_ADDRESS
from campaigns.clusters.sandbox.components import API_PORT, CLUSTER_DNS, Profile
from campaigns.clusters.sandbox.manifests.applying import Document, Send, apply

__all__ = ["Document", "Send", "apply", "load", "system_manifests"]

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_ADD_ONS = ("admins", "kube-proxy", "routes", "coredns")
"""In the order in which they wait for each other: the route agent reaches the API through kube-proxy, and CoreDNS's
pods start where the route agent has made the node Ready."""
_DNS_REPLICAS = 2
"""cmd/kubeadm/app/phases/addons/dns/dns.go, coreDNSReplicas, v1.36."""
_TIMERS: Mapping[Profile, Mapping[str, str]] = {
    # 0s and 10 are what kubeadm leaves: kube-proxy takes 1s for 0s (pkg/proxy/apis/config/v1alpha1/defaults.go), and
    # 10 is the default of periodSeconds, which kubeadm's manifest does not set
    Profile.KUBEADM: {"min_sync_period": "0s", "readiness_period_s": "10"},
    Profile.FAST: {"min_sync_period": "100ms", "readiness_period_s": "1"},
}


def load(path: Path, values: Mapping[str, str]) -> list[Document]:
    """The documents of a YAML file in their order, with `${name}` replaced by `values`. KeyError for a placeholder
    that has no value."""
    text = _PLACEHOLDER.sub(lambda found: values[found[1]], path.read_text())
    return [document for document in yaml.safe_load_all(text) if document is not None]


def system_manifests(
    profile: Profile,
    *,
    dns_replicas: int = _DNS_REPLICAS,
    server: tuple[str, int] = (CONTROL_PLANE_ADDRESS, API_PORT),
) -> list[Document]:
    """kube-proxy, route agent and CoreDNS, with all that they need, in the order in which they are to be created.
    `server`: where kube-proxy finds kube-apiserver."""
    host, port = server
    values = {
        "server": f"https://{host}:{port}",
        "cluster_cidr": CLUSTER_CIDR,
        "dns_address": CLUSTER_DNS,
        "replicas": str(dns_replicas),
        **_TIMERS[profile],
    }
    return [document for name in _ADD_ONS for document in load(Path(__file__).with_name(f"{name}.yaml"), values)]
