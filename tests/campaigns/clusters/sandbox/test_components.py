"""Command lines: what the profiles change, and whether every deviation from kubeadm is said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from campaigns.clusters.sandbox import components
from campaigns.clusters.sandbox.components import Profile, deviations
from campaigns.clusters.sandbox.config import SandboxConfig
from campaigns.clusters.sandbox.network import NodeNetwork

P = Path("/p")
NODE = NodeNetwork("node-1", "172.30.0.11", P / "netns")

KUBEADM_KUBELET = {
    # kubernetes/cmd/kubeadm/app/componentconfigs/kubelet.go (v1.36), and the kubelet's own defaults
    # (pkg/kubelet/apis/config/v1beta1/defaults.go) for what kubeadm leaves to it
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": "/p/pki/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "clusterDNS": ["10.96.0.10"],
    "clusterDomain": "cluster.local",
    "address": "its node's",
    "podLogsDir": "its node's",
    "volumePluginDir": "its node's",
    "containerRuntimeEndpoint": "its node's",
}
ITS_OWN = ("address", "podLogsDir", "volumePluginDir", "containerRuntimeEndpoint", "apiVersion", "kind")
"""Where a node keeps its things and listens: one kubelet a machine, or several."""
SAME_IN_EFFECT = {("kubelet", "nodeStatusReportFrequency")}
"""Set only because its default, 5m, follows nodeStatusUpdateFrequency once that is set (defaults.go)."""


def settings(profile: Profile) -> dict[str, dict[str, str]]:
    """Component → setting → value, of everything that is started."""
    flags = {
        "etcd": components.etcd(P / "etcd", P / "data"),
        "kube-apiserver": components.kube_apiserver(P / "kube-apiserver", P / "pki", profile),
        "kube-controller-manager": components.controller_manager(P / "kcm", P / "pki", P / "config", profile),
        "kube-scheduler": components.scheduler(P / "scheduler", P / "config"),
        "kubelet": components.kubelet(P / "kubelet", NODE, P),
    }
    found = {name: dict(flag.split("=", 1) for flag in argv[1:]) for name, argv in flags.items()}
    documents = {
        "kubelet": components.kubelet_config(NODE, P, P / "pki", P / "socket", profile),
        "kube-proxy": components.kube_proxy_config(NODE, P, profile),
    }
    for name, document in documents.items():
        found[name] = found.get(name, {}) | _flat(document)
    return found


def _flat(document: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def changed() -> dict[tuple[str, str], tuple[str | None, str]]:
    """(component, setting) → (with kubeadm's timers, with the fast ones), of all that differs."""
    slow, fast = settings(Profile.KUBEADM), settings(Profile.FAST)
    assert all(slow[name].keys() <= fast[name].keys() for name in slow)
    return {
        (name, key): (slow[name].get(key), value)
        for name in fast
        for key, value in fast[name].items()
        if slow[name].get(key) != value
    }


def named(deviation: components.Deviation) -> list[str]:
    """The settings that a deviation names: `--a, --b` or `--default-(x|y)-seconds`."""
    names = []
    for name in deviation.setting.split(", "):
        if alternatives := re.search(r"\(([^)]*)\)", name):
            names += [name.replace(alternatives[0], each) for each in alternatives[1].split("|")]
        else:
            names.append(name)
    return names


def test_every_deviation_of_the_fast_profile_is_in_the_flags_with_its_value() -> None:
    said = [d for d in deviations(Profile.FAST) if d not in deviations(Profile.KUBEADM)]
    values = changed()
    claimed = {
        (deviation.component, name): value
        for deviation in said
        for name, value in zip(named(deviation), deviation.ours.split(", ") * 9, strict=False)
    }
    assert claimed == {place: fast for place, (_, fast) in values.items() if place not in SAME_IN_EFFECT}
    assert all(slow is None for slow, _ in values.values()), "the kubeadm profile leaves them to Kubernetes' defaults"


def test_every_setting_of_the_kubelet_that_is_not_kubeadms_is_a_deviation() -> None:
    ours = components.kubelet_config(NODE, P, P / "pki", P / "socket", Profile.KUBEADM)
    different = {key for key, value in ours.items() if key not in ITS_OWN and value != KUBEADM_KUBELET.get(key)}
    said = ", ".join(f"{d.setting} {d.kubeadm}" for d in deviations(Profile.KUBEADM) if d.component == "kubelet")
    cgroups = {"cgroupsPerQOS", "cgroupDriver", "failCgroupV1", "enforceNodeAllocatable"}
    featured = {"featureGates"}  # said by the gate's name
    assert "cgroups" in said and "KubeletInUserNamespace" in said
    assert {key for key in different - cgroups - featured if key not in said} == set()


def test_every_setting_that_always_deviates_is_what_is_said() -> None:
    found = settings(Profile.KUBEADM)
    assert found["etcd"]["--quota-backend-bytes"] == str(512 << 20)
    assert found["etcd"]["--max-txn-ops"] == "10000" and found["etcd"]["--unsafe-no-fsync"] == "true"
    assert found["etcd"]["--listen-client-urls"].startswith("http://127.0.0.1:")
    assert found["kube-apiserver"]["--etcd-compaction-interval"] == "0"
    assert found["kubelet"]["maxPods"] == str(components.MAX_PODS_PER_NODE)
    assert found["kube-proxy"]["mode"] == "nftables" and found["kube-proxy"]["nodePortAddresses"] == '["primary"]'


def test_the_defences_under_study_are_kubeadms() -> None:
    for profile in Profile:
        found = settings(profile)
        assert found["kube-controller-manager"]["--leader-elect"] == found["kube-scheduler"]["--leader-elect"] == "true"
        apiserver = found["kube-apiserver"]
        assert apiserver["--authorization-mode"] == "Node,RBAC"
        off = ("--enable-priority-and-fairness", "--max-requests-inflight", "--disable-admission-plugins")
        assert not any(flag in apiserver for flag in off)
        assert apiserver["--etcd-servers"] == f"http://127.0.0.1:{components.FORWARDER_PORT}", "through the forwarder"


def test_a_config_survives_its_way_into_the_namespace() -> None:
    config = SandboxConfig(
        name="s", folder=P, binaries={"etcd": P / "etcd"}, nodes=2, profile=Profile.KUBEADM, images={"a:1": ("x", "y")}
    )
    assert SandboxConfig.from_json(config.to_json()) == config
    assert config.node_names == ["node-1", "node-2"]
