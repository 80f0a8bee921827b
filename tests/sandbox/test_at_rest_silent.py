"""What bytes that were changed in etcd's file do: nothing, until somebody reads them who has not read them before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES
from tests.conftest import wait_until
from tests.sandbox.inside import Inside

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

PYTHON = "python"
SERVICES = "/api/v1/namespaces/default/services"
OLD, NEW = {"app": "web"}, {"app": "wax"}


class Silent(Inside):
    """A sandbox with a Deployment and a Service, web."""

    def _component(self, name: str, action: str) -> None:
        self.mutineer("sandbox", "component", "--name", "s", name, action)

    def at_rest(self, *arguments: str) -> str:
        """tests.sandbox.corrupt_silently, with etcd stopped; afterwards etcd and the API are as ready as before."""
        self._component("etcd", "stop")
        said = self.run(PYTHON, "-m", "tests.sandbox.corrupt_silently", str(self.work), *arguments)
        self._component("etcd", "start")
        self._wait_ready()
        return said.strip()

    def restart_apiserver(self) -> None:
        self._component("kube-apiserver", "restart")
        self._wait_ready()

    def _wait_ready(self) -> None:
        wait_until(lambda: self.succeeds("kubectl", "get", "--raw", "/readyz"), within_s=60, what="the API to be ready")

    def one(self, query: str = "") -> dict[str, str]:
        """The Service's selector, read by its name."""
        selector: dict[str, str] = json.loads(self.kubectl("get", "--raw", f"{SERVICES}/web{query}"))["spec"][
            "selector"
        ]
        return selector

    def listed(self, query: str = "") -> dict[str, str]:
        """The same, from a list of Services."""
        items = json.loads(self.kubectl("get", "--raw", f"{SERVICES}{query}"))["items"]
        (web,) = [item for item in items if item["metadata"]["name"] == "web"]
        selector: dict[str, str] = web["spec"]["selector"]
        return selector

    def endpoints(self) -> list[str]:
        query = "{.items[*].endpoints[*].addresses[0]}"
        slices = ("endpointslices", "-l", "kubernetes.io/service-name=web")
        return self.kubectl("get", *slices, "-o", f"jsonpath={query}").split()


@pytest.fixture
def silent(state_home: object, binaries: Assets) -> Iterator[Silent]:
    config = outside.prepare("s", binaries={name: binaries[name] for name in BINARIES})
    try:
        outside.up(config, lambda _: None)
        found = Silent("s")
        found.kubectl("create", "deployment", "web", "--image=mutineer/web:1", "--replicas=2", "--port=8080")
        found.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
        found.kubectl("rollout", "status", "deployment", "web", "--timeout=60s")
        wait_until(lambda: len(found.endpoints()) == 2, within_s=20, what="two endpoints")
        yield found
    finally:
        if "s" in outside.running():
            outside.down("s")
        shutil.rmtree(str(state_home), ignore_errors=True)


def test_a_service_s_selector_is_served_changed_by_name_only_until_kube_apiserver_restarts(silent: Silent) -> None:
    version = silent.kubectl("get", "service", "web", "-o", "jsonpath={.metadata.resourceVersion}")
    change = ("Service/default/web", "spec.selector[app]", '"wax"')
    silent.at_rest(*change)

    # (a) etcd was restarted: kube-apiserver's watch goes on where it was, and no event tells of the change
    assert silent.one() == NEW, "a get by name without a resourceVersion goes to etcd"
    assert silent.one("?resourceVersion=0") == OLD, "from the watch cache"
    assert silent.listed() == OLD, "a consistent list too: the cache has the revision that etcd says is the latest"
    assert silent.listed("?resourceVersion=0") == OLD, "what informers ask for"
    assert silent.kubectl("get", "service", "web", "-o", "jsonpath={.metadata.resourceVersion}") == version
    silent.mutineer("sandbox", "component", "--name", "s", "kube-controller-manager", "restart")
    assert silent.endpoints(), "a controller that starts anew is told what the cache has"

    # the next write through the API starts from the cached copy, and its guard (the revision) holds: healed
    silent.kubectl("annotate", "service", "web", "touched=1")
    assert silent.one() == silent.listed() == OLD
    assert silent.at_rest("undo") == "overwritten"

    # (b) kube-apiserver was restarted: it lists anew, its clients watch from too old a revision and list anew too
    silent.at_rest(*change)
    assert silent.listed() == OLD
    silent.restart_apiserver()
    assert silent.one() == silent.listed() == silent.listed("?resourceVersion=0") == NEW
    wait_until(lambda: not silent.endpoints(), within_s=60, what="the endpoints to be gone")

    assert silent.at_rest("undo") == "restored"
    silent.restart_apiserver()
    assert silent.one() == silent.listed() == OLD
    wait_until(lambda: len(silent.endpoints()) == 2, within_s=60, what="the endpoints to be back")
