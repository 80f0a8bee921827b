"""The furniture's manifests: whole, in an order in which they can be created, with certificates that hold."""

from __future__ import annotations

import base64
import datetime
import re
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store

from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.cri.images import BUILT_IN
from campaigns.clusters.sandbox.furniture import FURNITURE, furniture_manifests, furniture_not_ready
from campaigns.clusters.sandbox.manifests import system_manifests
from campaigns.spec.cluster_spec import FURNITURE as NAMES
from campaigns.workloads.deploy import DEPLOY

NODES = ("node-1", "node-2", "node-3")


def made(*names: str, profile: Profile = Profile.FAST) -> list[dict[str, Any]]:
    return furniture_manifests(names or NAMES, profile=profile, nodes=NODES)


def found(kind: str, name: str, profile: Profile = Profile.FAST) -> dict[str, Any]:
    (one,) = [d for d in made(profile=profile) if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return one


def identities(documents: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]) for d in documents]


def test_every_name_of_the_cluster_config_is_there_and_no_other() -> None:
    assert tuple(FURNITURE) == NAMES
    for name, each in FURNITURE.items():
        assert each.name == name and each.manifest.is_file() and each.description.endswith(".")
        assert made(name)


@pytest.mark.parametrize("profile", Profile)
def test_all_of_it_is_made_once_without_a_placeholder_left_in_whatever_order_it_is_named(profile: Profile) -> None:
    documents = made(profile=profile)
    assert len(set(identities(documents))) == len(documents)
    assert "${" not in yaml.safe_dump_all(documents)
    assert identities(made(*reversed(NAMES))) == identities(documents)
    assert not set(identities(documents)) & set(identities(system_manifests(profile)))


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(KeyError, match="nosuch"):
        made("nosuch")


def test_what_others_need_is_created_before_them() -> None:
    order = identities(made())
    for document in made():
        identity = identities([document])[0]
        before = order[: order.index(identity)]
        namespace = document["metadata"].get("namespace")
        assert namespace in (None, "default", "kube-system") or ("Namespace", "", namespace) in before
        if document["kind"] == "Deployment":
            spec = document["spec"]["template"]["spec"]
            if "serviceAccountName" in spec:
                assert ("ServiceAccount", namespace, spec["serviceAccountName"]) in before
            for volume in spec.get("volumes", ()):
                assert ("Secret", namespace, volume["secret"]["secretName"]) in before
    kinds = [kind for kind, _, _ in order]
    assert kinds.index("CustomResourceDefinition") <= 1, "served after up to 2 s: the rest is made meanwhile"
    assert kinds[-2:] == ["ValidatingWebhookConfiguration", "Site"]


