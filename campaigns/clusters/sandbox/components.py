"""The command line of every component, as kubeadm 1.36 writes its static pods and configuration files.

Where the sandbox differs it says so: `DEVIATIONS` is printed in every report. `profile: fast` shortens timers so that
an experiment takes seconds; `profile: kubeadm` keeps kubeadm's.
Sources: kubernetes/cmd/kubeadm/app/phases/{controlplane,etcd,kubelet}, app/componentconfigs, v1.36.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.addresses import CLUSTER_CIDR, CONTROL_PLANE_ADDRESS, SERVICE_CIDR, NodeNetwork
from injector.errors import HarnessError

__all__ = [
    "API_PORT",
    "CLUSTER_DNS",
    "CONTROL_PLANE_ADDRESS",
    "ETCD_METRICS_PORT",
    "ETCD_PORT",
    "FORWARDER_PORT",
    "MAX_PODS_PER_NODE",
    "NO_GATES",
    "Audit",
    "Deviation",
    "Profile",
    "audit_policy",
    "component_forwarder",
    "controller_manager",
    "deviations",
    "encryption_config",
    "etcd",
    "forwarder_tls",
    "kube_apiserver",
    "kubelet",
    "kubelet_config",
    "listeners",
    "scheduler",
]

API_PORT, ETCD_PORT, FORWARDER_PORT = 6443, 2379, 2381
ETCD_METRICS_PORT = 2384
"""/health and /metrics in plain text without a certificate, with TLS and without; kubeadm's 2381 is the forwarder's."""
CLUSTER_DNS = "10.96.0.10"
_LISTENERS = {"kube-controller-manager": 6444, "kube-scheduler": 6445, "kube-proxy": 6446}
"""Component → port of its forwarder, where there are forwarders; a kubelet's are those after `_KUBELET_PORT`."""
_KUBELET_PORT = 6450
MAX_PODS_PER_NODE = 40
"""Host guard: a process per pod, so three nodes hold 120; kubeadm's 110 a node would be 330 processes on 2 cores."""
_ETCD_QUOTA_BYTES = 512 << 20
"""Host guard: the data lives in memory (tmpfs); etcd's own default is 2 GiB."""
_ENCRYPTION_KEY_BYTES = 32
"""secretbox takes no other length (k8s.io/apiserver/pkg/apis/apiserver/validation, v0.36)."""
_AUDIT_LOGS_KEPT = 4
"""Host guard: with the one that is written to, 500 MB at most (100 MB each, kube-apiserver's default; it keeps 100)."""


NO_GATES: Mapping[str, bool] = {}


class Profile(StrEnum):
    """Which timers the cluster has."""

    KUBEADM = "kubeadm"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Deviation:
    """One setting that is not kubeadm's."""

    component: str
    setting: str
    ours: str
    kubeadm: str
    why: str


