"""The metrics API with its own service account at a real kube-apiserver, asked as kube-apiserver would forward it.

The kubelet is a server of the test's that counts half a CPU second a second for one pod.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox import pki
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.cri.https import Handler, Server, server_context
from campaigns.clusters.sandbox.furniture import furniture_manifests
from campaigns.clusters.sandbox.manifests import apply
from tests.campaigns.clusters.sandbox.cri.programs.served import (
    Asking,
    free_port,
    service_account,
    serving,
    write_tls,
)
from tests.campaigns.clusters.sandbox.manifests.apiserver import ApiServer, running_apiserver
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

ROOT = "/apis/metrics.k8s.io/v1beta1"
HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


class _Kubelet(Handler):
    tokens: set[str] = set()  # noqa: RUF012 - what was presented, whoever asked

    def do_GET(self) -> None:
        assert self.path == "/metrics/resource"
        self.tokens.add(self.headers["Authorization"])
        now = time.time()
        at, labels = int(now * 1000), '{container="web",namespace="default",pod="web-1"}'
        lines = [
            f"container_cpu_usage_seconds_total{labels} {at / 1000 / 2} {at}",
            f"container_memory_working_set_bytes{labels} 2097152 {at}",
            f"container_start_time_seconds{labels} 1000000000",
            f"node_cpu_usage_seconds_total {at / 1000} {at}",
            f"node_memory_working_set_bytes 1073741824 {at}",
        ]
        self.answer(200, "\n".join([*lines, ""]).encode(), "text/plain")


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port; its certificate is nobody's, as a kubelet's is."""
    folder = write_tls(tmp_path_factory.mktemp("kubelet") / "tls", pki.Authority("self"))
    server = Server(("127.0.0.1", 0), _Kubelet, server_context(folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def front() -> pki.Authority:
    return pki.Authority("front-proxy-ca")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, kubelet: int, front: pki.Authority) -> Iterator[ApiServer]:
    status = {
        "addresses": [{"type": "Hostname", "address": "nosuch"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet}},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    containers = [{"name": "web", "image": "i:1"}]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"web-{n}", "labels": {"app": f"a{n}"}},
            "spec": {"containers": containers},
        }
        for n in (1, 2)
    ]
    with running_apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "status": status}
        documents = furniture_manifests(["metrics"], profile=Profile.FAST, nodes=["node-1"])
        apply(running.send, [node, account, *pods, *documents])
        trust(running, front)
        yield running


def trust(server: ApiServer, authority: pki.Authority) -> None:
    """What kube-apiserver writes there when it has a front proxy's certificate."""
    wait_until(lambda: server.send("GET", CONFIG_MAP)[0] == 200, within_s=20, what="the ConfigMap")
    data = {
        "requestheader-client-ca-file": authority.identity.certificate.decode(),
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
    document = server.get(CONFIG_MAP)
    status, answer = server.send("PUT", CONFIG_MAP, {**document, "data": {**document.get("data", {}), **data}})
    assert status == 200, answer


class Metrics:
    """A running metrics server."""

    def __init__(self, port: int, folder: Path, authority: pki.Authority, front: pki.Authority) -> None:
        self.port, self.folder, self.authority = port, folder, authority
        self.proxy = self.client(front.issue("front-proxy-client"))

    def client(self, identity: pki.Identity | None) -> Asking:
        return Asking(self.port, self.authority, identity, self.folder)

    def get(self, path: str, user: str = HPA) -> tuple[int, Any]:
        return self.proxy.ask("GET", path, X_Remote_User=user)


@pytest.fixture
def metrics(server: ApiServer, front: pki.Authority, tmp_path: Path) -> Iterator[Metrics]:
    authority, port = pki.Authority("metrics-ca"), free_port()
    folders = {
        "certificates": write_tls(tmp_path / "certificates", authority),
        "credentials": service_account(server, tmp_path / "secrets", "kube-system", "metrics-server"),
    }
    arguments = [f"--port={port}", "--resolution=0.2", *(f"--{name}={folder}" for name, folder in folders.items())]
    with serving("metrics", *arguments, log=tmp_path / "log", api_port=server.port):
        running = Metrics(port, tmp_path, authority, front)
        nobody = running.client(None)
        wait_until(lambda: nobody.ask("GET", "/readyz") == (200, b"ok"), within_s=20, what="two scrapes")
        wait_until(lambda: running.get(f"{ROOT}/pods")[0] == 200, within_s=20, what="the front proxy to be known")
        yield running
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_usage_is_what_the_kubelet_counts(metrics: Metrics, server: ApiServer) -> None:
    status, pods = metrics.get(f"{ROOT}/namespaces/default/pods")
    assert (status, pods["kind"]) == (200, "PodMetricsList")
    (pod,) = pods["items"]  # web-2 is nowhere
    assert (pod["metadata"]["name"], pod["metadata"]["labels"]) == ("web-1", {"app": "a1"})
    (container,) = pod["containers"]
    assert container["name"] == "web" and container["usage"]["memory"] == "2048Ki"
    assert int(container["usage"]["cpu"].rstrip("n")) == pytest.approx(5e8, rel=0.01)
    assert float(pod["window"].rstrip("s")) >= 0.15
    _, nodes = metrics.get(f"{ROOT}/nodes", user="admin-of-nothing")
    assert nodes["code"] == 403
    _, nodes = metrics.proxy.ask("GET", f"{ROOT}/nodes", X_Remote_User="a", X_Remote_Group="system:masters")
    assert [node["metadata"]["name"] for node in nodes["items"]] == ["node-1"]
    assert int(nodes["items"][0]["usage"]["cpu"].rstrip("n")) == pytest.approx(1e9, rel=0.01)
    token = (metrics.folder / "secrets/token").read_text()
    assert f"Bearer {token}" in _Kubelet.tokens


def test_one_is_found_by_name_and_lists_by_selector(metrics: Metrics) -> None:
    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in metrics.get(f"{ROOT}/pods?{query}")[1]["items"]]

    assert names("labelSelector=app%3Da1") == names("labelSelector=app+in+%28a1%2Ca2%29") == ["web-1"]
    assert names("labelSelector=app%3Da2") == names("fieldSelector=metadata.name%3Dweb-2") == []
    assert metrics.get(f"{ROOT}/pods?labelSelector=%3D%3D")[0] == 400

    def get(path: str) -> tuple[int, Any]:
        return metrics.proxy.ask("GET", f"{ROOT}/{path}", X_Remote_User="a", X_Remote_Group="system:masters")

    assert get("namespaces/default/pods/web-1")[1]["kind"] == "PodMetrics"
    assert get("nodes/node-1")[1]["kind"] == "NodeMetrics"
    for path in ("namespaces/default/pods/web-2", "namespaces/default/pods/web-3", "nodes/n", "pods/web-1", "others"):
        status, answer = get(path)
        assert (status, answer["kind"], answer["reason"]) == (404, "Status", "NotFound"), path
    assert get("pods?watch=1")[0] == 405


