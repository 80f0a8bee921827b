"""Addresses from the node's CNI configuration."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.cri.pods import NOT_READY, READY, NodePods
from campaigns.clusters.sandbox.cri.protocol import new
from tests.campaigns.clusters.sandbox import networks

CONFIG = new("PodSandboxConfig")


@pytest.fixture
def alone(tmp_path: Path) -> NodePods:
    """A node that has no network: only its files are looked at."""
    return NodePods(NodeNetwork("node-1", "172.30.0.11", tmp_path / "ns"), tmp_path, tmp_path)


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[NodePods]:
    made = networks.cluster(tmp_path, 1)
    yield made[0]
    networks.remove_cluster(made)


def test_the_first_configuration_that_is_one_says_the_subnet(alone: NodePods) -> None:
    assert alone.subnet() is None, "no folder"
    networks.give_subnet(alone, "10.244.3.9/24", "20-later.conflist")
    assert alone.subnet() == "10.244.3.0/24"
    networks.give_subnet(alone, "10.244.4.0/24")
    assert alone.subnet() == "10.244.4.0/24"
    first = alone.root / "etc/cni/net.d/10-mutineer.conflist"
    for text in ("", "{", "[]", "{}", '{"plugins": []}', '{"plugins": [{"ipam": {"subnet": "10.244.0.0/99"}}]}', "\0"):
        first.write_text(text)
        assert alone.subnet() == "10.244.3.0/24", f"{text!r} is not a network yet"
    first.write_bytes(b"\xff\xfe")
    assert alone.subnet() == "10.244.3.0/24"
    (alone.root / "etc/cni/net.d/00-other.conf").write_text('{"plugins": [{"ipam": {"subnet": "1.0.0.0/8"}}]}')
    assert alone.subnet() == "10.244.3.0/24", "single plugins are another format"


def test_without_a_subnet_no_pod_has_a_network_but_one_on_the_nodes(alone: NodePods) -> None:
    with pytest.raises(RuntimeError, match=r"cni plugin not initialized: no configuration in /etc/cni/net\.d"):
        alone.run("a" * 64, CONFIG)
    assert alone.pods == {}
    security = new("LinuxSandboxSecurityContext", namespace_options=new("NamespaceOption", network=2))
    pod = alone.run("a" * 64, new("PodSandboxConfig", linux=new("LinuxPodSandboxConfig", security_context=security)))
    assert (pod.on_host, pod.network, pod.address, pod.ipc) == (True, alone.node.path, "172.30.0.11", None)
    alone.stop(pod)
    assert pod.state == NOT_READY
    alone.remove(pod)
    assert alone.pods == {}


@pytest.mark.inside
def test_addresses_are_given_out_again_only_at_the_end(pods: NodePods) -> None:
    networks.give_subnet(pods, "10.244.7.0/29")  # .2 to .6
    made = [pods.run(letter * 64, CONFIG) for letter in "abcde"]
    assert [pod.address for pod in made] == [f"10.244.7.{n}" for n in range(2, 7)]
    with pytest.raises(RuntimeError, match=r"no free address in 10\.244\.7\.0/29"):
        pods.run("f" * 64, CONFIG)
    pods.stop(made[2])
    assert pods.run("1" * 64, CONFIG).address == "10.244.7.4"


@pytest.mark.inside
def test_addresses_follow_the_configuration_and_pods_keep_theirs(pods: NodePods) -> None:
    old = pods.run("a" * 64, CONFIG)
    networks.give_subnet(pods, "10.244.9.0/24")
    new_pod = pods.run("b" * 64, CONFIG)
    assert (old.address, new_pod.address, old.state) == ("10.244.0.2", "10.244.9.2", READY)
    networks.give_subnet(pods, "10.244.0.0/24")
    assert pods.run("c" * 64, CONFIG).address == "10.244.0.3", "the old one is still taken"


@pytest.mark.inside
@pytest.mark.parametrize("subnet", ["16.0.0.0/4", "10.0.0.0/8"])
def test_an_enormous_subnet_costs_nothing(pods: NodePods, subnet: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    networks.give_subnet(pods, subnet)
    assert pods.run("a" * 64, CONFIG).address == subnet.split("/")[0][:-1] + "2"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "KiB; a list of all needs GiB"


@pytest.mark.inside
@pytest.mark.parametrize(
    ("subnet", "words"),
    [
        ("10.244.0.0/32", "no free address in 10.244.0.0/32"),
        ("fd00::/64", "cni plugin not initialized"),
    ],
)
def test_a_subnet_that_pods_can_not_live_in_fails_in_words_and_leaves_nothing(
    pods: NodePods, subnet: str, words: str
) -> None:
    networks.give_subnet(pods, subnet)
    files = sorted(pods.node.path.parent.iterdir())
    for _ in range(3):
        with pytest.raises(RuntimeError, match=words):
            pods.run("a" * 64, CONFIG)
    assert pods.pods == {} and sorted(pods.node.path.parent.iterdir()) == files
    networks.give_subnet(pods, "10.244.0.0/24")
    assert pods.run("a" * 64, CONFIG).address == "10.244.0.2"


@pytest.mark.inside
def test_a_pod_on_the_nodes_ipc_has_none_of_its_own(pods: NodePods) -> None:
    security = new("LinuxSandboxSecurityContext", namespace_options=new("NamespaceOption", ipc=2))
    pod = pods.run("a" * 64, new("PodSandboxConfig", linux=new("LinuxPodSandboxConfig", security_context=security)))
    assert pod.ipc is None and not pod.on_host
