"""The runtime's process: one socket a node.

    python -m campaigns.clusters.sandbox.cri CONFIG.json

CONFIG: {"pods": folder for namespace files, "scratch": folder, "images": {name: ImageConfig}, "nodes": [{"name",
"address", "netns", "root"}]}. A node's socket is /run/cri.sock in its root.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc

from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.config import ImageConfig
from campaigns.clusters.sandbox.cri.host_ports import close_all_ports
from campaigns.clusters.sandbox.cri.images import Catalogue
from campaigns.clusters.sandbox.cri.logs import Watcher
from campaigns.clusters.sandbox.cri.pods import NodePods
from campaigns.clusters.sandbox.cri.service import ImageService, RuntimeService, handler
from campaigns.clusters.sandbox.cri.spawning import Spawner
from campaigns.clusters.sandbox.isolation import in_network, remove_namespace

_WORKERS = 512
"""Threads a node at most; they are made when they are needed. A kubelet ends all pods at once, each container with a
call that lasts as long as its grace."""


def main(config_path: str) -> None:
    config = json.loads(Path(config_path).read_text())
    pods = Path(config["pods"])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # four descriptors a container
    for left in pods.iterdir():  # a runtime before us was killed; its containers ended with it
        remove_namespace(left)
    stop, over = threading.Event(), threading.Event()

    def spawner_ended() -> None:
        over.set()
        stop.set()

    spawner, watcher = Spawner(Path(config["scratch"]), spawner_ended), Watcher()
    catalogue = Catalogue({name: ImageConfig.from_mapping(image) for name, image in config["images"].items()})
    servers = []
    for node in config["nodes"]:
        network, root = NodeNetwork(node["name"], node["address"], Path(node["netns"])), Path(node["root"])
        close_all_ports(network)
        runtime = RuntimeService(NodePods(network, root, pods), catalogue, watcher, spawner)
        runtime.stream(in_network(network.path, lambda: socket.create_server(("127.0.0.1", 0))))
        servers.append(_serve(network.name, root / "run/cri.sock", runtime, ImageService(catalogue, root)))
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    if over.is_set():  # a runtime that can't start anything is worse than none: none is started again
        print("the spawner, which all containers come from, has ended", file=sys.stderr, flush=True)
        os._exit(1)  # at once: what the kubelets are told meanwhile is of no use to them
    for server in servers:
        server.stop(grace=None)
    spawner.close()


def _serve(name: str, path: Path, runtime: RuntimeService, images: ImageService) -> grpc.Server:
    path.unlink(missing_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix=name))
    server.add_generic_rpc_handlers((handler("RuntimeService", runtime), handler("ImageService", images)))
    server.add_insecure_port(f"unix://{path}")
    server.start()
    return server


if __name__ == "__main__":
    main(sys.argv[1])
