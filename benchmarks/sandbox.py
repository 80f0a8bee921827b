"""From `sandbox up` to HTTP 200 through a ClusterIP from every node, assets cached; and what a sandbox weighs.

A fresh sandbox a round, as a person would start it; then a Deployment of three pods and a Service, applied as soon as
the nodes are Ready; then requests from every node until each has had its answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks import Figure
from campaigns import assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES, SandboxConfig

__all__ = ["measure"]

MOST_TO_TRAFFIC_S = 10.0
"""Median, on 2 cores (issue 3, "Figures")."""

_TRAFFIC = """
import json, sys, threading, time
from pathlib import Path
from campaigns.clusters.sandbox.isolation import in_network
from campaigns.observers.probes import ask
from campaigns.workloads.deploy import deployment, service
from campaigns.workloads.user import User
work, address = Path(sys.argv[1]), ("10.96.77.77", 80)
user = User(work / "admin.kubeconfig")
wanted = {**service("web", "default")}
wanted["spec"]["clusterIP"] = address[0]
assert user.create(deployment("web", "default", 3)) and user.create(wanted), user.told
def until_ok(node):
    while ask(address) != "ok":
        time.sleep(0.02)
nodes = sorted(p for p in (work / "netns").iterdir() if p.name.startswith("node-"))
threads = [threading.Thread(target=in_network, args=(n, lambda n=n: until_ok(n))) for n in nodes]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> list[Figure]:
    """Medians over `rounds` sandboxes, one after another; `seconds` is of no use here."""
    binaries = assets.ensure(BINARIES)
    ready, traffic, weight = [], [], []
    for number in range(1, rounds + 1):
        config = outside.prepare(f"bench-{os.getpid()}", binaries={name: binaries[name] for name in BINARIES})
        began = time.monotonic()
        try:
            outside.up(config, lambda _: None)
            ready.append(time.monotonic() - began)
            _inside(config, [sys.executable, "-c", _TRAFFIC, str(config.work)])
            traffic.append(time.monotonic() - began)
            weight.append(_pss_bytes(config) / 1e6)
        finally:
            if config.name in outside.running():
                outside.down(config.name)
        say(f"sandbox {number}/{rounds}: nodes Ready {ready[-1]:.1f} s, traffic from every node {traffic[-1]:.1f} s")
    return [
        Figure(name="up → all nodes Ready, median", value=median(ready), unit="s"),
        Figure(name="up → HTTP 200 from every node, median", value=median(traffic), unit="s", goal=MOST_TO_TRAFFIC_S),
        Figure(name="up → HTTP 200 from every node, slowest", value=max(traffic), unit="s"),
        Figure(name="memory of a sandbox with three pods (PSS), median", value=median(weight), unit="MB"),
    ]


def _inside(config: SandboxConfig, argv: list[str]) -> None:
    _, pid = outside.find(config.name)
    command, env = outside.enter_command(config, pid, argv)
    subprocess.run(command, env=env, check=True, timeout=60)


def _pss_bytes(config: SandboxConfig) -> float:
    """Proportional set size of every process in the sandbox's pid namespace."""
    _, first = outside.find(config.name)
    namespace = Path(f"/proc/{first}/ns/pid_for_children").readlink()
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "ns/pid").readlink() == namespace:
                rollup = (path / "smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # it ended, or is not ours to look at
    return total * 1024.0
