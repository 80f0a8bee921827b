"""Runs a plan on sandboxes side by side, and hands every result on as it comes.

The executor is a Protocol: `Executor` takes experiments and yields results, whatever it runs them on. `LocalExecutor`
is the one that exists: N sandboxes on this machine, each with a worker (campaigns.worker) inside, talked to in JSON
lines from this process's only thread. It judges nothing and stores nothing.

All sandboxes die with this process, by the kernel's doing; `LocalExecutor.close` ends them in order.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import selectors
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from campaigns import environment
from campaigns.clusters.sandbox import outside
from campaigns.experiment import Limits
from campaigns.record import PlannedExperiment, RecordedRun, Reset
from campaigns.uninterrupted import uninterrupted
from classifiers.observation import Observation
from classifiers.record import observation_from_json
from injector.channels.recording import Recorded, recorded_from_json
from injector.errors import ClusterError
from injector.rules_json import rule_to_json
from injector.targets import Channel

__all__ = ["Executor", "LocalExecutor", "Progress", "Result", "sandboxes_side_by_side"]

_SANDBOX_BYTES = 1_600 << 20
"""Memory of one sandbox under load: 960 MB were measured (control-plane notes), and pods and probes come on top."""
_BOOT_WITHIN_S = 120.0
_BOOTS_IN_A_ROW = 2
"""A sandbox that does not start twice in a row will not start the third time either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one experiment. Exactly one of `observation` and `error` is set. `seconds` with its reset."""

    planned: PlannedExperiment
    observation: Observation | None
    error: str | None
    reset: Reset | None
    seconds: float
    sandbox: str
    recorded: Mapping[Channel, Recorded] = field(default_factory=dict)
    """Of a RecordedRun: what passed, by channel."""
    baseline: Mapping[str, bytes] = field(default_factory=dict)
    """Of a RecordedRun: what was stored before it, by key."""


class Progress(Protocol):
    """Told what the sandboxes are doing."""

    def sandbox(self, name: str, state: str) -> None:
        """A sandbox is doing something else now; `state` in a few words."""


class Executor(Protocol):
    """Runs experiments, in whatever order suits it, and yields each result once. Closing it ends what still runs."""

    def run(self, experiments: Sequence[PlannedExperiment]) -> Iterator[Result]: ...

    def close(self) -> None: ...


def sandboxes_side_by_side(cores: int, available_bytes: int, inotify_free: int, wanted: int) -> int:
    """How many sandboxes a machine bears: one a core (a golden run keeps most of one busy), as memory and the kernel's
    limit on inotify allow, and no more than there are experiments."""
    watched = inotify_free // environment.INOTIFY_PER_SANDBOX
    return max(1, min(cores, available_bytes // _SANDBOX_BYTES, watched, wanted))


def _recorded(said: Any) -> dict[str, Any]:
    """A worker's `recorded` as a Result has it."""
    channels = {Channel(name): recorded_from_json(each) for name, each in said.get("channels", {}).items()}
    baseline = {key: base64.b64decode(value) for key, value in said.get("baseline", {}).items()}
    return {"recorded": channels, "baseline": baseline}


@dataclass(slots=True)
class _Sandbox:
    name: str
    launched: outside.Launched
    deadline: float
    began: float
    ready: bool = False
    task: PlannedExperiment | None = None
    buffer: bytes = b""
    pending: Result | None = None
    """Finished, but its reset (recreate) is still under way."""
    says: list[str] = field(default_factory=list)


