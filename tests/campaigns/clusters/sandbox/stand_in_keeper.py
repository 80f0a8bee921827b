"""The keeper with a stand-in for the cluster: no component runs, but door, control channel, owner and files are real.

    python -m tests.campaigns.clusters.sandbox.stand_in_keeper FOLDER LOCK_FD DOOR_FD [OWNER_FD]

What "kube-apiserver" answers on 127.0.0.1:6443 is the network namespace that it is in. STAND_IN names what is not as
usual: `unborn` (does not start), `stuck` (never finishes its start), `restless` (has no baseline), `dirty` (can't be
rolled back).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from campaigns.clusters.protocol import Action
from campaigns.clusters.sandbox import keeper, pki
from campaigns.clusters.sandbox.config import SandboxConfig
from campaigns.record import Reset
from classifiers.observation import ComponentHealth
from injector.errors import ClusterError
from injector.rules import JSONValue

COMPONENTS = ("etcd", "kube-apiserver", "kube-scheduler")
STORED = {
    "/registry/configmaps/default/settings": b'{"apiVersion":"v1","kind":"ConfigMap","data":{"hello":"world"}}\n',
    "/registry/configmaps/default/settled": b"{}",
    "/registry/pods/default/web": b"\xff\x00",
}


class StandIn:
    """Keeps what it was told."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config, self.kubeconfig = config, config.work / "admin.kubeconfig"
        self.states = dict.fromkeys(COMPONENTS, Action.START)
        self.differs = os.environ.get("STAND_IN", "")
        self.tended = 0

    def boot(self, say: Callable[[str], None]) -> None:
        say("starting nothing")
        if self.differs == "unborn":
            raise ClusterError("no cluster today")
        if self.differs == "stuck":
            threading.Event().wait(600)
        self.config.work.mkdir(exist_ok=True)
        identity = pki.Identity(b"certificate", b"key")
        pki.write_private(self.kubeconfig, pki.kubeconfig("https://127.0.0.1:6443", b"ca", "admin", identity))
        for name in COMPONENTS:
            (self.config.logs / f"{name}.log").write_text(f"{name} one\n{name} two\n")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:  # lo up, as cluster.py does it
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
        listener = socket.create_server(("127.0.0.1", 6443))
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(os.readlink("/proc/self/ns/net").encode())

    def take_baseline(self) -> None:
        if self.differs == "restless":
            raise ClusterError("waited 90 s for the fresh cluster to come to rest")

    def rollback(self, *, within_s: float) -> Reset:
        if self.differs == "dirty":
            raise ClusterError("differed last: /registry/x")
        return Reset("rollback", 0.1, "7 keys equal")

    def health(self) -> tuple[ComponentHealth, ...]:
        return tuple(
            ComponentHealth(
                name=name, alive=state not in (Action.STOP, Action.KILL), restarts=0,
                ready=state not in (Action.STOP, Action.KILL, Action.PAUSE), detail="", cpu_s=0.5, rss_bytes=3 << 20,
            )
            for name, state in self.states.items()
        )  # fmt: skip

    def component(self, name: str, action: Action) -> None:
        if name not in self.states:
            raise ClusterError(f"no component {name!r}")
        self.states[name] = action

    def node(self, name: str, action: Action) -> None:
        self.states[name] = action

    def inject(self, request: Mapping[str, JSONValue]) -> JSONValue:
        raise ClusterError("a stand-in has no etcd")

    def value(self, key: str) -> bytes | None:
        return STORED.get(key)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in STORED if key.startswith(prefix))

    def tend(self) -> None:
        self.tended += 1

    def reap_orphans(self) -> None:
        pass

    def shutdown(self) -> None:
        Path(self.config.logs / "shutdown.log").touch()


if __name__ == "__main__":
    sys.exit(keeper.main(sys.argv[1:], StandIn))
