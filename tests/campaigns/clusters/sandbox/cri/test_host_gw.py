"""What the route agent decides: nodes in, routes out."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.host_gw import (
    Claim,
    NodeEvent,
    Nodes,
    Route,
    Settings,
    conflist,
    desired,
    read_settings,
    stale,
)


def node(name: str, cidr: object, *addresses: str) -> dict[str, Any]:
    listed = [{"type": "Hostname", "address": name}, *({"type": "InternalIP", "address": a} for a in addresses)]
    return {"metadata": {"name": name}, "spec": {"podCIDR": cidr} if cidr else {}, "status": {"addresses": listed}}


def listed(*nodes: dict[str, Any]) -> NodeEvent:
    return NodeEvent("LISTED", nodes)


def told(*events: NodeEvent) -> Nodes:
    nodes = Nodes()
    for event in events:
        nodes.take(event)
    return nodes


def wanted(nodes: Nodes, own: str = "a") -> dict[str, str]:
    return {str(cidr): str(gateway) for cidr, gateway in desired(nodes.claims, own).items()}


A, B, C = (node(name, f"10.244.{n}.0/24", f"172.30.0.1{n}") for n, name in enumerate("abc"))


def test_every_other_node_gets_a_route_through_its_internal_address() -> None:
    assert wanted(told(listed(A, B, C))) == {"10.244.1.0/24": "172.30.0.11", "10.244.2.0/24": "172.30.0.12"}
    assert wanted(told(listed(A, B)), own="elsewhere") == {
        "10.244.0.0/24": "172.30.0.10",
        "10.244.1.0/24": "172.30.0.11",
    }


def test_nodes_come_change_and_go() -> None:
    moved = node("b", "10.244.7.0/24", "172.30.0.11")
    nodes = told(listed(A, B), NodeEvent("MODIFIED", (moved,)), NodeEvent("ADDED", (C,)))
    assert wanted(nodes) == {"10.244.7.0/24": "172.30.0.11", "10.244.2.0/24": "172.30.0.12"}
    nodes.take(NodeEvent("DELETED", (moved,)))
    assert wanted(nodes) == {"10.244.2.0/24": "172.30.0.12"}
    nodes.take(listed(A, B))
    assert wanted(nodes) == {"10.244.1.0/24": "172.30.0.11"}


def test_a_bookmark_is_not_a_node() -> None:
    nodes = told(listed(A, B), NodeEvent("BOOKMARK", ({"metadata": {"resourceVersion": "9"}, "spec": {}},)))
    assert (set(nodes.claims), nodes.problems) == ({"a", "b"}, [])


def test_nothing_is_known_before_the_first_list() -> None:
    nodes = told(NodeEvent("ADDED", (A,)))
    assert not nodes.listed
    nodes.take(listed())
    assert nodes.listed


def twin(cidr: str = "10.244.1.0/24") -> dict[str, Any]:
    return node("c", cidr, "172.30.0.12")


def test_of_two_claims_to_one_pod_cidr_the_later_counts() -> None:
    nodes = told(listed(A, B, twin()))
    assert wanted(nodes) == {"10.244.1.0/24": "172.30.0.12"}, "in a list, the last by name"
    nodes.take(NodeEvent("MODIFIED", (B,)))
    nodes.take(listed(A, B, twin()))
    assert wanted(nodes) == {"10.244.1.0/24": "172.30.0.12"}, "who says the same again says nothing"
    nodes.take(NodeEvent("MODIFIED", (node("b", "10.244.1.0/24", "172.30.0.99"),)))
    assert wanted(nodes) == {"10.244.1.0/24": "172.30.0.99"}, "who says something new is the last"
    nodes.take(NodeEvent("DELETED", (node("b", None),)))
    assert wanted(nodes) == {"10.244.1.0/24": "172.30.0.12"}


def test_who_claims_our_own_pod_cidr_gets_no_route() -> None:
    assert wanted(told(listed(A, B, twin("10.244.0.0/24")))) == {"10.244.1.0/24": "172.30.0.11"}


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (node("b", None, "172.30.0.11"), "podCIDR is not assigned"),
        (
            node("b", "10.244.1.0", "172.30.0.11"),
            "podCIDR: expected an IPv4 network as 10.244.1.0/24, got '10.244.1.0'",
        ),
        (node("b", "10.244.1.0/255.255.255.0", "172.30.0.11"), "podCIDR: expected an IPv4 network"),
        (node("b", "10.344.1.0/24", "172.30.0.11"), "podCIDR: Octet 344"),
        (node("b", "10.244.1.0/33", "172.30.0.11"), "podCIDR: "),
        (node("b", "fd00::/64", "172.30.0.11"), "podCIDR: "),
        (node("b", "10.244.1.0/24"), "InternalIP: expected an IPv4 address, got []"),
        (node("b", "10.244.1.0/24", "node-b"), "InternalIP: expected an IPv4 address, got ['node-b']"),
        ({"metadata": {"name": "b"}, "spec": {"podCIDR": "10.244.1.0/24"}}, "InternalIP: "),
        ({"metadata": {"name": "b"}}, "podCIDR is not assigned"),
    ],
)
def test_a_node_that_makes_no_sense_is_skipped_with_a_word(broken: dict[str, Any], problem: str) -> None:
    nodes = told(listed(A, broken, C))
    assert wanted(nodes) == {"10.244.2.0/24": "172.30.0.12"}
    (said,) = nodes.problems
    assert said.startswith(f"node 'b': {problem}")
    nodes.take(NodeEvent("MODIFIED", (B,)))
    assert (set(nodes.claims), nodes.problems) == ({"a", "b", "c"}, [])


def test_a_node_without_a_name_is_only_another_node() -> None:
    nameless = {**B, "metadata": {}}
    assert wanted(told(listed(A, nameless))) == {"10.244.1.0/24": "172.30.0.11"}


def test_host_bits_are_cleared_and_the_first_ipv4_address_counts() -> None:
    odd = node("b", "10.244.1.7/24", "fd00::1", "172.30.0.11", "172.30.0.99")
    assert wanted(told(listed(A, odd))) == {"10.244.1.0/24": "172.30.0.11"}


def test_only_routes_to_what_nobody_claims_are_stale() -> None:
    kept, wrong, old = (Route(IPv4Network(f"10.244.{n}.0/24"), IPv4Address("172.30.0.11")) for n in (1, 2, 3))
    claims = {"b": Claim(kept.destination, IPv4Address("172.30.0.11")), "c": Claim(wrong.destination, IPv4Address(1))}
    assert stale(desired(claims, "a"), [kept, wrong, old]) == [old]


def test_the_conflist_is_shaped_as_a_network_plugins() -> None:
    document = json.loads(conflist(IPv4Network("10.244.1.0/24")))
    assert document == {
        "cniVersion": "1.0.0",
        "name": "mutineer",
        "plugins": [
            {
                "type": "mutineer-host-gw",
                "ipam": {"type": "host-local", "subnet": "10.244.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
            }
        ],
    }


def test_settings_are_read_from_json() -> None:
    assert read_settings('{"network": "10.244.0.0/16"}') == Settings(IPv4Network("10.244.0.0/16"), 10.0)
    assert read_settings('{"network": "10.0.0.0/8", "resyncSeconds": 0.5}') == Settings(IPv4Network("10.0.0.0/8"), 0.5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        ("[]", "expected an object, got \\[\\]"),
        ("{}", "expected an IPv4 network as 10.244.1.0/24, got None"),
        ('{"network": "10.244.0.0"}', "got '10.244.0.0'"),
        *(
            (f'{{"network": "10.244.0.0/16", "resyncSeconds": {n}}}', "resyncSeconds")
            for n in ("0", "-1", "true", '"9"')
        ),
        ('{"network": "10.244.0.0/16", "resyncSeconds": NaN}', "resyncSeconds: .* got nan"),
        ('{"network": "10.244.0.0/16", "resyncSeconds": 1e300}', "resyncSeconds"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_settings(text)