_ALWAYS = (
    Deviation("etcd", "--unsafe-no-fsync", "true", "false", "the data lives in memory and dies with the sandbox"),
    Deviation("etcd", "--quota-backend-bytes", "512 MiB", "2 GiB", "host guard: the data lives in memory"),
    Deviation("etcd", "--max-txn-ops", "10000", "128", "a rollback in few transactions"),
    Deviation("etcd", "--listen-metrics-urls", "port 2384", "port 2381", "the forwarder listens on 2381"),
    Deviation("kubelet", "cgroups", "none per pod", "cgroupsPerQOS", "no root: resource limits are not enforced"),
    Deviation("kubelet", "KubeletInUserNamespace, failSwapOn", "true, false", "false, true", "no root"),
    Deviation("kubelet", "evictionHard", "memory 1Mi", "memory 100Mi, disk 10%", "disk and memory are the host's"),
    Deviation("kubelet", "imageGCHighThresholdPercent", "100", "85", "the disk is the host's"),
    Deviation("kubelet", "rotateCertificates", "false", "true", "a sandbox lives hours, its certificates a year"),
    Deviation("kubelet", "healthzPort", "0", "10248", "nothing asks it: readiness is the Node's condition"),
    Deviation("kube-proxy", "mode", "nftables", "iptables", "needs one tool less; the default of a later Kubernetes"),
    Deviation("kube-proxy", "nodePortAddresses", "primary", "all", "what mode nftables has by default"),
    Deviation("kube-proxy", "conntrack", "left alone", "set", "those sysctls can't be written without root"),
    Deviation("kubelet", "maxPods", str(MAX_PODS_PER_NODE), "110", "host guard: every container is a local process"),
    Deviation("kubelet", "volumePluginDir", "in /var/lib/kubelet", "in /usr/libexec", "the host's /usr is read-only"),
    Deviation("node", "/etc/resolv.conf", "172.30.0.1", "the network's", "nobody answers there"),
    Deviation("containers", "images", "local commands", "from a registry", "no container images without root"),
    Deviation("containers", "cgroups, seccomp, AppArmor", "none", "containerd's", "no root: limits are not enforced"),
    Deviation("network plugin", "host-gw", "mutineer's route agent", "none", "kubeadm installs none; as flannel's"),
    Deviation("containers", "end with", "the runtime", "nothing (shims)", "one process starts them all"),
    Deviation("containers", "mountPropagation", "None", "as asked", "mounts of a pod stay its own"),
    Deviation("kubelet", "staticPodPath", "none", "/etc/kubernetes/manifests", "the control plane runs as processes"),
    Deviation("kube-proxy", "volume lib-modules", "left out", "/lib/modules", "nothing can load a module without root"),
    Deviation("kubeadm", "its own objects", "none", "kubeadm-config, cluster-info, …", "nothing reads them afterwards"),
    Deviation("control plane", "way to pods and Services", "through the first node", "itself", "it has no kube-proxy"),
    Deviation("control plane", "started as", "processes", "static pods", "no kubelet on the control plane's host"),
    Deviation("kubelet", "cgroupDriver", "cgroupfs", "systemd", "no systemd in the sandbox"),
)  # fmt: skip
_PLAIN_ETCD = Deviation("etcd", "TLS", "off", "on", "loopback in a namespace; the switch etcd_tls turns it on")
_FORWARDED = Deviation(
    "controllers, scheduler, kubelets, kube-proxy", "server", "a forwarder of its own", "kube-apiserver",
    "component_channels: faults on the way between them",
)  # fmt: skip
_FAST = (
    Deviation(
        "kube-controller-manager",
        "--kube-api-qps, --kube-api-burst",
        "100, 200",
        "20, 30",
        "profile fast: making its controllers' service accounts takes 5 s at 20 a second",
    ),
    Deviation("kube-controller-manager", "--node-monitor-grace-period", "8s", "50s", "profile fast"),
    Deviation("kube-controller-manager", "--node-monitor-period", "1s", "5s", "profile fast"),
    Deviation("kube-controller-manager", "--horizontal-pod-autoscaler-sync-period", "2s", "15s", "profile fast"),
    Deviation("kube-apiserver", "--default-(not-ready|unreachable)-toleration-seconds", "10", "300", "profile fast"),
    Deviation("kubelet", "nodeStatusUpdateFrequency", "2s", "10s", "profile fast"),
    Deviation("kubelet", "nodeLeaseDurationSeconds", "8", "40", "profile fast; must not exceed the grace period"),
    Deviation("kube-proxy", "nftables.minSyncPeriod", "100ms", "1s", "profile fast"),
    Deviation("CoreDNS", "readinessProbe.periodSeconds", "1", "10", "profile fast"),
)


def deviations(profile: Profile, *, etcd_tls: bool = False, component_channels: bool = False) -> tuple[Deviation, ...]:
    """Everything in which a sandbox of this profile differs from a cluster made by kubeadm."""
    return (
        _ALWAYS
        + (() if etcd_tls else (_PLAIN_ETCD,))
        + ((_FORWARDED,) if component_channels else ())
        + (_FAST if profile is Profile.FAST else ())
    )


def listeners(nodes: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Component → where its forwarder listens. Those beside kube-apiserver go there over loopback, a node's over the
    nodes' network. CoreDNS and the route agent have none: they find kube-apiserver by the Service, as pods do."""
    found = {
        name: (CONTROL_PLANE_ADDRESS if name == "kube-proxy" else "127.0.0.1", port)
        for name, port in _LISTENERS.items()
    }
    for number, node in enumerate(nodes, 1):
        found[f"kubelet-{node}"] = (CONTROL_PLANE_ADDRESS, _KUBELET_PORT + number)
    return found


def component_forwarder(pki: Path, control: Path, nodes: Mapping[str, str]) -> dict[str, Any]:
    """What injector.channels.component_forwarder is told; `nodes` with their addresses. kube-proxies show a token, so
    they have no certificate; they have one configuration, and are told apart by the node that they come from."""
    peers = {address: f"kube-proxy-{node}" for node, address in nodes.items()}
    return {
        "control": str(control),
        "upstream": f"127.0.0.1:{API_PORT}",
        "upstream_ca": str(pki / "ca.crt"),
        "serve": {"cert": str(pki / "apiserver.crt"), "key": str(pki / "apiserver.key")},
        "client_ca": str(pki / "ca.crt"),
        "components": [
            {
                "name": name,
                "listen": f"{host}:{port}",
                **(
                    {"peers": peers}
                    if name == "kube-proxy"
                    else {"cert": str(pki / f"{name}.crt"), "key": str(pki / f"{name}.key")}
                ),
            }
            for name, (host, port) in listeners(list(nodes)).items()
        ],
    }


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]


