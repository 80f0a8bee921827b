"""Churn: one sandbox, the life of Deployments over and over, and whether anything grows.

A cycle creates a Deployment with volumes and a Service, scales, execs, reads logs, forwards a port, kills containers
and pods, rolls out, and deletes all of it. Samples are taken at rest between cycles; tests.soak.growth judges them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks import usage
from campaigns.clusters.sandbox.config import SandboxConfig
from tests.soak.growth import Sample, enough, grown, more
from tests.soak.kept import Kept, raised
from tests.soak.leftovers import descendants
from tests.soak.rounds import Round
from tests.soak.victims import Victim

__all__ = ["churn", "cycle", "rest", "sample"]

NAMESPACE = "churn"
_REST_S = 30.0
_MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {namespace}}}
data: {{colour: "{number}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: word, namespace: {namespace}}}
stringData: {{word: "open-{number}"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: mutineer/web:1
          readinessProbe: {{httpGet: {{port: 8080}}, periodSeconds: 1}}
          volumeMounts:
            - {{name: settings, mountPath: /settings}}
            - {{name: word, mountPath: /word}}
            - {{name: scratch, mountPath: /scratch}}
            - {{name: host, mountPath: /host}}
            - {{name: all, mountPath: /all}}
      volumes:
        - {{name: settings, configMap: {{name: settings}}}}
        - {{name: word, secret: {{secretName: word}}}}
        - {{name: scratch, emptyDir: {{}}}}
        - {{name: host, hostPath: {{path: /var/lib/churn, type: DirectoryOrCreate}}}}
        - name: all
          projected: {{sources: [{{configMap: {{name: settings}}}}, {{downwardAPI: {{items: [{{path: name,
            fieldRef: {{fieldPath: metadata.name}}}}]}}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


def cycle(kept: Kept, number: int, random: Random) -> None:
    """One life of a Deployment. AssertionError where something does not work."""
    done = kept.kubectl("apply", "-f", "-", given=_MANIFEST.format(namespace=NAMESPACE, number=number))
    if done.returncode != 0:
        raise AssertionError(f"kubectl apply: {done.stderr}")
    _rolled_out(kept)
    pod = _pods(kept)[0]
    said = _ask(kept, "exec", pod, "--", "sh", "-c", f"echo {number} | tee /scratch/n /host/n; cat /settings/colour")
    if said.split() != [str(number)] * 2:
        raise AssertionError(f"exec said {said!r}")
    _ask(kept, "logs", pod, "--tail=5")
    _forwarded(kept, pod)
    _ask(kept, "scale", "deployment/web", f"--replicas={random.randint(3, 5)}")
    _rolled_out(kept)
    for act in random.sample((_kill_a_container, _delete_a_pod, _roll), k=2):
        act(kept)
        _rolled_out(kept)
    kept.asked("delete", "namespace", NAMESPACE, "--wait", "--timeout=60s")


def _ask(kept: Kept, *arguments: str) -> str:
    return kept.asked("-n", NAMESPACE, *arguments)


def _rolled_out(kept: Kept) -> None:
    _ask(kept, "rollout", "status", "deployment/web", "--timeout=60s")


def _pods(kept: Kept) -> list[str]:
    """Names of those that are to stay."""
    listed = json.loads(_ask(kept, "get", "pods", "-l", "app=web", "-o", "json"))["items"]
    return [pod["metadata"]["name"] for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def _kill_a_container(kept: Kept) -> None:
    alive = {_hostname(pid): pid for pid in descendants(kept.find(Victim.SPAWNER) or 0)}
    pod = next(pod for pod in _pods(kept) if pod in alive)
    query = "jsonpath={.status.containerStatuses[0].restartCount}"
    before = _ask(kept, "get", "pod", pod, "-o", query)
    os.kill(alive[pod], signal.SIGKILL)
    _until(lambda: _ask(kept, "get", "pod", pod, "-o", query) != before, within_s=30, what=f"{pod} to be restarted")


def _hostname(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/root/etc/hostname").read_text().strip()
    except OSError:
        return ""


def _delete_a_pod(kept: Kept) -> None:
    _ask(kept, "delete", "pod", _pods(kept)[-1], "--now")


def _roll(kept: Kept) -> None:
    _ask(kept, "rollout", "restart", "deployment/web")


def _forwarded(kept: Kept, pod: str) -> None:
    config = SandboxConfig.from_json((kept.folder / "config.json").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(config.binaries["kubectl"]), "-n", NAMESPACE, "port-forward", pod, f"{port}:8080"]
    env = {**os.environ, "KUBECONFIG": str(kept.folder / "kubeconfig")}
    forward = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # urllib's errors are
            return False

    try:
        _until(answers, within_s=20, what=f"an answer through port-forward to {pod}")
    finally:
        forward.kill()
        forward.wait(10)


def _until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s for {what}")
        time.sleep(0.1)


def sample(kept: Kept, began: float) -> Sample:
    first = kept.find(Victim.FIRST_PROCESS)
    assert first is not None
    held = usage.held(first)
    inside = _Inside(first, kept.folder / "work")
    return Sample(
        at_s=time.monotonic() - began,
        processes={name: each[0] for name, each in held.items()},
        threads={name: each[1] for name, each in held.items()},
        descriptors={name: each[2] for name, each in held.items()},
        memory_bytes=usage.pss_bytes(first, anonymous=True),
        mounts=len(Path(f"/proc/{first}/mountinfo").read_text().splitlines()),
        namespaces=len(os.listdir(inside / "run/pods")),
        links=inside.links(),
        files=inside.count("var/lib/kubelet/pods", "run", "tmp") + inside.count_in("run"),
        logs=inside.count("var/log/pods"),
        database_bytes=(inside / "etcd/member/snap/db").stat().st_size,
    )


class _Inside:
    """The sandbox's work folder, seen through its first process's root: its mounts are not ours."""

    def __init__(self, first: int, work: Path) -> None:
        self._first, self._work = first, Path(f"/proc/{first}/root") / work.relative_to("/")

    def __truediv__(self, path: str) -> Path:
        return self._work / path

    def links(self) -> int:
        """Ends of pods' links in the nodes' networks."""
        found = 0
        for node in sorted((self._work / "run/nodes").iterdir()):
            into = [f"--target={self._first}", "--user", "--preserve-credentials", f"--net={node}"]
            command = ["nsenter", *into, "ip", "-o", "link"]
            listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
            found += sum(line.split()[1].startswith("v") for line in listed.splitlines())
        return found

    def count(self, *parts: str) -> int:
        """Files and folders in those folders of all nodes."""
        return sum(self.count_in(f"nodes/{name}/{part}") for name in os.listdir(self / "nodes") for part in parts)

    def count_in(self, folder: str) -> int:
        return sum(len(files) + len(below) for _, below, files in os.walk(self / folder))


def rest(kept: Kept, wanted: Sample | None, began: float, *, within_s: float = _REST_S) -> Sample:
    """A sample at rest: with no more things than `wanted` has, or when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        now = sample(kept, began)
        if wanted is None or not more(wanted, now) or time.monotonic() > deadline:
            return now
        time.sleep(0.5)