class LocalExecutor:
    """`parallel` sandboxes on this machine. Use from the main thread: sandboxes die with the thread that made them."""

    def __init__(
        self,
        *,
        binaries: Mapping[str, Path],
        settings: outside.Settings,
        limits: Limits,
        experiment_s: float,
        parallel: int,
        progress: Progress,
        logs: Path,
        worker: str = "campaigns.worker",
    ) -> None:
        self._binaries, self._settings = dict(binaries), settings
        self._limits, self._experiment_s = limits, experiment_s
        self._parallel, self._progress, self._logs, self._worker = parallel, progress, logs, worker
        self._selector = selectors.DefaultSelector()
        self._sandboxes: list[_Sandbox] = []
        self._queue: deque[PlannedExperiment] = deque()
        self._results: deque[Result] = deque()
        self._failed_boots = 0

    def run(self, experiments: Sequence[PlannedExperiment]) -> Iterator[Result]:
        """ClusterError if sandboxes do not start at all."""
        self._queue.extend(experiments)
        with uninterrupted():
            for number in range(1, min(self._parallel, len(experiments)) + 1):
                self._launch(f"run-{os.getpid()}-{number}")
        while self._results or self._queue or any(s.task or s.pending for s in self._sandboxes):
            while self._results:
                yield self._results[0]
                self._results.popleft()  # only now: whoever took it may have been interrupted before it was kept
            self._turn()

    def close(self) -> None:
        """Ends every sandbox, even if one of them resists (its error is raised at the end)."""
        self._results.extend(s.pending for s in self._sandboxes if s.pending)
        with uninterrupted(), contextlib.ExitStack() as ends:
            ends.callback(self._selector.close)
            for sandbox in self._sandboxes:
                ends.callback(self._end, sandbox)
            self._sandboxes = []

    def unfinished(self) -> Iterator[Result]:
        """After `close`: results that were not yet handed over, or not yet kept, when `run` was left (the last one
        may have been): the experiments are done, and must not be lost."""
        yield from self._results

    def _launch(self, name: str, *, pending: Result | None = None, began: float | None = None) -> None:
        config = outside.prepare(name, binaries=self._binaries, **self._settings)
        launched = outside.launch(config, self._worker, pipes=True, dies_with_us=True)
        now = time.monotonic()
        sandbox = _Sandbox(name, launched, now + _BOOT_WITHIN_S, began or now, pending=pending)
        assert launched.process.stdout is not None
        os.set_blocking(launched.process.stdout.fileno(), False)
        self._selector.register(launched.process.stdout, selectors.EVENT_READ, sandbox)
        self._sandboxes.append(sandbox)
        self._progress.sandbox(name, "starting")

    def _turn(self) -> None:
        readable = self._selector.select(timeout=0.5)  # the one place where an interrupt comes through
        with uninterrupted():
            for key, _ in readable:
                self._read(key.data)
            now = time.monotonic()
            for sandbox in [s for s in self._sandboxes if now > s.deadline]:
                what = "the experiment" if sandbox.ready else "the sandbox's start"
                self._lost(sandbox, f"{what} did not end in time; last seen: {' → '.join(sandbox.says[-3:])}")

    def _read(self, sandbox: _Sandbox) -> None:
        stdout = sandbox.launched.process.stdout
        assert stdout is not None
        data = os.read(stdout.fileno(), 1 << 20)
        if not data:
            self._lost(sandbox, "its first process ended")
            return
        *lines, sandbox.buffer = (sandbox.buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            getattr(self, f"_{message.pop('said')}")(sandbox, **message)
            if sandbox not in self._sandboxes:
                return

    # what a worker says

    def _booting(self, sandbox: _Sandbox, line: str) -> None:
        self._say(sandbox, line)

    def _ready(self, sandbox: _Sandbox, seconds: float) -> None:
        sandbox.ready, self._failed_boots = True, 0
        if (pending := sandbox.pending) is not None:
            took = time.monotonic() - sandbox.began
            reset = Reset(
                "recreate", round(took, 3), f"{pending.reset.proof if pending.reset else ''}; a fresh sandbox"
            )
            self._results.append(dataclasses.replace(pending, reset=reset, seconds=pending.seconds + took))
            sandbox.pending = None
        self._next(sandbox)

    def _phase(self, sandbox: _Sandbox, id: str, phase: str) -> None:
        assert sandbox.task is not None
        self._say(sandbox, f"{phase}: {'golden run' if sandbox.task.golden else sandbox.task.why or id}")

    def _done(
        self, sandbox: _Sandbox, id: str, observation: Any, reset: Any, why: str | None, recorded: Any = None
    ) -> None:
        planned, sandbox.task = sandbox.task, None
        assert planned is not None and planned.id == id
        result = Result(
            planned=planned,
            observation=observation_from_json(observation),
            error=None,
            reset=Reset(**reset) if reset else Reset("recreate", 0.0, why or ""),
            seconds=time.monotonic() - sandbox.began,
            sandbox=sandbox.name,
            **_recorded(recorded or {}),
        )
        if reset:
            self._results.append(result)
            self._next(sandbox)
        else:
            self._recreate(sandbox, result)

    def _error(self, sandbox: _Sandbox, id: str | None, error: str) -> None:
        self._lost(sandbox, error)

    # what follows from it

    def _say(self, sandbox: _Sandbox, state: str) -> None:
        sandbox.says.append(state)
        self._progress.sandbox(sandbox.name, state)

    def _next(self, sandbox: _Sandbox) -> None:
        now = time.monotonic()
        if not self._queue:
            sandbox.deadline = float("inf")
            self._say(sandbox, "idle")
            return
        sandbox.task = task = self._queue.popleft()
        sandbox.began, sandbox.deadline = now, now + self._experiment_s
        limits = dataclasses.asdict(self._limits)
        rule = rule_to_json(task.rule) if task.rule else None
        message: dict[str, Any] = {
            "do": "run",
            "id": task.id,
            "workload": task.workload,
            "rule": rule,
            "limits": limits,
        }
        if isinstance(task, RecordedRun):
            message["record"] = [channel.value for channel in task.record]
        stdin = sandbox.launched.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has just ended: its stdout will tell
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()

    def _lost(self, sandbox: _Sandbox, why: str) -> None:
        """Its experiment becomes an error (ours, not a finding); another sandbox takes its place."""
        log = sandbox.launched.config.logs / "sandbox.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
        if not sandbox.ready:
            self._failed_boots += 1
            if self._failed_boots >= _BOOTS_IN_A_ROW:
                self._keep_logs(sandbox)
                raise ClusterError(f"sandboxes do not start: {why}\n{tail}\nlogs in {self._logs}")
        result = sandbox.pending
        if sandbox.task is not None:
            self._keep_logs(sandbox)
            result = Result(
                planned=sandbox.task,
                observation=None,
                error=f"{why}\n{tail}".strip(),
                reset=Reset("recreate", 0.0, "the harness failed"),
                seconds=time.monotonic() - sandbox.began,
                sandbox=sandbox.name,
            )
        self._recreate(sandbox, result)

    def _recreate(self, sandbox: _Sandbox, pending: Result | None) -> None:
        self._progress.sandbox(sandbox.name, "being replaced by a fresh one")
        began = time.monotonic()
        sandbox.task, sandbox.pending = None, pending  # kept by `unfinished`, should ending or launching fail
        self._end(sandbox)
        if self._queue:
            self._launch(sandbox.name, pending=pending, began=began)
        elif pending is not None:
            self._results.append(pending)
        self._sandboxes.remove(sandbox)

    def _end(self, sandbox: _Sandbox) -> None:
        stdout = sandbox.launched.process.stdout
        if stdout is not None and not stdout.closed:
            self._selector.unregister(stdout)
        sandbox.launched.end()

    def _keep_logs(self, sandbox: _Sandbox) -> None:
        name = sandbox.task.id if sandbox.task else sandbox.name
        shutil.copytree(sandbox.launched.config.logs, self._logs / name, dirs_exist_ok=True)