def _gates(feature_gates: Mapping[str, bool]) -> list[str]:
    pairs = ",".join(f"{name}={str(on).lower()}" for name, on in sorted(feature_gates.items()))
    return [f"--feature-gates={pairs}"] if pairs else []


def etcd(binary: Path, data: Path, *, tls: Path | None = None) -> list[str]:
    """`tls` is the pki folder that holds pki.etcd_identities; None is plain text."""
    scheme = "https" if tls else "http"
    client, peer = f"{scheme}://127.0.0.1:{ETCD_PORT}", f"{scheme}://127.0.0.1:2380"
    values: dict[str, object] = {
        "name": "sandbox",
        "data-dir": data,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"sandbox={peer}",
        "listen-metrics-urls": f"http://127.0.0.1:{ETCD_METRICS_PORT}",
        "snapshot-count": 10000,
        "feature-gates": "InitialCorruptCheck=true",
        "watch-progress-notify-interval": "5s",
        "unsafe-no-fsync": True,
        "max-txn-ops": 10000,
        "quota-backend-bytes": _ETCD_QUOTA_BYTES,
        "log-level": "warn",
    }
    if tls is not None:
        values |= {
            "cert-file": tls / "etcd/server.crt",
            "key-file": tls / "etcd/server.key",
            "trusted-ca-file": tls / "etcd/ca.crt",
            "client-cert-auth": True,
            "peer-cert-file": tls / "etcd/peer.crt",
            "peer-key-file": tls / "etcd/peer.key",
            "peer-trusted-ca-file": tls / "etcd/ca.crt",
            "peer-client-cert-auth": True,
        }
    return [str(binary), *_flags(values)]


def forwarder_tls(pki: Path) -> list[str]:
    """Options for a forwarder that is etcd to kube-apiserver and kube-apiserver to etcd."""
    return _flags(
        {
            "tls-cert": pki / "etcd/server.crt",
            "tls-key": pki / "etcd/server.key",
            "tls-client-ca": pki / "etcd/ca.crt",
            "upstream-cert": pki / "apiserver-etcd-client.crt",
            "upstream-key": pki / "apiserver-etcd-client.key",
            "upstream-ca": pki / "etcd/ca.crt",
        }
    )


@dataclass(frozen=True, slots=True)
class Audit:
    """Where kube-apiserver reads `audit_policy` from, and the log that it writes: a JSON event a line."""

    policy: Path
    log: Path


def kube_apiserver(
    binary: Path,
    pki: Path,
    profile: Profile,
    *,
    etcd_tls: bool = False,
    encryption: Path | None = None,
    audit: Audit | None = None,
    feature_gates: Mapping[str, bool] = NO_GATES,
) -> list[str]:
    """etcd_tls    with the certificates of pki.etcd_identities in `pki`
    encryption  file that holds `encryption_config`: Secrets are encrypted at rest"""
    values: dict[str, object] = {
        "etcd-servers": f"{'https' if etcd_tls else 'http'}://127.0.0.1:{FORWARDER_PORT}",
        "secure-port": API_PORT,
        "bind-address": "0.0.0.0",  # noqa: S104 - all addresses of a namespace of its own
        "advertise-address": CONTROL_PLANE_ADDRESS,
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-cluster-ip-range": SERVICE_CIDR,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "enable-bootstrap-token-auth": True,
        "allow-privileged": True,
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
    }
    if profile is Profile.FAST:
        values |= {"default-not-ready-toleration-seconds": 10, "default-unreachable-toleration-seconds": 10}
    if etcd_tls:
        values |= {
            "etcd-cafile": pki / "etcd/ca.crt",
            "etcd-certfile": pki / "apiserver-etcd-client.crt",
            "etcd-keyfile": pki / "apiserver-etcd-client.key",
        }
    if encryption is not None:
        values["encryption-provider-config"] = encryption
    if audit is not None:
        values |= {
            "audit-policy-file": audit.policy,
            "audit-log-path": audit.log,
            "audit-log-maxbackup": _AUDIT_LOGS_KEPT,
        }
    return [str(binary), *_flags(values), *_gates(feature_gates)]


