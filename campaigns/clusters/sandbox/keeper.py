"""First process of a sandbox that runs in the background: boots it, opens its door, keeps it, does what the control
channel asks, and ends it: at SIGTERM, or when its owner ends.

    python -m campaigns.clusters.sandbox.keeper FOLDER LOCK_FD DOOR_FD [OWNER_FD]

DOOR_FD   a listening socket of the host's network (campaigns.clusters.sandbox.doorway)
OWNER_FD  a pidfd of the process that this sandbox lives for: pids differ in here, descriptors do not

By campaigns.clusters.sandbox.outside. Files that it writes: FOLDER/progress (a line a step), FOLDER/kubeconfig (through
the door), then FOLDER/ready.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import resource
import select
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import yaml

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import Action
from campaigns.clusters.sandbox import components
from campaigns.clusters.sandbox.config import SandboxConfig
from campaigns.clusters.sandbox.control import SOCKET, ControlServer
from campaigns.clusters.sandbox.doorway import Doorway
from campaigns.clusters.sandbox.injections import Injections
from campaigns.clusters.sandbox.pki import write_private
from campaigns.clusters.sandbox.processes import wait_for
from campaigns.record import Reset
from classifiers.observation import ComponentHealth
from injector.errors import ClusterError, MutineerError
from injector.rules import JSONValue
from injector.targets import Channel

__all__ = ["Keeper", "Kept", "keep", "main"]

_TEND_S = 1.0
"""How soon a crashed component is started again: the kubelet notices its static pods once a second. Orphans are reaped
as often."""
_ROLLBACK_WITHIN_S = 20.0
"""A rollback takes under a second and the pods' end as long; a person's pods may have more to end than a campaign's (12
s there), and a fresh sandbox takes 10 s."""
_HEALTHY_WITHIN_S = 15.0
"""For what was stopped by hand to be ready again: the control plane is up 4 s after its start on two idle cores."""
_DESCRIPTORS = 8192
"""Two for each connection through the door; many systems still start programs with 1024. Arbitrary beyond that."""
_OPPOSITE = {Action.STOP: Action.START, Action.KILL: Action.START, Action.PAUSE: Action.RESUME}


class Kept(Protocol):
    """What is kept: campaigns.clusters.sandbox.cluster.Sandbox."""

    kubeconfig: Path

    def boot(self, say: Callable[[str], None]) -> object: ...

    def take_baseline(self) -> None: ...

    def rollback(self, *, within_s: float) -> Reset: ...

    def health(self) -> tuple[ComponentHealth, ...]: ...

    def component(self, name: str, action: Action) -> None: ...

    def node(self, name: str, action: Action) -> None: ...

    def inject(self, request: Mapping[str, JSONValue]) -> JSONValue: ...
    def value(self, key: str) -> bytes | None: ...

    def keys(self, prefix: str) -> list[str]: ...

    def tend(self) -> None: ...

    def reap_orphans(self) -> None: ...

    def shutdown(self) -> None: ...


class Keeper:
    """Answers the control channel's requests, one that changes something at a time."""

    def __init__(self, cluster: Kept) -> None:
        self._cluster = cluster
        self._unknown: str | None = "the sandbox is not up yet"
        """Why it can't be told what clean is; None once it can."""
        self._pulled: dict[tuple[str, str], Action] = {}
        """What was put out of action by hand: (what, name) → what brings it back."""
        self._changing, self._acting = threading.Lock(), threading.Lock()

    def take_baseline(self) -> None:
        """What `reset` goes back to. It is taken before anybody can come in, and so before the sandbox is called ready,
        although that costs 0.6-1.2 s of a start of 5-6 s: afterwards nobody could tell a user's objects from the
        cluster's own. Where the cluster does not come to rest, it is of use all the same: `reset` recreates it."""
        try:
            self._cluster.take_baseline()
            self._unknown = None
        except ClusterError as error:
            self._unknown = f"what clean is could not be told after the start: {error}"

    def tend(self) -> None:
        """Starts what has crashed again, but never while somebody's hands are on it."""
        if self._acting.acquire(blocking=False):
            try:
                self._cluster.tend()
            finally:
                self._acting.release()
        self._cluster.reap_orphans()

    def answer(self, request: Mapping[str, JSONValue]) -> JSONValue:
        """To a request as campaigns.clusters.sandbox.control has them. ClusterError in words."""
        match request:
            case {"do": "health"}:
                return [dataclasses.asdict(each) for each in self._cluster.health()]
            case {"do": "component" | "node" as what, "name": str(name), "action": str(action)} if action in set(
                Action
            ):
                with self._changing:
                    self._act(str(what), name, Action(action))
                return None
            case {"do": "reset"}:
                with self._changing:
                    return dataclasses.asdict(self._reset())
            case {"do": "inject" | "injected" | "disarm" | "undo"}:
                with self._changing, self._acting:
                    return self._inject(request)
            case {"do": "value", "key": str(key)} if key:
                value = self._cluster.value(key)
                return None if value is None else base64.b64encode(value).decode("ascii")
            case {"do": "keys", "prefix": str(prefix)} if prefix:
                return list(self._cluster.keys(prefix))
        raise ClusterError(f"no such request: {dict(request)!r:.200}")

    def _inject(self, request: Mapping[str, JSONValue]) -> JSONValue:
        answer = self._cluster.inject(request)
        match request:
            case {"do": "inject", "rule": {"channel": Channel.AT_REST_SILENT}, "dry_run": False}:
                self._unknown = "a value was changed in etcd's file, which a rollback that compares revisions can't see"
        return answer

    def _act(self, what: str, name: str, action: Action) -> None:
        with self._acting:
            (self._cluster.node if what == "node" else self._cluster.component)(name, action)
        if (back := _OPPOSITE.get(action)) is not None:
            self._pulled[what, name] = back
        else:
            self._pulled.pop((what, name), None)

    def _reset(self) -> Reset:
        if self._unknown is not None:
            raise ClusterError(self._unknown)
        for (what, name), back in list(self._pulled.items()):
            self._act(what, name, back)
        self._wait_healthy()
        done = self._cluster.rollback(within_s=_ROLLBACK_WITHIN_S)
        self._wait_healthy()
        return done

    def _wait_healthy(self) -> None:
        """The rollback compares what is stored; a component that stands still would show nowhere."""
        ill: list[str] = []

        def all_well() -> bool:
            ill[:] = [
                f"{each.name} ({each.detail or 'not ready'})"
                for each in self._cluster.health()
                if not each.alive or each.ready is False
            ]
            return not ill

        try:
            wait_for(all_well, within_s=_HEALTHY_WITHIN_S, what="every component to be healthy", poll_s=0.2)
        except TimeoutError as error:
            raise ClusterError(f"{error}; not so: {', '.join(ill)}") from None


