"""Faults on the way between a real cluster's components and its kube-apiserver, on one sandbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: web, image: mutineer/web:1}]}
"""


@dataclass(frozen=True)
class Cluster:
    logs: Path

    def mutineer(self, *argv: str, told: str = "") -> str:
        command = [sys.executable, "-m", "mutineer", *argv]
        done = subprocess.run(command, input=told, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout} {done.stderr}"
        return done.stdout

    def kubectl(self, *argv: str, told: str = "") -> str:
        return self.mutineer("sandbox", "kubectl", "--name", "c", *argv, told=told)

    def arm(self, target: str, *options: str) -> None:
        self.mutineer("inject", "--cluster", "c", target, *options, "--wait", "0")

    def fired(self, within_s: float = 30.0) -> dict[str, Any]:
        """What the armed rule did; it is disarmed."""
        found: list[dict[str, Any]] = []

        def done() -> bool:
            found[:] = json.loads(self.mutineer("inject", "--cluster", "c", "--status", "--json"))["firings"]
            return bool(found)

        wait_until(done, within_s=within_s, what="a firing")
        self.mutineer("inject", "--cluster", "c", "--disarm")
        return found[0]


@pytest.fixture(scope="module")
def cluster(binaries: Assets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    state, folder = Path(f"/tmp/mt-{os.getpid()}-cc"), tmp_path_factory.mktemp("components")
    state.mkdir(mode=0o700)
    (folder / "cluster.yaml").write_text("nodes: 2\ncomponent_channels: true\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("PYTHONPATH", str(ROOT))
        try:
            found = Cluster(outside.root() / "c" / "logs")
            found.mutineer("sandbox", "up", "--name", "c", "--config", str(folder / "cluster.yaml"))
            yield found
        finally:
            for name in outside.running():
                outside.down(name)
            shutil.rmtree(state)


def test_every_component_that_has_a_forwarder_comes_through_it(cluster: Cluster) -> None:
    opened = (cluster.logs / "component-forwarder.log").read_text()
    assert "closed" not in opened and "refused" not in opened, opened
    ports = {"kube-scheduler": 6445, "kube-controller-manager": 6444, "kubelet-node-1": 6451, "kube-proxy": 6446}
    sockets = cluster.mutineer("sandbox", "exec", "--name", "c", "--", "ss", "-Htn", "state", "established")
    for component, port in ports.items():
        assert f":{port} " in sockets, f"{component}:\n{sockets}"


def test_a_pod_is_bound_where_the_scheduler_did_not_want_it(cluster: Cluster) -> None:
    cluster.kubectl("cordon", "node-2")
    cluster.arm(
        "Pod/default/bound", "--channel", "component-to-apiserver", "--component", "kube-scheduler",
        "--operation", "bind", "--field", "target.name", "--value", "node-2",
    )  # fmt: skip
    cluster.kubectl("create", "-f", "-", told=POD.replace("NAME", "bound"))
    firing = cluster.fired()
    assert (firing["operation"], firing["accepted"], firing["actor"]) == ("bind", True, "kube-scheduler")
    assert firing["key"] == "/registry/pods/default/bound" and firing["stream"].startswith("kube-scheduler, connection")
    assert (firing["field_before"], firing["field_after"]) == ("node-1", "node-2")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/bound", "--timeout=30s")
    assert cluster.kubectl("get", "pod", "bound", "-o", "jsonpath={.spec.nodeName}") == "node-2"
    cluster.kubectl("uncordon", "node-2")
    cluster.kubectl("delete", "pod", "bound")


def test_one_kubelet_is_never_told_of_its_pod_and_the_api_does_not_notice(cluster: Cluster) -> None:
    cluster.arm(
        "Pod/default/unheard", "--channel", "apiserver-to-component", "--component", "kubelet-*",
        "--operation", "watch", "--model", "drop", "--times", "always",
    )  # fmt: skip
    cluster.kubectl("create", "-f", "-", told=POD.replace("NAME", "unheard"))
    firing = cluster.fired()
    assert (
        firing["operation"] == "watch" and firing["accepted"] is None and firing["stream"].startswith("kubelet-node-")
    )
    phase = cluster.kubectl("get", "pod", "unheard", "-o", "jsonpath={.status.phase} {.spec.nodeName}")
    assert phase.startswith("Pending node-"), "scheduled, and nobody starts it"
    cluster.kubectl("delete", "pod", "unheard", "--force", "--grace-period=0")


def test_one_kube_proxy_is_told_another_port_and_only_its_node_is_cut_off(cluster: Cluster) -> None:
    cluster.arm(
        "Service/default/web", "--channel", "apiserver-to-component", "--component", "kube-proxy-node-2",
        "--field", "spec.ports[0].port", "--value", "81",
    )  # fmt: skip
    cluster.kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    firing = cluster.fired()
    assert (firing["operation"], firing["field_before"], firing["field_after"]) == ("watch", 80, 81)
    assert firing["stream"].startswith("kube-proxy-node-2, connection")
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")

    def known(node: str) -> str:
        network = cluster.logs.parent / "work/run/nodes" / node
        return cluster.mutineer(
            "sandbox", "exec", "--name", "c", "--", "nsenter", f"--net={network}", "nft", "list", "ruleset"
        )

    wait_until(lambda: f"{address} . tcp . 81" in known("node-2"), within_s=10, what="the wrong port on node-2")
    wait_until(lambda: f"{address} . tcp . 80" in known("node-1"), within_s=10, what="the right one on node-1")
    assert f"{address} . tcp . 80" not in known("node-2")
    cluster.kubectl("delete", "service", "web")


def test_a_controller_s_write_is_refused_and_it_writes_again(cluster: Cluster) -> None:
    cluster.arm(
        "Deployment/default/web", "--channel", "component-to-apiserver", "--component", "kube-controller-manager",
        "--operation", "update/status", "--model", "drop", "--set", "told=error",
    )  # fmt: skip
    cluster.kubectl("create", "deployment", "web", "--image=mutineer/web:1")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    firing = cluster.fired()
    assert (firing["told"], firing["accepted"]) == ("error", False)
    assert firing["actor"] == "kube-controller-manager (deployment-controller)"
    cluster.kubectl("delete", "deployment", "web")


def test_a_reset_proves_the_cluster_clean_with_forwarders_too(cluster: Cluster) -> None:
    assert "clean" in cluster.mutineer("sandbox", "reset", "--name", "c")
