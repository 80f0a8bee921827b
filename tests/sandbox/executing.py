"""Tasks carried out on one real sandbox, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from campaigns.assets import Assets
from campaigns.record import Result
from campaigns.running.executor import Task
from campaigns.running.runner import LocalExecutor
from campaigns.spec.campaign_spec import TimeLimits

__all__ = ["carried_out"]


class _Silent:
    def sandbox(self, name: str, state: str) -> None: ...

    def note(self, words: str) -> None: ...


def carried_out(
    tasks: Sequence[Task], binaries: Assets, logs: Path, *, limits: TimeLimits | None = None, heal: bool = False
) -> list[Result]:
    """What came of each, in the order in which they were done."""
    within = limits or TimeLimits()
    executor = LocalExecutor(
        binaries=binaries,
        settings={"nodes": 2},
        limits=within.of_experiment(heal=heal),
        experiment_s=within.deadline_s(heal=heal),
        parallel=1,
        progress=_Silent(),
        logs=logs,
    )
    try:
        return [result for result in executor.run(tasks) if isinstance(result, Result)]
    finally:
        executor.close()