def test_selectors_ports_and_images_fit() -> None:
    deployments = [d for d in made() if d["kind"] == "Deployment"]
    assert {d["metadata"]["name"] for d in deployments} == {"webhook", "site-operator", "metrics-server"}
    for each in deployments:
        template = each["spec"]["template"]
        (container,) = template["spec"]["containers"]
        assert container["image"] in BUILT_IN
        assert each["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        mounts, volumes = container.get("volumeMounts", ()), template["spec"].get("volumes", ())
        assert {mount["name"] for mount in mounts} == {volume["name"] for volume in volumes}
    for service in [d for d in made() if d["kind"] == "Service"]:
        (behind,) = [d for d in deployments if d["metadata"]["name"] == service["metadata"]["name"]]
        template = behind["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize(
    ("secret", "host", "bundle"),
    [
        ("webhook-certificate", "webhook.furniture.svc", "webhook"),
        ("metrics-server-certificate", "metrics-server.kube-system.svc", "api"),
    ],
)
def test_kube_apiserver_can_verify_who_serves(secret: str, host: str, bundle: str) -> None:
    documents = {(d["kind"], d["metadata"]["name"]): d for d in made()}  # one set: authorities are made anew each time
    data = documents["Secret", secret]["data"]
    if bundle == "webhook":
        (hook,) = documents["ValidatingWebhookConfiguration", "pods.mutineer.dev"]["webhooks"]
        encoded, service = hook["clientConfig"]["caBundle"], hook["clientConfig"]["service"]
    else:
        spec = documents["APIService", "v1beta1.metrics.k8s.io"]["spec"]
        encoded, service = spec["caBundle"], spec["service"]
        assert "insecureSkipTLSVerify" not in spec
    assert host == f"{service['name']}.{service['namespace']}.svc", "what kube-apiserver asks the certificate for"
    assert ("Service", service["name"]) in documents
    authority = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    own = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    PolicyBuilder().store(Store([authority])).time(datetime.datetime.now()).build_server_verifier(
        x509.DNSName(host)
    ).verify(own, [])
    key = load_pem_private_key(base64.b64decode(data["tls.key"]), None)
    assert key.public_key() == own.public_key()


def test_what_refuses_leaves_the_system_alone_and_the_webhook_itself() -> None:
    (hook,) = found("ValidatingWebhookConfiguration", "pods.mutineer.dev")["webhooks"]
    policy = found("ValidatingAdmissionPolicyBinding", "replica-limit.mutineer.dev")["spec"]["matchResources"]
    for selector in (hook["namespaceSelector"], policy["namespaceSelector"]):
        spared = next(e for e in selector["matchExpressions"] if e["key"] == "kubernetes.io/metadata.name")
        assert spared["operator"] == "NotIn" and "kube-system" in spared["values"]
    assert "furniture" in hook["namespaceSelector"]["matchExpressions"][0]["values"]
    assert hook["failurePolicy"] == "Fail" and hook["sideEffects"] == "None"


def test_the_golden_deployment_fits_beneath_all_limits_and_the_budget_is_about_it() -> None:
    hard = found("ResourceQuota", "workloads")["spec"]["hard"]
    (limits,) = found("LimitRange", "defaults")["spec"]["limits"]
    assert int(hard["pods"]) > 4 * DEPLOY.wanted_pods
    wanted = {kind: int(re.sub(r"\D", "", value)) for kind, value in limits["defaultRequest"].items()}
    assert wanted["cpu"] * int(hard["pods"]) <= int(hard["requests.cpu"]) * 1000
    assert wanted["memory"] * int(hard["pods"]) <= int(hard["requests.memory"].rstrip("Gi")) * 1024
    assert limits["default"].keys() == limits["defaultRequest"].keys() == {"cpu", "memory"}
    golden: Any = DEPLOY.steps[0].manifest  # type: ignore[union-attr]
    budget = found("PodDisruptionBudget", "web")
    assert budget["metadata"]["namespace"] == DEPLOY.namespaces[0]
    labels = golden["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert int(found("ConfigMap", "replica-limit")["data"]["maxReplicas"]) > 4 * DEPLOY.wanted_pods


def test_every_node_has_its_volumes_and_the_class_is_the_default() -> None:
    volumes = [d for d in made("volumes") if d["kind"] == "PersistentVolume"]
    where = [
        (
            d["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"],
            d["spec"]["hostPath"]["path"],
        )
        for d in volumes
    ]
    assert where == [([node], f"/mnt/disks/{number}") for node in NODES for number in ("1", "2")]
    (storage,) = [d for d in made("volumes") if d["kind"] == "StorageClass"]
    assert storage["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert {d["spec"]["storageClassName"] for d in volumes} == {storage["metadata"]["name"]}


def test_the_profile_decides_how_fresh_metrics_are() -> None:
    for profile, wanted in ((Profile.FAST, "--resolution=2"), (Profile.KUBEADM, "--resolution=15")):
        (container,) = found("Deployment", "metrics-server", profile)["spec"]["template"]["spec"]["containers"]
        assert wanted in container["args"]


def test_furniture_is_waited_for_until_its_controllers_have_seen_it() -> None:
    quota: dict[str, Any] = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}, "status": {}}
    site: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {}}
    budget = {"metadata": {"name": "b", "generation": 2}, "status": {"observedGeneration": 1}}
    lists = {
        "/api/v1/resourcequotas": [quota],
        "/apis/demo.mutineer.dev/v1/sites": [site],
        "/apis/policy/v1/poddisruptionbudgets": [budget],
    }
    assert furniture_not_ready(("pod-disruption-budget", "quota", "admission-policy", "operator"), lists.get) == [
        "poddisruptionbudgets b is not counted",
        "resourcequotas q is not counted",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies is not answered",
        "sites s is not ready",
    ]
    quota["status"]["hard"] = {"pods": "1"}
    site["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert furniture_not_ready(("quota", "volumes", "operator", "metrics", "webhook"), lists.get) == []
