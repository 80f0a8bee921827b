"""What the metrics server (programs/metrics.py) computes: kubelets' counters in, CPU and memory usage out. Pure.

As metrics-server does: the last two points of each container and node are kept, usage is the difference over the time
between them; points whose time is the same are one; a container that was started again begins anew; a pod is told of
only when all its containers can be. Sources: kubernetes-sigs/metrics-server, pkg/scraper/client/resource/decode.go,
pkg/storage/{pod,node,types}.go; the objects: k8s.io/metrics/pkg/apis/metrics/v1beta1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

__all__ = ["Batch", "Point", "Usage", "node_metrics", "pod_metrics", "read_exposition"]

_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: (?P<ms>-?\d+))?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_FIELDS = {
    "node_cpu_usage_seconds_total": "cpu_s",
    "node_memory_working_set_bytes": "memory_bytes",
    "container_cpu_usage_seconds_total": "cpu_s",
    "container_memory_working_set_bytes": "memory_bytes",
    "container_start_time_seconds": "started_s",
}
_FRESH_S = 10.0
"""pod.go, freshContainerMinMetricsResolution: a shorter time since the start says too little."""

PodKey = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Point:
    """Counters of a container or a node at `at_s`, Unix seconds. `cpu_s`: CPU seconds since `started_s`."""

    at_s: float = 0.0
    started_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0


@dataclass(slots=True)
class Batch:
    """What one scrape of one or more kubelets brought."""

    nodes: dict[str, Point] = field(default_factory=dict)
    pods: dict[PodKey, dict[str, Point]] = field(default_factory=dict)

    def add(self, other: Batch) -> None:
        self.nodes |= other.nodes
        self.pods |= other.pods


def read_exposition(text: str, node: str, now_s: float) -> Batch:
    """A kubelet's /metrics/resource (Prometheus text format). What is not complete is left out. ValueError for a line
    that is no sample."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if (sample := _SAMPLE.fullmatch(line)) is None:
            raise ValueError(f"expected a sample, got {line!r:.100}")
        if (name := _FIELDS.get(sample["name"])) is None:
            continue
        labels = dict(_LABEL.findall(sample["labels"] or ""))
        owner = tuple(labels.get(label, "") for label in ("namespace", "pod", "container")) if labels else ()
        values = found.setdefault(owner, {})
        values[name] = float(sample["value"])
        if name != "started_s":  # whose own time is of no interest
            values["at_s"] = int(sample["ms"]) / 1000 if sample["ms"] else now_s
    return _complete(found, node)


def _complete(found: Mapping[tuple[str, ...], Mapping[str, float]], node: str) -> Batch:
    batch, partial = Batch(), set()
    for owner, values in found.items():
        memory = int(values.get("memory_bytes", 0))
        # metrics-server leaves out those with no CPU time, too: here it comes in ticks of 10 ms, and none is usual
        complete = memory > 0 and "cpu_s" in values
        point = Point(values.get("at_s", 0.0), values.get("started_s", 0.0), values.get("cpu_s", 0.0), memory)
        if not owner:
            batch.nodes |= {node: point} if complete else {}
        elif complete:
            batch.pods.setdefault((owner[0], owner[1]), {})[owner[2]] = point
        else:
            partial.add((owner[0], owner[1]))
    for pod in partial:  # half a pod would look idle
        batch.pods.pop(pod, None)
    return batch


class Usage:
    """The last two points of everything. `resolution_s`: time between two scrapes."""

    def __init__(self, resolution_s: float) -> None:
        self._resolution_s = resolution_s
        self._last, self._before = Batch(), Batch()

    def store(self, new: Batch) -> None:
        before = Batch()
        for name, point in new.nodes.items():
            pair = (self._last.nodes.get(name), self._before.nodes.get(name))
            if (earlier := _earlier(point, *pair)) is not None:
                before.nodes[name] = earlier
        for key, containers in new.pods.items():
            last, earlier_still = self._last.pods.get(key, {}), self._before.pods.get(key, {})
            found = {
                name: earlier
                for name, point in containers.items()
                if (earlier := self._earlier_of_container(point, last.get(name), earlier_still.get(name))) is not None
            }
            if found:
                before.pods[key] = found
        self._last, self._before = new, before

    def _earlier_of_container(self, point: Point, last: Point | None, before: Point | None) -> Point | None:
        age_s = point.at_s - point.started_s
        if _FRESH_S <= age_s < self._resolution_s:
            return replace(point, at_s=point.started_s, cpu_s=0.0)
        if last is None or point.started_s >= last.at_s:  # new, or started again
            return None
        return _earlier(point, last, before)

    @property
    def ready(self) -> bool:
        """Whether there is something to tell (storage.go, Ready)."""
        return bool(self._before.nodes or self._before.pods)

    def of_node(self, name: str) -> tuple[Point, Point] | None:
        """Earlier and later point; None where there are none yet."""
        last, before = self._last.nodes.get(name), self._before.nodes.get(name)
        return (before, last) if last is not None and before is not None and _grew(before, last) else None

    def of_pod(self, key: PodKey) -> dict[str, tuple[Point, Point]] | None:
        """Likewise for each container; None unless all of them have two points."""
        last, before = self._last.pods.get(key), self._before.pods.get(key)
        if last is None or before is None or last.keys() != before.keys():
            return None
        return {name: (before[name], point) for name, point in last.items() if _grew(before[name], point)}


def _earlier(point: Point, last: Point | None, before: Point | None) -> Point | None:
    if last is None:
        return None
    if point.at_s > last.at_s:
        return last
    return before if before is not None and before.at_s < point.at_s else None


def _grew(before: Point, last: Point) -> bool:
    return last.started_s >= before.started_s and last.cpu_s >= before.cpu_s


def node_metrics(metadata: Mapping[str, Any], points: tuple[Point, Point]) -> dict[str, Any]:
    """A NodeMetrics object. `metadata`: the Node's."""
    return {**_head("NodeMetrics", metadata), **_times([points]), "usage": _resources(*points)}


def pod_metrics(metadata: Mapping[str, Any], containers: Mapping[str, tuple[Point, Point]]) -> dict[str, Any]:
    """A PodMetrics object. `metadata`: the Pod's."""
    usages = [{"name": name, "usage": _resources(*points)} for name, points in sorted(containers.items())]
    return {**_head("PodMetrics", metadata), **_times(containers.values()), "containers": usages}


def _head(kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata}
    kept["creationTimestamp"] = _rfc3339(datetime.now(UTC).timestamp())
    return {"apiVersion": "metrics.k8s.io/v1beta1", "kind": kind, "metadata": kept}


def _times(pairs: Iterable[tuple[Point, Point]]) -> dict[str, str]:
    """Of the points that are oldest."""
    before, last = min(pairs, key=lambda pair: pair[1].at_s)
    return {"timestamp": _rfc3339(last.at_s), "window": f"{last.at_s - before.at_s:.3f}s"}


def _resources(before: Point, last: Point) -> dict[str, str]:
    nanocores = (last.cpu_s - before.cpu_s) / (last.at_s - before.at_s) * 1e9
    return {"cpu": f"{int(nanocores)}n", "memory": f"{last.memory_bytes // 1024}Ki"}


def _rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
