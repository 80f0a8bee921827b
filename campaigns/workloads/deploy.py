"""Workload `deploy`: a Deployment with 6 replicas of an HTTP server, and its Service (the paper's first workload)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from campaigns.observers.stored import ready_pods

if TYPE_CHECKING:  # a spec is read without loading what runs it
    from campaigns.observers.history import History
    from campaigns.workloads.user import User

__all__ = ["Deploy", "deployment", "service"]


def deployment(name: str, namespace: str, replicas: int) -> dict[str, Any]:
    """A Deployment of the sandbox's web server, with a readiness probe."""
    container = {
        "name": name,
        "image": "mutineer/web:1",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                # the pods need no token; their end is quick because the server ends at SIGTERM
                "spec": {"containers": [container], "automountServiceAccountToken": False},
            },
        },
    }


def service(name: str, namespace: str) -> dict[str, Any]:
    """A ClusterIP Service in front of it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


class Deploy:
    """See the module."""

    name = "deploy"
    namespace = "default"
    service = "web"
    wanted_pods = 6
    asked_for: tuple[str, ...] = ("Deployment/default/web", "Service/default/web")

    def drive(self, user: User) -> None:
        user.create(deployment(self.service, self.namespace, self.wanted_pods))
        user.create(service(self.service, self.namespace))

    def done(self, history: History) -> bool:
        return len(ready_pods(history, self.namespace)) >= self.wanted_pods
