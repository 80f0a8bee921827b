"""Where the time of an experiment goes, by part, as its record keeps it (ExperimentRecord.times, in seconds).

The parts follow each other without a gap from the moment a sandbox is free to the moment it is free again, so that
they add up to the sandbox's time. What a part was is told by the worker; its names are the phases that it says
(preparing, driving, settling, steady, canary, …), and these:

    boot        the start of the sandbox, where the experiment is the first on it and no reset asked for it
    idle        free and ready, nothing given to it
    arming      the worker has it, and makes everything ready
    resetting   rollback with its proof, or the end of the sandbox and the start of a fresh one
    telling     what was seen is written down, sent and read

`judging` is the runner's, while the sandbox is at the next one already; it is not part of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BESIDE", "OVERHEAD", "Stopwatch", "overhead_s", "whole_s"]

OVERHEAD = frozenset({"boot", "idle", "arming", "collecting", "telling"})
"""In these the cluster neither does the workload, nor is watched or asked, nor is made clean."""
BESIDE = frozenset({"judging"})


def whole_s(times: Mapping[str, float]) -> float:
    """A sandbox's seconds for one experiment."""
    return sum(seconds for part, seconds in times.items() if part not in BESIDE)


def overhead_s(times: Mapping[str, float]) -> float:
    """Those of them that the harness needs for itself."""
    return sum(seconds for part, seconds in times.items() if part in OVERHEAD)


class Stopwatch:
    """Adds up seconds by part. `at`: monotonic seconds; one that lies before the part's begin counts as its begin."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._part: str | None = None
        self._since = 0.0

    def enter(self, part: str, at: float) -> None:
        """The part that was is over, this one begins."""
        if self._part is not None:
            self._parts[self._part] = self._parts.get(self._part, 0.0) + max(at - self._since, 0.0)
        self._part, self._since = part, max(at, self._since)

    def take(self, part: str, at: float) -> dict[str, float]:
        """Seconds by part so far, to milliseconds; begins anew, with `part`."""
        self.enter(part, at)
        taken, self._parts = self._parts, {}
        return {name: round(seconds, 3) for name, seconds in taken.items()}
