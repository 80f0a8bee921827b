"""How the sandbox is, asked of its parts: the API as its administrator, each component's own health endpoint, nodes,
system workloads."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox import components
from campaigns.clusters.sandbox.processes import Process
from classifiers.observation import ComponentHealth

__all__ = ["Administrator", "health_of", "not_ready", "page_of"]

_TIMEOUT_S = 5.0
_LOOPBACK = "127.0.0.1"


class Administrator:
    """Requests to kube-apiserver with the administrator's certificate, which lies in `pki`."""

    def __init__(self, pki: Path) -> None:
        self._pki = pki
        self._tls: dict[bool, ssl.SSLContext] = {}

    def _context(self, *, verified: bool) -> ssl.SSLContext:
        if verified not in self._tls:
            context = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
            context.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
            if not verified:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._tls[verified] = context
        return self._tls[verified]

    def send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        port: int = components.API_PORT,
        timeout_s: float = _TIMEOUT_S,
    ) -> tuple[int, bytes]:
        """(HTTP status, answer); status 0 where nobody answers, with the reason as the answer. At another `port` than
        kube-apiserver's the certificate is self-signed and the address loopback in our own namespace: not verified."""
        context = self._context(verified=port == components.API_PORT)
        connection = http.client.HTTPSConnection(_LOOPBACK, port, timeout=timeout_s, context=context)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error).encode()
        finally:
            connection.close()

    def serves(self, path: str) -> bool:
        return self.send("GET", path)[0] == 200

    def items(self, path: str) -> list[dict[str, Any]] | None:
        """Of a list; None where it is not answered."""
        status, body = self.send("GET", path)
        return list(json.loads(body)["items"]) if status == 200 else None


_PORTS = {
    "kube-apiserver": components.API_PORT,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
}
"""Of components that serve their pages by TLS, to whom may see them."""


def page_of(name: str, path: str, api: Administrator, *, timeout_s: float) -> tuple[int, bytes] | None:
    """(HTTP status, answer) of a component's own page; status 0 where nobody answers; None if it serves none."""
    if name == "etcd":
        return _get(components.ETCD_METRICS_PORT, path, timeout_s=timeout_s)
    if (port := _PORTS.get(name)) is None:
        return None
    return api.send("GET", path, port=port, timeout_s=timeout_s)


def _get(port: int, path: str, *, timeout_s: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()


def health_of(process: Process, api: Administrator) -> ComponentHealth:
    """A component now, with what its own readyz or healthz says."""
    ready, detail = _asked(process.name, api) if process.alive else (False, f"exit code {process.exit_code}")
    usage = process.usage()
    return ComponentHealth(
        name=process.name,
        alive=process.alive,
        restarts=process.restarts,
        ready=ready,
        detail=detail,
        cpu_s=usage.cpu_s,
        rss_bytes=usage.rss_bytes,
    )


def _asked(name: str, api: Administrator) -> tuple[bool | None, str]:
    match name:
        case "kube-apiserver":
            status, body = api.send("GET", "/readyz?verbose")
            failed = [line for line in body.decode(errors="replace").splitlines() if line.startswith("[-]")]
            return status == 200, "; ".join(failed) or ("" if status else body.decode(errors="replace"))
        case "etcd":
            return _answers(name, "/health?serializable=false", api)
        case "kube-controller-manager":
            return _answers(name, "/healthz", api)
        case "kube-scheduler":
            return _answers(name, "/readyz", api)
        case _:
            return None, ""


def _answers(name: str, path: str, api: Administrator) -> tuple[bool, str]:
    """Whether a component's health page says 200, and what it said otherwise."""
    page = page_of(name, path, api, timeout_s=_TIMEOUT_S)
    status, body = page or (0, b"it serves no pages")
    return status == 200, "" if status == 200 else body.decode(errors="replace")[:300]


def not_ready(api: Administrator, nodes: int) -> list[str]:
    """What is not yet as it has to be: `nodes` Ready nodes, every workload, every aggregated API. In words."""
    waiting: list[str] = []
    found = api.items("/api/v1/nodes")
    ready = [node for node in found or () if _condition(node, "Ready")]
    if len(ready) != nodes:
        return [f"{len(ready)} of {nodes} nodes are Ready"]  # asked ten times a second: no more than is needed
    for daemon in _listed(api, "/apis/apps/v1/daemonsets", waiting):
        if daemon["status"].get("numberReady", 0) != nodes:
            waiting.append(f"DaemonSet {daemon['metadata']['name']} has {daemon['status'].get('numberReady', 0)} pods")
    for deployment in _listed(api, "/apis/apps/v1/deployments", waiting):
        if deployment["status"].get("readyReplicas", 0) != deployment["spec"].get("replicas", 1):
            waiting.append(f"Deployment {deployment['metadata']['name']} is not ready")
    for service in _listed(api, "/apis/apiregistration.k8s.io/v1/apiservices", waiting):
        if not _condition(service, "Available"):
            waiting.append(f"APIService {service['metadata']['name']} is not available")
    return waiting


def _listed(api: Administrator, path: str, waiting: list[str]) -> list[dict[str, Any]]:
    if (items := api.items(path)) is None:
        waiting.append(f"{path} is not answered")
    return items or []


def _condition(found: dict[str, Any], kind: str) -> bool:
    conditions = found.get("status", {}).get("conditions", ())
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
