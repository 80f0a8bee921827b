"""The sandbox from inside its namespace: boot, ask, restart, reset.

Runs in the first process of the namespace (its pid 1, or the worker of a campaign, which is the same process), so that
everything below it dies with it. Nothing is waited for by time: each step waits for the condition that the next needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import CANARY_NAMESPACE, Action
from campaigns.clusters.sandbox import components, isolation, pki
from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.back_off import BackOff
from campaigns.clusters.sandbox.config import ImageConfig, SandboxConfig
from campaigns.clusters.sandbox.credentials import Handed, write_credentials
from campaigns.clusters.sandbox.furniture import furniture_manifests, furniture_not_ready
from campaigns.clusters.sandbox.guard import standing_still
from campaigns.clusters.sandbox.health import Administrator, health_of, not_ready, page_of
from campaigns.clusters.sandbox.manifests import apply, system_manifests
from campaigns.clusters.sandbox.nodes import Node, Runtime, kubelet_command, make_node
from campaigns.clusters.sandbox.processes import Process, children_of, wait_for
from campaigns.clusters.sandbox.reset import LEADERS, Baseline, NodeState, differences, node_state, rollback
from campaigns.observers.volatile import is_volatile
from campaigns.record import Reset
from classifiers.observation import ComponentHealth
from injector.channels.control import ForwarderClient
from injector.errors import ClusterError, FaultError, HarnessError
from injector.targets import Channel

__all__ = ["ReadyTimes", "Sandbox"]

T = TypeVar("T")

_START_WITHIN_S = 90.0
"""Deadline of each step of a boot: ten times what it takes on two idle cores, since machines are shared."""
_REST_S = 0.5
"""Two dumps this far apart must be equal: controllers of a fresh cluster work off their queues within some 100 ms."""
_COMPONENTS = "component-forwarder"
_SYSTEM_IMAGES = {
    "registry.k8s.io/kube-proxy:v1.36.3": ("kube-proxy", "/usr/local/bin/kube-proxy"),
    "registry.k8s.io/coredns/coredns:v1.14.2": ("coredns", "/coredns"),
}
"""Image → asset, and its path in the image; a test compares the names with the manifests'."""
_GUARD_S = 1.0
"""How often the components' memory is looked at; it grows by some 10 MB a second at worst."""
_STOP_WITHIN_S = {"etcd": 1.0}
"""etcd waits 7 s for its clients' streams to end (server/embed/etcd.go, Close), and kube-apiserver's never do. It takes
no request meanwhile, and what it took before is in its file after --backend-batch-interval, 100 ms."""
_WORK_SIZE = "2g"
"""Host guard: everything that a sandbox writes lies in memory; a fresh one holds about 60 MB."""


@dataclass(frozen=True, slots=True)
class ReadyTimes:
    """Seconds from the start of the boot: kube-apiserver serves; nodes and every workload of the system are ready, so
    Services and DNS names answer."""

    control_plane_s: float
    cluster_s: float


