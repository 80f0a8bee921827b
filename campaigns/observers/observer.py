"""What an observer is: something that looks at the cluster between `start` and `stop`, and adds its part to the record.

Nothing that the cluster does is an exception for it. What it can't see it says in words: in
`Observation.blind` if classes are drawn from it, which makes the verdict inconclusive, in `missing` if not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from classifiers.observation import Observation

__all__ = ["Observer", "watching"]


class Observer(Protocol):
    """One observer of one experiment."""

    def start(self) -> None:
        """Begins to look; returns at once or within some milliseconds."""

    def stop(self) -> None:
        """Ends it. Called once, after `start`, whatever happened in between."""

    def add_to(self, observation: Observation) -> Observation:
        """The record with this observer's part; after `stop`."""


@contextmanager
def watching(observers: Sequence[Observer]) -> Iterator[None]:
    """Starts them in order; at the end stops those that were started, the last first."""
    with ExitStack() as stack:
        for observer in observers:
            observer.start()
            stack.callback(observer.stop)
        yield
