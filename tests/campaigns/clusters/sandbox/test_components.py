"""Command lines: what the profiles change, and whether every deviation from kubeadm is said."""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from campaigns.clusters.sandbox import components
from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.components import Profile, deviations
from campaigns.clusters.sandbox.config import ImageConfig, SandboxConfig
from campaigns.clusters.sandbox.credentials import write_credentials
from campaigns.clusters.sandbox.manifests import system_manifests
from injector.errors import HarnessError

P = Path("/p")
NODE = NodeNetwork("node-1", "172.30.0.11", P / "netns")

KUBEADM_KUBELET = {
    # kubernetes/cmd/kubeadm/app/componentconfigs/kubelet.go (v1.36), and the kubelet's own defaults
    # (pkg/kubelet/apis/config/v1beta1/defaults.go) for what kubeadm leaves to it
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "clusterDNS": ["10.96.0.10"],
    "clusterDomain": "cluster.local",
}
ITS_OWN = ("address", "containerRuntimeEndpoint", "apiVersion", "kind")
"""Where it listens, and the runtime: kubeadm leaves the one to all addresses and finds the other."""
SAME_IN_EFFECT = {("kubelet", "nodeStatusReportFrequency")}
"""Set only because its default, 5m, follows nodeStatusUpdateFrequency once that is set (defaults.go)."""


def settings(profile: Profile) -> dict[str, dict[str, str]]:
    """Component → setting → value, of everything that is started."""
    flags = {
        "etcd": components.etcd(P / "etcd", P / "data"),
        "kube-apiserver": components.kube_apiserver(P / "kube-apiserver", P / "pki", profile),
        "kube-controller-manager": components.controller_manager(P / "kcm", P / "pki", P / "config", profile),
        "kube-scheduler": components.scheduler(P / "scheduler", P / "config"),
        "kubelet": components.kubelet(NODE),
    }
    found = {name: dict(flag.split("=", 1) for flag in argv[1:]) for name, argv in flags.items()}
    documents = {
        "kubelet": components.kubelet_config(NODE, profile),
        "kube-proxy": kube_proxy_config(profile),
    }
    for name, document in documents.items():
        found[name] = found.get(name, {}) | _flat(document)
    (coredns,) = (d for d in system_manifests(profile) if d["kind"] == "Deployment")
    found["CoreDNS"] = _flat(coredns["spec"]["template"]["spec"]["containers"][0])
    if found["CoreDNS"]["readinessProbe.periodSeconds"] == "10":  # the API's default: as if it were not there
        del found["CoreDNS"]["readinessProbe.periodSeconds"]
    return found


def kube_proxy_config(profile: Profile) -> dict[str, object]:
    """Of its ConfigMap. Zeros are kubeadm's way to leave a setting to kube-proxy."""
    named = {(d["kind"], d["metadata"]["name"]): d for d in system_manifests(profile)}
    document = yaml.safe_load(named["ConfigMap", "kube-proxy"]["data"]["config.conf"])
    return {
        key: {k: v for k, v in value.items() if v != "0s"} if isinstance(value, dict) else value
        for key, value in document.items()
    }


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
    ours = components.kubelet_config(NODE, Profile.KUBEADM)
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


def flags(argv: Sequence[str]) -> dict[str, str]:
    return dict(flag.split("=", 1) for flag in argv[1:])


def changed_by(plain: Sequence[str], switched: Sequence[str]) -> dict[str, str]:
    """What a switch adds or changes; it takes nothing away."""
    before, after = flags(plain), flags(switched)
    assert before.keys() <= after.keys()
    return {name: value for name, value in after.items() if before.get(name) != value}


