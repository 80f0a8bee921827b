"""Links, addresses and routes, over netlink.

    sandbox   br0 172.30.0.1/24, the control plane's address, with a default route (kube-apiserver wants one)
    node N    eth0 172.30.0.(10+N)/24 in a network namespace of its own, a port of br0
    pod       eth0 with the pod's address as a /32; its default gateway is 169.254.1.1, a permanent neighbour with the
              MAC of the node's end of the link, so that no proxy_arp and no address per node is needed
    node → pod a route per pod; podCIDR → node routes are the route agent's (cri.programs.routes), a DaemonSet
    sandbox → pods and Services  through the first node, whose kube-proxy and routes do the rest: the control plane's
              host runs no kubelet, yet kube-apiserver has to reach webhooks and aggregated APIs

The kernel may lack dummy, macvlan and netem; bridge and veth are all that is used.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from campaigns.clusters.sandbox.addresses import CLUSTER_CIDR, CONTROL_PLANE_ADDRESS, SERVICE_CIDR, NodeNetwork
from campaigns.clusters.sandbox.isolation import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    in_network,
    make_namespaces,
    make_network,
    remove_namespace,
)

__all__ = [
    "attach_pod",
    "detach_pod",
    "make_nodes",
    "make_root",
    "reset_node",
    "set_node_link",
]

_POD_GATEWAY = "169.254.1.1"
_GATEWAY_MAC = "02:00:00:00:00:01"
"""Locally administered; the same on every pod link, since each link has only two ends."""
_ENODEV = 19
_MAIN = 254
"""RT_TABLE_MAIN."""
_BOOT_PROTOCOLS = (2, 3, 4)
"""RTPROT_KERNEL, RTPROT_BOOT and RTPROT_STATIC (what `ip route add` and pyroute2 give): the node's own configuration
and its pods' links."""


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
        for cidr in (CLUSTER_CIDR, SERVICE_CIDR):
            ip.route("add", dst=cidr, gateway=nodes[0].address, oif=bridge)
    for node in nodes:
        in_network(node.path, functools.partial(_node_inside, node))
    return nodes


def _port(node: NodeNetwork) -> str:
    return f"p-{node.name}"[:15]


def set_node_link(node: NodeNetwork, *, up: bool) -> None:
    """Plugs the node's cable in or out, at the bridge's end."""
    with IPRoute() as ip:
        ip.link("set", index=ip.link_lookup(ifname=_port(node))[0], state="up" if up else "down")


def reset_node(node: NodeNetwork) -> None:
    """What a reboot does to a node's network: routes that are no link's own, and all rules, are gone."""

    def inside() -> None:
        with IPRoute() as ip:
            for route in ip.get_routes(family=2, table=_MAIN):
                if route["proto"] not in _BOOT_PROTOCOLS:
                    ip.route("del", dst=f"{route.get('dst')}/{route['dst_len']}", table=_MAIN)

    in_network(node.path, inside)
    command = ["nsenter", f"--net={node.path}", "--", "nft", "flush", "ruleset"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, capture_output=True, timeout=10)


def _link_node(ip: IPRoute, bridge: int, node: NodeNetwork) -> None:
    port = _port(node)
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


def attach_pod(
    node: NodeNetwork, path: Path, address: str, *, ipc: Path | None = None, sysctls: Mapping[str, str] | None = None
) -> None:
    """Gives a pod its network namespace at `path` with `address` on a link to its node, and an ipc namespace at `ipc`.
    NetlinkError or OSError, with nothing left, where the kernel refuses."""
    try:
        make_namespaces(
            {CLONE_NEWNET: path, **({CLONE_NEWIPC: ipc} if ipc else {})}, lambda: _set_sysctls(sysctls or {})
        )
        descriptor = os.open(path, os.O_RDONLY)
        try:
            in_network(node.path, lambda: _pod_node_side(_host_end(path), descriptor, address))
        finally:
            os.close(descriptor)
        in_network(path, lambda: _pod_inside(address))
    except (NetlinkError, OSError):
        detach_pod(node, path, address, ipc=ipc)
        raise


def _set_sysctls(sysctls: Mapping[str, str]) -> None:
    for name, value in sysctls.items():
        Path("/proc/sys", name.replace(".", "/")).write_text(value)


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


def detach_pod(node: NodeNetwork, path: Path, address: str, *, ipc: Path | None = None) -> None:
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
    for namespace in (path, ipc):
        if namespace is not None:
            remove_namespace(namespace)
