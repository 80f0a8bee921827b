"""What tests of pods' networks share: nodes with their networks, servers in them, who reaches whom."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute

from campaigns.clusters.sandbox import isolation, network
from campaigns.clusters.sandbox.cri.pods import NodePods, Pod

HERE = Path("/proc/self/ns/net")


def say(*argv: str, at: Path | None = None) -> str:
    enter = ["nsenter", f"--net={at}", "--"] if at else []
    return subprocess.run([*enter, *argv], capture_output=True, text=True, check=True, timeout=10).stdout


def cluster(folder: Path, count: int) -> list[NodePods]:
    """Nodes in a network namespace of this thread's own, each with its subnet's configuration and routes to the
    others', as the route agent makes them."""
    isolation.unshare(isolation.CLONE_NEWNET)
    network.make_root()
    namespaces = folder / "namespaces"
    namespaces.mkdir()
    nodes = network.make_nodes(namespaces, [f"node-{i}" for i in range(1, count + 1)])
    pods = []
    for number, node in enumerate(nodes):
        root = folder / node.name
        root.mkdir()
        pods.append(NodePods(node, root, namespaces))
        give_subnet(pods[-1], f"10.244.{number}.0/24")
        for other, peer in enumerate(nodes):
            if peer is not node:
                add_route(node.path, f"10.244.{other}.0/24", peer.address)
    return pods


def give_subnet(pods: NodePods, subnet: str, name: str = "10-mutineer.conflist") -> None:
    folder = pods.root / "etc/cni/net.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"plugins": [{"ipam": {"subnet": subnet}}]}))


def add_route(at: Path, subnet: str, gateway: str) -> None:
    def add() -> None:
        with IPRoute() as ip:
            ip.route("add", dst=subnet, gateway=gateway, proto=100)

    isolation.in_network(at, add)


def remove_cluster(pods: list[NodePods]) -> None:
    for each in pods:
        for pod in list(each.pods.values()):
            each.remove(pod)
        isolation.remove_namespace(each.node.path)


@contextlib.contextmanager
def serving(at: Path, address: str, port: int = 0) -> Iterator[tuple[str, int]]:
    """A server in the namespace at `at` that tells everybody their address."""
    listener = isolation.in_network(at, lambda: socket.create_server((address, port)))

    def serve() -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(peer[0].encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield address, listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def asked_from(source: Path, target: tuple[str, int]) -> str:
    """The address that the peer sees, connecting from inside the namespace at `source`."""

    def ask() -> str:
        with socket.create_connection(target, 3) as connection:
            return connection.recv(64).decode()

    return isolation.in_network(source, ask)


def reaches(source: Path, pod: Pod) -> str:
    """`asked_from`, of a server in the pod."""
    with serving(pod.network, pod.address) as target:
        return asked_from(source, target)
