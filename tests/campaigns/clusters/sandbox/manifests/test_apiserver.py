"""The manifests at a real kube-apiserver with a real etcd: accepted, strictly, with the rights they need."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.manifests import apply, system_manifests
from injector.errors import ClusterError
from tests.campaigns.clusters.sandbox.manifests.apiserver import ApiServer, running_apiserver

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


def may(server: ApiServer, user: str, verb: str, resource: str, group: str = "") -> bool:
    spec = {"user": user, "resourceAttributes": {"verb": verb, "resource": resource, "group": group}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    status, answer = server.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert status == 201, answer
    return bool(json.loads(answer)["status"]["allowed"])


def test_all_is_accepted_and_a_second_time_changes_nothing(server: ApiServer) -> None:
    apply(server.send, system_manifests(Profile.FAST))
    paths = ("/apis/apps/v1/namespaces/kube-system/daemonsets", "/api/v1/namespaces/kube-system/services")
    first = [server.get(path)["items"] for path in paths]
    assert [[item["metadata"]["name"] for item in items] for items in first] == [
        ["kube-proxy", "route-agent"],
        ["kube-dns"],
    ]
    apply(server.send, system_manifests(Profile.KUBEADM))
    assert [server.get(path)["items"] for path in paths] == first


def test_the_service_accounts_may_do_what_their_programs_do(server: ApiServer) -> None:
    apply(server.send, system_manifests(Profile.FAST))
    agent, proxy, dns = (f"system:serviceaccount:kube-system:{n}" for n in ("route-agent", "kube-proxy", "coredns"))
    for verb in ("list", "watch"):
        assert may(server, agent, verb, "nodes") and not may(server, agent, verb, "secrets")
        for user in (proxy, dns):
            assert may(server, user, verb, "services") and may(server, user, verb, "endpointslices", "discovery.k8s.io")


def test_a_new_kind_and_one_of_it_are_created_together(server: ApiServer) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"kind": "Widget", "plural": "widgets"}
    spec = {"group": "example.org", "scope": "Cluster", "names": names, "versions": [version]}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}
    apply(server.send, [{**definition, "metadata": {"name": "widgets.example.org"}}, widget])
    assert server.get("/apis/example.org/v1/widgets/w")["metadata"]["name"] == "w"


def test_a_field_that_does_not_exist_is_refused(server: ApiServer) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dota": {}}
    with pytest.raises(ClusterError, match=r'ConfigMap c can.t be created .*unknown field "dota"'):
        apply(server.send, [document])