class Sandbox:
    """One cluster. `boot` first; `shutdown` ends all processes (the namespace's end would, too)."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config, self.name = config, config.name
        self.processes: dict[str, Process] = {}
        work = config.work
        self.kubeconfig = work / "admin.kubeconfig"
        self.etcd_address = ("127.0.0.1", components.ETCD_PORT)
        self.etcd_files: Sequence[Path] = (work / "etcd/member/snap/db",)
        self.dns_address: tuple[str, int] | None = (components.CLUSTER_DNS, 53)
        self._pki, self._run, self._pods = work / "pki", work / "run", work / "run/pods"
        self.etcd_tls = pki.etcd_client(self._pki) if config.etcd_tls else None
        self._nodes: dict[str, Node] = {}
        self._api = Administrator(self._pki)
        self._waiting: list[str] = []
        self._forwarders = {"forwarder": ForwarderClient(self._run / "forwarder.sock", timeout_s=10)}
        self._listeners: Mapping[str, tuple[str, int]] = {}
        if config.component_channels:
            self._listeners = components.listeners(config.node_names)
            self._forwarders[_COMPONENTS] = ForwarderClient(self._run / "components.sock", timeout_s=10)
        self._baseline: Baseline | None = None
        self._containers: frozenset[str] = frozenset()
        self._back_off = BackOff()
        self._held: set[str] = set()
        self._capped: dict[str, str] = {}
        self._guarded_at = 0.0
        self._dead: set[int] = set()

    # boot

    def boot(self, say: Callable[[str], None] = lambda _: None) -> ReadyTimes:
        """Starts everything and waits until all of it works. ClusterError with the log's end if it does not."""
        began = time.monotonic()
        self._folders()
        self._loopback_up()
        say("starting etcd and the forwarder")
        with ThreadPoolExecutor(2) as pool:
            network = pool.submit(self._make_network)
            handed = write_credentials(
                self.config.work,
                self._pki,
                self.config.node_names,
                etcd_tls=self.config.etcd_tls,
                listeners=self._listeners,
            )
            self._start_etcd()
            networks = network.result()
            if self._listeners:
                self._start_component_forwarder(networks)
        say("starting kube-apiserver")
        self._wait_forwarders()
        apiserver = self._start_apiserver()
        self._make_nodes(networks, handed)
        self._start_runtime()
        apiserver.wait_ready(lambda: self._api.serves("/healthz/ping"), within_s=_START_WITHIN_S)
        say("starting kubelets")  # they need half a second to come to their first request, and no roles for it
        for node in self._nodes.values():
            self._start(node.kubelet, kubelet_command(node, self._binary("kubelet")))
        apiserver.wait_ready(lambda: self._api.serves("/readyz"), within_s=_START_WITHIN_S)
        control_plane = time.monotonic() - began
        say("starting controllers and scheduler")
        self._start_controllers()
        say("creating kube-proxy, the route agent and CoreDNS")
        apply(self._api.send, self._manifests())
        self._wait()
        return ReadyTimes(control_plane, time.monotonic() - began)

    def _folders(self) -> None:
        work = self.config.work
        work.mkdir(exist_ok=True)
        isolation.mount_tmpfs(work, size=_WORK_SIZE, mode="0700")
        for folder in (self._pki, self._run, self._pods, self._run / "nodes"):
            folder.mkdir(mode=0o700)
        self.config.logs.mkdir(exist_ok=True)

    def _loopback_up(self) -> None:
        # Before pyroute2 is loaded (0.3 s): etcd and the forwarder can start meanwhile. SIOCSIFFLAGS, IFF_UP|RUNNING.
        import fcntl
        import socket
        import struct

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))

    def _make_network(self) -> list[NodeNetwork]:
        from campaigns.clusters.sandbox.network import make_nodes, make_root

        make_root()
        return make_nodes(self._run / "nodes", self.config.node_names)

    def _make_nodes(self, networks: Sequence[NodeNetwork], handed: Handed) -> None:
        for network in networks:
            self._nodes[network.name] = make_node(
                network,
                self.config.work / "nodes" / network.name,
                kubeconfig=handed.kubeconfigs[network.name],
                authority=handed.authority,
                profile=self.config.profile,
                feature_gates=self.config.feature_gates,
            )

    def _binary(self, name: str) -> Path:
        return self.config.binaries[name]

    def _start(self, name: str, argv: Sequence[str]) -> Process:
        process = Process(name, argv, self.config.logs / f"{name}.log", env={"GOTRACEBACK": "single"})
        self.processes[name] = process
        process.start()
        return process

    def _start_etcd(self) -> None:
        tls = self._pki if self.config.etcd_tls else None
        self._start("etcd", components.etcd(self._binary("etcd"), self.config.work / "etcd", tls=tls))
        listen, upstream = f"127.0.0.1:{components.FORWARDER_PORT}", f"127.0.0.1:{components.ETCD_PORT}"
        forwarder = [
            sys.executable, "-m", "injector.channels.forwarder",
            "--listen", listen, "--upstream", upstream, "--control", str(self._run / "forwarder.sock"),
        ]  # fmt: skip
        self._start("forwarder", [*forwarder, *(components.forwarder_tls(self._pki) if tls else [])])

    def _start_component_forwarder(self, networks: Sequence[NodeNetwork]) -> None:
        path = self._run / "components.json"
        document = components.component_forwarder(
            self._pki, self._forwarders[_COMPONENTS].path, {network.name: network.address for network in networks}
        )
        path.write_text(json.dumps(document))
        command = [sys.executable, "-m", "injector.channels.component_forwarder", "--config", str(path)]
        self._start(_COMPONENTS, command)

    def _wait_forwarders(self) -> None:
        for name, forwarder in self._forwarders.items():
            self.processes[name].wait_ready(partial(_answers, forwarder), within_s=_START_WITHIN_S)

    def _start_apiserver(self) -> Process:
        encryption, audit = None, None
        if self.config.encryption:
            encryption = self._pki / "encryption.yaml"
            document = components.encryption_config(os.urandom(32))
            pki.write_private(encryption, yaml.safe_dump(document).encode())
        if self.config.audit:
            audit = components.Audit(policy=self._run / "audit-policy.yaml", log=self.config.logs / "audit.log")
            audit.policy.write_text(yaml.safe_dump(components.audit_policy()))
        command = components.kube_apiserver(
            self._binary("kube-apiserver"),
            self._pki,
            self.config.profile,
            etcd_tls=self.config.etcd_tls,
            encryption=encryption,
            audit=audit,
            feature_gates=self.config.feature_gates,
        )
        return self._start("kube-apiserver", command)

    def _start_runtime(self) -> None:
        images = {
            image: ImageConfig(command=(path,), files={path: str(self._binary(name))})
            for image, (name, path) in _SYSTEM_IMAGES.items()
        }
        document = {
            "pods": str(self._pods),
            "scratch": str(self._run / "scratch"),
            "images": {name: dataclasses.asdict(image) for name, image in {**images, **self.config.images}.items()},
            "nodes": [
                {
                    "name": node.name,
                    "address": node.network.address,
                    "netns": str(node.network.path),
                    "root": str(node.root),
                }
                for node in self._nodes.values()
            ],
        }
        path = self._run / "cri.json"
        path.write_text(json.dumps(document))
        self._start("runtime", [sys.executable, "-m", "campaigns.clusters.sandbox.cri", str(path)])

    def _start_controllers(self) -> None:
        work, profile, gates = self.config.work, self.config.profile, self.config.feature_gates
        manager, scheduler = "kube-controller-manager", "kube-scheduler"
        kubeconfig, binary = work / f"{manager}.kubeconfig", self._binary(manager)
        self._start(manager, components.controller_manager(binary, self._pki, kubeconfig, profile, feature_gates=gates))
        kubeconfig, binary = work / f"{scheduler}.kubeconfig", self._binary(scheduler)
        self._start(scheduler, components.scheduler(binary, kubeconfig, feature_gates=gates))

    def _manifests(self) -> list[dict[str, Any]]:
        config = self.config
        furniture = furniture_manifests(config.furniture, profile=config.profile, nodes=config.node_names)
        server = self._listeners.get("kube-proxy", (components.CONTROL_PLANE_ADDRESS, components.API_PORT))
        return [*system_manifests(config.profile, server=server), *furniture]

    def _wait(self) -> None:
        """Until all is ready; ClusterError if a component ends meanwhile, or it takes too long."""

        def met() -> bool:
            for name, process in self.processes.items():
                if not process.alive:
                    raise ClusterError(
                        f"{name} ended with exit code {process.exit_code} while the sandbox started; "
                        f"its log ends:\n{process.last_lines()}"
                    )
            return self._ready()

        try:
            wait_for(met, within_s=_START_WITHIN_S, what="the cluster to be ready", poll_s=0.1)
        except TimeoutError as error:
            raise ClusterError(f"{error}: {'; '.join(self._waiting)}; logs in {self.config.logs}") from None

    def _ready(self) -> bool:
        self._waiting = (
            not_ready(self._api, self.config.nodes)
            or furniture_not_ready(self.config.furniture, self._api.items)
            or [f"{h.name}: {h.detail or 'not ready'}" for h in self.health() if h.ready is False]
        )
        return not self._waiting

    # asking

    def forwarder(self, channel: Channel) -> ForwarderClient:
        """See the Protocol."""
        found = self._forwarders.get(_COMPONENTS if channel.of_components else "forwarder")
        if found is None:
            raise FaultError(
                f"{channel}: this sandbox's components go straight to kube-apiserver; "
                "start it with `component_channels: true` in its cluster file (`mutineer sandbox up --config FILE`)"
            )
        return found

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items() if process.pid is not None}

    @property
    def logs(self) -> dict[str, Path]:
        return {name: process.log for name, process in self.processes.items()}

    @property
    def audit_log(self) -> Path | None:
        return self.config.logs / "audit.log" if self.config.audit else None

    def ask(self, component: str, path: str, *, timeout_s: float) -> tuple[int, bytes] | None:
        """See the Protocol."""
        return page_of(component, path, self._api, timeout_s=timeout_s)

    @property
    def pods_per_node(self) -> int | None:
        return components.MAX_PODS_PER_NODE

    def vantage_points(self) -> Sequence[str]:
        return list(self._nodes)

    def on_node(self, node: str, function: Callable[[], T]) -> T:
        return isolation.in_network(self._nodes[node].network.path, function)

    def health(self) -> tuple[ComponentHealth, ...]:
        """Every component now, with what its own readyz or healthz says."""
        found = (health_of(process, self._api) for process in self.processes.values())
        return tuple(
            dataclasses.replace(each, detail=self._capped[each.name])
            if each.name in self._capped and each.ready is False
            else each
            for each in found
        )

    @property
    def caps(self) -> tuple[str, ...]:
        """See the Protocol."""
        return tuple(self._capped.values())

    # clean and clean again

    def take_baseline(self, keyspace: KeySpace) -> Baseline:
        """Makes the canary's namespace, waits until nothing but volatile keys changes, and keeps what there is."""
        status, body = self._api.send("POST", "/api/v1/namespaces", {"metadata": {"name": CANARY_NAMESPACE}})
        if status != 201:
            raise ClusterError(f"the canary's namespace can't be made: HTTP {status} {body.decode(errors='replace')}")
        namespaces = ("default", CANARY_NAMESPACE)
        needed = [f"/registry/serviceaccounts/{n}/default" for n in namespaces]
        needed += [f"/registry/configmaps/{n}/kube-root-ca.crt" for n in namespaces]
        before: dict[str, Any] = {"dump": {}, "nodes": {}, "running": frozenset()}

        def still() -> bool:
            dump, nodes, running = keyspace.dump(), self._node_states(), self._running()
            puts, deletes = differences(before["dump"], dump)
            changed = (
                bool(puts)
                or any(not is_volatile(key) for key in deletes)
                or nodes != before["nodes"]
                or running != before["running"]
            )
            before.update(dump=dump, nodes=nodes, running=running)
            return not changed and all(key in dump for key in needed)

        try:
            wait_for(still, within_s=_START_WITHIN_S, what="the fresh cluster to come to rest", poll_s=_REST_S)
        except TimeoutError as error:
            raise ClusterError(str(error)) from None
        self._baseline = Baseline(before["dump"], before["nodes"])
        self._containers = before["running"]
        return self._baseline

    def rollback(self, keyspace: KeySpace, *, within_s: float) -> Reset:
        """The first rung. ClusterError if the baseline can't be proven to be back."""
        assert self._baseline is not None, "take_baseline comes first"
        began = time.monotonic()
        self._held.update(LEADERS)
        for name in LEADERS:
            self.processes[name].kill()

        def start() -> None:
            keyspace.write({}, LEADERS.values())
            for name in LEADERS:
                self._back_off.forget(name)
                self.component(name, Action.START)

        def not_clean() -> Mapping[str, str]:
            waiting = {name: "it does not lead" for name, key in LEADERS.items() if keyspace.value(key) is None}
            return waiting or self._dirty_nodes()

        proof = rollback(keyspace, self._baseline, not_clean, start=start, within_s=within_s)
        return Reset("rollback", round(time.monotonic() - began, 3), proof)

    def _dirty_nodes(self) -> dict[str, str]:
        """What is on the nodes that was not there in the baseline, in words."""
        assert self._baseline is not None
        now = self._running()
        if gone := self._containers - now:  # they never come back: another process is another container
            raise ClusterError(f"{len(gone)} containers or pods of the baseline have ended")
        if more := now - self._containers:
            return {"nodes": f"{len(more)} containers or pods more than in the baseline"}
        dirty = {}
        for name, state in self._node_states().items():
            then = self._baseline.nodes[name]
            if state.routes != then.routes:
                dirty[name] = "its routes differ"
            elif state.rules != then.rules:
                dirty[name] = "kube-proxy's rules differ"
            elif state.files != then.files:
                raise ClusterError(f"files on the disk of {name} differ from the baseline's")
        return dirty

    def _node_states(self) -> dict[str, NodeState]:
        return {name: node_state(node.network.path, node.root) for name, node in self._nodes.items()}

    def _running(self) -> frozenset[str]:
        """What the runtime has: its containers' processes, and its pods' namespaces."""
        spawners = self.processes["runtime"].children()
        containers = [str(pid) for spawner in spawners for pid in children_of(spawner)]
        return frozenset([*containers, *(path.name for path in self._pods.iterdir())])

    # ending

    def tend(self) -> None:
        """Starts what has ended again, as kubelet (static pods) and systemd (kubelets) would, with a back-off."""
        now = time.monotonic()
        for process in self.processes.values():
            if process.alive or process.name in self._held:
                continue
            if self._back_off.due(process.name, now):
                process.restart()
        if now >= self._guarded_at + _GUARD_S:
            self._guarded_at = now
            self._guard()

    def _guard(self) -> None:
        """The host guard's cap on memory. Once for each component: who resumes it by hand knows why."""
        memory = {name: process.usage().rss_bytes for name, process in self.processes.items()}
        for name, why in standing_still(memory).items():
            if name not in self._capped:
                print(f"host guard: {why}", file=sys.stderr, flush=True)
                self._capped[name] = why
                self.processes[name].pause()

    # faults

    def component(self, name: str, action: Action) -> None:
        """See the Protocol."""
        process = self.processes.get(name)
        if process is None:
            raise ClusterError(f"no component {name!r} in the sandbox (there are {', '.join(self.processes)})")
        match action:
            case Action.STOP:
                self._held.add(name)
                process.resume()  # a process that stands still can't end in good order
                process.stop(grace_s=_STOP_WITHIN_S.get(name, 5.0))
            case Action.START:
                if not process.alive:
                    process.restart()
                self._held.discard(name)  # not before: who tends would start it, too
            case Action.PAUSE:
                process.pause()
            case Action.RESUME:
                process.resume()
            case Action.KILL:
                process.kill()
            case Action.RESTART:
                self._held.add(name)
                process.restart()
                self._held.discard(name)

    def node(self, name: str, action: Action) -> None:
        """See the Protocol. A node that is stopped drains nothing: its pods get SIGKILL, as from a machine that is
        switched off; it comes back with none of them, without rules and routes, its disk as it was."""
        node = self._nodes.get(name)
        if node is None:
            raise ClusterError(f"no node {name!r} in the sandbox (there are {', '.join(self._nodes)})")
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            self._do_to_node(node, action)
        except (OSError, subprocess.SubprocessError, NetlinkError) as error:
            raise ClusterError(f"{action} of {name} stopped halfway: {error}") from error

    def _do_to_node(self, node: Node, action: Action) -> None:
        from campaigns.clusters.sandbox.network import reset_node, set_node_link

        kubelet, runtime = self.processes[node.kubelet], Runtime(node)
        if action in (Action.STOP, Action.KILL, Action.RESTART):
            set_node_link(node.network, up=False)
            self._held.add(node.kubelet)
            kubelet.kill()
            runtime.kill_pods()
            reset_node(node.network)
        if action is Action.PAUSE:
            set_node_link(node.network, up=False)
            kubelet.pause()
            runtime.signal(signal.SIGSTOP)
        if action is Action.RESUME:
            runtime.signal(signal.SIGCONT)
            kubelet.resume()
        if action in (Action.START, Action.RESTART):
            if not kubelet.alive:
                kubelet.restart()
            self._held.discard(node.kubelet)
        if action in (Action.START, Action.RESTART, Action.RESUME):
            set_node_link(node.network, up=True)

    def reap_orphans(self) -> None:
        """Collects children that nobody waits for: as the namespace's first process we inherit every orphan. Only what
        was dead at the last call, too: a child of somebody's subprocess.run is waited for at once."""
        dead = set()
        for pid in children_of(os.getpid()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    dead.add(pid)
        for orphan in dead & self._dead - {process.pid for process in self.processes.values()}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        self._dead = dead

    def shutdown(self) -> None:
        """Ends every process, clients before servers. Volumes go with the namespace."""
        for process in reversed(self.processes.values()):
            process.kill()
        shutil.rmtree(self.config.work / "etcd", ignore_errors=True)


def _answers(forwarder: ForwarderClient) -> bool:
    try:
        forwarder.stats()
    except HarnessError:  # not up yet; the deadline tells if it never is
        return False
    return True
