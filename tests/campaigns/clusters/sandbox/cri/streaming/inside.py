"""Run in user, network and mount namespaces of its own by test_forwarding: a node with a pod, each with a server at
port 8000 of its own loopback. Prints what a client gets of either."""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

from pyroute2 import IPRoute

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.cri.streaming import StreamingServer
from tests.campaigns.clusters.sandbox.cri.streaming.client import FORWARD, SpdyClient
from tests.campaigns.clusters.sandbox.cri.streaming.processes import Processes


def listen() -> socket.socket:
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
    return socket.create_server(("127.0.0.1", 8000))


def answer(listener: socket.socket, text: bytes) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.sendall(text)


def ask(backend: Processes, listener: socket.socket, node: Path) -> str:
    server = StreamingServer(listener, backend, network=node)
    with SpdyClient(server.port_forward_url("p", []), [FORWARD]) as client:
        client.open(streamtype="error", port="8000", requestid="0")
        data = client.open(streamtype="data", port="8000", requestid="0")
        client.until(lambda: data in client.ended)
        text = client.text(data).decode()
    server.close()
    return text


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, name) for name in ("pod", "node")}
        for path in paths.values():
            isolation.make_network(path)
        with IPRoute() as netlink:
            netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
        for name, text in (("pod", b"the pod's own"), ("node", b"the node's")):
            listener = isolation.in_network(paths[name], listen)
            threading.Thread(target=answer, args=(listener, text), daemon=True).start()
        for network in (paths["pod"], None):  # None: a pod in the node's network
            print(ask(Processes(network), socket.create_server(("127.0.0.1", 0)), paths["node"]))
        for path in paths.values():
            isolation.remove_namespace(path)


if __name__ == "__main__":
    main()
