"""Request lines of the Kubernetes API, what they are about, and where etcd has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from injector.channels.resources import ApiRequest, Resource, api_request, resource_of
from tests.injector.stored import KEYS

DISCOVERY = (Path(__file__).parent / "discovery.txt").read_text().splitlines()
"""`kubectl api-resources` of a sandbox of 1.36.3: resource, apiVersion, whether it is namespaced, kind."""


def request(method: str, target: str) -> ApiRequest:
    found = api_request(method, target)
    assert found is not None
    return found


@pytest.mark.parametrize("line", DISCOVERY)
def test_every_resource_that_a_cluster_serves_has_its_kind(line: str) -> None:
    name, api_version, _, kind = line.split()
    group = api_version.rpartition("/")[0]
    found = resource_of(group, name)
    assert found.kind == kind
    if (group, kind) != ("events.k8s.io", "Event"):
        assert found.group == group


PATHS = {
    "deployment": "/apis/apps/v1/namespaces/default/deployments/web",
    "service": "/api/v1/namespaces/default/services/web",
    "pod": "/api/v1/namespaces/default/pods/web-75976b6d9c-5p24p",
    "endpointslice": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-qjb62",
    "node": "/api/v1/nodes/node-1",
    "ingress": "/apis/networking.k8s.io/v1/namespaces/default/ingresses/web",
    "lease": "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/apiserver-wlv32tlttr4jl3gtroqexyxapa",
    "hpa": "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/web",
    "event": "/apis/events.k8s.io/v1/namespaces/default/events/web-75976b6d9c-5p24p.18ea66a7f00d2f8a",
    "clusterrole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader",
    "apiservice": "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
    "box": "/apis/example.test/v1/namespaces/default/boxes/b",
    "crd": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boxes.example.test",
}


@pytest.mark.parametrize("name", PATHS)
def test_an_object_s_path_leads_to_the_key_that_it_is_stored_under(name: str) -> None:
    assert request("PUT", PATHS[name]).key() == KEYS[name]


def test_endpoints_and_controllers_have_keys_of_their_own() -> None:
    assert request("PUT", "/api/v1/namespaces/d/endpoints/web").key() == "/registry/services/endpoints/d/web"
    assert request("PUT", "/api/v1/namespaces/d/replicationcontrollers/web").key() == "/registry/controllers/d/web"
    old = request("PUT", "/apis/extensions/v1beta1/namespaces/d/deployments/web")
    assert (old.resource, old.key()) == (Resource("apps", "deployments", "Deployment"), "/registry/deployments/d/web")


@pytest.mark.parametrize(
    ("method", "target", "operation", "namespace", "name"),
    [
        ("POST", "/api/v1/namespaces/d/pods", "create", "d", ""),
        ("POST", "/api/v1/namespaces/d/pods/x/binding?timeout=1s", "bind", "d", "x"),
        ("POST", "/api/v1/namespaces/d/pods/x/eviction", "create/eviction", "d", "x"),
        ("PUT", "/apis/apps/v1/namespaces/d/deployments/web/status", "update/status", "d", "web"),
        ("PATCH", "/api/v1/nodes/n/status", "patch/status", "", "n"),
        ("DELETE", "/api/v1/namespaces/d/pods/x", "delete", "d", "x"),
        ("DELETE", "/api/v1/namespaces/d/pods?labelSelector=a", "deletecollection", "d", ""),
        ("GET", "/api/v1/namespaces/d/pods/x", "get", "d", "x"),
        ("GET", "/api/v1/namespaces/d", "get", "", "d"),
        ("PUT", "/api/v1/namespaces/d/finalize", "update/finalize", "", "d"),
        ("GET", "/api/v1/namespaces", "list", "", ""),
        ("GET", "/api/v1/pods?limit=500", "list", "", ""),
        ("GET", "/api/v1/pods?resourceVersion=0&watch=true", "watch", "", ""),
        ("GET", "/api/v1/pods?watch=1", "watch", "", ""),
        ("GET", "/api/v1/pods?watch=True&watch=false", "watch", "", ""),
        ("GET", "/api/v1/pods?watch=", "watch", "", ""),
        ("GET", "/api/v1/pods?watch=False", "list", "", ""),
        ("GET", "/api/v1/pods?labelSelector=watch", "list", "", ""),
        ("GET", "/api/v1/pods?watch=false", "list", "", ""),
        ("GET", "/api/v1/watch/namespaces/d/pods", "watch", "d", ""),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", "get", "", "system:node"),
    ],
)
def test_what_a_request_does_and_to_what(method: str, target: str, operation: str, namespace: str, name: str) -> None:
    found = request(method, target)
    assert (found.operation, found.namespace, found.name) == (operation, namespace, name)


@pytest.mark.parametrize(
    "target", ["/healthz", "/", "", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/openapi/v3", "*"]
)
def test_what_is_about_no_object_is_none(target: str) -> None:
    assert api_request("GET", target) is None


def test_an_unknown_method_is_none() -> None:
    assert api_request("CONNECT", "/api/v1/pods") is None


@pytest.mark.parametrize(
    ("target", "key", "other"),
    [
        ("/api/v1/namespaces/d/pods/x/status?a=b", "/registry/pods/e/y", "/api/v1/namespaces/e/pods/y/status?a=b"),
        ("/api/v1/nodes/n1", "/registry/minions/n2", "/api/v1/nodes/n2"),
        ("/api/v1/namespaces/pods/pods/pods", "/registry/pods/e/y", "/api/v1/namespaces/e/pods/y"),
        ("/api/v1/namespaces/d/pods/x", "/registry/services/specs/d/x", None),
        ("/api/v1/namespaces/d/pods", "/registry/pods/d/x", None),
        ("/api/v1/nodes/n1", "/registry/minions/strange/n2", None),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/a", "/registry/clusterroles/system:b",
         "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:b"),
    ],
)  # fmt: skip
def test_the_same_request_about_another_object(target: str, key: str, other: str | None) -> None:
    assert request("PUT", target).about(key) == other
