"""The workloads that there are: ours, and those of installed packages.

A package adds some by an entry point of the group `mutineer.workloads` that leads to a Workload or a sequence of them:

    [project.entry-points."mutineer.workloads"]
    shop = "shop.resilience:WORKLOADS"

Entry points are looked at when somebody asks for a name that is not ours, or for all names. One that can't be loaded is
told in words (`broken`) and takes nothing away from the others.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata

from campaigns.workloads.workload import Workload

__all__ = ["GROUP", "Registry"]

GROUP = "mutineer.workloads"


def _installed() -> Iterable[metadata.EntryPoint]:
    return metadata.entry_points(group=GROUP)


class Registry:
    """Workloads by name; a name that is taken is a ValueError. `entry_points`: where those of other packages are."""

    def __init__(
        self,
        workloads: Sequence[Workload] = (),
        *,
        entry_points: Callable[[], Iterable[metadata.EntryPoint]] = _installed,
    ) -> None:
        self._workloads: dict[str, Workload] = {}
        self._entry_points: Callable[[], Iterable[metadata.EntryPoint]] | None = entry_points
        self._broken: dict[str, str] = {}
        for workload in workloads:
            self.add(workload)

    def add(self, workload: Workload) -> None:
        if workload.name in self._workloads:
            raise ValueError(f"a workload named {workload.name!r} is registered already")
        self._workloads[workload.name] = workload

    def names(self) -> tuple[str, ...]:
        """Ours in order of registration, then those of packages by the names of their entry points."""
        self._load()
        return tuple(self._workloads)

    @property
    def broken(self) -> tuple[str, ...]:
        """What is wrong with entry points that gave no workload, in words."""
        self._load()
        return tuple(f"entry point {name} of {GROUP}: {why}" for name, why in self._broken.items())

    def __getitem__(self, name: str) -> Workload:
        """KeyError for a name that there is not."""
        if name not in self._workloads:
            self._load()
        return self._workloads[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._workloads:
            self._load()
        return name in self._workloads

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _load(self) -> None:
        if self._entry_points is None:
            return
        found, self._entry_points = sorted(self._entry_points(), key=lambda point: point.name), None
        for point in found:
            try:
                loaded = point.load()
                for workload in [loaded] if isinstance(loaded, Workload) else list(loaded):
                    if not isinstance(workload, Workload):
                        raise TypeError(f"expected Workloads, got {workload!r:.60}")
                    self.add(workload)
            except Exception as error:  # noqa: BLE001 - the border of one plugin: told in words
                self._broken[f"{point.name} ({point.value})"] = traceback.format_exception_only(error)[-1].strip()
