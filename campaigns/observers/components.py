"""Components over time: each second, whether each process lives, its CPU and memory, and what kube-apiserver's readyz
says.

From /proc, where the components are local processes. Another process under the same name is a restart. A page that is
not served in time is *not ready*; the other components answer for themselves only at the end (Cluster.health).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from campaigns.clusters.protocol import Cluster
from classifiers.observation import ComponentHealth, ComponentSample, ComponentSeries, Observation

__all__ = ["ComponentSampler", "is_on", "once_well", "since_then"]

_INTERVAL_S = 1.0
"""A crash and restart takes some seconds; a leader is lost after ten."""
_READY_WITHIN_S = 0.8
"""Less than the interval; readyz answers within some 10 ms."""
_ASKED = "kube-apiserver"
_LOOK_S = 0.2
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class _Component:
    pid: int
    restarts: int = 0
    samples: list[ComponentSample] = field(default_factory=list)


class ComponentSampler:
    """An Observer (campaigns.observers.observer)."""

    def __init__(self, cluster: Cluster, *, began: float) -> None:
        self._cluster, self._began = cluster, began
        self._components: dict[str, _Component] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="components", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2 * _READY_WITHIN_S + 1)

    def add_to(self, observation: Observation) -> Observation:
        series = (ComponentSeries(name=n, samples=tuple(c.samples)) for n, c in self._components.items())
        return replace(observation, over_time=tuple(series))

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            self.look()
            due += _INTERVAL_S
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return

    def look(self) -> None:
        """One sample of each component."""
        answer = self._cluster.ask(_ASKED, "/readyz", timeout_s=_READY_WITHIN_S)
        at_s = round(time.monotonic() - self._began, 4)
        for name, pid in dict(self._cluster.pids).items():
            component = self._components.setdefault(name, _Component(pid))
            if component.pid != pid:
                component.pid, component.restarts = pid, component.restarts + 1
            used = _usage(pid)
            ready = answer[0] == 200 if name == _ASKED and answer is not None else None
            cpu_s, rss_bytes = used or (0.0, 0)
            sample = ComponentSample(at_s, used is not None, component.restarts, cpu_s, rss_bytes, ready)
            component.samples.append(sample)


def _usage(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes; None if the process has ended (proc_pid_stat(5): state, utime, stime, rss)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND, int(fields[21]) * _PAGE_BYTES


def is_on(component: str, nodes: Collection[str]) -> bool:
    """Whether it is of one of these nodes, by its name: `kubelet-node-1`."""
    return component.endswith(tuple(f"-{node}" for node in nodes))


def once_well(cluster: Cluster, *, within_s: float, without: Collection[str] = ()) -> tuple[ComponentHealth, ...]:
    """Every component, asked until all are alive and none says that it is not ready, or the time is over. Those of the
    nodes `without` are not waited for."""
    deadline = time.monotonic() + within_s
    now = cluster.health()
    while time.monotonic() < deadline and any(
        (c.ready is False or not c.alive) and not is_on(c.name, without) for c in now
    ):
        time.sleep(_LOOK_S)
        now = cluster.health()
    return now


def since_then(before: Mapping[str, ComponentHealth], now: Collection[ComponentHealth]) -> tuple[ComponentHealth, ...]:
    """Components now, their restarts and CPU counted from `before`, by name."""
    seen = []
    for each in now:
        then = before.get(each.name, replace(each, restarts=0, cpu_s=0.0))
        restarts = each.restarts - then.restarts
        used = each.cpu_s if restarts else each.cpu_s - then.cpu_s
        seen.append(replace(each, restarts=restarts, cpu_s=round(max(used, 0.0), 3)))
    return tuple(seen)
