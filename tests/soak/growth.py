"""Whether a sandbox has grown: samples at rest, judged by the medians of the first and the last quarter after the
warm-up. Values in, values out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Growth", "Sample", "enough", "grown", "more"]

_WARM_UP = 0.15
"""Share of the samples that is not counted: Go's heaps, Python's arenas and caches fill. Arbitrary."""
_MOST_SHARE, _MOST_BYTES = 0.10, 12 << 20
"""Memory of one component may differ by 10 %, or 12 MB: Go returns memory when it sees fit, and a heap is collected
when it has doubled since. A leak of 1 KB a request would show as 30 MB an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sandbox at rest. Of each component: processes, threads, descriptors, memory that is no file's (PSS)."""

    at_s: float
    processes: Mapping[str, int]
    threads: Mapping[str, int]
    descriptors: Mapping[str, int]
    memory_bytes: Mapping[str, int]
    mounts: int
    namespaces: int
    """Files of pods' namespaces."""
    links: int
    files: int
    """Everything that kubelets, pods and runtime store for themselves, but for logs."""
    logs: int
    """Files and folders of pods' logs: the kubelet removes those of dead pods once a minute."""
    database_bytes: int
    """etcd's: kube-apiserver compacts nothing in a sandbox, so the history of all objects stays in it."""

    def things(self) -> dict[str, int]:
        """What must be as many as before."""
        counted = {"mounts": self.mounts, "pod namespaces": self.namespaces, "links": self.links, "files": self.files}
        return counted | {f"processes of {name}": count for name, count in self.processes.items()}


def more(before: Sample, after: Sample) -> list[str]:
    """Things that are more than they were, in words."""
    then, now = before.things(), after.things()
    return [f"{name}: {now[name]}, {then.get(name, 0)} before" for name in now if now[name] > then.get(name, 0)]


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of the first and the last quarter of a value."""

    name: str
    unit: str
    first: float
    last: float
    allowed: float

    @property
    def wrong(self) -> bool:
        return self.last - self.first > self.allowed

    def row(self) -> dict[str, str]:
        scale = 1e6 if self.unit == "MB" else 1.0
        shown = {
            "first quarter": self.first,
            "last quarter": self.last,
            "growth": self.last - self.first,
            "allowed": self.allowed,
        }
        return {"unit": self.unit, **{name: f"{value / scale:.4g}" for name, value in shown.items()}}


def _counted(samples: Sequence[Sample]) -> list[Sample]:
    return list(samples[int(len(samples) * _WARM_UP) :])


def enough(samples: Sequence[Sample]) -> bool:
    """Whether each quarter has two of those after the warm-up."""
    return len(_counted(samples)) >= 8


def grown(samples: Sequence[Sample]) -> list[Growth]:
    """Every value's growth. ValueError if there are not `enough`."""
    counted = _counted(samples)
    if not enough(samples):
        raise ValueError(f"{len(counted)} samples after the warm-up are too few")
    quarter = len(counted) // 4
    first, last = counted[:quarter], counted[-quarter:]

    def both(value: Callable[[Sample], float]) -> tuple[float, float]:
        return statistics.median(map(value, first)), statistics.median(map(value, last))

    found = []
    database = both(lambda s: s.database_bytes)
    components = sorted({name for each in counted for name in each.memory_bytes})
    for name in components:
        pss = both(lambda s, name=name: s.memory_bytes.get(name, 0))  # type: ignore[misc]
        # etcd maps its database and keeps an index of every revision: what the history costs is not a leak
        history = 2 * (database[1] - database[0]) if name == "etcd" else 0.0
        found.append(Growth(f"memory of {name}", "MB", *pss, allowed=max(_MOST_SHARE * pss[0], _MOST_BYTES) + history))
        for what, of in (("descriptors", "descriptors"), ("threads", "threads")):
            counts = both(lambda s, of=of, name=name: getattr(s, of).get(name, 0))  # type: ignore[misc]
            # Go and gRPC start threads and connections as they need them, and keep them
            found.append(Growth(f"{what} of {name}", "", *counts, allowed=max(4, _MOST_SHARE * counts[0])))
    for name in sorted({name for each in counted for name in each.things()}):
        found.append(Growth(name, "", *both(lambda s, name=name: s.things().get(name, 0)), allowed=0))  # type: ignore[misc]
    # those of a minute may be there or not: some ten a pod
    found.append(Growth("pods' log files", "", *both(lambda s: s.logs), allowed=100))
    total = both(lambda s: sum(s.memory_bytes.values()))
    found.append(Growth("memory, all", "MB", *total, allowed=_MOST_SHARE * total[0] + 2 * (database[1] - database[0])))
    return [*found, Growth("etcd's database", "MB", *database, allowed=float("inf"))]
