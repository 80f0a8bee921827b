"""The command line of every component, as kubeadm 1.36 writes its static pods and configuration files.

Where the sandbox differs it says so: `DEVIATIONS` is printed in every report. `profile: fast` shortens timers so that
an experiment takes seconds; `profile: kubeadm` keeps kubeadm's.
Sources: kubernetes/cmd/kubeadm/app/phases/{controlplane,etcd,kubelet}, app/componentconfigs, v1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.network import CLUSTER_CIDR, CONTROL_PLANE_ADDRESS, SERVICE_CIDR, NodeNetwork

__all__ = [
    "API_PORT",
    "CLUSTER_DNS",
    "CONTROL_PLANE_ADDRESS",
    "ETCD_PORT",
    "FORWARDER_PORT",
    "MAX_PODS_PER_NODE",
    "Deviation",
    "Profile",
    "controller_manager",
    "deviations",
    "etcd",
    "kube_apiserver",
    "kube_proxy_config",
    "kubelet",
    "kubelet_config",
    "scheduler",
]

API_PORT, ETCD_PORT, FORWARDER_PORT = 6443, 2379, 2381
CLUSTER_DNS = "10.96.0.10"
MAX_PODS_PER_NODE = 40
"""Host guard: a process per pod, so three nodes hold 120; kubeadm's 110 a node would be 330 processes on 2 cores."""
_ETCD_QUOTA_BYTES = 512 << 20
"""Host guard: the data lives in memory (tmpfs); etcd's own default is 2 GiB."""


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
    Deviation("etcd", "TLS", "off", "on", "the forwarder speaks plain HTTP/2 so far; loopback in a namespace"),
    Deviation("kube-apiserver", "--etcd-compaction-interval", "0", "5m", "keeps the history of an experiment"),
    Deviation("kubelet", "cgroups", "none per pod", "cgroupsPerQOS", "no root: resource limits are not enforced"),
    Deviation("kubelet", "KubeletInUserNamespace, failSwapOn", "true, false", "false, true", "no root"),
    Deviation("kubelet", "localStorageCapacityIsolation", "false", "true", "no quotas on the sandbox's tmpfs"),
    Deviation("kubelet", "evictionHard", "memory 1Mi", "memory 100Mi, disk 10%", "disk and memory are the host's"),
    Deviation("kubelet", "imageGCHighThresholdPercent", "100", "85", "the disk is the host's"),
    Deviation("kubelet", "resolvConf", "none", "/etc/resolv.conf", "the host's resolver can't be reached from inside"),
    Deviation("kubelet", "rotateCertificates", "false", "true", "a sandbox lives hours, its certificates a year"),
    Deviation("kubelet", "healthzPort", "0", "10248", "nothing asks it: readiness is the Node's condition"),
    Deviation("kube-proxy", "mode", "nftables", "iptables", "needs one tool less; the default of a later Kubernetes"),
    Deviation("kube-proxy", "nodePortAddresses", "primary", "all", "what mode nftables has by default"),
    Deviation("kube-proxy", "conntrack", "left alone", "set", "those sysctls can't be written without root"),
    Deviation("kubelet", "maxPods", str(MAX_PODS_PER_NODE), "110", "host guard: every container is a local process"),
    Deviation("containers", "mounts and images", "local commands", "containerd", "no container images without root"),
    Deviation("control plane", "started as", "processes", "static pods", "no kubelet on the control plane's host"),
    Deviation("kubelet", "cgroupDriver", "cgroupfs", "systemd", "no systemd in the sandbox"),
    Deviation("kubelet", "paths", "the sandbox's own", "/var/lib/kubelet, /var/log/pods", "many nodes on one host"),
    Deviation("kube-proxy", "started as", "process on the node", "DaemonSet", "becomes a DaemonSet in a later version"),
    Deviation("CoreDNS", "started", "no", "Deployment", "comes in a later version"),
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
    Deviation("kube-apiserver", "--default-(not-ready|unreachable)-toleration-seconds", "10", "300", "profile fast"),
    Deviation("kubelet", "nodeStatusUpdateFrequency", "2s", "10s", "profile fast"),
    Deviation("kubelet", "nodeLeaseDurationSeconds", "8", "40", "profile fast; must not exceed the grace period"),
    Deviation("kube-proxy", "nftables.minSyncPeriod", "100ms", "1s", "profile fast"),
)


def deviations(profile: Profile) -> tuple[Deviation, ...]:
    """Everything in which a sandbox of this profile differs from a cluster made by kubeadm."""
    return _ALWAYS + (_FAST if profile is Profile.FAST else ())


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]


def etcd(binary: Path, data: Path) -> list[str]:
    client = f"http://127.0.0.1:{ETCD_PORT}"
    peer = "http://127.0.0.1:2380"
    return [
        str(binary),
        *_flags(
            {
                "name": "sandbox",
                "data-dir": data,
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"sandbox={peer}",
                "snapshot-count": 10000,
                "feature-gates": "InitialCorruptCheck=true",
                "watch-progress-notify-interval": "5s",
                "unsafe-no-fsync": True,
                "max-txn-ops": 10000,
                "quota-backend-bytes": _ETCD_QUOTA_BYTES,
                "log-level": "warn",
            }
        ),
    ]


def kube_apiserver(binary: Path, pki: Path, profile: Profile) -> list[str]:
    values: dict[str, object] = {
        "etcd-servers": f"http://127.0.0.1:{FORWARDER_PORT}",
        "etcd-compaction-interval": "0",
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
    return [str(binary), *_flags(values)]


def controller_manager(binary: Path, pki: Path, kubeconfig: Path, profile: Profile) -> list[str]:
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
            "kube-api-qps": 100,
            "kube-api-burst": 200,
        }
    return [str(binary), *_flags(values)]


def scheduler(binary: Path, kubeconfig: Path) -> list[str]:
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
    ]


def kubelet(binary: Path, node: NodeNetwork, folder: Path) -> list[str]:
    """`folder` holds `kubeconfig` and `config.yaml`, and will hold everything the kubelet writes."""
    return [
        str(binary),
        *_flags(
            {
                "kubeconfig": folder / "kubeconfig",
                "config": folder / "config.yaml",
                "hostname-override": node.name,
                "node-ip": node.address,
                "root-dir": folder / "root",
                "cert-dir": folder / "pki",
            }
        ),
    ]


def kubelet_config(node: NodeNetwork, folder: Path, pki: Path, socket: Path, profile: Profile) -> dict[str, Any]:
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{socket}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "1Mi"},
        "healthzPort": 0,
        "maxPods": MAX_PODS_PER_NODE,
        "imageGCHighThresholdPercent": 100,  # never: images are local commands, and the disk is the host's
        "podLogsDir": str(folder / "logs"),
        "resolvConf": "",
        "rotateCertificates": False,
        "volumePluginDir": str(folder / "plugins"),
    }
    if profile is Profile.FAST:
        # nodeStatusReportFrequency follows nodeStatusUpdateFrequency unless it is set: 5m is kubeadm's
        document |= {
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "5m",
            "nodeLeaseDurationSeconds": 8,
        }
    return document


def kube_proxy_config(node: NodeNetwork, folder: Path, profile: Profile) -> dict[str, Any]:
    document: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "clusterCIDR": CLUSTER_CIDR,
        "clientConnection": {"kubeconfig": str(folder / "kube-proxy.kubeconfig")},
        # these sysctls can't be written in a user namespace; 0 and null leave them alone
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": ["primary"],
    }
    if profile is Profile.FAST:
        document["nftables"] = {"minSyncPeriod": "100ms"}
    return document
