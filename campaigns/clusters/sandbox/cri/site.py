"""What the site operator (programs/operator.py) decides: a Site in, its Deployment, Service and status out. Pure.

As controllers built with controller-runtime do: children have the Site as their controller (ownerReferences), so they
are found by it and garbage-collected with it; a child that nobody controls is adopted, one that somebody else controls
is left alone and said in the status. Compared and set is only what the operator itself has to say of them, as
controllerutil.CreateOrUpdate is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["GROUP", "LABEL", "children", "foreign", "merged", "status"]

Document = Mapping[str, Any]
"""An object as the API's JSON has it."""
GROUP, VERSION, KIND = "demo.mutineer.dev", "v1", "Site"
LABEL = f"{GROUP}/site"
"""On every child, with the Site's name: what the operator watches, and what its Deployments and Services select."""
_CONTAINER_PORT = 8080
_WHOLE = ("selector", "matchLabels")


def children(site: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Deployment and the Service of a Site, with all that the operator sets. LookupError or TypeError where the
    Site is not what its CRD says."""
    name, spec = site["metadata"]["name"], site["spec"]
    labels = {LABEL: name}
    metadata = {
        "name": name,
        "namespace": site["metadata"]["namespace"],
        "labels": {**labels, "app.kubernetes.io/managed-by": "site-operator"},
        "ownerReferences": [_owner(site)],
    }
    container = {
        "name": "site",
        "image": spec["image"],
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": _CONTAINER_PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": spec["replicas"],
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"automountServiceAccountToken": False, "containers": [container]},
            },
        },
    }
    ports = [{"name": "http", "port": spec["port"], "protocol": "TCP", "targetPort": "http"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": ports},
    }
    return deployment, service


def _owner(site: Document) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": site["metadata"]["name"],
        "uid": site["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def merged(there: Any, wanted: Any, key: str = "") -> Any:
    """`there` with everything that `wanted` says; equal to `there` where it says so already. What it says more stays
    (defaults, labels and owners that others gave), but in selectors, of which every key counts."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping) and key not in _WHOLE:
        return {**there, **{name: merged(there.get(name), value, name) for name, value in wanted.items()}}
    if isinstance(there, list) and isinstance(wanted, list):
        if key == "ownerReferences":
            uids = {owner["uid"] for owner in wanted}
            others = [owner for owner in there if owner.get("uid") not in uids]
            return there if all(owner in there for owner in wanted) else [*others, *wanted]
        if len(there) == len(wanted):
            return [merged(*pair) for pair in zip(there, wanted, strict=True)]
    return wanted


def foreign(child: Document, site: Document) -> str | None:
    """Who controls `child`, if it is not `site`."""
    for owner in child["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("uid") != site["metadata"]["uid"]:
            return f"{owner.get('kind')} {owner.get('name')}"
    return None


def status(site: Document, deployment: Document | None, problem: str | None, now: str) -> dict[str, Any]:
    """The Site's status: ready replicas, and the condition Ready with its time of change (`now`, RFC 3339) kept while
    it stays as it is."""
    there = (deployment or {}).get("status", {})
    wanted, ready = site["spec"]["replicas"], there.get("readyReplicas", 0)
    complete = (
        deployment is not None
        and there.get("observedGeneration") == deployment["metadata"].get("generation")
        and ready == there.get("updatedReplicas", 0) == wanted
    )
    if problem is not None:
        condition = {"status": "False", "reason": "ReconcileFailed", "message": problem}
    elif complete:
        condition = {"status": "True", "reason": "AllReplicasReady", "message": f"{ready} of {wanted} replicas ready"}
    else:
        condition = {"status": "False", "reason": "Progressing", "message": f"{ready} of {wanted} replicas ready"}
    generation = site["metadata"].get("generation", 0)
    before: Document = next((c for c in site.get("status", {}).get("conditions", ()) if c.get("type") == "Ready"), {})
    since = before.get("lastTransitionTime", now) if before.get("status") == condition["status"] else now
    condition = {"type": "Ready", **condition, "observedGeneration": generation, "lastTransitionTime": since}
    return {"observedGeneration": generation, "readyReplicas": ready, "conditions": [condition]}
