"""Manifests that several workloads, and the canary, are made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

__all__ = ["deployment", "ending_gently", "pod_template", "service"]


def pod_template(name: str, *, pod: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A pod with the sandbox's web server, and a readiness probe; labelled app=NAME. `pod`: more keys of its spec."""
    container = {
        "name": name,
        "image": "mutineer/web:1",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "metadata": {"labels": {"app": name}},
        # the pods need no token; their end is quick because the server ends at SIGTERM
        "spec": {"containers": [container], "automountServiceAccountToken": False, **copy.deepcopy(dict(pod or {}))},
    }


def deployment(name: str, namespace: str, replicas: int, *, pod: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A Deployment of the sandbox's web server; `pod`: more keys of the pods' spec."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name, pod=pod),
        },
    }


def ending_gently(manifest: dict[str, Any]) -> dict[str, Any]:
    """The same workload object, whose pods go on serving for a second when they are to end, until every node's
    kube-proxy has heard of it: without, a rollout loses a request now and then, in golden runs too."""
    made = copy.deepcopy(manifest)
    for container in made["spec"]["template"]["spec"]["containers"]:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 1}}}
    return made


def service(name: str, namespace: str) -> dict[str, Any]:
    """A ClusterIP Service in front of it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
