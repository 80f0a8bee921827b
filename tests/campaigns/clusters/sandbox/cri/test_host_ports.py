"""hostPort: who reaches a pod by a port of its node, and that nothing stays of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.host_ports import HostPort, wanted_ports
from campaigns.clusters.sandbox.cri.pods import NodePods
from campaigns.clusters.sandbox.cri.protocol import new
from tests.campaigns.clusters.sandbox import networks


def mapping(**fields: Any) -> Any:
    return new("PortMapping", **fields)


def test_only_mappings_with_a_host_port_open_one() -> None:
    ports = wanted_ports([
        mapping(protocol=0, container_port=80),
        mapping(protocol=0, container_port=80, host_port=8080, host_ip="0.0.0.0"),
        mapping(protocol=1, container_port=53, host_port=5353, host_ip="172.30.0.11"),
    ])  # fmt: skip
    assert ports == [HostPort("tcp", "", 8080, 80), HostPort("udp", "172.30.0.11", 5353, 53)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[NodePods]]:
    made = networks.cluster(tmp_path, 2)
    yield made
    networks.remove_cluster(made)


def run(node: NodePods, letter: str, *mappings: Any) -> Any:
    return node.run(letter * 64, new("PodSandboxConfig", port_mappings=mappings))


@pytest.mark.inside
def test_a_pod_is_reached_by_its_nodes_port_from_everywhere_and_not_by_the_other_nodes(nodes: list[NodePods]) -> None:
    first, second = nodes
    pod = run(first, "a", mapping(protocol=0, container_port=7001, host_port=7000))
    client = run(second, "b")
    with networks.serving(pod.network, pod.address, 7001):
        on_first = (first.node.address, 7000)
        assert networks.asked_from(client.network, on_first) == client.address, "the client's address is kept"
        assert networks.asked_from(second.node.path, on_first) == second.node.address
        assert networks.asked_from(first.node.path, on_first)
        assert networks.asked_from(first.node.path, ("127.0.0.1", 7000))
        assert networks.asked_from(pod.network, on_first), "the pod itself, by its node"
        with pytest.raises(OSError, match="refused"):
            networks.asked_from(client.network, (second.node.address, 7000))


@pytest.mark.inside
def test_one_port_leads_to_different_pods_by_the_nodes_address(nodes: list[NodePods]) -> None:
    node = nodes[0]
    loopback = run(node, "a", mapping(protocol=0, container_port=7001, host_port=7000, host_ip="127.0.0.1"))
    outer = run(node, "b", mapping(protocol=0, container_port=7002, host_port=7000, host_ip=node.node.address))
    with (
        networks.serving(loopback.network, loopback.address, 7001),
        networks.serving(outer.network, outer.address, 7002),
    ):
        assert networks.asked_from(node.node.path, ("127.0.0.1", 7000))
        assert networks.asked_from(nodes[1].node.path, (node.node.address, 7000)) == nodes[1].node.address
    with networks.serving(outer.network, outer.address, 7002), pytest.raises(OSError, match="refused"):
        networks.asked_from(node.node.path, ("127.0.0.1", 7000))


@pytest.mark.inside
def test_nothing_of_it_stays_and_stopping_twice_is_no_error(nodes: list[NodePods]) -> None:
    node = nodes[0]
    before = networks.say("nft", "list", "ruleset", at=node.node.path)
    pod = run(node, "a", mapping(protocol=2, container_port=1, host_port=7000))
    assert "dnat to" in networks.say("nft", "list", "ruleset", at=node.node.path)
    node.stop(pod)
    node.stop(pod)
    assert networks.say("nft", "list", "ruleset", at=node.node.path) == before


@pytest.mark.inside
def test_an_address_that_is_none_leaves_no_pod_behind(nodes: list[NodePods]) -> None:
    with pytest.raises(ValueError, match="not-an-address"):
        run(nodes[0], "a", mapping(protocol=0, container_port=1, host_port=7000, host_ip="not-an-address"))
    assert not nodes[0].pods
