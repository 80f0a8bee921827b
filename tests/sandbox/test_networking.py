"""The network is made of stored objects: corrupting them breaks real traffic, and what would heal it in any cluster
heals it here. Each test has a sandbox of its own; a fault is one value written straight into etcd."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.components import MAX_PODS_PER_NODE
from campaigns.clusters.sandbox.config import BINARIES
from tests.conftest import wait_until
from tests.sandbox.inside import Inside

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

PYTHON = "python"
_TERMS = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]"
WEB = "web.default.svc.cluster.local"


class Traffic(Inside):
    """A sandbox with three web pods, one a node, and what clients in it see."""

    def corrupt(self, identity: str, field: str, value: str) -> None:
        self.run(PYTHON, "-m", "tests.sandbox.corrupt", str(self.work), identity, field, f'"{value}"')

    def undo(self) -> None:
        self.run(PYTHON, "-m", "tests.sandbox.corrupt", str(self.work), "undo")

    def answers(self, node: str, address: str, port: int) -> bool:
        said = self.run(PYTHON, "-m", "tests.sandbox.ask", str(self.work), node, address, str(port))
        return said.strip() == "ok"

    def from_every_node(self, address: str, port: int = 80) -> list[bool]:
        return [self.answers(f"node-{i}", address, port) for i in (1, 2, 3)]

    def service(self, name: str) -> str:
        return self.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")

    def resolves(self) -> bool:
        """From a pod, through its own resolv.conf."""
        pod = self.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
        return self.succeeds("kubectl", "exec", pod, "--", "getent", "hosts", WEB)

    def pods(self, label: str) -> list[str]:
        return self.kubectl("get", "pods", "-n", "kube-system", "-l", label, "-o", "name").split()


@pytest.fixture
def traffic(state_home: Path, binaries: Assets) -> Iterator[Traffic]:
    config = outside.prepare("n", binaries={name: binaries[name] for name in BINARIES})
    try:
        outside.up(config, lambda _: None)
        found = Traffic("n")
        found.kubectl("create", "deployment", "web", "--image=mutineer/web:1", "--replicas=3", "--port=8080")
        found.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
        found.kubectl("rollout", "status", "deployment", "web", "--timeout=60s")
        wait_until(lambda: all(found.from_every_node(found.service("web"))), within_s=20, what="traffic")
        yield found
    finally:
        if "n" in outside.running():
            outside.down("n")
        shutil.rmtree(state_home, ignore_errors=True)


def test_without_kube_proxy_a_new_service_has_no_traffic_and_old_ones_go_on(traffic: Traffic) -> None:
    old = traffic.service("web")
    traffic.corrupt("DaemonSet/kube-system/kube-proxy", "spec.template.spec.nodeSelector[kubernetes.io/os]", "linuy")
    wait_until(lambda: not traffic.pods("k8s-app=kube-proxy"), within_s=40, what="kube-proxy's pods to be gone")
    traffic.kubectl("expose", "deployment", "web", "--name=late", "--port=80", "--target-port=8080")
    late = traffic.service("late")
    assert traffic.from_every_node(late) == [False] * 3
    assert traffic.from_every_node(old) == [True] * 3, "its rules stay in the kernel"
    traffic.undo()
    wait_until(lambda: all(traffic.from_every_node(late)), within_s=40, what="the new Service to be healed")


def test_kube_proxys_selector_makes_its_daemonset_fill_the_nodes_and_nothing_else_starts(traffic: Traffic) -> None:
    traffic.corrupt("DaemonSet/kube-system/kube-proxy", "spec.selector.matchLabels[k8s-app]", "kube-proxz")
    wait_until(lambda: len(traffic.pods("k8s-app=kube-proxy")) > 6, within_s=30, what="pods that nobody asked for")
    # the guard keeps the machine alive: a node takes no more than its cap, whatever a controller creates
    assert len(traffic.pods("k8s-app=kube-proxy")) <= 3 * MAX_PODS_PER_NODE
    traffic.undo()
    wait_until(lambda: len(traffic.pods("k8s-app=kube-proxy")) == 3, within_s=90, what="one pod a node again")
    assert all(traffic.from_every_node(traffic.service("web")))


def test_a_corrupted_corefile_breaks_names_when_coredns_reads_it(traffic: Traffic) -> None:
    wait_until(traffic.resolves, within_s=20, what="the name to be known")
    corefile = traffic.kubectl("get", "configmap", "-n", "kube-system", "coredns", "-o", "jsonpath={.data.Corefile}")
    wrong = corefile.replace("cluster.local", "cluster.lobal").replace("\n", "\\n").replace('"', '\\"')
    traffic.corrupt("ConfigMap/kube-system/coredns", "data[Corefile]", wrong)
    assert traffic.resolves(), "CoreDNS has read it once and looks at its file now and then"
    restart = ("rollout", "restart", "-n", "kube-system", "deployment", "coredns")
    ready = ("rollout", "status", "-n", "kube-system", "deployment", "coredns", "--timeout=60s")
    traffic.kubectl(*restart)
    traffic.kubectl(*ready)
    wait_until(lambda: not traffic.resolves(), within_s=20, what="the name to be unknown")
    traffic.undo()
    assert not traffic.resolves()
    traffic.kubectl(*restart)
    traffic.kubectl(*ready)
    wait_until(traffic.resolves, within_s=20, what="the name to be known again")


def test_kube_dns_with_another_address_leaves_every_pod_without_names(traffic: Traffic) -> None:
    wait_until(traffic.resolves, within_s=20, what="the name to be known")
    for field in ("spec.clusterIP", "spec.clusterIPs[0]"):
        traffic.corrupt("Service/kube-system/kube-dns", field, "10.96.0.99")
    wait_until(lambda: not traffic.resolves(), within_s=20, what="names to be gone")
    assert all(traffic.from_every_node(traffic.service("web"))), "addresses go on"
    traffic.undo()
    wait_until(traffic.resolves, within_s=20, what="names to be back")


def test_two_nodes_with_one_pod_cidr_lose_the_pods_of_one_of_them(traffic: Traffic) -> None:
    first = traffic.kubectl("get", "node", "node-1", "-o", "jsonpath={.spec.podCIDR}")
    query = '{.items[?(@.spec.nodeName=="node-2")].status.podIP}'
    pod = traffic.kubectl("get", "pods", "-l", "app=web", "-o", f"jsonpath={query}").split()[0]
    assert traffic.from_every_node(pod, 8080) == [True] * 3
    traffic.corrupt("Node/node-2", "spec.podCIDR", first)
    lost = [False, True, False]  # only its own node still has a way to it
    wait_until(lambda: traffic.from_every_node(pod, 8080) == lost, within_s=20, what="the route to be gone")
    traffic.undo()
    wait_until(lambda: all(traffic.from_every_node(pod, 8080)), within_s=20, what="the route to be back")


def test_without_the_route_agent_routes_stay_until_a_node_restarts(traffic: Traffic) -> None:
    query = '{.items[?(@.spec.nodeName=="node-1")].status.podIP}'
    pod = traffic.kubectl("get", "pods", "-l", "app=web", "-o", f"jsonpath={query}").split()[0]
    agent = traffic.kubectl(
        "get", "pods", "-n", "kube-system", "-l", "k8s-app=route-agent",
        "-o", 'jsonpath={.items[?(@.spec.nodeName=="node-2")].metadata.name}',
    )  # fmt: skip
    traffic.kubectl("label", "pod", "-n", "kube-system", agent, "k8s-app=orphan", "--overwrite")
    wait_until(lambda: len(traffic.pods("k8s-app=route-agent")) == 3, within_s=30, what="a second agent on the node")
    assert len(traffic.pods("k8s-app=orphan")) == 1, "a pod that lost its label is left to itself, not ended"
    agents = "DaemonSet/kube-system/route-agent"
    traffic.corrupt(agents, f"spec.template.spec.affinity.nodeAffinity.{_TERMS}.values[0]", "linuy")
    wait_until(lambda: not traffic.pods("k8s-app=route-agent"), within_s=30, what="the agents to be gone")
    traffic.kubectl("delete", "pod", "-n", "kube-system", agent)
    assert traffic.answers("node-2", pod, 8080), "its routes stay in the kernel"
    traffic.mutineer("sandbox", "node", "--name", "n", "node-2", "restart")
    assert not traffic.answers("node-2", pod, 8080)
    traffic.undo()
    wait_until(lambda: traffic.answers("node-2", pod, 8080), within_s=60, what="the routes to be back")