def test_etcd_tls_is_kubeadms_and_said_where_it_is_off() -> None:
    pki, binary = P / "pki", P / "x"
    etcd = "https://127.0.0.1:"
    assert changed_by(components.etcd(binary, P), components.etcd(binary, P, tls=pki)) == {
        "--listen-client-urls": f"{etcd}2379",
        "--advertise-client-urls": f"{etcd}2379",
        "--listen-peer-urls": f"{etcd}2380",
        "--initial-advertise-peer-urls": f"{etcd}2380",
        "--initial-cluster": f"sandbox={etcd}2380",
        # kubernetes/cmd/kubeadm/app/phases/etcd/local.go, v1.36
        "--cert-file": "/p/pki/etcd/server.crt",
        "--key-file": "/p/pki/etcd/server.key",
        "--trusted-ca-file": "/p/pki/etcd/ca.crt",
        "--client-cert-auth": "true",
        "--peer-cert-file": "/p/pki/etcd/peer.crt",
        "--peer-key-file": "/p/pki/etcd/peer.key",
        "--peer-trusted-ca-file": "/p/pki/etcd/ca.crt",
        "--peer-client-cert-auth": "true",
    }
    plain = components.kube_apiserver(binary, pki, Profile.KUBEADM)
    assert changed_by(plain, components.kube_apiserver(binary, pki, Profile.KUBEADM, etcd_tls=True)) == {
        "--etcd-servers": f"{etcd}{components.FORWARDER_PORT}",
        # kubernetes/cmd/kubeadm/app/phases/controlplane/manifests.go, v1.36
        "--etcd-cafile": "/p/pki/etcd/ca.crt",
        "--etcd-certfile": "/p/pki/apiserver-etcd-client.crt",
        "--etcd-keyfile": "/p/pki/apiserver-etcd-client.key",
    }
    for profile in Profile:
        said = set(deviations(profile)) - set(deviations(profile, etcd_tls=True))
        assert {(d.component, d.setting) for d in said} == {("etcd", "TLS")}
        assert set(deviations(profile, etcd_tls=True)) < set(deviations(profile))


def test_etcds_health_is_asked_in_plain_text_whether_or_not_it_has_tls() -> None:
    for tls in (None, P):
        found = flags(components.etcd(P / "etcd", P, tls=tls))
        assert found["--listen-metrics-urls"] == f"http://127.0.0.1:{components.ETCD_METRICS_PORT}"
    assert components.ETCD_METRICS_PORT not in (components.ETCD_PORT, 2380, components.FORWARDER_PORT)
    assert ("etcd", "--listen-metrics-urls") in {(d.component, d.setting) for d in deviations(Profile.KUBEADM)}


def test_the_forwarder_is_etcd_to_its_clients_and_kube_apiserver_to_etcd() -> None:
    folders = {"etcd/ca", "etcd/server", "apiserver-etcd-client"}
    files = [Path(option.split("=", 1)[1]) for option in components.forwarder_tls(P)]
    assert {str(file.relative_to(P).with_suffix("")) for file in files} == folders
    assert [option.split("=")[0] for option in components.forwarder_tls(P)] == [
        "--tls-cert", "--tls-key", "--tls-client-ca", "--upstream-cert", "--upstream-key", "--upstream-ca",
    ]  # fmt: skip


def test_encryption_and_audit_are_off_unless_asked_for() -> None:
    plain = components.kube_apiserver(P / "x", P, Profile.KUBEADM)
    audit = components.Audit(P / "policy.yaml", P / "audit.log")
    switched = components.kube_apiserver(P / "x", P, Profile.KUBEADM, encryption=P / "keys.yaml", audit=audit)
    assert changed_by(plain, switched) == {
        "--encryption-provider-config": "/p/keys.yaml",
        "--audit-policy-file": "/p/policy.yaml",
        "--audit-log-path": "/p/audit.log",
        "--audit-log-maxbackup": "4",
    }


def test_feature_gates_reach_every_component() -> None:
    gates = {"Second": False, "CBORServingAndStorage": True}
    wanted = {"--feature-gates": "CBORServingAndStorage=true,Second=false"}
    apiserver = functools.partial(components.kube_apiserver, P / "x", P, Profile.FAST)
    assert changed_by(apiserver(), apiserver(feature_gates=gates)) == wanted
    manager = functools.partial(components.controller_manager, P / "x", P, P / "k", Profile.FAST)
    assert changed_by(manager(), manager(feature_gates=gates)) == wanted
    scheduler = functools.partial(components.scheduler, P / "x", P / "k")
    assert changed_by(scheduler(), scheduler(feature_gates=gates)) == wanted
    config = components.kubelet_config(NODE, Profile.FAST, feature_gates=gates)
    assert config["featureGates"] == {**gates, "KubeletInUserNamespace": True}


