"""Creating objects whatever their kind, through a stand-in for the API that knows a few."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from campaigns.clusters.sandbox.manifests import apply
from injector.errors import ClusterError

RESOURCES = {
    "/api/v1": [("services", "Service", True), ("services/status", "Service", True), ("nodes", "Node", False)],
    "/apis/networking.k8s.io/v1": [("ingresses", "Ingress", True)],
    "/apis/apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
}


class Api:
    """`answers` is asked first: (method, path) → an answer, or None for what an API usually says."""

    def __init__(self, answers: Callable[[str, str], tuple[int, str] | None] = lambda *_: None) -> None:
        self.posted: list[str] = []
        self.discovered: list[str] = []
        self.resources = dict(RESOURCES)
        self._answers = answers

    def send(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        path, _, query = path.partition("?")
        if method == "POST":
            assert query == "fieldValidation=Strict" and body is not None
            self.posted.append(path)
        elif path.count("/") < 4:
            self.discovered.append(path)
        if (answer := self._answers(method, path)) is not None:
            return answer[0], answer[1].encode()
        if method == "POST":
            return 201, b"{}"
        if path not in self.resources:
            return 404, b"404 page not found\n"
        listed = [{"name": name, "kind": kind, "namespaced": own} for name, kind, own in self.resources[path]]
        return 200, json.dumps({"resources": listed}).encode()


def thing(kind: str, version: str = "v1", **metadata: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x", **metadata}}


def failure(reason: str, message: str) -> str:
    return json.dumps({"kind": "Status", "reason": reason, "message": message})


def test_each_kind_is_posted_where_the_api_serves_it() -> None:
    api = Api()
    ingress = thing("Ingress", "networking.k8s.io/v1")
    apply(api.send, [thing("Service", namespace="kube-system"), thing("Node"), ingress, thing("Service")])
    assert api.posted == [
        "/api/v1/namespaces/kube-system/services",
        "/api/v1/nodes",
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
        "/api/v1/namespaces/default/services",
    ]
    assert api.discovered == ["/api/v1", "/apis/networking.k8s.io/v1"], "asked once each"


def test_what_is_there_already_is_left_as_it_is() -> None:
    apply(
        Api(lambda method, _: (409, failure("AlreadyExists", "")) if method == "POST" else None).send, [thing("Node")]
    )
    taken = failure("Invalid", "provided IP is already allocated")

    def answers(method: str, path: str) -> tuple[int, str] | None:
        return (422, taken) if method == "POST" else (200, "{}") if path.endswith("/services/x") else None

    apply(Api(answers).send, [thing("Service")])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, failure("Forbidden", "no")), "Service ns/x can't be created .POST .*/services.: HTTP 403: no"),
        ((409, failure("Conflict", "quota")), "HTTP 409: quota"),
        ((422, failure("Invalid", "bad port")), "HTTP 422: bad port"),
        ((404, failure("NotFound", "gone")), "HTTP 404: gone"),
        ((200, "{}"), "HTTP 200: {}"),
        ((0, "connection refused"), "no answer: connection refused"),
        ((500, "<html>"), "HTTP 500: <html>"),
    ],
)
def test_a_refusal_is_an_error_in_words(answer: tuple[int, str], words: str) -> None:
    api = Api(lambda method, path: answer if method == "POST" else (404, "") if path.endswith("/x") else None)
    with pytest.raises(ClusterError, match=words):
        apply(api.send, [thing("Service", namespace="ns"), thing("Node")])
    assert len(api.posted) == 1, "and the end"


def test_an_unknown_kind_is_an_error_in_words() -> None:
    with pytest.raises(ClusterError, match=r"Pond x can't be created: GET /api/v1: HTTP 200: the API does not serve"):
        apply((api := Api()).send, [thing("Pond")])
    assert api.discovered == ["/api/v1"], "nothing is waited for"
    with pytest.raises(ClusterError, match=r"Pond n/x .* GET /apis/example.org/v1: HTTP 404: 404 page not found"):
        apply(Api().send, [thing("Pond", "example.org/v1", namespace="n")])
    with pytest.raises(ClusterError, match=r"GET /api/v1: no answer: refused"):
        apply(Api(lambda *_: (0, "refused")).send, [thing("Node")])


def definition() -> dict[str, Any]:
    names = {"kind": "Widget", "plural": "widgets"}
    spec = {"group": "example.org", "names": names, "versions": [{"name": "v1"}, {"name": "v2"}]}
    return {**thing("CustomResourceDefinition", "apiextensions.k8s.io/v1"), "spec": spec}


def test_a_kind_that_the_documents_define_is_waited_for() -> None:
    asked: list[str] = []

    def answers(method: str, path: str) -> tuple[int, str] | None:
        if path == "/apis/example.org/v2":
            asked.append(path)
            if len(asked) == 3:
                api.resources[path] = [("widgets", "Widget", False)]
        return None

    api = Api(answers)
    apply(api.send, [definition(), thing("Widget", "example.org/v2")])
    assert api.posted[-1] == "/apis/example.org/v2/widgets" and len(asked) == 3
    with pytest.raises(ClusterError, match="HTTP 404"):
        apply(Api().send, [definition(), thing("Widget", "example.org/v1")], within_s=0.1)


def test_a_namespace_that_is_about_to_be_made_is_waited_for() -> None:
    missing = failure("NotFound", 'namespaces "kube-system" not found')
    api = Api(lambda method, _: (404, missing) if method == "POST" and len(api.posted) < 3 else None)
    apply(api.send, [thing("Service", namespace="kube-system")])
    assert len(api.posted) == 3
    never = Api(lambda method, _: (404, missing) if method == "POST" else None)
    with pytest.raises(ClusterError, match='namespaces "kube-system" not found'):
        apply(never.send, [thing("Service", namespace="kube-system")], within_s=0.1)
