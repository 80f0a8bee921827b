"""What real clusters have besides networking and workloads, and what corruption hits: quotas, policies, webhooks,
operators, volumes, aggregated APIs. Off by default; `furniture: [quota, webhook]` in the cluster config puts it there.

Each is a file of manifests (manifests/furniture/NAME.yaml) that is created through the API, at the boot, and is part of
the baseline from then on. What serves (webhook, operator, metrics) are programs of ours in pods (cri/programs), reached
over Services as anybody's would be. Certificates are made here, a new authority for each server.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox import pki
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.manifests import Document, load

__all__ = ["FURNITURE", "VOLUMES_PER_NODE", "Furniture", "furniture_manifests", "furniture_not_ready"]

VOLUMES_PER_NODE = 2
"""Arbitrary: six claims bind on three nodes, and a seventh stays pending."""
_TIMERS: Mapping[Profile, Mapping[str, str]] = {
    # metrics-server's own manifest has 15s, 20 and 10; with 2 s an HPA has something to go by at its next sync
    Profile.KUBEADM: {"metric_resolution_s": "15", "metrics_initial_delay_s": "20", "readiness_period_s": "10"},
    Profile.FAST: {"metric_resolution_s": "2", "metrics_initial_delay_s": "0", "readiness_period_s": "1"},
}
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_FOLDER = Path(__file__).with_name("manifests") / "furniture"


@dataclass(frozen=True, slots=True)
class Furniture:
    """`manifest` is the file of its documents."""

    name: str
    description: str
    manifest: Path


def _furniture(name: str, description: str) -> Furniture:
    return Furniture(name, description, _FOLDER / f"{name}.yaml")


FURNITURE: Mapping[str, Furniture] = {
    each.name: each
    for each in (
        _furniture(
            "pod-disruption-budget",
            "A PodDisruptionBudget keeps half of the pods labelled app=web in default when nodes are drained.",
        ),
        _furniture(
            "quota",
            "A ResourceQuota allows 50 pods in default, and a LimitRange gives requests and limits to those without.",
        ),
        _furniture(
            "admission-policy",
            "A ValidatingAdmissionPolicy refuses more than 50 replicas outside the system's namespaces.",
        ),
        _furniture(
            "webhook",
            "A validating webhook, served by a pod, refuses privileged pods outside the system's namespaces.",
        ),
        _furniture("operator", "A CustomResourceDefinition Site, its operator, and one Site with a pod and a Service."),
        _furniture(
            "volumes",
            f"A default StorageClass and {VOLUMES_PER_NODE} PersistentVolumes of 1 GiB on every node: claims bind.",
        ),
        _furniture("metrics", "A metrics API behind the aggregation layer: kubectl top answers, autoscalers scale."),
    )
}
"""By name, in the order in which they are created."""


def furniture_manifests(names: Sequence[str], *, profile: Profile, nodes: Sequence[str]) -> list[Document]:
    """All documents of the furniture called `names`, each once, in the order in which they are to be created. KeyError
    for a name that is none."""
    wanted = {FURNITURE[name].name for name in names}
    documents: dict[tuple[str, ...], Document] = {}
    for name in FURNITURE:
        if name in wanted:
            for document in _documents(name, profile, nodes):
                documents.setdefault(_identity(document), document)
    return sorted(documents.values(), key=_turn)


def _documents(name: str, profile: Profile, nodes: Sequence[str]) -> Iterable[Document]:
    file, values = FURNITURE[name].manifest, dict(_TIMERS[profile])
    if name == "webhook":
        values |= _certified("webhook", service="webhook.furniture")
    if name == "metrics":
        values |= _certified("metrics", service="metrics-server.kube-system")
    if name != "volumes":
        return load(file, values)
    disks = [(node, str(number)) for node in nodes for number in range(1, VOLUMES_PER_NODE + 1)]
    return [document for node, number in disks for document in load(file, {"node": node, "number": number})]


def _certified(server: str, *, service: str) -> dict[str, str]:
    """Values for the placeholders of a server's authority, certificate and key."""
    authority = pki.Authority(f"{server}-ca")
    own = authority.issue(f"{service}.svc", hosts=(service, f"{service}.svc", f"{service}.svc.cluster.local"))
    pems = {"authority": authority.identity.certificate, "certificate": own.certificate, "key": own.key}
    return {f"{server}_{name}": base64.b64encode(pem).decode() for name, pem in pems.items()}


def _identity(document: Document) -> tuple[str, ...]:
    metadata = document["metadata"]
    return (document["apiVersion"], document["kind"], metadata.get("namespace", ""), metadata["name"])


def _turn(document: Document) -> int:
    """Kinds first, since kube-apiserver needs up to 2 s to serve them; what is of such a kind last; the webhook is
    registered after whatever it serves has been made."""
    kind, group = document["kind"], document["apiVersion"].partition("/")[0]
    if kind in ("Namespace", "CustomResourceDefinition"):
        return 0
    return 3 if group == "demo.mutineer.dev" else 2 if kind == "ValidatingWebhookConfiguration" else 1


Items = Callable[[str], Sequence[Mapping[str, Any]] | None]
"""The items of the list at an API path; None where it is not answered (health.Administrator.items)."""
_Check = tuple[str, str, Callable[[Mapping[str, Any]], bool]]
"""API path, what is waited for in words, and whether one of that list has it."""


def furniture_not_ready(names: Sequence[str], items: Items) -> list[str]:
    """What of the furniture called `names` does not yet do what it is there for, in words. Workloads and aggregated
    APIs are health.not_ready's."""
    checks: Mapping[str, _Check] = {
        "pod-disruption-budget": ("/apis/policy/v1/poddisruptionbudgets", "counted", _observed),
        # before its controller has counted, a quota refuses every pod
        "quota": ("/api/v1/resourcequotas", "counted", lambda q: q.get("status", {}).get("hard") == q["spec"]["hard"]),
        "admission-policy": (f"{_ADMISSION}/validatingadmissionpolicies", "checked", _observed),
        "operator": ("/apis/demo.mutineer.dev/v1/sites", "ready", _ready),
    }
    waiting = []
    for path, what, is_so in (checks[name] for name in names if name in checks):
        if (found := items(path)) is None:
            waiting.append(f"{path} is not answered")
        for thing in found or ():
            if not is_so(thing):
                waiting.append(f"{path.rpartition('/')[2]} {thing['metadata']['name']} is not {what}")
    return waiting


def _observed(thing: Mapping[str, Any]) -> bool:
    return bool(thing.get("status", {}).get("observedGeneration") == thing["metadata"]["generation"])


def _ready(site: Mapping[str, Any]) -> bool:
    conditions = site.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