def keep(cluster: Kept, folder: Path, door: socket.socket, owner: int | None, *, target: tuple[str, int]) -> int:
    """Boots `cluster` and keeps it until SIGTERM; returns the exit code. `target`: where the door leads. Ends this
    process at once, and so all that is in its namespace, when `owner` (a pidfd) does, or at SIGTERM during the boot."""
    stop, booted = threading.Event(), False

    def terminated(*_: object) -> None:
        if not booted:
            os._exit(0)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):  # handlers, not a mask: children would inherit a mask
        signal.signal(number, terminated)
    if owner is not None:
        threading.Thread(target=_end_with, args=(owner,), name="owner", daemon=True).start()
    keeper = Keeper(cluster)
    try:
        cluster.boot(lambda line: _append(folder / "progress", line))
    except MutineerError as error:
        print(error, file=sys.stderr)
        cluster.shutdown()
        return 3
    keeper.take_baseline()
    booted = True
    with _open(keeper, cluster, folder, door, target):
        while not stop.wait(_TEND_S):
            keeper.tend()
    cluster.shutdown()
    return 0


@contextlib.contextmanager
def _open(keeper: Keeper, cluster: Kept, folder: Path, door: socket.socket, target: tuple[str, int]) -> Iterator[None]:
    """Inside, the sandbox can be reached: through its door and its control channel."""
    doorway, control = Doorway(door, target), ControlServer(folder / SOCKET, keeper.answer)
    try:
        doorway.start()
        _write_kubeconfig(cluster.kubeconfig, folder / "kubeconfig", doorway.port)
        (folder / "ready").touch()
        yield
    finally:
        doorway.close()
        control.close()


