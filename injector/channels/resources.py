"""What a request to the Kubernetes API is about: method, path and query → verb, resource, object, and its key in etcd.

    /api/VERSION/…  (the core group)      /apis/GROUP/VERSION/…
    …/RESOURCE[/NAME[/SUBRESOURCE]]       …/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]]
    …/watch/…                             the old spelling of ?watch=true

Read as kube-apiserver does (k8s.io/apiserver v0.36.3, pkg/endpoints/request/requestinfo.go). The keys are those of
k8s.io/kubernetes v1.36.3 pkg/kubeapiserver/default_storage_factory_builder.go: a resource's own name, with few
exceptions; the extension and the aggregation server, and with them all custom resources, put the group before it.

Built-in kinds are those of the codec's field table, their resources named as the API conventions form plurals, which a
test compares with a cluster's discovery. Of other groups the path does not tell the kind: it is in the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from injector.codec.table import shipped_table
from injector.identity import plural
from injector.wire.exchange import watches

__all__ = ["ApiRequest", "Resource", "api_request", "resource_of"]

_PREFIXES: Mapping[tuple[str, str], str] = {
    ("", "replicationcontrollers"): "controllers",
    ("", "endpoints"): "services/endpoints",
    ("", "nodes"): "minions",
    ("", "services"): "services/specs",
    ("networking.k8s.io", "ingresses"): "ingress",
}
"""SpecialDefaultResourcePrefixes there."""

_GROUP_IN_KEY = frozenset({"apiextensions.k8s.io", "apiregistration.k8s.io"})
"""Built-in groups that are served by servers of their own: keys as custom resources have them."""

_STORED_AS: Mapping[tuple[str, str], str] = {
    ("events.k8s.io", "events"): "",
    ("extensions", "deployments"): "apps",
    ("extensions", "daemonsets"): "apps",
    ("extensions", "replicasets"): "apps",
    ("extensions", "ingresses"): "networking.k8s.io",
    ("extensions", "networkpolicies"): "networking.k8s.io",
}
"""AddCohabitatingResources there: one object under two groups, and the group that it is stored in."""

_IRREGULAR = {"Endpoints": "endpoints"}

_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

_ROOT = "/registry"
"""kube-apiserver's --etcd-prefix by default."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `group` is the one that its objects are stored in; `kind` is "" where nothing is known of it."""

    group: str
    name: str
    kind: str

    @property
    def prefix(self) -> str:
        """Of its objects' keys, with a slash at its end."""
        own = _PREFIXES.get((self.group, self.name), self.name)
        if self.group in _GROUP_IN_KEY or not (self.kind and self.group in _kinds()):
            own = f"{self.group}/{own}"
        return f"{_ROOT}/{own}/"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request that is about objects.

    verb         create, update, patch, delete, get, list, watch or deletecollection
    api_version  as the path has it
    namespace    "" for cluster-scoped resources, and for lists across namespaces
    name         "" where the path names no object
    path, query  as they were sent
    """

    verb: str
    api_version: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    path: str
    query: str

    @property
    def writes(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete", "deletecollection")

    @property
    def operation(self) -> str:
        """`create`, `patch/status`, …; a pod's binding is `bind`."""
        if self.subresource == "binding" and self.verb == "create":
            return "bind"
        return f"{self.verb}/{self.subresource}" if self.subresource else self.verb

    def key(self, *, namespace: str = "", name: str = "") -> str:
        """etcd's key of the object; what the path does not name is given."""
        name, namespace = self.name or name, self.namespace or namespace
        return f"{self.resource.prefix}{namespace}/{name}" if namespace else f"{self.resource.prefix}{name}"

    def about(self, key: str) -> str | None:
        """The same request, path and query, about the object of that key; None where it is of another resource, or
        where the path names none that could be exchanged."""
        if not key.startswith(self.resource.prefix) or not self.name:
            return None
        namespace, _, name = key.removeprefix(self.resource.prefix).rpartition("/")
        if bool(namespace) is not bool(self.namespace):
            return None
        own = f"/{quote(self.resource.name)}/{quote(self.name, safe=_SAFE)}"
        before, found, after = self.path.rpartition(own + (f"/{self.subresource}" if self.subresource else ""))
        if not found or after.strip("/"):
            return None
        if namespace:
            before = f"{before.rpartition('/')[0]}/{quote(namespace)}"
        path = f"{before}/{quote(self.resource.name)}/{quote(name, safe=_SAFE)}{found.removeprefix(own)}"
        return f"{path}?{self.query}" if self.query else path


_SAFE = ":"
"""Beside what a path may hold anyway: names of roles have colons, and Go's url.PathEscape leaves them."""


def api_request(method: str, target: str) -> ApiRequest | None:
    """The request with that method and target (path and query); None if it is not about objects (health, discovery,
    metrics), or not readable as one."""
    path, _, query = target.partition("?")
    parts = path.strip("/").split("/")
    if parts[0] == "apis" and len(parts) > 3:
        group, version, *rest = parts[1:]
    elif parts[0] == "api" and len(parts) > 2:
        group, version, *rest = "", *parts[1:]
    else:
        return None
    verb = _VERBS.get(method, "")
    if rest[0] == "watch":
        verb, rest = "watch", rest[1:]
    namespace = ""
    if len(rest) > 1 and rest[0] == "namespaces":
        namespace = unquote(rest[1])
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
        else:
            namespace = ""  # the namespace is the object itself, and cluster-scoped
    if not verb or not rest:
        return None
    resource, name, subresource = (*(unquote(part) for part in rest[:3]), "", "")[:3]
    if not name:
        verb = _without_name(verb, query)
    api_version = f"{group}/{version}" if group else version
    return ApiRequest(verb, api_version, resource_of(group, resource), namespace, name, subresource, path, query)


def _without_name(verb: str, query: str) -> str:
    if verb == "delete":
        return "deletecollection"
    if verb != "get":
        return verb
    return "watch" if watches(f"?{query}") else "list"


def resource_of(group: str, name: str) -> Resource:
    """The resource that is served under a group; its objects may be stored in another."""
    group = _STORED_AS.get((group, name), group)
    return Resource(group, name, _kinds().get(group, {}).get(name, ""))


@lru_cache(maxsize=1)
def _kinds() -> Mapping[str, Mapping[str, str]]:
    """Built-in kinds by group and resource."""
    found: dict[str, dict[str, str]] = {}
    for api_version, kind in shipped_table().kinds():
        own = found.setdefault(api_version.rpartition("/")[0], {})
        own[_IRREGULAR.get(kind) or plural(kind)] = kind
    return found
