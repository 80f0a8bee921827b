"""The workload's user: talks to the API with the kubernetes client, and keeps what the API told them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3.exceptions
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

__all__ = ["User"]

_TIMEOUT_S = 10.0
"""Of one request; a user's kubectl has none, but a workload has to go on."""
_PLURALS = {"Deployment": "deployments", "Service": "services", "Namespace": "namespaces"}


class User:
    """`told` collects every error and warning the API answered, in words and in order."""

    def __init__(self, kubeconfig: Path) -> None:
        settings: Any = client.Configuration()
        # it writes the certificate and key to files, which must not outlive the cluster in the host's /tmp
        config.load_kube_config(str(kubeconfig), client_configuration=settings, temp_file_path=str(kubeconfig.parent))
        settings.retries = False  # before the client is made, which reads it once
        self._api: Any = client.ApiClient(settings)
        self.told: list[str] = []

    def close(self) -> None:
        self._api.close()

    def create(self, manifest: dict[str, Any]) -> bool:
        """POSTs one manifest; False if the API refused it or did not answer."""
        return self._send("POST", _collection(manifest), manifest)

    def _send(self, method: str, path: str, body: dict[str, Any]) -> bool:
        what = f"{body['kind']} {body['metadata']['name']}"
        try:
            response = self._api.call_api(
                method,
                self._api.configuration.host + path,
                header_params={"Content-Type": "application/json", "Accept": "application/json"},
                body=body,
                _request_timeout=_TIMEOUT_S,
            )
            content = response.read()
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            self.told.append(f"{what}: no answer ({type(error).__name__})")
            return False
        if response.status >= 400:
            self.told.append(f"{what}: HTTP {response.status} {_message(content)}")
            return False
        if warning := response.headers.get("Warning"):
            self.told.append(f"{what}: warning {warning}")
        return True


def _collection(manifest: dict[str, Any]) -> str:
    version, namespace = manifest["apiVersion"], manifest["metadata"].get("namespace")
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return base + (f"/namespaces/{namespace}" if namespace else "") + "/" + _PLURALS[manifest["kind"]]


def _message(content: bytes) -> str:
    """The message of a Status; the answer itself, cut, where it is none."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
