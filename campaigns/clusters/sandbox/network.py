"""Links, addresses and routes, over netlink.

    sandbox   br0 172.30.0.1/24, the control plane's address, with a default route (kube-apiserver wants one)
    node N    eth0 172.30.0.(10+N)/24 in a network namespace of its own, a port of br0
    pod       eth0 with the pod's address as a /32; its default gateway is 169.254.1.1, a permanent neighbour with the
              MAC of the node's end of the link, so that no proxy_arp and no address per node is needed
    node → pod, and podCIDR → node routes everywhere else (host-gw)

The kernel may lack dummy, macvlan and netem; bridge and veth are all that is used.
"""

from __future__ import annotations

import functools
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from campaigns.clusters.sandbox.isolation import in_network, make_network, remove_network

__all__ = [
    "CLUSTER_CIDR",
    "CONTROL_PLANE_ADDRESS",
    "SERVICE_CIDR",
    "NodeNetwork",
    "attach_pod",
    "detach_pod",
    "make_nodes",
    "make_root",
    "route_pod_cidr",
]

CONTROL_PLANE_ADDRESS = "172.30.0.1"
CLUSTER_CIDR = "10.244.0.0/16"
"""kubeadm's usual --pod-network-cidr (flannel's default)."""
SERVICE_CIDR = "10.96.0.0/12"
"""kubeadm's default serviceSubnet."""
_POD_GATEWAY = "169.254.1.1"
_GATEWAY_MAC = "02:00:00:00:00:01"
"""Locally administered; the same on every pod link, since each link has only two ends."""
_ENOENT, _ESRCH, _ENODEV = 2, 3, 19


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A node's name, address on the bridge, and the file that its network namespace is bound to."""

    name: str
    address: str
    path: Path


def make_root() -> None:
    """Loopback, bridge, default route and forwarding in the sandbox's own network namespace."""
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        ip.link("add", ifname="br0", kind="bridge")
        bridge = ip.link_lookup(ifname="br0")[0]
        ip.addr("add", index=bridge, address=CONTROL_PLANE_ADDRESS, prefixlen=24)
        ip.link("set", index=bridge, state="up")
        ip.route("add", dst="0.0.0.0/0", oif=bridge, scope="link")
    _forward()


def _forward() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def make_nodes(folder: Path, names: list[str]) -> list[NodeNetwork]:
    """A network namespace per node, bound below `folder`, linked to the bridge."""
    nodes = [NodeNetwork(name, f"172.30.0.{10 + i}", folder / name) for i, name in enumerate(names, 1)]
    for node in nodes:
        make_network(node.path)
    with IPRoute() as ip:
        bridge = ip.link_lookup(ifname="br0")[0]
        for node in nodes:
            _link_node(ip, bridge, node)
    for node in nodes:
        in_network(node.path, functools.partial(_node_inside, node))
    return nodes


def _link_node(ip: IPRoute, bridge: int, node: NodeNetwork) -> None:
    port = f"p-{node.name}"[:15]
    descriptor = os.open(node.path, os.O_RDONLY)
    try:
        ip.link("add", ifname=port, kind="veth", peer={"ifname": "eth0", "net_ns_fd": descriptor})
    finally:
        os.close(descriptor)
    index = ip.link_lookup(ifname=port)[0]
    ip.link("set", index=index, master=bridge, state="up")


def _node_inside(node: NodeNetwork) -> None:
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        eth0 = ip.link_lookup(ifname="eth0")[0]
        ip.addr("add", index=eth0, address=node.address, prefixlen=24)
        ip.link("set", index=eth0, state="up")
        ip.route("add", dst="default", gateway=CONTROL_PLANE_ADDRESS, oif=eth0)
    _forward()


def _host_end(path: Path) -> str:
    return f"v{path.name}"[:15]


def attach_pod(node: NodeNetwork, path: Path, address: str) -> None:
    """Gives a pod its network namespace at `path` with `address` on a link to its node. NetlinkError or OSError, with
    nothing left, where the kernel refuses."""
    try:
        make_network(path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            in_network(node.path, lambda: _pod_node_side(_host_end(path), descriptor, address))
        finally:
            os.close(descriptor)
        in_network(path, lambda: _pod_inside(address))
    except (NetlinkError, OSError):
        detach_pod(node, path, address)
        raise


def _pod_node_side(port: str, descriptor: int, address: str) -> None:
    with IPRoute() as ip:
        peer = {"ifname": "eth0", "net_ns_fd": descriptor}
        ip.link("add", ifname=port, kind="veth", address=_GATEWAY_MAC, peer=peer)
        index = ip.link_lookup(ifname=port)[0]
        ip.link("set", index=index, state="up")
        # replace, not add: two pods with one address (a corrupted podCIDR) must be possible, and the later one wins
        ip.route("replace", dst=f"{address}/32", oif=index, scope="link")


def _pod_inside(address: str) -> None:
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        eth0 = ip.link_lookup(ifname="eth0")[0]
        ip.addr("add", index=eth0, address=address, prefixlen=32)
        ip.link("set", index=eth0, state="up")
        ip.route("add", dst=f"{_POD_GATEWAY}/32", oif=eth0, scope="link")
        ip.neigh("add", dst=_POD_GATEWAY, lladdr=_GATEWAY_MAC, ifindex=eth0, state="permanent")
        ip.route("add", dst="default", gateway=_POD_GATEWAY, oif=eth0)


def detach_pod(node: NodeNetwork, path: Path, address: str) -> None:
    """Undoes `attach_pod`. What is gone already is no error. The kernel deletes the link's routes with it."""

    def node_side() -> None:
        with IPRoute() as ip:
            for index in ip.link_lookup(ifname=_host_end(path)):
                try:
                    ip.link("del", index=index)
                except NetlinkError as error:
                    if error.code != _ENODEV:
                        raise

    in_network(node.path, node_side)
    remove_network(path)


def route_pod_cidr(nodes: list[NodeNetwork], owner: NodeNetwork, cidr: str, *, previous: str | None = None) -> None:
    """Every other node and the control plane reach `cidr` through `owner`; `previous` is forgotten first."""
    network = str(ipaddress.ip_network(cidr))

    def routes() -> None:
        with IPRoute() as ip:
            if previous and previous != network:
                try:
                    ip.route("del", dst=previous, gateway=owner.address)
                except NetlinkError as error:
                    if error.code not in (_ESRCH, _ENOENT):
                        raise
            ip.route("replace", dst=network, gateway=owner.address)

    in_network("/proc/self/ns/net", routes)
    for node in nodes:
        if node.name != owner.name:
            in_network(node.path, routes)
