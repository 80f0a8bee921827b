"""One sandbox in the background, as `mutineer sandbox up` starts it, with state and temp folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import SandboxConfig
from tests.sandbox.inside import Inside
from tests.soak.campaign import environment
from tests.soak.leftovers import Footprint
from tests.soak.victims import Victim, find

__all__ = ["NAME", "WORKLOAD", "Kept", "launched", "raised"]

NAME = "s"
WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: mutineer/web:1
          readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
_DNS = "import socket; socket.getaddrinfo('web.default.svc.cluster.local', 80)"
_LOOK_S = 0.05


@dataclass(slots=True)
class Kept:
    """A sandbox below `root`. `command`: the process that runs `up`."""

    root: Path
    command: subprocess.Popen[bytes]
    footprint: Footprint

    @property
    def folder(self) -> Path:
        return self.root / "state/mutineer/sandboxes" / NAME

    @property
    def log(self) -> str:
        return (self.root / "output").read_text(errors="replace")

    def first(self) -> int | None:
        """Its first process, once `up` has told, or while that runs."""
        if self.command.poll() is None:
            return find(Victim.FIRST_PROCESS, self.command.pid)
        try:
            return int(json.loads((self.folder / "state.json").read_text())["pid"])
        except (FileNotFoundError, KeyError, TypeError):
            return None

    def look(self) -> None:
        """Notes what there is now."""
        if self.command.poll() is None:
            self.footprint.look(self.command.pid)
        if (first := self.first()) is not None and (outermost := _parent(first)) is not None:
            self.footprint.look(outermost)

    def wait(self, condition: object, *, within_s: float) -> bool:
        """Notes processes until `condition()` is true; False if the time passes first."""
        assert callable(condition)
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.look()
            if condition():
                return True
            time.sleep(_LOOK_S)
        return False

    def find(self, victim: Victim) -> int | None:
        """The process id of a victim; None while it is not there."""
        if victim is Victim.RUNNER:
            return self.command.pid if self.command.poll() is None else None
        first = self.first()
        return first if victim is Victim.FIRST_PROCESS or first is None else find(victim, first)

    def running(self) -> bool:
        """Whether somebody holds its lock, or is about to."""
        with _state(self.root):
            return NAME in outside.running() or (self.folder.exists() and not (self.folder / "lock").exists())

    def kill(self, victim: Victim) -> int | None:
        """Its process id; None if it is not there."""
        if (pid := self.find(victim)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def mutineer(self, *arguments: str, within_s: float = 90) -> subprocess.CompletedProcess[str]:
        """`mutineer sandbox …` as a person runs it."""
        words = [sys.executable, "-m", "mutineer", "sandbox", *arguments]
        return subprocess.run(
            words, cwd=self.root, env=environment(self.root), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=within_s, check=False,
        )  # fmt: skip

    def kubectl(self, *arguments: str, given: str = "", within_s: float = 60) -> subprocess.CompletedProcess[str]:
        """The sandbox's kubectl from outside, through the door."""
        config = SandboxConfig.from_json((self.folder / "config.json").read_text())
        env = {**environment(self.root), "KUBECONFIG": str(self.folder / "kubeconfig")}
        words = [str(config.binaries["kubectl"]), *arguments]
        return subprocess.run(
            words, cwd="/", env=env, input=given, capture_output=True, text=True, timeout=within_s, check=False
        )

    def asked(self, *arguments: str) -> str:
        """What kubectl printed; AssertionError with its words if it fails."""
        done = self.kubectl(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def work_in_it(self) -> None:
        """Asks for the workload."""
        done = self.kubectl("apply", "-f", "-", given=WORKLOAD)
        if done.returncode != 0:
            raise AssertionError(f"kubectl apply: {done.stderr}")

    def ill(self) -> str:
        """What is not as it has to be with the workload in it, in words; empty when all is well: components, nodes,
        pods, traffic from every node, names."""
        done = self.mutineer("status", "--name", NAME)
        components = [line.split() for line in done.stdout.splitlines()]
        if done.returncode != 0 or (bad := [words[0] for words in components if words[1] not in ("ready", "running")]):
            return f"components: {bad if done.returncode == 0 else done.stderr.strip()}"
        listed = self.kubectl("get", "nodes,pods", "-A", "-o", "json")
        if listed.returncode != 0:
            return listed.stderr.strip()
        for item in json.loads(listed.stdout)["items"]:
            ready = [c["status"] for c in item["status"].get("conditions", ()) if c["type"] == "Ready"]
            if ready != ["True"] or item["metadata"].get("deletionTimestamp"):
                return f"{item['kind']} {item['metadata']['name']} is not ready"
        return self._deaf()

    def _deaf(self) -> str:
        address = self.asked("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
        with self.found() as inside:
            for node in inside.config.node_names:
                said = inside.run("python", "-m", "tests.sandbox.ask", str(inside.work), node, address, "80").strip()
                if said != "ok":
                    return f"the Service asked from {node}: {said}"
        pod = self.asked("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
        named = self.kubectl("exec", pod, "--", "python3", "-c", _DNS)
        return f"names: {named.stderr.strip()[-200:]}" if named.returncode != 0 else ""

    def litter(self) -> list[str]:
        """What the runtime should have removed, in words: namespaces, links and processes of pods that are no more."""
        pods = json.loads(self.asked("get", "pods", "-A", "-o", "json"))["items"]
        own = sum(not pod["spec"].get("hostNetwork") for pod in pods)
        containers = sum(len(pod["spec"]["containers"]) for pod in pods)
        with self.found() as inside:
            files = inside.run("ls", str(inside.work / "run/pods")).split()
            links = [
                line
                for node in inside.config.node_names
                for line in inside.run("nsenter", f"--net={inside.work / 'run/nodes' / node}", "ip", "-o", "link")
                .splitlines()
                if line.split()[1].startswith("v")
            ]  # fmt: skip
        spawner = find(Victim.SPAWNER, self.first() or 0)
        children = Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
        seen = {"namespace files": (len(files), 2 * own), "links": (len(links), own),
                "containers": (len(children), containers)}  # fmt: skip
        return [f"{found} {what}, {wanted} expected" for what, (found, wanted) in seen.items() if found != wanted]

    @contextlib.contextmanager
    def found(self) -> Iterator[Inside]:
        """For commands inside. The environment of this process tells where sandboxes are."""
        with _state(self.root):
            yield Inside(NAME)

    def down(self) -> None:
        """Ends it. Nothing happens if it is gone."""
        self.look()
        done = self.mutineer("down", "--name", NAME)
        if done.returncode not in (0, 2):
            raise AssertionError(f"sandbox down: {done.stderr}")

    def next_start(self) -> None:
        """What every start does first: reaps. A folder without a lock is given some seconds to get one."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.folder, (0, 0))
        with _state(self.root):
            outside.reap()

    def left(self, *, within_s: float, folders: bool = True) -> list[str]:
        """What is still there once the time has passed, or nothing is."""
        deadline = time.monotonic() + within_s
        while (found := self.footprint.left(folders=folders)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return found


@contextlib.contextmanager
def _state(root: Path) -> Iterator[None]:
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = environment(root)["XDG_STATE_HOME"]
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


@contextlib.contextmanager
def launched() -> Iterator[Kept]:
    """`mutineer sandbox up`, just started. Ended, and its folders removed, whatever happens."""
    root = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))  # short: sockets in it may have 107 characters
    footprint = Footprint(root)
    for folder in ("state", "tmp"):
        (root / folder).mkdir(mode=0o700)
    with (root / "output").open("wb") as output:
        command = subprocess.Popen(
            [sys.executable, "-m", "mutineer", "sandbox", "up", "--name", NAME], cwd=root, env=environment(root),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    kept = Kept(root, command, footprint)
    try:
        yield kept
    finally:
        command.kill()
        command.wait(20)
        kept.mutineer("down", "--name", NAME)
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def raised() -> Iterator[Kept]:
    """A sandbox that is up, with the workload in it. AssertionError with what `up` said if it does not come up."""
    with launched() as kept:
        if not kept.wait(lambda: kept.command.poll() is not None, within_s=180) or kept.command.returncode != 0:
            raise AssertionError(f"sandbox up: {kept.log[-1000:]}")
        kept.work_in_it()
        words = [""]

        def well() -> bool:
            words[0] = kept.ill()
            return not words[0]

        if not kept.wait(well, within_s=60):
            raise AssertionError(f"the sandbox is not well with its workload: {words[0]}")
        yield kept
