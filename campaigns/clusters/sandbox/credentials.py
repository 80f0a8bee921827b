"""Every certificate, key and kubeconfig of one sandbox, where kubeadm has them (/etc/kubernetes/pki)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from campaigns.clusters.sandbox import components, pki

__all__ = ["Handed", "write_credentials"]

_API_HOSTS = (
    "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost",
    "127.0.0.1", components.CONTROL_PLANE_ADDRESS, "10.96.0.1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Handed:
    """What the nodes are given: the cluster's authority (PEM) and each node's kubeconfig."""

    authority: bytes
    kubeconfigs: Mapping[str, bytes]


def write_credentials(
    work: Path, folder: Path, nodes: Sequence[str], *, etcd_tls: bool, listeners: Mapping[str, tuple[str, int]]
) -> Handed:
    """Keys and certificates to `folder`, the control plane's kubeconfigs to `work/NAME.kubeconfig`. `listeners` are
    those of the components' forwarders: a component that has one is sent there, and the forwarder gets its pair."""
    ca, front = pki.Authority("kubernetes"), pki.Authority("front-proxy-ca")
    admin = ca.issue("kubernetes-admin", organisations=("system:masters",))
    pairs = {
        "ca": ca.identity,
        "front-proxy-ca": front.identity,
        "apiserver": ca.issue("kube-apiserver", hosts=_API_HOSTS),
        "apiserver-kubelet-client": ca.issue(
            "kube-apiserver-kubelet-client", organisations=("kubeadm:cluster-admins",)
        ),
        "front-proxy-client": front.issue("front-proxy-client"),
        "admin": admin,
        **(pki.etcd_identities("sandbox", components.CONTROL_PLANE_ADDRESS) if etcd_tls else {}),
    }
    for name, pair in pairs.items():
        (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
        pki.write_private(folder / f"{name}.crt", pair.certificate)
        pki.write_private(folder / f"{name}.key", pair.key)
    _write_signer(folder)
    authority = ca.identity.certificate

    def known_as(component: str, host: str, user: str, identity: pki.Identity) -> bytes:
        if component in listeners:
            pki.write_private(folder / f"{component}.crt", identity.certificate)
            pki.write_private(folder / f"{component}.key", identity.key)
        host, port = listeners.get(component, (host, components.API_PORT))
        return pki.kubeconfig(f"https://{host}:{port}", authority, user, identity)

    local, remote = "127.0.0.1", components.CONTROL_PLANE_ADDRESS
    pki.write_private(work / "admin.kubeconfig", known_as("", local, "kubernetes-admin", admin))
    for name in ("kube-controller-manager", "kube-scheduler"):
        user = f"system:{name}"
        pki.write_private(work / f"{name}.kubeconfig", known_as(name, local, user, ca.issue(user)))
    kubeconfigs = {}
    for node in nodes:
        user = f"system:node:{node}"
        identity = ca.issue(user, organisations=("system:nodes",))
        kubeconfigs[node] = known_as(f"kubelet-{node}", remote, user, identity)
    return Handed(authority, kubeconfigs)


def _write_signer(folder: Path) -> None:
    """Of service accounts' tokens."""
    signer = pki.Authority("service-accounts").identity.key
    pki.write_private(folder / "sa.key", signer)
    public = serialization.load_pem_private_key(signer, None).public_key()
    encoded = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pki.write_private(folder / "sa.pub", encoded)