def test_discovery_is_for_everybody_who_is_somebody(metrics: Metrics) -> None:
    status, resources = metrics.get(ROOT, user="system:kube-aggregator")
    assert status == 200 and [r["name"] for r in resources["resources"]] == ["nodes", "pods"]
    assert metrics.get("/apis", user="a")[1]["groups"][0]["name"] == "metrics.k8s.io"
    assert metrics.get("/openapi/v2", user="a")[1]["swagger"] == "2.0"
    assert metrics.get("/other", user="a")[0] == 403


def test_only_the_front_proxy_may_say_who_asks(metrics: Metrics, front: pki.Authority) -> None:
    for identity in (None, front.issue("somebody")):
        status, answer = metrics.client(identity).ask("GET", f"{ROOT}/pods", X_Remote_User=HPA)
        assert (status, answer["reason"]) == (401, "Unauthorized")
    assert metrics.proxy.ask("GET", f"{ROOT}/pods")[0] == 401, "nobody"
    stranger = metrics.client(pki.Authority("front-proxy-ca").issue("front-proxy-client"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        stranger.ask("GET", f"{ROOT}/pods", X_Remote_User=HPA)
    assert metrics.get(f"{ROOT}/pods", user="system:serviceaccount:default:default")[0] == 403


def test_another_front_proxy_is_believed_as_soon_as_the_config_map_says_so(
    metrics: Metrics, server: ApiServer, front: pki.Authority
) -> None:
    later = pki.Authority("front-proxy-ca-2")
    client = metrics.client(later.issue("front-proxy-client"))

    def answers() -> bool:
        try:
            return bool(client.ask("GET", f"{ROOT}/pods", X_Remote_User=HPA)[0] == 200)
        except OSError:
            return False

    assert not answers()
    trust(server, later)
    try:
        wait_until(answers, within_s=20, what="the new authority to count")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            metrics.get(f"{ROOT}/pods")
    finally:
        trust(server, front)


def test_a_kubelet_that_does_not_answer_is_said_once(metrics: Metrics, server: ApiServer, kubelet: int) -> None:
    path = "/api/v1/nodes/node-1/status"
    node = server.get("/api/v1/nodes/node-1")
    gone = json.loads(json.dumps(node["status"]).replace("127.0.0.1", "127.0.0.2"))
    nobody = metrics.client(None)
    with socket.create_server(("127.0.0.2", kubelet)) as silent, contextlib.ExitStack() as attempts:
        silent.settimeout(20)
        try:
            assert server.send("PUT", path, {**node, "status": gone})[0] == 200
            for _ in range(3):
                attempts.enter_context(silent.accept()[0])
            wait_until(lambda: nobody.ask("GET", "/readyz")[0] == 500, within_s=20, what="no metrics to serve")
            assert nobody.ask("GET", "/livez")[0] == 200
            assert metrics.get(f"{ROOT}/pods")[1]["items"] == []
        finally:
            fresh = server.get("/api/v1/nodes/node-1")
            assert server.send("PUT", path, {**fresh, "status": node["status"]})[0] == 200
    wait_until(lambda: nobody.ask("GET", "/readyz")[0] == 200, within_s=20, what="metrics again")
    said = (metrics.folder / "log").read_text()
    assert said.count("TimeoutError") == 1, said


def test_its_account_may_ask_kubelets_for_metrics_and_for_nothing_else(server: ApiServer) -> None:
    def may(subresource: str) -> bool:
        attributes = {"verb": "get", "resource": "nodes", "subresource": subresource, "name": "node-1"}
        spec = {"user": "system:serviceaccount:kube-system:metrics-server", "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status, answer = server.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        assert status == 201, answer
        return bool(json.loads(answer)["status"]["allowed"])

    assert may("metrics") and not may("proxy")
