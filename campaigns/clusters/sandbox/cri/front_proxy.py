"""What an aggregated API server asks before it answers: who is it, and may they? Pure.

kube-apiserver forwards requests with a client certificate of the front proxy's authority and the user's name in
headers. Which authority, names and headers count stands in the ConfigMap extension-apiserver-authentication in
kube-system, which kube-apiserver keeps; whether the user may is asked with a SubjectAccessReview. Sources:
k8s.io/apiserver, pkg/authentication/request/headerrequest, pkg/server/options/{authentication,authorization}.go, v0.36.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

__all__ = ["CONFIG_MAP", "FrontProxy", "User", "access_review", "authenticate", "read_front_proxy"]

CONFIG_MAP = "extension-apiserver-authentication"
_PREFIX = "requestheader-"
_AUTHENTICATED = "system:authenticated"
"""Added to whoever is somebody, as every API server does (authentication/group/authenticated_group_adder.go): the
aggregator itself comes without a group, and reads discovery by this one's right."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """authority      PEM: client certificates below it may say who somebody is
    allowed_names  common names of those that may; empty: any"""

    authority: str
    allowed_names: tuple[str, ...]
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...]
    extra: Mapping[str, Sequence[str]]


def read_front_proxy(config_map: Mapping[str, Any]) -> FrontProxy:
    """ValueError in words where it is not complete."""
    data = config_map.get("data") or {}

    def words(key: str) -> tuple[str, ...]:
        try:
            found = json.loads(data.get(f"{_PREFIX}{key}") or "[]")
        except ValueError as error:
            raise ValueError(f"{_PREFIX}{key}: {error}") from None
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise ValueError(f"{_PREFIX}{key}: expected a list of words, got {found!r}")
        return tuple(found)

    authority = data.get(f"{_PREFIX}client-ca-file")
    if not isinstance(authority, str) or not authority:
        raise ValueError(f"{_PREFIX}client-ca-file: expected certificates, got {authority!r}")
    names = ("allowed-names", "username-headers", "group-headers", "extra-headers-prefix")
    return FrontProxy(authority, *(words(name) for name in names))


def authenticate(proxy: FrontProxy, common_name: str | None, headers: Sequence[tuple[str, str]]) -> User | None:
    """Who asks, where a client certificate that was verified has `common_name`; None: nobody knows."""
    if common_name is None or (proxy.allowed_names and common_name not in proxy.allowed_names):
        return None
    lowered = [(name.lower(), value) for name, value in headers]

    def values(wanted: Sequence[str]) -> list[str]:
        return [value for want in wanted for name, value in lowered if name == want.lower() and value]

    extra: dict[str, list[str]] = {}
    for prefix in proxy.extra_prefixes:
        for name, value in lowered:
            if name.startswith(prefix.lower()):
                extra.setdefault(unquote(name[len(prefix) :]), []).append(value)
    found, groups = values(proxy.user_headers), values(proxy.group_headers)
    if not found:
        return None
    return User(found[0], (*groups, *({_AUTHENTICATED} - set(groups))), extra)


def access_review(user: User, path: str, resource: Mapping[str, str] | None) -> dict[str, Any]:
    """The question to kube-apiserver: may `user` read `resource` (verb, group, version, resource, namespace, name), or
    the path, where it is no resource's?"""
    what = {"resourceAttributes": resource} if resource else {"nonResourceAttributes": {"path": path, "verb": "get"}}
    spec = {"user": user.name, "groups": list(user.groups), "extra": user.extra, **what}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