def encryption_config(key: bytes) -> dict[str, Any]:
    """Secrets are encrypted with `key` (32 random bytes); those written before are still read.

    secretbox is the strongest provider that keeps its key in a file (kubernetes.io/docs/tasks/administer-cluster/
    encrypt-data): aescbc is weak to padding oracles, aesgcm needs a new key every 200,000 writes. What the docs
    recommend, KMS v2, needs a key service beside kube-apiserver; a key file is as safe as the sandbox's own keys.
    """
    if len(key) != _ENCRYPTION_KEY_BYTES:
        raise HarnessError(f"encryption at rest: expected a key of {_ENCRYPTION_KEY_BYTES} bytes, got {len(key)}")
    encoded = base64.b64encode(key).decode()
    providers = [{"secretbox": {"keys": [{"name": "key1", "secret": encoded}]}}, {"identity": {}}]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }


def audit_policy() -> dict[str, Any]:
    """Who did what to which object, and how it ended: the metadata of every request, never a body (Secrets).

    Left out are reads of leases and events and the questions of probes: noise of every second that changes nothing.
    Their writes are kept. RequestReceived says nothing that the event of the answer does not.
    """
    reads = ["get", "list", "watch"]
    noise = [
        {"group": "coordination.k8s.io", "resources": ["leases"]},
        {"group": "", "resources": ["events"]},
        {"group": "events.k8s.io", "resources": ["events"]},
    ]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": reads, "resources": noise},
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
            {"level": "Metadata"},
        ],
    }


def controller_manager(
    binary: Path, pki: Path, kubeconfig: Path, profile: Profile, *, feature_gates: Mapping[str, bool] = NO_GATES
) -> list[str]:
    values: dict[str, object] = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "client-ca-file": pki / "ca.crt",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "root-ca-file": pki / "ca.crt",
        "cluster-signing-cert-file": pki / "ca.crt",
        "cluster-signing-key-file": pki / "ca.key",
        "service-account-private-key-file": pki / "sa.key",
        "service-cluster-ip-range": SERVICE_CIDR,
        "cluster-cidr": CLUSTER_CIDR,
        "cluster-name": "kubernetes",
        "allocate-node-cidrs": True,
        "controllers": "*,bootstrapsigner,tokencleaner",
        "leader-elect": True,
        "use-service-account-credentials": True,
    }
    if profile is Profile.FAST:
        values |= {
            "node-monitor-grace-period": "8s",
            "node-monitor-period": "1s",
            "horizontal-pod-autoscaler-sync-period": "2s",
            "kube-api-qps": 100,
            "kube-api-burst": 200,
        }
    return [str(binary), *_flags(values), *_gates(feature_gates)]


def scheduler(binary: Path, kubeconfig: Path, *, feature_gates: Mapping[str, bool] = NO_GATES) -> list[str]:
    return [
        str(binary),
        *_flags(
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "bind-address": "127.0.0.1",
                "leader-elect": True,
            }
        ),
        *_gates(feature_gates),
    ]


def kubelet(node: NodeNetwork) -> list[str]:
    """In the node's root, where kubeadm puts the files."""
    return [
        "/usr/bin/kubelet",
        *_flags(
            {
                "kubeconfig": "/etc/kubernetes/kubelet.conf",
                "config": "/var/lib/kubelet/config.yaml",
                "hostname-override": node.name,
                "node-ip": node.address,
            }
        ),
    ]


def kubelet_config(
    node: NodeNetwork, profile: Profile, *, feature_gates: Mapping[str, bool] = NO_GATES
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/cri.sock",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "featureGates": {**feature_gates, "KubeletInUserNamespace": True},
        "evictionHard": {"memory.available": "1Mi"},
        "healthzPort": 0,
        "maxPods": MAX_PODS_PER_NODE,
        "imageGCHighThresholdPercent": 100,  # never: images are local commands, and the disk is the host's
        "rotateCertificates": False,
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    }
    if profile is Profile.FAST:
        # nodeStatusReportFrequency follows nodeStatusUpdateFrequency unless it is set: 5m is kubeadm's
        document |= {
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "5m",
            "nodeLeaseDurationSeconds": 8,
        }
    return document
