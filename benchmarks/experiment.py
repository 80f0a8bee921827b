"""What a golden deploy experiment costs in CPU, and where: cluster, probes, canary, observing, reset.

One sandbox with the worker that campaigns use, spoken to as the runner does. Counted are all processes of the sandbox.
The phases are the worker's own words:

    cluster    everything but the worker while the workload is driven and comes to rest
    canary     everything but the worker while the canary lives, its probes aside
    probes     the worker's threads in the nodes' networks, whenever
    observing  the worker's other threads: history of etcd, the user, the record
    reset      everything, from the record to the proof that the baseline is back
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import Figure, usage
from campaigns import assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES
from campaigns.record import Limits
from campaigns.spec.campaign_spec import TimeLimits
from injector.errors import HarnessError

__all__ = ["measure"]

MOST_CPU_S = 2.0
"""Of all of it (issue 4, "Figures")."""
_EXPERIMENTS_A_ROUND = 2
_LOOK_S = 0.02
"""How often the clients' threads are looked at: what one uses after the last look is told as observing, at most 20 ms
of a thread that uses 1 % of a core."""
_WORKER = "worker"
PARTS = ("cluster", "canary", "probes", "observing", "reset")


class _Clients:
    """CPU of the worker's threads in other networks than its own, threads that have ended among them."""

    def __init__(self, worker: int) -> None:
        self._worker, self._network = worker, str(Path(f"/proc/{worker}/ns/net").readlink())
        self._used: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self._used |= usage.thread_cpu_s(self._worker, in_networks_but=self._network)
            except FileNotFoundError:  # it has ended
                return

    @property
    def cpu_s(self) -> float:
        return sum(self._used.values())

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)


@dataclasses.dataclass(frozen=True, slots=True)
class _Mark:
    """What had been used when the worker said something."""

    cpu_s: Mapping[str, float]
    clients_s: float


class _Worker:
    def __init__(self, launched: outside.Launched) -> None:
        self._process = launched.process
        self._lines = self._read()
        self.wait("ready")
        first = launched.init_pid
        assert first is not None
        self._first, self._clients = first, _Clients(first)

    def _read(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def wait(self, said: str) -> dict[str, Any]:
        """The next message of that kind. HarnessError if something failed, or it ends."""
        for message in self._lines:
            if message["said"] == said:
                return message
            if message["said"] == "error":
                raise HarnessError(f"the worker failed: {message['error']}")
        raise HarnessError("the worker has ended")

    def mark(self) -> _Mark:
        return _Mark(usage.cpu_s(self._first), self._clients.cpu_s)

    def run(self, number: int) -> dict[str, Any]:
        """One golden experiment: the marks at its phases, and what `done` said."""
        defaults = TimeLimits.model_validate({})
        limits = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(Limits)}
        task = {"do": "run", "id": f"bench-{number}", "workload": "deploy", "rule": None, "limits": limits}
        assert self._process.stdin is not None
        marks, began = {"begin": self.mark()}, time.monotonic()
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        self._process.stdin.flush()
        for message in self._lines:
            if message["said"] == "error":
                raise HarnessError(f"the worker failed: {message['error']}")
            if message["said"] == "phase" and message["phase"] in ("canary", "resetting"):
                marks[message["phase"]] = self.mark()
            if message["said"] == "done":
                if message["reset"] is None:
                    raise HarnessError(f"a golden experiment could not be reset: {message['why']}")
                marks["done"] = self.mark()
                return {"marks": marks, "seconds": time.monotonic() - began}
        raise HarnessError("the worker has ended")

    def close(self) -> None:
        self._clients.close()


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> list[Figure]:
    """Medians over twice `rounds` experiments, after one that warms up; `seconds` is of no use here."""
    binaries = assets.ensure(BINARIES)
    config = outside.prepare(f"bench-{os.getpid()}", binaries={name: binaries[name] for name in BINARIES})
    launched = outside.launch(config, "campaigns.running.worker", pipes=True, dies_with_us=True)
    found = []
    try:
        worker = _Worker(launched)
        try:
            worker.run(0)
            for number in range(1, rounds * _EXPERIMENTS_A_ROUND + 1):
                ran = worker.run(number)
                parts, components = _split(ran["marks"])
                found.append((parts, components, ran["seconds"]))
                say(f"experiment {number}: {sum(parts.values()):.2f} CPU-seconds in {ran['seconds']:.1f} s")
        finally:
            worker.close()
    finally:
        launched.end()
    return _figures(found)


def _split(marks: Mapping[str, _Mark]) -> tuple[dict[str, float], dict[str, float]]:
    """Part → CPU seconds, and component → CPU seconds, of one experiment."""

    def between(begin: str, end: str) -> tuple[float, float, float]:
        """Of everything but the worker, of the worker's clients, of the rest of the worker."""
        used = usage.cpu_between(marks[begin].cpu_s, marks[end].cpu_s)
        worker = used.pop(_WORKER, 0.0)
        clients = marks[end].clients_s - marks[begin].clients_s
        return sum(used.values()), clients, max(worker - clients, 0.0)

    cluster, before, watching = between("begin", "canary")
    canary, during, watching_canary = between("canary", "resetting")
    parts = {"cluster": cluster, "canary": canary, "probes": before + during, "observing": watching + watching_canary}
    parts["reset"] = sum(between("resetting", "done"))
    return parts, usage.cpu_between(marks["begin"].cpu_s, marks["done"].cpu_s)


def _figures(found: list[tuple[dict[str, float], dict[str, float], float]]) -> list[Figure]:
    whole = median(sum(parts.values()) for parts, _, _ in found)
    by_component: dict[str, list[float]] = defaultdict(list)
    for _, components, _ in found:
        for name, value in components.items():
            by_component[name].append(value)
    shown = sorted(((sum(values) / len(found), name) for name, values in by_component.items()), reverse=True)
    profile = tuple(f"{value:7.3f} CPU-seconds  {name}, mean" for value, name in shown if value >= 0.005)
    return [
        Figure(
            name="golden deploy experiment with its reset, median", value=whole, unit="CPU-s", goal=MOST_CPU_S,
            profile=profile,
        ),
        *(
            Figure(name=f"… of it {part}, median", value=median(parts[part] for parts, _, _ in found), unit="CPU-s")
            for part in PARTS
        ),
        Figure(name="golden deploy experiment with its reset, median", value=median(s for *_, s in found), unit="s"),
    ]  # fmt: skip
