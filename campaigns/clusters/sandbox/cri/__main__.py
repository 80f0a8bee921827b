"""The runtime's process: one socket a node.

    python -m campaigns.clusters.sandbox.cri CONFIG.json

CONFIG: {"netns": folder, "images": {name: [command…]}, "nodes": [{"name", "address", "netns", "socket"}]}
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc

from campaigns.clusters.sandbox.cri.containers import Watcher
from campaigns.clusters.sandbox.cri.images import BUILT_IN, Catalogue
from campaigns.clusters.sandbox.cri.pods import NodePods
from campaigns.clusters.sandbox.cri.service import ImageService, RuntimeService, handler
from campaigns.clusters.sandbox.network import NodeNetwork

_WORKERS = 16
"""Threads a node: a kubelet has 10 pod workers at most in flight at default settings, and StopContainer blocks."""


def main(config_path: str) -> None:
    config = json.loads(Path(config_path).read_text())
    nodes = [NodeNetwork(n["name"], n["address"], Path(n["netns"])) for n in config["nodes"]]
    catalogue, watcher = Catalogue({**BUILT_IN, **config["images"]}), Watcher()
    servers = []
    for network, node in zip(nodes, config["nodes"], strict=True):
        folder = Path(config["netns"])
        server = grpc.server(futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix=network.name))
        runtime = RuntimeService(NodePods(network, nodes, folder), catalogue, watcher)
        server.add_generic_rpc_handlers(
            (handler("RuntimeService", runtime), handler("ImageService", ImageService(catalogue)))
        )
        server.add_insecure_port(f"unix://{node['socket']}")
        server.start()
        servers.append(server)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # a handler, not a mask: containers would inherit a mask
    stop.wait()
    for server in servers:
        server.stop(grace=None)


if __name__ == "__main__":
    main(sys.argv[1])
