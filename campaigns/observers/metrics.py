"""Chosen metrics of the components, read at the start and at the end from their own /metrics.

Few, each with what it would tell somebody who is paged. A metric is the sum over its lines (its labels' values) that
`only` lets through. Prometheus' text format is read as far as that needs (prometheus.io/docs/instrumenting/
exposition_formats).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from campaigns.clusters.protocol import Cluster
from classifiers.observation import MetricChange, Observation

__all__ = ["METRICS", "Metric", "MetricsReader", "values_in"]

_WITHIN_S = 2.0
_LINE = re.compile(rb"(\{.*\}|) (\S+)(?: -?\d+)?")


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` as the component has it; `only` a pattern that its labels have to match somewhere; `key` is what the
    record calls it."""

    name: str
    why: str
    only: str = ""

    @property
    def key(self) -> str:
        return f"{self.name}{{{self.only}}}" if self.only else self.name


_WRONG_SERVER = 'code="5..'
_CLIENT = (
    Metric("rest_client_requests_total", "requests that kube-apiserver could not serve", _WRONG_SERVER),
    Metric("rest_client_requests_total", "requests that got no answer at all", 'code="<error>'),
)
_QUEUES = (
    Metric("workqueue_depth", "work that waits: grows without end where a controller can't keep up, or is stuck"),
    Metric("workqueue_retries_total", "work that failed and is tried again: a controller that gets nowhere"),
)
METRICS: Mapping[str, tuple[Metric, ...]] = {
    "kube-apiserver": (
        Metric("apiserver_request_total", "requests that failed in the server", _WRONG_SERVER),
        Metric("apiserver_request_terminations_total", "requests that were dropped to defend itself"),
        Metric("etcd_request_errors_total", "requests to etcd that failed"),
        Metric("apiserver_storage_decode_errors_total", "stored objects that it could not decode"),
        Metric(
            "apiserver_watch_cache_initializations_total", "caches that had to be filled anew, as lists were broken"
        ),
    ),
    "kube-controller-manager": (*_QUEUES, *_CLIENT),
    "kube-scheduler": (
        Metric("scheduler_pending_pods", "pods that wait for a node"),
        Metric("scheduler_schedule_attempts_total", "attempts that ended in an error", 'result="error'),
        *_CLIENT,
    ),
    "etcd": (
        Metric("etcd_server_proposals_failed_total", "writes that were not agreed on"),
        Metric("etcd_server_slow_apply_total", "writes that took too long (etcd's own line: 100 ms)"),
    ),
}
"""Component → what is read of it. Names of Kubernetes 1.36 and etcd 3.6."""


class MetricsReader:
    """An Observer. Reading is two questions a component; what does not answer is told in `missing`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._before: dict[str, Mapping[str, float] | str] = {}
        self._after: dict[str, Mapping[str, float] | str] = {}

    def start(self) -> None:
        self._before = self._read()

    def stop(self) -> None:
        self._after = self._read()

    def add_to(self, observation: Observation) -> Observation:
        changes, missing = [], []
        for component, metrics in METRICS.items():
            before, after = self._before.get(component), self._after.get(component)
            if before is None and after is None:
                continue
            for when, seen in (("start", before), ("end", after)):
                if isinstance(seen, str):
                    missing.append(f"metrics of {component} at the {when}: {seen}")
            values = [seen if isinstance(seen, Mapping) else {} for seen in (before, after)]
            for metric in metrics:
                then, now = (found.get(metric.key) for found in values)
                if then is not None or now is not None:
                    changes.append(MetricChange(component=component, name=metric.key, before=then, after=now))
        return replace(observation, metrics=tuple(changes), missing=(*observation.missing, *missing))

    def _read(self) -> dict[str, Mapping[str, float] | str]:
        """Component → its metrics, or why there are none, in words."""
        found: dict[str, Mapping[str, float] | str] = {}
        for component, metrics in METRICS.items():
            page = self._cluster.ask(component, "/metrics", timeout_s=_WITHIN_S)
            if page is not None:
                status, text = page
                words = text.decode(errors="replace")[:200]
                found[component] = values_in(text, metrics) if status == 200 else f"HTTP {status} {words}"
        return found


def values_in(text: bytes, metrics: tuple[Metric, ...]) -> dict[str, float]:
    """Metric's key → sum over its lines. 0 where it has none yet: counters with labels begin with their first."""
    found = {metric.key: 0.0 for metric in metrics}
    for name in dict.fromkeys(metric.name for metric in metrics):
        lines = list(_lines(text, name.encode()))
        for metric in (m for m in metrics if m.name == name):
            only = re.compile(metric.only.encode())
            found[metric.key] = sum(float(value) for labels, value in lines if only.search(labels))
    return found


def _lines(text: bytes, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(labels, value) of each line of one metric. They stand together, one after the other, and pages have megabytes: a
    search for the first, not a pattern tried on every line."""
    at = 0 if text.startswith(name) else text.find(b"\n" + name) + 1
    while text.startswith(name, at):
        end = text.find(b"\n", at)
        line = text[at + len(name) : end if end >= 0 else None]
        if (found := _LINE.fullmatch(line)) is not None:
            yield found[1], found[2]
        if end < 0:
            return
        at = end + 1
