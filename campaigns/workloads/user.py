"""The workload's user: talks to the API with the kubernetes client, and keeps what the API told them.

Their writes carry a field manager of their own, so that the stored state says which were theirs. Where a kind's objects
are found is asked of the API (discovery), once a group and version.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3.exceptions
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from campaigns.workloads.steps import Manifest, ObjectName, Patch, PatchType
from injector.rules import JSONValue

__all__ = ["FIELD_MANAGER", "PATIENCE_S", "User"]

FIELD_MANAGER = "mutineer-user"
"""In metadata.managedFields of what the user wrote (injector.writers), and so in `Firing.actor`."""
PATIENCE_S = 10.0
"""For the answer to one request; a user's kubectl has no limit, but a workload has to go on."""
_JSON = "application/json"
_PATCHES = {
    PatchType.STRATEGIC: "application/strategic-merge-patch+json",
    PatchType.MERGE: "application/merge-patch+json",
    PatchType.JSON: "application/json-patch+json",
}
_APPLY = "application/apply-patch+yaml"  # JSON is YAML


class User:
    """`told` collects every error and warning the API answered, in words and in order; `told_at`: when such words were
    told first (time.monotonic()). `patience_s`: for the answer to each request."""

    def __init__(self, kubeconfig: Path, *, patience_s: float = PATIENCE_S) -> None:
        settings: Any = client.Configuration()
        # it writes the certificate and key to files, which must not outlive the cluster in the host's /tmp
        config.load_kube_config(str(kubeconfig), client_configuration=settings, temp_file_path=str(kubeconfig.parent))
        settings.retries = False  # before the client is made, which reads it once
        self._api: Any = client.ApiClient(settings)
        self._patience_s = patience_s
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}
        self.told: list[str] = []
        self.told_at: dict[str, float] = {}

    def close(self) -> None:
        self._api.close()

    def learn(self, api_version: str) -> None:
        """Asks which kinds a group and version has, so that it is known before it is needed."""
        self._discover(api_version, f"kinds of {api_version}")

    def create(self, manifest: Manifest) -> bool:
        """POSTs one manifest; False if the API refused it or did not answer. So do the others."""
        return self._ask("POST", ObjectName.of(manifest), _JSON, dict(manifest), collection=True)

    def apply(self, manifest: Manifest) -> bool:
        """Server-side apply, as `kubectl apply --server-side --force-conflicts`."""
        return self._ask("PATCH", ObjectName.of(manifest), _APPLY, dict(manifest), query="&force=true")

    def patch(self, step: Patch) -> bool:
        """PATCHes an object or its subresource."""
        return self._ask("PATCH", step.target, _PATCHES[step.type], step.patch, subresource=step.subresource)

    def delete(self, target: ObjectName) -> bool:
        """DELETEs an object; returns when the API has taken it, not when the object is gone."""
        body: JSONValue = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        return self._ask("DELETE", target, _JSON, body)

    def dry_run(self, target: ObjectName) -> tuple[str, str, str]:
        """Whether an object can be read, written back as it is, and deleted, by dry runs that change nothing: for each
        "", or why not, in words. What was told meanwhile is not the user's, and not among `told`."""
        told, self.told = self.told, []
        try:
            path = self._collection(target)
            if path is None:
                return self.told[-1], self.told[-1], self.told[-1]
            path, what = f"{path}/{quote(target.name)}", _what(target)
            read = self._send("GET", path, what, _JSON, None)
            if read is None and ": no answer (" in self.told[-1]:
                return self.told[-1], self.told[-1], self.told[-1]
            cannot_read = self.told.pop() if read is None else ""
            cannot_update = cannot_read
            if read is not None and self._send("PUT", f"{path}?dryRun=All", what, _JSON, json.loads(read)) is None:
                cannot_update = self.told.pop()
            deleted = self._send("DELETE", f"{path}?dryRun=All", what, _JSON, None)
            return cannot_read, cannot_update, self.told.pop() if deleted is None else ""
        finally:
            self.told = told

    def _ask(
        self,
        method: str,
        target: ObjectName,
        content_type: str,
        body: JSONValue,
        *,
        collection: bool = False,
        subresource: str = "",
        query: str = "",
    ) -> bool:
        if (path := self._collection(target)) is None:
            return False
        path += "" if collection else f"/{quote(target.name)}"
        path += f"/{subresource}" if subresource else ""
        manager = "" if method == "DELETE" else f"?fieldManager={FIELD_MANAGER}{query}"
        return self._send(method, path + manager, _what(target), content_type, body) is not None

    def _tell(self, words: str) -> None:
        self.told.append(words)
        self.told_at.setdefault(words, time.monotonic())

    def _collection(self, target: ObjectName) -> str | None:
        """The path of all objects of its kind and namespace; None if the API does not tell, which is told."""
        what = _what(target)
        if (target.api_version, target.kind) not in self._resources and not self._discover(target.api_version, what):
            return None
        resource = self._resources.get((target.api_version, target.kind))
        if resource is None:
            self._tell(f"{what}: the API has no kind {target.kind} in {target.api_version}")
            return None
        plural, namespaced = resource
        place = f"/namespaces/{target.namespace or 'default'}" if namespaced else ""
        return f"{_root(target.api_version)}{place}/{plural}"

    def _discover(self, api_version: str, what: str) -> bool:
        if (answer := self._send("GET", _root(api_version), what, _JSON, None)) is None:
            return False
        try:
            found = json.loads(answer)["resources"]
            named = {(api_version, each["kind"]): (each["name"], each["namespaced"]) for each in reversed(found)
                     if "/" not in each["name"]}  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            self._tell(f"{what}: the API's list of kinds in {api_version} can't be read ({error!r})")
            return False
        self._resources |= named
        return True

    def _send(self, method: str, path: str, what: str, content_type: str, body: JSONValue) -> bytes | None:
        """The answer; None where there is none, or a refusal, which are told."""
        try:
            response = self._api.call_api(
                method,
                self._api.configuration.host + path,
                header_params={"Content-Type": content_type, "Accept": _JSON},
                body=body,
                _request_timeout=self._patience_s,
            )
            content: bytes = response.read()
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            self._tell(f"{what}: no answer ({type(error).__name__})")
            return None
        if response.status >= 400:
            self._tell(f"{what}: HTTP {response.status} {_message(content)}")
            return None
        if warning := response.headers.get("Warning"):
            self._tell(f"{what}: warning {warning}")
        return content


def _what(target: ObjectName) -> str:
    return f"{target.kind} {target.name}"


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _message(content: bytes) -> str:
    """The message of a Status; the answer itself, cut, where it is none."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
