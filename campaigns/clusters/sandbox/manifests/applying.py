"""Creates objects through the API, whatever their kind: where they are posted is asked of the API itself (discovery),
so built-in kinds and those of a CustomResourceDefinition in the same list go the same way. Sources:
kubernetes.io/docs/reference/using-api/api-concepts, apimachinery/pkg/apis/meta/v1 (APIResourceList, Status), v1.36.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from injector.errors import ClusterError

__all__ = ["Document", "Send", "apply"]

Document = dict[str, Any]
"""One object as its YAML or JSON has it; opaque but for apiVersion, kind and metadata."""
Send = Callable[[str, str, Document | None], tuple[int, bytes]]
"""(method, path, JSON body) → (HTTP status, answer); status 0 where nobody answers, with the reason as the answer."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Resource:
    plural: str
    namespaced: bool


def apply(send: Send, documents: Iterable[Document], *, within_s: float = 20.0) -> None:
    """POSTs every document, in order. One that is there already is left as it is.

    A kind that a CustomResourceDefinition among the documents defines is waited for (`within_s`, seconds, of all that
    is waited for: the API server needs 2 s to serve it), and so is a namespace that an API server just started is about
    to make (default, kube-system). ClusterError, in words, for everything else."""
    wanted = list(documents)
    kinds = _Kinds(send, {defined for document in wanted for defined in _defines(document)})
    deadline = time.monotonic() + within_s
    for document in wanted:
        _create(send, kinds, document, deadline)


def _create(send: Send, kinds: _Kinds, document: Document, deadline: float) -> None:
    path = kinds.path(document, deadline)
    while True:
        # Strict: a field that the kind does not have is an error, not a warning that nobody reads
        status, answer = send("POST", f"{path}?fieldValidation=Strict", document)
        reason, message = _status(answer)
        if status == 201 or (status == 409 and reason == "AlreadyExists"):
            return
        if (
            status == 422
            and (name := document["metadata"].get("name"))
            and send("GET", f"{path}/{name}", None)[0] == 200
        ):
            return  # a Service that is there: its clusterIP is found taken before its name is
        if not (status == 404 and message.startswith("namespaces ")) or time.monotonic() > deadline:
            raise ClusterError(f"{_named(document)} can't be created (POST {path}): {_http(status)}: {message}")
        time.sleep(_POLL_S)


class _Kinds:
    """What the API serves, asked once a group and version."""

    def __init__(self, send: Send, coming: set[tuple[str, str]]) -> None:
        """`coming`: (apiVersion, kind) of what the documents themselves define."""
        self._send, self._coming = send, coming
        self._known: dict[tuple[str, str], _Resource] = {}

    def path(self, document: Document, deadline: float) -> str:
        """Where such an object is posted. One of a namespaced kind that names no namespace belongs to `default`, as
        kubectl has it."""
        version, kind = document["apiVersion"], document["kind"]
        while (version, kind) not in self._known:
            status, words = self._discover(version)
            if (version, kind) in self._known:
                break
            if (version, kind) not in self._coming or time.monotonic() > deadline:
                said = words if status != 200 else "the API does not serve this kind"
                raise ClusterError(
                    f"{_named(document)} can't be created: GET {_root(version)}: {_http(status)}: {said}"
                )
            time.sleep(_POLL_S)
        resource = self._known[version, kind]
        namespace = document["metadata"].get("namespace", "default")
        within = f"/namespaces/{namespace}" if resource.namespaced else ""
        return f"{_root(version)}{within}/{resource.plural}"

    def _discover(self, version: str) -> tuple[int, str]:
        status, answer = self._send("GET", _root(version), None)
        if status != 200:
            return status, _status(answer)[1]
        for each in json.loads(answer)["resources"]:
            if "/" not in each["name"]:  # pods/status and its like are no collections
                self._known[version, each["kind"]] = _Resource(each["name"], each["namespaced"])
        return status, ""


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _defines(document: Document) -> list[tuple[str, str]]:
    if document["kind"] != "CustomResourceDefinition":
        return []
    spec = document["spec"]
    return [(f"{spec['group']}/{version['name']}", spec["names"]["kind"]) for version in spec["versions"]]


def _named(document: Document) -> str:
    metadata = document["metadata"]
    namespace = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{document['kind']} {namespace}{metadata.get('name') or metadata.get('generateName')}"


def _http(status: int) -> str:
    return f"HTTP {status}" if status else "no answer"


def _status(answer: bytes) -> tuple[str, str]:
    """Reason and message of a Status object; the answer itself, cut, where it is none."""
    try:
        document = json.loads(answer)
        return str(document["reason"]), str(document["message"])
    except (ValueError, KeyError, TypeError):
        return "", answer[:300].decode(errors="replace")
