"""What a workload is, and the registry of those that there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from campaigns.observers.history import History
    from campaigns.workloads.user import User

__all__ = ["Registry", "Workload"]


class Workload(Protocol):
    """One workload."""

    name: str
    namespace: str
    """Where its objects live."""
    service: str
    """Name of the Service that its clients probe, in `namespace`."""
    wanted_pods: int
    """Pods that the user asks for in the end."""

    asked_for: tuple[str, ...]
    """Identities of the objects that its user creates, each once; everything else is made by controllers."""

    def drive(self, user: User) -> None:
        """Asks for everything, as its user would. Errors that the API answers are the user's to keep, not raised."""

    def done(self, history: History) -> bool:
        """Whether the stored state says that everything asked for is there (traffic is the prober's to tell)."""


class Registry:
    """Workloads by name; a name that is taken is a ValueError."""

    def __init__(self) -> None:
        self._workloads: dict[str, Workload] = {}

    def add(self, workload: Workload) -> None:
        if workload.name in self._workloads:
            raise ValueError(f"a workload named {workload.name!r} is registered already")
        self._workloads[workload.name] = workload

    def names(self) -> tuple[str, ...]:
        """In order of registration."""
        return tuple(self._workloads)

    def __getitem__(self, name: str) -> Workload:
        return self._workloads[name]

    def __contains__(self, name: object) -> bool:
        return name in self._workloads

    def __iter__(self) -> Iterator[str]:
        return iter(self._workloads)
