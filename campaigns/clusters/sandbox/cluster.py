"""The sandbox from inside its namespace: boot, ask, restart, reset.

Runs in the first process of the namespace (its pid 1, or the worker of a campaign, which is the same process), so that
everything below it dies with it. Nothing is waited for by time: each step waits for the condition that the next needs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from cryptography.hazmat.primitives import serialization

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import CANARY_NAMESPACE
from campaigns.clusters.sandbox import components, isolation, pki
from campaigns.clusters.sandbox.config import SandboxConfig
from campaigns.clusters.sandbox.processes import Process, wait_for
from campaigns.clusters.sandbox.reset import Baseline, differences, node_state, rollback
from campaigns.observers.volatile import is_volatile
from campaigns.record import Reset
from classifiers.observation import ComponentHealth
from injector.channels.control import ForwarderClient
from injector.errors import ClusterError, HarnessError

__all__ = ["ReadyTimes", "Sandbox"]

T = TypeVar("T")

_START_WITHIN_S = 90.0
"""Deadline of each step of a boot: ten times what it takes on two idle cores, since machines are shared."""
_REST_S = 0.5
"""Two dumps this far apart must be equal: controllers of a fresh cluster work off their queues within some 100 ms."""
_BACK_OFF_S = 10.0
"""kubelet's crash back-off (kubernetes/pkg/kubelet/kubelet.go, MaxCrashLoopBackOff's base), v1.36."""
_BACK_OFF_MOST_S = 300.0
"""Likewise: MaxContainerBackOff."""
_WORK_SIZE = "2g"
"""Host guard: everything that a sandbox writes lies in memory; a fresh one holds about 60 MB."""


@dataclass(frozen=True, slots=True)
class ReadyTimes:
    """Seconds from the start of the boot."""

    control_plane_s: float
    nodes_s: float


class Sandbox:
    """One cluster. `boot` first; `shutdown` ends all processes (the namespace's end would, too)."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config, self.name = config, config.name
        self.processes: dict[str, Process] = {}
        work = config.work
        self.kubeconfig = work / "admin.kubeconfig"
        self.etcd_address = ("127.0.0.1", components.ETCD_PORT)
        self._pki, self._netns, self._run = work / "pki", work / "netns", work / "run"
        self._nodes: list[Any] = []
        self._tls: ssl.SSLContext | None = None
        self.forwarder = ForwarderClient(self._run / "forwarder.sock", timeout_s=10)
        self._baseline: Baseline | None = None
        self._due: dict[str, float] = {}
        self._dead: set[int] = set()

    # boot

    def boot(self, say: Callable[[str], None] = lambda _: None) -> ReadyTimes:
        """Starts everything and waits until every node is Ready. ClusterError with the log's end if it does not."""
        began = time.monotonic()
        self._folders()
        self._loopback_up()
        say("starting etcd and the forwarder")
        self._start("etcd", components.etcd(self._binary("etcd"), self.config.work / "etcd"))
        self._start("forwarder", self._forwarder_command())
        with ThreadPoolExecutor(2) as pool:
            network = pool.submit(self._make_network)
            self._write_pki()
            network.result()
        say("starting kube-apiserver")
        self._wait_forwarder()
        profile = self.config.profile
        apiserver = self._start(
            "kube-apiserver", components.kube_apiserver(self._binary("kube-apiserver"), self._pki, profile)
        )
        self._start_runtime()
        apiserver.wait_ready(lambda: self._serves("/readyz"), within_s=_START_WITHIN_S)
        control_plane = time.monotonic() - began
        say("starting controllers, scheduler, kubelets and kube-proxies")
        self._start_controllers()
        for node in self._nodes:
            self._start_node(node)
        self._wait_nodes()
        return ReadyTimes(control_plane, time.monotonic() - began)

    def _folders(self) -> None:
        work = self.config.work
        work.mkdir(exist_ok=True)
        isolation.mount_tmpfs(work, size=_WORK_SIZE, mode="0700")
        isolation.share_mount(work)
        for folder in (self._pki, self._netns, self._run):
            folder.mkdir(mode=0o700)
        self.config.logs.mkdir(exist_ok=True)

    def _loopback_up(self) -> None:
        # Before pyroute2 is loaded (0.3 s): etcd and the forwarder can start meanwhile. SIOCSIFFLAGS, IFF_UP|RUNNING.
        import fcntl
        import socket
        import struct

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))

    def _make_network(self) -> None:
        from campaigns.clusters.sandbox.network import make_nodes, make_root

        make_root()
        self._nodes = make_nodes(self._netns, self.config.node_names)

    def _binary(self, name: str) -> Path:
        return self.config.binaries[name]

    def _start(self, name: str, argv: Sequence[str]) -> Process:
        process = Process(name, argv, self.config.logs / f"{name}.log", env={"GOTRACEBACK": "single"})
        self.processes[name] = process
        process.start()
        return process

    def _forwarder_command(self) -> list[str]:
        listen, upstream = f"127.0.0.1:{components.FORWARDER_PORT}", f"127.0.0.1:{components.ETCD_PORT}"
        return [
            sys.executable, "-m", "injector.channels.forwarder",
            "--listen", listen, "--upstream", upstream, "--control", str(self._run / "forwarder.sock"),
        ]  # fmt: skip

    def _wait_forwarder(self) -> None:
        def answers() -> bool:
            try:
                self.forwarder.stats()
            except HarnessError:  # not up yet; the deadline tells if it never is
                return False
            return True

        self.processes["forwarder"].wait_ready(answers, within_s=_START_WITHIN_S)

    def _write_pki(self) -> None:
        folder = self._pki
        ca, front = pki.Authority("kubernetes"), pki.Authority("front-proxy-ca")
        hosts = (
            "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
            "localhost", "127.0.0.1", components.CONTROL_PLANE_ADDRESS, "10.96.0.1",
        )  # fmt: skip
        pairs = {
            "ca": ca.identity,
            "front-proxy-ca": front.identity,
            "apiserver": ca.issue("kube-apiserver", hosts=hosts),
            "apiserver-kubelet-client": ca.issue(
                "kube-apiserver-kubelet-client", organisations=("kubeadm:cluster-admins",)
            ),
            "front-proxy-client": front.issue("front-proxy-client"),
            "admin": ca.issue("kubernetes-admin", organisations=("system:masters",)),
        }
        for name, pair in pairs.items():
            pki.write_private(folder / f"{name}.crt", pair.certificate)
            pki.write_private(folder / f"{name}.key", pair.key)
        signer = pki.Authority("service-accounts").identity.key
        pki.write_private(folder / "sa.key", signer)
        public = serialization.load_pem_private_key(signer, None).public_key()
        encoded = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        pki.write_private(folder / "sa.pub", encoded)
        self._write_kubeconfigs(ca, pairs["admin"])

    def _write_kubeconfigs(self, ca: pki.Authority, admin: pki.Identity) -> None:
        authority, work = ca.identity.certificate, self.config.work
        local = f"https://127.0.0.1:{components.API_PORT}"
        remote = f"https://{components.CONTROL_PLANE_ADDRESS}:{components.API_PORT}"
        pki.write_private(self.kubeconfig, pki.kubeconfig(local, authority, "kubernetes-admin", admin))
        for user in ("kube-controller-manager", "kube-scheduler"):
            content = pki.kubeconfig(local, authority, f"system:{user}", ca.issue(f"system:{user}"))
            pki.write_private(work / f"{user}.kubeconfig", content)
        proxy = pki.kubeconfig(remote, authority, "system:kube-proxy", ca.issue("system:kube-proxy"))
        for name in self.config.node_names:
            folder = work / "nodes" / name
            for sub in (folder, folder / "root", folder / "logs", folder / "plugins"):
                sub.mkdir(parents=True, mode=0o700)
            user = f"system:node:{name}"
            identity = ca.issue(user, organisations=("system:nodes",))
            pki.write_private(folder / "kubeconfig", pki.kubeconfig(remote, authority, user, identity))
            pki.write_private(folder / "kube-proxy.kubeconfig", proxy)

    def _start_runtime(self) -> None:
        document = {
            "netns": str(self._netns),
            "images": {name: list(command) for name, command in self.config.images.items()},
            "nodes": [
                {"name": n.name, "address": n.address, "netns": str(n.path), "socket": str(self._socket(n.name))}
                for n in self._nodes
            ],
        }
        path = self._run / "cri.json"
        path.write_text(json.dumps(document))
        self._start("runtime", [sys.executable, "-m", "campaigns.clusters.sandbox.cri", str(path)])

    def _socket(self, node: str) -> Path:
        return self._run / f"cri-{node}.sock"

    def _start_controllers(self) -> None:
        work, profile = self.config.work, self.config.profile
        manager = "kube-controller-manager"
        self._start(
            manager,
            components.controller_manager(self._binary(manager), self._pki, work / f"{manager}.kubeconfig", profile),
        )
        self._start(
            "kube-scheduler",
            components.scheduler(self._binary("kube-scheduler"), work / "kube-scheduler.kubeconfig"),
        )

    def _start_node(self, node: Any) -> None:
        folder, profile = self.config.work / "nodes" / node.name, self.config.profile
        config = components.kubelet_config(node, folder, self._pki, self._socket(node.name), profile)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        proxy = components.kube_proxy_config(node, folder, profile)
        (folder / "kube-proxy.yaml").write_text(yaml.safe_dump(proxy))
        inside = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), "--net", str(node.path)]
        kubelet = components.kubelet(self._binary("kubelet"), node, folder)
        self._start(f"kubelet/{node.name}".replace("/", "-"), [*inside, "--own-var-lib", "--", *kubelet])
        command = [str(self._binary("kube-proxy")), f"--config={folder / 'kube-proxy.yaml'}"]
        self._start(f"kube-proxy-{node.name}", [*inside, "--", *command])

    def _wait_nodes(self) -> None:
        def ready() -> bool:
            for name, process in self.processes.items():
                if not process.alive:
                    raise ClusterError(
                        f"{name} ended with exit code {process.exit_code} while the sandbox started; "
                        f"its log ends:\n{process.last_lines()}"
                    )
            return self._nodes_ready() and all(h.ready is not False for h in self.health())

        try:
            wait_for(ready, within_s=_START_WITHIN_S, what="all nodes to be Ready", poll_s=0.1)
        except TimeoutError as error:
            states = ", ".join(f"{h.name}: {h.detail or h.ready}" for h in self.health())
            raise ClusterError(f"{error} ({states}); logs in {self.config.logs}") from None

    def _nodes_ready(self) -> bool:
        status, body = self._get("/api/v1/nodes")
        if status != 200:
            return False
        nodes = json.loads(body)["items"]
        ready = [
            condition
            for node in nodes
            for condition in node["status"].get("conditions", ())
            if condition["type"] == "Ready" and condition["status"] == "True"
        ]
        return len(ready) == self.config.nodes

    # asking

    def _get(self, path: str) -> tuple[int, bytes]:
        return self._send("GET", path)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """To kube-apiserver as the administrator; status 0 where it does not answer."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
            self._tls.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
        connection = http.client.HTTPSConnection("127.0.0.1", components.API_PORT, timeout=5, context=self._tls)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error).encode()
        finally:
            connection.close()

    def _serves(self, path: str) -> bool:
        return self._get(path)[0] == 200

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items() if process.pid is not None}

    @property
    def pods_per_node(self) -> int | None:
        return components.MAX_PODS_PER_NODE

    def vantage_points(self) -> Sequence[str]:
        return [node.name for node in self._nodes]

    def on_node(self, node: str, function: Callable[[], T]) -> T:
        return isolation.in_network(self._netns / node, function)

    def network_path(self, node: str) -> Path:
        """The file that the node's network namespace is bound to."""
        return self._netns / node

    def health(self) -> tuple[ComponentHealth, ...]:
        """Every component now, with what its own readyz or healthz says."""
        return tuple(self._health(process) for process in self.processes.values())

    def _health(self, process: Process) -> ComponentHealth:
        ready, detail = self._asked(process.name) if process.alive else (False, f"exit code {process.exit_code}")
        usage = process.usage()
        return ComponentHealth(
            name=process.name,
            alive=process.alive,
            restarts=process.restarts,
            ready=ready,
            detail=detail,
            cpu_s=usage.cpu_s,
            rss_bytes=usage.rss_bytes,
        )

    def _asked(self, name: str) -> tuple[bool | None, str]:
        if name == "kube-apiserver":
            status, body = self._get("/readyz?verbose")
            failed = [line for line in body.decode(errors="replace").splitlines() if line.startswith("[-]")]
            return status == 200, "; ".join(failed) or ("" if status else body.decode(errors="replace"))
        if name == "etcd":
            return _answers("127.0.0.1", components.ETCD_PORT, "/health?serializable=false")
        if name == "kube-controller-manager":
            return _answers("127.0.0.1", 10257, "/healthz", tls=True)
        if name == "kube-scheduler":
            return _answers("127.0.0.1", 10259, "/readyz", tls=True)
        if name.startswith("kube-proxy-"):
            node = name.removeprefix("kube-proxy-")
            return self.on_node(node, lambda: _answers("127.0.0.1", 10256, "/livez"))
        return None, ""

    # clean and clean again

    def take_baseline(self, keyspace: KeySpace) -> Baseline:
        """Makes the canary's namespace, waits until nothing but volatile keys changes, and keeps what there is."""
        status, body = self._send("POST", "/api/v1/namespaces", {"metadata": {"name": CANARY_NAMESPACE}})
        if status != 201:
            raise ClusterError(f"the canary's namespace can't be made: HTTP {status} {body.decode(errors='replace')}")
        namespaces = ("default", CANARY_NAMESPACE)
        needed = [f"/registry/serviceaccounts/{n}/default" for n in namespaces]
        needed += [f"/registry/configmaps/{n}/kube-root-ca.crt" for n in namespaces]
        before: dict[str, Any] = {"dump": {}, "nodes": {}}

        def still() -> bool:
            dump, nodes = keyspace.dump(), {n.name: node_state(n.path) for n in self._nodes}
            puts, deletes = differences(before["dump"], dump)
            changed = bool(puts) or any(not is_volatile(key) for key in deletes) or nodes != before["nodes"]
            before.update(dump=dump, nodes=nodes)
            return not changed and all(key in dump for key in needed)

        try:
            wait_for(still, within_s=_START_WITHIN_S, what="the fresh cluster to come to rest", poll_s=_REST_S)
        except TimeoutError as error:
            raise ClusterError(str(error)) from None
        self._baseline = Baseline(before["dump"], before["nodes"])
        return self._baseline

    def rollback(self, keyspace: KeySpace, *, within_s: float) -> Reset:
        """The first rung. ClusterError if the baseline can't be proven to be back."""
        assert self._baseline is not None, "take_baseline comes first"
        began = time.monotonic()
        proof = rollback(keyspace, self._baseline, self._dirty_nodes, within_s=within_s)
        return Reset("rollback", round(time.monotonic() - began, 3), proof)

    def _dirty_nodes(self) -> dict[str, str]:
        """What is on the nodes that was not there in the baseline, in words."""
        assert self._baseline is not None
        ours = {node.name for node in self._nodes}
        if pods := [path.name for path in self._netns.iterdir() if path.name not in ours]:
            return {"nodes": f"{len(pods)} pod network namespaces are left"}
        if containers := self.processes["runtime"].children():
            return {"nodes": f"{len(containers)} containers are left"}
        dirty = {}
        for node in self._nodes:
            now, then = node_state(node.path), self._baseline.nodes[node.name]
            if now.routes != then.routes:
                dirty[node.name] = "its routes differ"
            elif now.rules != then.rules:
                dirty[node.name] = "kube-proxy's rules differ"
        return dirty

    # ending

    def tend(self) -> None:
        """Starts what has ended again, as kubelet (static pods) and systemd (kubelets) would: at once, then after 10 s,
        20 s, …, at most 5 min (kubelet's crash back-off)."""
        now = time.monotonic()
        for process in self.processes.values():
            if process.alive:
                continue
            due = self._due.setdefault(process.name, now)
            if now >= due:
                process.restart()
                self._due[process.name] = now + min(_BACK_OFF_S * 2 ** (process.restarts - 1), _BACK_OFF_MOST_S)

    def restart(self, name: str) -> None:
        """Stops one component and starts it again; returns at once."""
        self.processes[name].restart()

    def reap_orphans(self) -> None:
        """Collects children that nobody waits for: as the namespace's first process we inherit every orphan. Only what
        was dead at the last call, too: a child of somebody's subprocess.run is waited for at once."""
        dead = set()
        for child in Path("/proc/self/task").glob("*/children"):
            for pid in child.read_text().split():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                        dead.add(int(pid))
        for orphan in dead & self._dead - {process.pid for process in self.processes.values()}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        self._dead = dead

    def shutdown(self) -> None:
        """Ends every process, clients before servers. Volumes go with the namespace."""
        for process in reversed(self.processes.values()):
            process.kill()
        shutil.rmtree(self.config.work / "etcd", ignore_errors=True)


def _answers(host: str, port: int, path: str, *, tls: bool = False) -> tuple[bool, str]:
    """Whether a health endpoint says 200, and what it said otherwise. The certificate is self-signed and the address
    is loopback in our own namespace, so it is not verified."""
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        return response.status == 200, "" if response.status == 200 else body[:300]
    except (OSError, http.client.HTTPException) as error:
        return False, str(error)
    finally:
        connection.close()