def test_every_component_that_has_a_forwarder_is_sent_there_and_only_it_shows_the_components_certificate(
    tmp_path: Path,
) -> None:
    nodes = ["node-1", "node-2"]
    listeners = components.listeners(nodes)
    assert len(set(listeners.values())) == len(listeners) == 5
    (keys := tmp_path / "pki").mkdir()
    handed = write_credentials(tmp_path, keys, nodes, etcd_tls=False, listeners=listeners)
    files = {name: (tmp_path / f"{name}.kubeconfig").read_bytes() for name in ("kube-scheduler", "admin")}
    servers = {
        name: yaml.safe_load(content)["clusters"][0]["cluster"]["server"]
        for name, content in {**files, **handed.kubeconfigs}.items()
    }
    host, port = listeners["kubelet-node-2"]
    assert servers["node-2"] == f"https://{host}:{port}" and host == components.CONTROL_PLANE_ADDRESS
    assert servers["kube-scheduler"] == f"https://127.0.0.1:{listeners['kube-scheduler'][1]}"
    assert servers["admin"] == f"https://127.0.0.1:{components.API_PORT}"
    addresses = {"node-1": "172.30.0.11", "node-2": "172.30.0.12"}
    told = components.component_forwarder(keys, tmp_path / "c.sock", addresses)["components"]
    assert [each["name"] for each in told] == [*listeners]
    for each in told:
        assert ("cert" in each) == (each["name"] != "kube-proxy"), "kube-proxy shows a token"
        assert each.get("peers", {}).get("172.30.0.12") == (
            "kube-proxy-node-2" if each["name"] == "kube-proxy" else None
        )
        for file in {"cert", "key"} & set(each):
            assert Path(each[file]).stat().st_mode & 0o777 == 0o600


def test_secrets_and_nothing_else_are_encrypted_and_what_was_written_before_can_be_read() -> None:
    (rule,) = components.encryption_config(bytes(range(32)))["resources"]
    assert rule["resources"] == ["secrets"]
    first, last = rule["providers"]
    (key,) = first["secretbox"]["keys"]
    assert base64.b64decode(key["secret"]) == bytes(range(32)) and last == {"identity": {}}
    with pytest.raises(HarnessError, match="expected a key of 32 bytes, got 16"):
        components.encryption_config(bytes(16))


def level(verb: str, group: str, resource: str) -> str:
    """As kube-apiserver decides: the first rule that matches (apiserver/pkg/audit/policy/checker.go)."""
    for rule in components.audit_policy()["rules"]:
        named = any(each["group"] == group and resource in each["resources"] for each in rule.get("resources", ()))
        anything = not {"resources", "nonResourceURLs"} & rule.keys()
        if (named or anything) and verb in rule.get("verbs", [verb]):
            return str(rule["level"])
    return "None"


@pytest.mark.parametrize(
    ("verb", "group", "resource", "wanted"),
    [
        ("get", "coordination.k8s.io", "leases", "None"),
        ("watch", "", "events", "None"),
        ("list", "events.k8s.io", "events", "None"),
        ("update", "coordination.k8s.io", "leases", "Metadata"),
        ("create", "", "events", "Metadata"),
        ("get", "", "secrets", "Metadata"),
        ("delete", "apps", "deployments", "Metadata"),
        ("list", "", "pods", "Metadata"),
    ],
)
def test_every_request_is_in_the_audit_log_but_reads_of_leases_and_events(
    verb: str, group: str, resource: str, wanted: str
) -> None:
    assert level(verb, group, resource) == wanted
    assert components.audit_policy()["omitStages"] == ["RequestReceived"]


def test_the_kubelets_files_are_where_kubeadm_has_them() -> None:
    assert components.kubelet(NODE) == [
        "/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml",
        "--hostname-override=node-1", "--node-ip=172.30.0.11",
    ]  # fmt: skip


def test_a_config_survives_its_way_into_the_namespace() -> None:
    image = ImageConfig(command=("x", "y"), arguments=("z",), files={"/a": "/b"}, copies={"/c": "/d"})
    config = SandboxConfig(
        name="s", folder=P, binaries={"etcd": P / "etcd"}, nodes=2, profile=Profile.KUBEADM, images={"a:1": image},
        furniture=("x",),
    )  # fmt: skip
    assert SandboxConfig.from_json(config.to_json()) == config
    assert config.node_names == ["node-1", "node-2"]
