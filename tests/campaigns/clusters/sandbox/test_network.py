"""Nodes' and pods' networks: who reaches whom, and what is left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from campaigns.clusters.sandbox import isolation, network
from campaigns.clusters.sandbox.addresses import CLUSTER_CIDR, CONTROL_PLANE_ADDRESS, SERVICE_CIDR
from campaigns.clusters.sandbox.cri.pods import NodePods
from campaigns.clusters.sandbox.cri.protocol import new
from tests.campaigns.clusters.sandbox import networks
from tests.campaigns.clusters.sandbox.networks import HERE, asked_from, reaches, say, serving

pytestmark = pytest.mark.inside

Make = Callable[[int], list[NodePods]]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Make]:
    made: list[NodePods] = []

    def make(count: int) -> list[NodePods]:
        made.extend(networks.cluster(tmp_path, count))
        return made

    yield make
    networks.remove_cluster(made)


def config() -> object:
    return new("PodSandboxConfig")


def test_pods_reach_each_other_their_nodes_and_the_control_plane(nodes: Make) -> None:
    first, second = nodes(2)
    a, b, c = first.run("a" * 64, config()), second.run("b" * 64, config()), first.run("c" * 64, config())
    assert (a.address, c.address, b.address) == ("10.244.0.2", "10.244.0.3", "10.244.1.2")
    assert reaches(a.network, b) == a.address, "across nodes, with the pod's own address"
    assert reaches(first.node.path, b) == first.node.address, "from another node"
    assert reaches(second.node.path, b), "from its own node"
    assert reaches(a.network, c) == a.address, "on one node"
    assert reaches(a.network, a) == a.address, "itself"
    with serving(HERE, CONTROL_PLANE_ADDRESS) as target:
        assert asked_from(b.network, target) == b.address, "the control plane"


def test_the_control_plane_reaches_pods_through_the_first_node(nodes: Make) -> None:
    first, second = nodes(2)
    a, b = first.run("a" * 64, config()), second.run("b" * 64, config())
    assert reaches(HERE, a) == reaches(HERE, b) == CONTROL_PLANE_ADDRESS
    via = f"via {first.node.address} dev br0"
    routes = say("ip", "route")
    assert f"{CLUSTER_CIDR} {via}" in routes and f"{SERVICE_CIDR} {via}" in routes


def test_without_the_agents_routes_other_nodes_pods_are_not_reached(nodes: Make) -> None:
    first, second = nodes(2)
    a, b = first.run("a" * 64, config()), second.run("b" * 64, config())
    say("ip", "route", "replace", "unreachable", "10.244.1.0/24", at=first.node.path)
    with pytest.raises(OSError, match=r"No route to host|unreachable"):
        reaches(a.network, b)


def links(pods: NodePods) -> str:
    """Of a node, without whether they have a carrier yet: the node's own gets one a moment after it is made."""
    return re.sub(r"<\S*>|state \S+", "", say("ip", "-o", "link", at=pods.node.path))


def test_a_detached_pod_leaves_nothing(nodes: Make) -> None:
    (pods,) = nodes(1)

    def seen() -> tuple[str, str, str]:
        mounts = Path("/proc/self/mountinfo").read_text()
        routes = say("ip", "route", at=pods.node.path).replace(" linkdown", "")
        return links(pods), routes, mounts

    before = seen()
    pod = pods.run("a" * 64, config())
    assert pod.ipc and pod.network.exists() and pod.ipc.exists() and seen() != before
    pods.stop(pod)
    pods.stop(pod)
    # interfaces are numbered for good
    assert [re.sub(r"\d+:", "", part) for part in seen()] == [re.sub(r"\d+:", "", part) for part in before]
    assert not pod.network.exists() and not pod.ipc.exists()


def test_a_failed_attachment_leaves_nothing(nodes: Make, tmp_path: Path) -> None:
    (pods,) = nodes(1)
    before = sorted(tmp_path.rglob("*")), links(pods)

    def fails(path: Path, address: str = "10.244.0.9", **sysctls: str) -> None:
        names = {name.replace("_", ".", 1): value for name, value in sysctls.items()}
        with pytest.raises((NetlinkError, OSError)):
            network.attach_pod(pods.node, path, address, ipc=path.with_name("ipc"), sysctls=names)
        assert (sorted(tmp_path.rglob("*")), links(pods)) == before

    fails(tmp_path / "pod", "not an address")
    fails(tmp_path / "gone/pod")
    fails(tmp_path / "pod", net_nosuch="1")
    fails(tmp_path / "pod", kernel_shmmni="many")
    say("ip", "link", "add", "vpod", "type", "veth", "peer", "name", "other", at=pods.node.path)  # a name that is taken
    fails(tmp_path / "pod")


def test_sysctls_are_set_in_the_pods_namespaces_only(nodes: Make) -> None:
    (pods,) = nodes(1)
    wanted = {"net.ipv4.ip_unprivileged_port_start": "7", "kernel.shm_rmid_forced": "1"}
    pod = pods.run("a" * 64, new("PodSandboxConfig", linux=new("LinuxPodSandboxConfig", sysctls=wanted)))
    path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert isolation.in_network(pod.network, path.read_text) == "7\n"
    assert pod.ipc
    shm = say("nsenter", f"--ipc={pod.ipc}", "cat", "/proc/sys/kernel/shm_rmid_forced")
    assert shm == "1\n" and path.read_text() != "7\n" and Path("/proc/sys/kernel/shm_rmid_forced").read_text() == "0\n"


def test_two_pods_with_one_address_are_possible(nodes: Make) -> None:
    first, second = nodes(2)
    pod = first.run("a" * 64, config())
    networks.give_subnet(second, "10.244.0.0/24")
    twin = second.run("b" * 64, config())
    assert pod.address == twin.address
    assert reaches(second.node.path, twin), "on its own node the twin answers"
    networks.give_subnet(first, "10.244.0.0/30")  # one address: the same again, on the same node
    first.stop(pod)
    later = first.run("c" * 64, config())
    assert later.address == pod.address and reaches(first.node.path, later)


def test_a_nodes_cable_can_be_pulled_and_plugged_in_again(nodes: Make) -> None:
    first, second = nodes(2)
    pod = second.run("b" * 64, config())
    network.set_node_link(second.node, up=False)
    assert "state DOWN" in say("ip", "-o", "link", "show", "p-node-2")
    with serving(pod.network, pod.address) as target:
        assert asked_from(second.node.path, target), "on the node itself all is as before"
        assert "via 172.30.0.12" in say("ip", "route", at=first.node.path), "nobody was told"
        network.set_node_link(second.node, up=True)
        assert asked_from(first.node.path, target) == first.node.address


def test_a_reset_takes_other_parties_routes_and_all_rules(nodes: Make) -> None:
    first, _ = nodes(2)
    pod = first.run("a" * 64, config())
    say("nft", "add", "table", "ip", "kube-proxy", at=first.node.path)
    assert "10.244.1.0/24" in say("ip", "route", at=first.node.path)
    network.reset_node(first.node)
    routes = say("ip", "route", at=first.node.path)
    assert [line.split()[0] for line in routes.splitlines()] == ["default", pod.address, "172.30.0.0/24"]
    assert say("nft", "list", "ruleset", at=first.node.path) == ""
    network.reset_node(first.node)
