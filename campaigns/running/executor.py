"""What runs experiments, seen from a campaign: tasks in, results out, in whatever order suits it.

`Executor` is the Protocol, and all that a campaign knows of what lies behind. `runner.LocalExecutor` is the
one that exists: sandboxes on this machine. An engine that spreads the tasks over many machines can take its place; it
has to keep what the Protocol's docstring says, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from campaigns.record import PlannedExperiment, Purpose, Result

__all__ = ["Executor", "FailedAttempt", "Progress", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """One experiment to be done. `failed`: what its earlier attempts died of, in words: failures of the harness."""

    planned: PlannedExperiment
    purpose: Purpose = Purpose.PLANNED
    failed: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether it needs a sandbox on which nothing has run: what comes of it is to depend on nothing before."""
        return self.purpose in (Purpose.CONFIRM, Purpose.REPLAY) or bool(self.failed)

    @property
    def alone(self) -> bool:
        """Whether nothing else may run meanwhile: it is to be seen how long things take."""
        return self.purpose is Purpose.ALONE


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """The harness broke under a task for the first time: it is to be tried again."""

    task: Task
    error: str


class Progress(Protocol):
    """Told what the executor is doing."""

    def sandbox(self, name: str, state: str) -> None:
        """A sandbox is doing something else now; `state` in a few words: a phase, or a phase, a colon and of what."""

    def note(self, words: str) -> None:
        """Something that a person should know of, once."""


class Executor(Protocol):
    """Runs tasks. Whatever it runs them on, it keeps this:

    - `run` yields exactly one Result for each task that it has begun and that was not lost with `close`: never two,
      whatever machine answered twice or late; in any order, each as soon as it is there. Before it, at most one
      FailedAttempt: a task under which the harness broke is tried once more, on a cluster on which nothing has run;
      the second time it is a Result with an `error` that tells of both. Task.failed counts as attempts.
    - A task with `fresh` gets a cluster on which nothing has run; any other one that is proven to be as at its start.
      While a task with `alone` is carried out, no other is, no cluster starts and none is reset.
    - `retire` may be called while `run` goes on, with the `sandbox` of a Result: nothing more is begun on that cluster.
    - `finish` may be called at any time, from a signal handler too: nothing more is begun, what is under way is
      finished, and `run` ends. Tasks that were not begun have no Result.
    - `close` ends everything that still runs and leaves nothing behind, after any exception, more than once.
      `unfinished` then yields what `run` had not handed over, or whose taker may not have kept it (so that the last
      one may come twice).
    - ClusterError out of `run` means that it can do nothing at all any more.
    """

    def run(self, tasks: Sequence[Task]) -> Iterator[Result | FailedAttempt]: ...

    def retire(self, sandbox: str) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...

    def unfinished(self) -> Iterator[Result | FailedAttempt]: ...
