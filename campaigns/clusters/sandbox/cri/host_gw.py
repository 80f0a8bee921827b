"""What the host-gw route agent (programs/routes.py) decides: Nodes in, routes and a CNI configuration out. Pure.

As flannel's host-gw backend does (flannel-io/flannel, pkg/backend/route_network.go, pkg/backend/hostgw,
pkg/subnet/watch.go, pkg/subnet/kube/kube.go):

  * of two nodes that claim one podCIDR the one that said so last gets the route (after a start: the last by name);
  * a node that claims *our* podCIDR gets no route;
  * our own podCIDR has to lie in the network of the settings, another node's is not checked;
  * a node whose podCIDR or address can't be parsed is skipped, with a word about it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

__all__ = ["Claim", "NodeEvent", "Nodes", "Route", "Settings", "conflist", "desired", "read_settings", "stale"]


@dataclass(frozen=True, slots=True)
class Settings:
    """network  all podCIDRs lie in it; resync_s  seconds between two looks at the routes without an event"""

    network: IPv4Network
    resync_s: float


def read_settings(text: str) -> Settings:
    """The ConfigMap's JSON. ValueError in words."""
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise ValueError(f"expected an object, got {raw!r}")
    resync = raw.get("resyncSeconds", 10)
    if isinstance(resync, bool) or not isinstance(resync, (int, float)) or not 0 < resync < threading.TIMEOUT_MAX:
        raise ValueError(f"resyncSeconds: expected a number of seconds > 0, got {resync!r}")
    return Settings(_network(raw.get("network")), float(resync))


def _network(text: object) -> IPv4Network:
    """As Go's net.ParseCIDR: a prefix length is needed, host bits are cleared."""
    prefix = text.partition("/")[2] if isinstance(text, str) else ""
    if not isinstance(text, str) or not (prefix.isascii() and prefix.isdigit()):
        raise ValueError(f"expected an IPv4 network as 10.244.1.0/24, got {text!r}")
    return IPv4Network(text, strict=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one Node says: the pods of `cidr` are reached through `address`."""

    cidr: IPv4Network
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Route:
    """`gateway` is None where the route has none (never one of ours as we make them)."""

    destination: IPv4Network
    gateway: IPv4Address | None


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """`kind` is the watch's (ADDED, MODIFIED, DELETED; anything else changes nothing), or LISTED with all nodes that
    there are. `nodes` are Node objects as the API's JSON has them."""

    kind: str
    nodes: tuple[Mapping[str, Any], ...]


class Nodes:
    """What the API said of every node, in the order in which each last said something new."""

    def __init__(self) -> None:
        self._said: dict[str, Claim | str] = {}
        self.listed = False

    def take(self, event: NodeEvent) -> None:
        if event.kind == "LISTED":
            self.listed = True
            names = {_name(node) for node in event.nodes}
            for gone in [name for name in self._said if name not in names]:
                del self._said[gone]
        for node in event.nodes:
            name = _name(node)
            if event.kind == "DELETED":
                self._said.pop(name, None)
            elif event.kind in ("LISTED", "ADDED", "MODIFIED") and self._said.get(name) != (said := _said(node)):
                self._said.pop(name, None)  # to the end: it is the last that said something
                self._said[name] = said

    @property
    def claims(self) -> dict[str, Claim]:
        return {name: said for name, said in self._said.items() if isinstance(said, Claim)}

    @property
    def problems(self) -> list[str]:
        """Why the other nodes have no claim, in words."""
        return [f"node {name!r}: {said}" for name, said in self._said.items() if isinstance(said, str)]


def _name(node: Mapping[str, Any]) -> str:
    return str(node["metadata"].get("name", ""))


def _said(node: Mapping[str, Any]) -> Claim | str:
    """The claim, or why there is none."""
    cidr = node.get("spec", {}).get("podCIDR")
    if not cidr:
        return "podCIDR is not assigned"
    addresses = [a.get("address") for a in node.get("status", {}).get("addresses", ()) if a.get("type") == "InternalIP"]
    try:
        network = _network(cidr)
    except ValueError as error:
        return f"podCIDR: {error}"
    for address in addresses:
        with contextlib.suppress(ValueError):
            return Claim(network, IPv4Address(address))
    return f"InternalIP: expected an IPv4 address, got {addresses!r}"


def desired(claims: Mapping[str, Claim], own: str) -> dict[IPv4Network, IPv4Address]:
    """podCIDR → gateway of all routes that node `own` needs. Of two claims the later one counts."""
    ours = claims[own].cidr if own in claims else None
    return {c.cidr: c.address for name, c in claims.items() if name != own and c.cidr != ours}


def stale(wanted: Collection[IPv4Network], present: Iterable[Route]) -> list[Route]:
    """Those of our routes to be removed. One to a wanted podCIDR through the wrong gateway is not: it is replaced."""
    return [route for route in present if route.destination not in wanted]


def conflist(cidr: IPv4Network) -> str:
    """The CNI network configuration list (CNI specification 1.0.0) of a node whose podCIDR is `cidr`."""
    ipam = {"type": "host-local", "subnet": str(cidr), "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [{"type": "mutineer-host-gw", "ipam": ipam}]
    return json.dumps({"cniVersion": "1.0.0", "name": "mutineer", "plugins": plugins}, indent=2) + "\n"
