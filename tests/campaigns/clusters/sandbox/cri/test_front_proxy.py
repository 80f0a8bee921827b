"""Who asks an aggregated API, as far as headers and the ConfigMap decide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.front_proxy import User, access_review, authenticate, read_front_proxy

# As kube-apiserver 1.36 keeps it
DATA = {
    "client-ca-file": "-----BEGIN CERTIFICATE----- other",
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----",
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-uid-headers": "[]",
    "requestheader-username-headers": '["X-Remote-User"]',
}
PROXY = read_front_proxy({"data": DATA})
HEADERS = [
    ("Host", "x"),
    ("X-Remote-User", "jane"),
    ("x-remote-group", "dev"),
    ("X-Remote-Group", "ops"),
    ("X-Remote-Extra-Scopes.example.com%2Fa", "read"),
    ("X-Remote-Extra-Scopes.example.com%2Fa", "write"),
]


def test_the_front_proxy_says_who_it_is() -> None:
    assert PROXY.authority == "-----BEGIN CERTIFICATE-----"
    groups = ("dev", "ops", "system:authenticated")
    assert authenticate(PROXY, "front-proxy-client", HEADERS) == User(
        "jane", groups, {"scopes.example.com/a": ["read", "write"]}
    )


def test_nobody_else_may_say_so() -> None:
    assert authenticate(PROXY, None, HEADERS) is None, "no certificate"
    assert authenticate(PROXY, "somebody", HEADERS) is None
    assert authenticate(PROXY, "front-proxy-client", HEADERS[:1]) is None, "no user"
    anyone = read_front_proxy({"data": {**DATA, "requestheader-allowed-names": "[]"}})
    assert authenticate(anyone, "somebody", HEADERS) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"requestheader-client-ca-file": ""},
        {"requestheader-allowed-names": "front-proxy-client"},
        {"requestheader-allowed-names": '"front-proxy-client"'},
        {"requestheader-username-headers": "[1]"},
    ],
)
def test_a_config_map_that_is_not_complete_is_an_error_in_words(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="requestheader-"):
        read_front_proxy({"data": {**DATA, **change}})


def test_what_is_asked_is_a_subject_access_review() -> None:
    user = User("jane", ("dev",), {})

    def spec(path: str, resource: dict[str, str] | None) -> dict[str, Any]:
        review = access_review(user, path, resource)
        assert json.dumps(review) and review["kind"] == "SubjectAccessReview"
        found: dict[str, Any] = review["spec"]
        return found

    who = {"user": "jane", "groups": ["dev"], "extra": {}}
    assert spec("/apis", None) == {**who, "nonResourceAttributes": {"path": "/apis", "verb": "get"}}
    attributes = {"verb": "list", "resource": "pods"}
    assert spec("/apis/x", attributes) == {**who, "resourceAttributes": attributes}
