"""The site operator with its own service account at a real kube-apiserver: no other controller is there to help it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.furniture import furniture_manifests
from campaigns.clusters.sandbox.manifests import apply
from tests.campaigns.clusters.sandbox.cri.programs.served import service_account, serving
from tests.campaigns.clusters.sandbox.manifests.apiserver import ApiServer, running_apiserver
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

SITES = "/apis/demo.mutineer.dev/v1/namespaces/furniture/sites"
DEPLOYMENTS, SERVICES = "/apis/apps/v1/namespaces/furniture/deployments", "/api/v1/namespaces/furniture/services"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        apply(running.send, furniture_manifests(["operator"], profile=Profile.FAST, nodes=["node-1"]))
        yield running


@pytest.fixture
def log(server: ApiServer, tmp_path: Path) -> Iterator[Path]:
    """Of a running operator."""
    account = service_account(server, tmp_path / "secrets", "furniture", "site-operator")
    output = tmp_path / "log"
    with serving("operator", "--resync=60", f"--credentials={account}", log=output, api_port=server.port):
        yield output
    assert "Traceback" not in output.read_text()


def change(server: ApiServer, path: str, **parts: Any) -> None:
    """Replaces what stands at the object's top level; the rest stays."""
    status, answer = server.send("PUT", path, {**server.get(path.removesuffix("/status")), **parts})
    assert status == 200, answer


def ready(server: ApiServer, name: str) -> tuple[str, str]:
    found = server.get(f"{SITES}/{name}").get("status", {}).get("conditions") or [{}]
    return found[0].get("status", ""), found[0].get("message", "")


def make_site(server: ApiServer, name: str, **spec: Any) -> None:
    site = {"apiVersion": "demo.mutineer.dev/v1", "kind": "Site", "metadata": {"name": name}, "spec": spec}
    status, answer = server.send("POST", SITES, site)
    assert status == 201, answer
    assert "uid" in json.loads(answer)["metadata"]


def exists(server: ApiServer, path: str) -> bool:
    return server.send("GET", path)[0] == 200


def test_a_site_gets_its_children_and_a_status_that_follows_them(server: ApiServer, log: Path) -> None:
    wait_until(lambda: ready(server, "hello") == ("False", "0 of 1 replicas ready"), within_s=20, what="a status")
    site, deployment = server.get(f"{SITES}/hello"), server.get(f"{DEPLOYMENTS}/hello")
    for child in (deployment, server.get(f"{SERVICES}/hello")):
        assert child["metadata"]["ownerReferences"][0]["uid"] == site["metadata"]["uid"]
    told = {"observedGeneration": deployment["metadata"]["generation"]}
    counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), 1)
    change(server, f"{DEPLOYMENTS}/hello/status", status={**told, **counts})
    wait_until(lambda: ready(server, "hello") == ("True", "1 of 1 replicas ready"), within_s=20, what="ready")
    version = server.get(f"{SITES}/hello")["metadata"]["resourceVersion"]
    labels = {**deployment["metadata"]["labels"], "more": "x"}
    change(server, f"{DEPLOYMENTS}/hello", metadata={**deployment["metadata"], "resourceVersion": "", "labels": labels})
    make_site(server, "later", replicas=0, port=8080)
    wait_until(lambda: ready(server, "later")[0] != "", within_s=20, what="another Site's status")
    assert server.get(f"{SITES}/hello")["metadata"]["resourceVersion"] == version, "nothing new is not written"
    assert server.get(f"{SERVICES}/later")["spec"]["ports"][0]["port"] == 8080


def test_what_is_changed_or_deleted_comes_back(server: ApiServer, log: Path) -> None:
    make_site(server, "healed", replicas=3)
    wait_until(lambda: exists(server, f"{SERVICES}/healed"), within_s=20, what="the children")

    def replicas() -> int:
        found: int = server.get(f"{DEPLOYMENTS}/healed")["spec"]["replicas"]
        return found

    spec = server.get(f"{DEPLOYMENTS}/healed")["spec"]
    change(server, f"{DEPLOYMENTS}/healed", spec={**spec, "replicas": 67})
    wait_until(lambda: replicas() == 3, within_s=20, what="replicas as they were")

    service = server.get(f"{SERVICES}/healed")
    change(server, f"{SERVICES}/healed", spec={**service["spec"], "selector": {"app": "nothing"}})
    healed = {"demo.mutineer.dev/site": "healed"}
    wait_until(lambda: server.get(f"{SERVICES}/healed")["spec"]["selector"] == healed, within_s=20, what="the selector")
    address = server.get(f"{SERVICES}/healed")["spec"]["clusterIP"]
    assert address == service["spec"]["clusterIP"]

    metadata = server.get(f"{DEPLOYMENTS}/healed")["metadata"]
    change(server, f"{DEPLOYMENTS}/healed", metadata={**metadata, "labels": {}, "ownerReferences": []})
    wait_until(
        lambda: bool(server.get(f"{DEPLOYMENTS}/healed")["metadata"].get("ownerReferences")),
        within_s=20,
        what="one that the watch does not show any more to be adopted",
    )
    assert server.send("DELETE", f"{SERVICES}/healed")[0] == 200
    wait_until(lambda: exists(server, f"{SERVICES}/healed"), within_s=20, what="the Service")


def test_what_somebody_else_controls_is_left_alone_until_it_is_gone(server: ApiServer, log: Path) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "00000000-0000-0000-0000-000000000001"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "theirs", "ownerReferences": [{**owner, "controller": True}]},
        "spec": {"replicas": 7, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    assert server.send("POST", DEPLOYMENTS, theirs)[0] == 201
    make_site(server, "theirs", replicas=1)
    problem = ("False", "ValueError: Deployment theirs belongs to ConfigMap c")
    wait_until(lambda: ready(server, "theirs") == problem, within_s=20, what="the problem to be told")
    assert server.get(f"{DEPLOYMENTS}/theirs")["spec"]["replicas"] == 7
    assert server.send("DELETE", f"{DEPLOYMENTS}/theirs")[0] == 200
    wait_until(lambda: ready(server, "theirs") == ("False", "0 of 1 replicas ready"), within_s=20, what="its own")
    assert log.read_text().count("belongs to ConfigMap c") == 1, "said once"


def test_what_can_not_be_mended_is_told_and_the_others_go_on(server: ApiServer, log: Path) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    stray = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "stray"}, "spec": spec}
    assert server.send("POST", DEPLOYMENTS, stray)[0] == 201
    make_site(server, "stray")
    wait_until(lambda: "immutable" in ready(server, "stray")[1], within_s=20, what="a selector that can't be changed")
    make_site(server, "fine")
    wait_until(lambda: exists(server, f"{SERVICES}/fine"), within_s=20, what="another Site's Service")
