"""The networking's manifests: whole, consistent with each other, and what the profile changes in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from campaigns.clusters.sandbox.addresses import CLUSTER_CIDR
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.cri.host_gw import read_settings
from campaigns.clusters.sandbox.manifests import load, system_manifests


def found(kind: str, name: str, profile: Profile = Profile.FAST, **settings: int) -> dict[str, Any]:
    (one,) = [d for d in system_manifests(profile, **settings) if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return one


def pod_spec(kind: str, name: str, profile: Profile = Profile.FAST) -> dict[str, Any]:
    spec: dict[str, Any] = found(kind, name, profile)["spec"]["template"]["spec"]
    return spec


def leaves(value: Any, name: str = "") -> Iterator[str]:
    """Every scalar with its name, line by line."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    elif isinstance(value, str) and "\n" in value:
        yield from value.splitlines()
    else:
        yield f"{name}: {value}"


def test_what_others_need_is_created_before_them() -> None:
    order = [(d["kind"], d["metadata"]["name"]) for d in system_manifests(Profile.FAST)]
    assert len(order) == len(set(order))
    workloads = [("DaemonSet", "kube-proxy"), ("DaemonSet", "route-agent"), ("Deployment", "coredns")]
    assert [each for each in order if each in workloads] == workloads
    for kind, name in workloads:
        spec = pod_spec(kind, name)
        before = order[: order.index((kind, name))]
        needed = [("ServiceAccount", spec["serviceAccountName"])]
        needed += [("ConfigMap", v["configMap"]["name"]) for v in spec["volumes"] if "configMap" in v]
        assert len(needed) == 2 and set(needed) <= set(before)


def test_selectors_roles_and_mounts_fit() -> None:
    for document in system_manifests(Profile.FAST):
        if document["kind"] in ("DaemonSet", "Deployment"):
            template = document["spec"]["template"]
            assert document["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            volumes = {volume["name"] for volume in template["spec"]["volumes"]}
            (container,) = template["spec"]["containers"]
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    service, deployment = found("Service", "kube-dns"), found("Deployment", "coredns")
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("profile", Profile)
def test_no_placeholder_is_left(profile: Profile) -> None:
    assert "${" not in json.dumps(system_manifests(profile))


def test_the_profile_decides_timers_only() -> None:
    fast, kubeadm = ([*leaves(system_manifests(profile))] for profile in (Profile.FAST, Profile.KUBEADM))
    changed = [pair for pair in zip(fast, kubeadm, strict=True) if pair[0] != pair[1]]
    assert [tuple(line.strip() for line in pair) for pair in changed] == [
        ("minSyncPeriod: 100ms", "minSyncPeriod: 0s"),
        ("periodSeconds: 1", "periodSeconds: 10"),
    ]


def test_core_dns_has_as_many_replicas_as_asked_for_and_kubeadms_two_otherwise() -> None:
    assert found("Deployment", "coredns")["spec"]["replicas"] == 2
    assert found("Deployment", "coredns", dns_replicas=1)["spec"]["replicas"] == 1


def test_kube_proxy_is_configured_as_the_deviations_say() -> None:
    config = yaml.safe_load(found("ConfigMap", "kube-proxy")["data"]["config.conf"])
    assert (config["mode"], config["nodePortAddresses"], config["clusterCIDR"]) == (
        "nftables",
        ["primary"],
        CLUSTER_CIDR,
    )
    zeroes = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    assert zeroes.items() <= config["conntrack"].items()
    kubeconfig = yaml.safe_load(found("ConfigMap", "kube-proxy")["data"]["kubeconfig.conf"])
    assert kubeconfig["clusters"][0]["cluster"]["server"] == "https://172.30.0.1:6443"


def test_the_route_agent_can_read_its_settings_and_knows_its_node() -> None:
    settings = read_settings(found("ConfigMap", "route-agent")["data"]["config.json"])
    assert (str(settings.network), settings.resync_s) == (CLUSTER_CIDR, 10)
    spec = pod_spec("DaemonSet", "route-agent")
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"cni": "/etc/cni/net.d", "config": "/etc/mutineer-routes"}
    assert container["env"] == [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    assert spec["hostNetwork"] and container["securityContext"]["privileged"]


def test_a_placeholder_without_a_value_is_an_error_and_the_kubelets_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: ${kind}\nargs: [$(NODE_NAME)]\n---\n---\nkind: B\n")
    assert load(file, {"kind": "A"}) == [{"kind": "A", "args": ["$(NODE_NAME)"]}, {"kind": "B"}]
    with pytest.raises(KeyError, match="kind"):
        load(file, {})
