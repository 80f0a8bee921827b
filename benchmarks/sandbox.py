"""A sandbox as a person starts it: how soon it is of use, what it weighs, what it costs at rest. Assets cached.

A fresh sandbox a round. A Deployment of three pods and a Service are applied as soon as `up` returns; from every node
requests go to the ClusterIP, and the Service's name is asked of the cluster's DNS, until each has had its answer. Then
it is weighed, the Deployment deleted, and in the last round its CPU is counted at rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

from benchmarks import Figure, usage
from campaigns import assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES, SandboxConfig

__all__ = ["measure"]

MOST_TO_TRAFFIC_S = 8.0
"""Median, on 2 cores, DNS answering too (issue 4, "Figures")."""
MOST_BYTES = 1.2e9
"""PSS of a sandbox (issue 4)."""
MOST_IDLE_CORES = 0.15
"""At rest (issue 4)."""
_IDLE_SHARE = 30.0
"""At rest is measured for so many times the `seconds` of a round: a minute by default, in which every timer of a
cluster but the slowest (kubelets' 5 min) has gone off."""
_REST_S = 20.0
"""After the Deployment is gone: kubelets' and controllers' queues are empty after some seconds. Arbitrary."""

_TRAFFIC = """
import json, os, socket, struct, sys, threading, time
from pathlib import Path
from campaigns.clusters.sandbox.components import CLUSTER_DNS
from campaigns.clusters.sandbox.isolation import in_network
from campaigns.observers.probes import ask
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.user import User
work, address, name = Path(sys.argv[1]), ("10.96.77.77", 80), "web.default.svc.cluster.local"
user = User(work / "admin.kubeconfig")
wanted = {**service("web", "default")}
wanted["spec"]["clusterIP"] = address[0]
assert user.create(deployment("web", "default", 3)) and user.create(wanted), user.told
question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
question += bytes(1) + struct.pack(">2H", 1, 1)
def resolves():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.4)
        try:
            asking.sendto(question, (CLUSTER_DNS, 53))
            return asking.recv(512).endswith(socket.inet_aton(address[0]))
        except OSError:
            return False
began, took = time.monotonic(), {}
def until(what, node, condition):
    while not condition():
        time.sleep(0.02)
    took[what] = max(took.get(what, 0), time.monotonic() - began)
nodes = sorted((work / "run/nodes").iterdir())
tries = [("traffic", n, lambda: ask(address) == "ok") for n in nodes] + [("names", n, resolves) for n in nodes]
threads = [threading.Thread(target=in_network, args=(n, lambda w=w, n=n, c=c: until(w, n, c))) for w, n, c in tries]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps(took))
"""


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> list[Figure]:
    """Medians over `rounds` sandboxes, one after another; at rest for thirty times `seconds`, in the last of them."""
    binaries = assets.ensure(BINARIES)
    ready, traffic, timelines, weights, idle = [], [], [], [], dict[str, float]()
    for number in range(1, rounds + 1):
        config = outside.prepare(f"bench-{os.getpid()}", binaries={name: binaries[name] for name in BINARIES})
        timeline, began = _Timeline(), time.monotonic()
        try:
            outside.up(config, timeline.note)
            ready.append(time.monotonic() - began)
            timeline.note("asking for a Deployment and a Service")
            took = json.loads(_inside(config, [sys.executable, "-c", _TRAFFIC, str(config.work)]))
            traffic.append(time.monotonic() - began)
            timeline.end(f"of use (traffic {took['traffic']:.1f} s, names {took['names']:.1f} s after being asked for)")
            timelines.append(timeline.lines)
            _, first = outside.find(config.name)
            weights.append(usage.pss_bytes(first))
            if number == rounds:
                idle = _idle(config, first, seconds * _IDLE_SHARE, say)
        finally:
            if config.name in outside.running():
                outside.down(config.name)
        weight = sum(weights[-1].values()) / 1e6
        say(f"sandbox {number}/{rounds}: up {ready[-1]:.1f} s, of use {traffic[-1]:.1f} s, {weight:.0f} MB")
    typical = timelines[traffic.index(sorted(traffic)[len(traffic) // 2])]
    heavy = sorted(weights, key=lambda each: sum(each.values()))[len(weights) // 2]
    return [
        Figure(name="up, median", value=median(ready), unit="s"),
        Figure(
            name="up → traffic from every node, DNS answering, median", value=median(traffic), unit="s",
            goal=MOST_TO_TRAFFIC_S, profile=tuple(typical),
        ),
        Figure(name="up → traffic from every node, DNS answering, slowest", value=max(traffic), unit="s"),
        Figure(
            name="memory of a sandbox with three pods (PSS), median", value=sum(heavy.values()) / 1e6, unit="MB",
            goal=MOST_BYTES / 1e6, profile=_parts({name: value / 1e6 for name, value in heavy.items()}, "MB"),
        ),
        Figure(
            name=f"CPU at rest, over {seconds * _IDLE_SHARE:g} s", value=sum(idle.values()), unit="cores",
            goal=MOST_IDLE_CORES, profile=_parts(idle, "cores"),
        ),
    ]  # fmt: skip


class _Timeline:
    """What a start does when, as it says itself."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._doing = "preparing"
        self.lines: list[str] = []

    def note(self, doing: str) -> None:
        now = time.monotonic()
        self.lines.append(f"{self._last - self._began:5.1f} s  {self._doing} ({now - self._last:.1f} s)")
        self._doing, self._last = doing, now

    def end(self, words: str) -> None:
        self.note("")
        self.lines.append(f"{self._last - self._began:5.1f} s  {words}")


def _idle(config: SandboxConfig, first: int, seconds: float, say: Callable[[str], None]) -> dict[str, float]:
    """Component → cores at rest, with nothing in the cluster but its system."""
    _inside(config, ["kubectl", "delete", "deployment,service", "web", "--wait", "--cascade=foreground"])
    say(f"waiting {_REST_S:g} s, then measuring at rest for {seconds:g} s")
    time.sleep(_REST_S)
    before, began = usage.cpu_s(first), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return {name: value / took for name, value in usage.cpu_between(before, usage.cpu_s(first)).items()}


def _parts(values: Mapping[str, float], unit: str) -> tuple[str, ...]:
    shown = sorted(values.items(), key=lambda item: -item[1])
    return tuple(f"{value:9.3f} {unit}  {name}" for name, value in shown if value > 0)


def _inside(config: SandboxConfig, argv: list[str]) -> str:
    _, pid = outside.find(config.name)
    command, env = outside.enter_command(config, pid, argv)
    return subprocess.run(command, env=env, check=True, timeout=90, stdout=subprocess.PIPE, text=True).stdout
