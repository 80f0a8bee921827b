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

__all__ = ["Administrator", "health_of", "not_ready"]

_TIMEOUT_S = 5.0
_LOOPBACK = "127.0.0.1"


class Administrator:
    """Requests to kube-apiserver with the administrator's certificate, which lies in `pki`."""

    def __init__(self, pki: Path) -> None:
        self._pki = pki
        self._tls: ssl.SSLContext | None = None

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """(HTTP status, answer); status 0 where nobody answers, with the reason as the answer."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
            self._tls.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
        connection = http.client.HTTPSConnection(_LOOPBACK, components.API_PORT, timeout=_TIMEOUT_S, context=self._tls)
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
            return _answers(components.ETCD_METRICS_PORT, "/health?serializable=false")
        case "kube-controller-manager":
            return _answers(10257, "/healthz", tls=True)
        case "kube-scheduler":
            return _answers(10259, "/readyz", tls=True)
        case _:
            return None, ""


def _answers(port: int, path: str, *, tls: bool = False) -> tuple[bool, str]:
    """Whether a health endpoint says 200, and what it said otherwise. The certificate is self-signed and the address
    is loopback in our own namespace, so it is not verified."""
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(_LOOPBACK, port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        return response.status == 200, "" if response.status == 200 else body[:300]
    except (OSError, http.client.HTTPException) as error:
        return False, str(error)
    finally:
        connection.close()


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