def _write_kubeconfig(inner: Path, outer: Path, port: int) -> None:
    """The administrator's, through the door: kube-apiserver's certificate holds for 127.0.0.1 whatever the port."""
    document = yaml.safe_load(inner.read_text())
    for each in document["clusters"]:
        each["cluster"]["server"] = f"https://127.0.0.1:{port}"
    new = outer.with_name(f"{outer.name}.new")
    write_private(new, yaml.safe_dump(document, sort_keys=False).encode())
    new.rename(outer)


def _append(file: Path, line: str) -> None:
    with file.open("a") as opened:
        opened.write(line + "\n")


def _end_with(owner: int) -> None:
    """Ends this process with the other: the kernel ends all that is in the namespace with its first process."""
    waiting = select.poll()
    waiting.register(owner, select.POLLIN)  # a pidfd is readable when its process has ended, pidfd_open(2)
    waiting.poll()
    print("the owner of this sandbox has ended", file=sys.stderr, flush=True)
    os._exit(0)


class _Booted:
    """A Sandbox with the connection to its etcd, which it needs only now and then."""

    def __init__(self, config: SandboxConfig) -> None:
        from campaigns.clusters.sandbox.cluster import Sandbox

        self._sandbox = sandbox = Sandbox(config)
        self.kubeconfig = sandbox.kubeconfig
        self.boot, self.health, self.shutdown = sandbox.boot, sandbox.health, sandbox.shutdown
        self.component, self.node = sandbox.component, sandbox.node
        self.tend, self.reap_orphans = sandbox.tend, sandbox.reap_orphans
        self._undo = undo = config.work / "undo"
        self.inject = Injections(sandbox, sandbox.forwarder, undo).answer

    def take_baseline(self) -> None:
        with contextlib.closing(KeySpace(self._sandbox.etcd_address, self._sandbox.etcd_tls)) as keyspace:
            self._sandbox.take_baseline(keyspace)

    def rollback(self, *, within_s: float) -> Reset:
        with contextlib.closing(KeySpace(self._sandbox.etcd_address, self._sandbox.etcd_tls)) as keyspace:
            done = self._sandbox.rollback(keyspace, within_s=within_s)
        shutil.rmtree(self._undo, ignore_errors=True)  # the rollback has undone it all
        return done

    def value(self, key: str) -> bytes | None:
        with contextlib.closing(KeySpace(self._sandbox.etcd_address, self._sandbox.etcd_tls)) as keyspace:
            return keyspace.value(key)

    def keys(self, prefix: str) -> list[str]:
        with contextlib.closing(KeySpace(self._sandbox.etcd_address, self._sandbox.etcd_tls)) as keyspace:
            return keyspace.keys(prefix)


def main(arguments: list[str], make: Callable[[SandboxConfig], Kept] = _Booted) -> int:
    """`arguments` as in the module's docstring. `make`: what is kept."""
    folder = Path(arguments[0])
    lock, door, *owner = map(int, arguments[1:])
    for descriptor in (lock, door, *owner):
        os.set_inheritable(descriptor, False)  # ours alone: the lock must be free as soon as this process ends
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(most, _DESCRIPTORS)), most))
    cluster = make(SandboxConfig.from_json((folder / "config.json").read_text()))
    listening = socket.socket(fileno=door)
    return keep(cluster, folder, listening, *owner or (None,), target=("127.0.0.1", components.API_PORT))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