def churn(minutes: float, seed: int, say: Callable[[str], None] = lambda _: None, *, every_s: float = 60.0) -> Round:
    """Churns for so long, samples every `every_s`, and judges."""
    began, random, wrong = time.monotonic(), Random(f"churn:{seed}"), list[str]()
    samples: list[Sample] = []
    cycles = 0
    with raised() as kept:
        until = time.monotonic() + minutes * 60
        due = time.monotonic()
        while time.monotonic() < until:
            try:
                cycle(kept, cycles, random)
            except (AssertionError, subprocess.TimeoutExpired, StopIteration) as error:
                wrong.append(f"cycle {cycles}: {error}")
                if len(wrong) > 5:
                    break
            cycles += 1
            if time.monotonic() >= due:
                due = time.monotonic() + every_s
                samples.append(rest(kept, samples[0] if samples else None, began))
                say(_line(cycles, samples[-1]))
        growths = grown(samples) if enough(samples) else []
        if not growths:
            wrong.append(f"{len(samples)} samples are too few to judge by")
        wrong += [f"{each.name} grew from {each.first:g} to {each.last:g}" for each in growths if each.wrong]
        wrong += [words] if (words := kept.ill()) else []
        kept.down()
        wrong += kept.left(within_s=10)
        code = kept.command.poll()
    return Round(
        what=f"{minutes:g} minutes of churn, {cycles} cycles", moment_s=0.0, seconds=time.monotonic() - began,
        exit_code=code, finished=cycles, wrong=wrong, figures={each.name: each.row() for each in growths},
    )  # fmt: skip


def _line(cycles: int, now: Sample) -> str:
    total = sum(now.memory_bytes.values()) / 1e6
    return (
        f"{now.at_s:.0f} s, {cycles} cycles: {total:.0f} MB, {sum(now.descriptors.values())} descriptors, "
        f"{sum(now.threads.values())} threads, {sum(now.processes.values())} processes, {now.mounts} mounts, "
        f"etcd's database {now.database_bytes / 1e6:.1f} MB"
    )
