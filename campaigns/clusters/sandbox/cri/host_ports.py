"""hostPort: a port of the node that leads to a pod, as the CNI's portmap plugin makes it; a table of nftables a pod.

The node's own loopback leads there too, which needs route_localnet and another source address on the way out.
Source: containernetworking/plugins, plugins/meta/portmap, v1.9.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.isolation import in_network

__all__ = ["HostPort", "close_all_ports", "close_ports", "open_ports", "wanted_ports"]

_PROTOCOLS = ("tcp", "udp", "sctp")
"""runtime.v1.Protocol."""
_PREFIX = "host-ports-"
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class HostPort:
    """`address` of the node, or "" for all of them."""

    protocol: str
    address: str
    port: int
    pod_port: int


def wanted_ports(mappings: Sequence[Any]) -> list[HostPort]:
    """Of PodSandboxConfig.port_mappings; those that name no host port are only told to us."""
    return [
        HostPort(_PROTOCOLS[m.protocol], "" if _any(m.host_ip) else m.host_ip, m.host_port, m.container_port)
        for m in mappings
        if m.host_port > 0
    ]


def _any(address: str) -> bool:
    return not address or ipaddress.ip_address(address).is_unspecified


def open_ports(node: NodeNetwork, name: str, pod: str, ports: Sequence[HostPort]) -> None:
    """Leads `ports` of the node to the address `pod`. OSError in words where that can't be done."""
    in_network(node.path, lambda: Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1"))
    rules = "\n".join(_rule(port, pod) for port in ports)
    _nft(
        node,
        f"""table ip {_table(name)} {{
  chain ports {{
    {rules}
  }}
  chain prerouting {{ type nat hook prerouting priority -100; fib daddr type local jump ports; }}
  chain output {{ type nat hook output priority -100; fib daddr type local jump ports; }}
  chain postrouting {{
    type nat hook postrouting priority 100
    ip saddr {{ 127.0.0.0/8, {pod} }} ip daddr {pod} ct status dnat masquerade
  }}
}}""",
    )


def close_ports(node: NodeNetwork, name: str) -> None:
    """Undoes `open_ports`; no error if it is gone."""
    _nft(node, f"table ip {_table(name)}\ndelete table ip {_table(name)}")  # the first line makes it, if need be


def close_all_ports(node: NodeNetwork) -> None:
    """What a runtime before us has left."""
    tables = _said(node, "list", "tables", "ip").splitlines()
    for name in (line.split()[-1] for line in tables if line.split()[-1].startswith(_PREFIX)):
        close_ports(node, name.removeprefix(_PREFIX))


def _said(node: NodeNetwork, *arguments: str) -> str:
    command = ["nsenter", f"--net={node.path}", "--", "nft", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise OSError(f"host ports: {done.stderr.strip()}")
    return done.stdout


def _table(name: str) -> str:
    return f"{_PREFIX}{name}"


def _rule(port: HostPort, pod: str) -> str:
    address = f"ip daddr {ipaddress.IPv4Address(port.address)} " if port.address else ""
    return f"{address}{port.protocol} dport {port.port} dnat to {pod}:{port.pod_port}"


def _nft(node: NodeNetwork, script: str) -> None:
    command = ["nsenter", f"--net={node.path}", "--", "nft", "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise OSError(f"host ports: {done.stderr.strip()}")
