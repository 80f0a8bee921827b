"""Runs experiments on sandboxes of this machine, side by side, and hands every result on as it comes.

`LocalExecutor` is the Executor (`executor`) that exists: N slots (`slots`), each with a sandbox and a worker (`worker`)
inside, talked to in JSON lines from this process's only thread. It judges nothing and stores
nothing. What goes wrong with a sandbox is dealt with here:

    an experiment takes longer than its limit      the sandbox is replaced, the attempt has failed
    a worker says nothing (stopped, hung)          the same; one that starts is replaced, too
    a sandbox does not start                       again after a back-off, the others go on; ClusterError if none does
    the harness broke under an experiment          tried once more at the end, on a fresh sandbox; then it is an error
    this process was stopped for a while           the sandboxes' limits wait for as long

All decisions go by the monotonic clock. All sandboxes die with this process, by the kernel's doing; `close` ends them
in order.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import itertools
import json
import selectors
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import getpid
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox import outside
from campaigns.record import Limits, Purpose, RecordedRun, Reset, Result
from campaigns.running.executor import FailedAttempt, Progress, Task
from campaigns.running.slots import Patience, Slot, Stage
from campaigns.uninterrupted import uninterrupted
from classifiers.record import observation_from_json
from injector.channels.recording import recorded_from_json
from injector.errors import ClusterError, MutineerError
from injector.rules_json import rule_to_json
from injector.targets import Channel

__all__ = ["LocalExecutor"]

_LOOK_S = 0.2
"""How often the sandboxes' limits are looked at."""
_AWAY_S = 2.0
"""A look that comes so much later than it should means that this process was stopped, or had much else to do."""
_RESISTS_S = 10.0
"""A killed sandbox is gone within a second; past this the process can't be ended, and that is told."""


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
        worker: str = "campaigns.running.worker",
        patience: Patience | None = None,
    ) -> None:
        self._binaries, self._settings = dict(binaries), settings
        self._limits, self._experiment_s = dataclasses.asdict(limits), experiment_s
        self._parallel, self._progress, self._logs, self._worker = parallel, progress, logs, worker
        self._patience = patience or Patience()
        self._selector = selectors.DefaultSelector()
        self._slots: list[Slot] = []
        self._queue: deque[Task] = deque()
        self._fresh: deque[Task] = deque()
        self._results: deque[Result | FailedAttempt] = deque()
        self._finishing = self._told_finishing = False
        self._next_launch = 0.0
        self._looked = time.monotonic()
        self._hears: Mapping[str, Callable[..., None]] = {
            "booting": self._booting, "ready": self._ready, "phase": self._phase, "done": self._done,
            "error": self._error, "alive": lambda slot: None,
        }  # fmt: skip

    # the Protocol

    def run(self, tasks: Sequence[Task]) -> Iterator[Result | FailedAttempt]:
        """ClusterError if sandboxes do not start at all. May be called again: the sandboxes are still there."""
        self._queue.extend(task for task in tasks if not task.fresh)
        self._fresh.extend(task for task in tasks if task.fresh)
        for number in range(len(self._slots) + 1, min(self._parallel, len(tasks)) + 1):
            self._slots.append(Slot(f"run-{getpid()}-{number}"))
        self._looked = time.monotonic()
        while True:
            while self._results:
                yield self._results[0]
                self._results.popleft()  # only now: whoever took it may have been interrupted before it was kept
            if not self._work_left() and not any(slot.task or slot.pending for slot in self._slots):
                return
            self._turn()

    def retire(self, sandbox: str) -> None:
        """See the Protocol: once what it is doing is done, it is replaced."""
        for slot in self._slots:
            if slot.sandbox == sandbox:
                slot.retired = True

    def finish(self) -> None:
        """Begins nothing more. From a signal handler, too."""
        self._finishing = True

    def close(self) -> None:
        """Ends every sandbox, even if one of them resists (its error is raised at the end)."""
        slots, self._slots = self._slots, []
        self._results.extend(slot.pending for slot in slots if slot.pending)
        with uninterrupted(), contextlib.ExitStack() as ends:
            ends.callback(self._selector.close)
            for slot in slots:
                ends.callback(slot.end)
                ends.callback(self._deaf, slot)

    def unfinished(self) -> Iterator[Result | FailedAttempt]:
        """After `close`: results that were not yet handed over, or not yet kept, when `run` was left (the last one
        may have been): the experiments are done, and must not be lost."""
        yield from self._results

    # a look at everything

    def _work_left(self) -> bool:
        return not self._finishing and bool(self._queue or self._fresh)

    def _turn(self) -> None:
        readable = self._selector.select(timeout=_LOOK_S)  # the one place where an interrupt comes through
        with uninterrupted():
            self._allow_for_absence()
            for key, _ in readable:
                if key.data.stage is not Stage.ENDING:
                    self._read(key.data)
            if self._finishing and not self._told_finishing:
                self._tell_finishing()
            for slot in self._slots:
                self._look_at(slot, time.monotonic())

    def _allow_for_absence(self) -> None:
        now = time.monotonic()
        away_s, self._looked = now - self._looked - _LOOK_S, now
        if away_s > _AWAY_S:
            for slot in self._slots:
                slot.allow(away_s)

    def _tell_finishing(self) -> None:
        self._told_finishing = True
        busy = [slot for slot in self._slots if slot.stage is Stage.BUSY]
        longest = max((slot.deadline - time.monotonic() for slot in busy), default=0.0)
        number = f"{len(busy)} experiment{'s' if len(busy) != 1 else ''}"
        if busy:
            self._progress.note(f"finishing what is under way: {number}, {longest:.0f} s at most")

    def _look_at(self, slot: Slot, now: float) -> None:
        if (why := slot.overdue(now, self._patience.silence_s)) is not None:
            self._lost(slot, why)
        if slot.stage is Stage.ENDING:
            self._await_end(slot, now)
        elif slot.stage is Stage.IDLE and self._work_left():
            self._next(slot)
        if slot.stage is Stage.EMPTY and self._work_left() and self._lacks_sandboxes() and not self._one_is_alone():
            if now >= max(slot.not_before, self._next_launch):
                self._launch(slot)
        elif slot.pending is not None and (slot.stage is Stage.EMPTY or not self._work_left()):
            self._release(slot, "")  # nobody needs the fresh one

    def _one_is_alone(self) -> bool:
        """Whether something runs beside which nothing may begin."""
        return any(slot.task is not None and slot.task.alone for slot in self._slots)

    def _may_begin(self, task: Task, slot: Slot) -> bool:
        others = (other for other in self._slots if other is not slot)
        return not task.alone or all(
            other.stage is Stage.EMPTY or (other.stage is Stage.IDLE and not other.retired) for other in others
        )

    def _lacks_sandboxes(self) -> bool:
        """Whether more is to be done than those that start will take. Those that are to be alone need one in all."""
        starting = sum(slot.stage is Stage.STARTING for slot in self._slots)
        beside = len(self._fresh) + sum(not task.alone for task in self._queue)
        there = any(slot.stage in (Stage.IDLE, Stage.BUSY) for slot in self._slots)
        return beside + (bool(self._queue) and not there) > starting

    def _lacks_fresh_ones(self) -> bool:
        """Whether more is to be done on fresh sandboxes than those that are on their way will take."""
        coming = sum(slot.stage in (Stage.ENDING, Stage.EMPTY, Stage.STARTING) for slot in self._slots)
        return len(self._fresh) > coming

    def _await_end(self, slot: Slot, now: float) -> None:
        if slot.deadline == float("inf"):
            slot.deadline = now + _RESISTS_S
        if slot.gone():
            slot.end()
        elif now > slot.deadline:
            self._progress.note(f"{slot.name} was killed and does not end; it is left behind")
            slot.abandon()

    def _launch(self, slot: Slot) -> None:
        self._next_launch = time.monotonic() + self._patience.apart_s
        try:
            descriptor = slot.launch(self._binaries, self._settings, self._worker, patience=self._patience)
        except (MutineerError, OSError) as error:
            self._failed_start(slot, str(error))
            return
        self._selector.register(descriptor, selectors.EVENT_READ, slot)
        self._progress.sandbox(slot.name, "starting")

    # what a worker says

    def _read(self, slot: Slot) -> None:
        lines = slot.lines()
        if lines is None:
            self._lost(slot, "its first process ended")
        for line in lines or ():
            try:
                message = json.loads(line)
                hear = self._hears[message.pop("said")]
            except (ValueError, KeyError, AttributeError):
                self._lost(slot, f"its worker said what nobody understands: {line[:200]!r}")
                return
            hear(slot, **message)
            if slot.stage is Stage.ENDING:
                return

    def _booting(self, slot: Slot, line: str) -> None:
        self._say(slot, line)

    def _ready(self, slot: Slot, seconds: float) -> None:
        slot.failed_starts, slot.stage, slot.deadline = 0, Stage.IDLE, float("inf")
        if slot.pending is not None:
            self._release(slot, "; a fresh sandbox")
        else:
            slot.watch.enter("idle", time.monotonic())
        self._next(slot)

    def _phase(self, slot: Slot, id: str, phase: str, at: float | None = None) -> None:
        if slot.task is None:
            return
        slot.watch.enter(phase, time.monotonic() if at is None else at)
        planned = slot.task.planned
        self._say(slot, f"{phase}: {'golden run' if planned.golden else planned.why or id}")

    def _done(
        self,
        slot: Slot,
        id: str,
        observation: Any,
        reset: Any,
        why: str | None,
        trace: str | None = None,
        recorded: Any = None,
    ) -> None:
        now, (task, slot.task) = time.monotonic(), (slot.task, None)
        if task is None or task.planned.id != id:
            slot.task = task
            self._lost(slot, f"its worker did {id}, which it was not asked for")
            return
        began = slot.began
        times = slot.watch.take("idle" if reset else "resetting", now)
        if reset:
            self._next(slot)  # first of all: reading what was seen takes a while
        try:
            result = Result(
                planned=task.planned,
                observation=observation_from_json(observation),
                error=None,
                reset=Reset(**reset) if reset else Reset("recreate", 0.0, why or ""),
                seconds=now - began,
                sandbox=slot.sandbox,
                purpose=task.purpose,
                trace=base64.b64decode(trace, validate=True) if trace is not None else None,
                times=times,
                **_recorded(recorded or {}),
            )
        except (MutineerError, TypeError, binascii.Error) as error:
            self._failed(task, f"what the worker told can't be read: {error}", slot, now - began, times)
            if not reset:
                self._replace(slot)
            return
        if reset:
            self._results.append(result)
        else:
            slot.pending, slot.began = result, now
            self._replace(slot)

    def _error(self, slot: Slot, id: str | None, error: str) -> None:
        self._lost(slot, error)

    # what follows from it

    def _say(self, slot: Slot, state: str) -> None:
        slot.says.append(state)
        self._progress.sandbox(slot.name, state)

    def _next(self, slot: Slot) -> None:
        """Gives an idle sandbox something to do; one that has been used makes way where only a fresh one will do."""
        if slot.retired:
            if not self._one_is_alone():
                self._replace(slot)
            return
        begins = not self._finishing and not self._one_is_alone()
        if begins and self._queue and self._may_begin(self._queue[0], slot):
            task = self._queue.popleft()
        elif begins and self._fresh and not slot.used and self._may_begin(self._fresh[0], slot):
            task = self._fresh.popleft()
        else:
            slot.stage, slot.deadline = Stage.IDLE, float("inf")
            if begins and self._lacks_fresh_ones():
                self._replace(slot)
            else:
                self._say(slot, "idle")
            return
        now, planned = time.monotonic(), task.planned
        slot.task, slot.stage, slot.used = task, Stage.BUSY, True
        slot.began, slot.deadline = now, now + self._experiment_s
        rule = rule_to_json(planned.rule) if planned.rule else None
        message: dict[str, Any] = {
            "do": "run",
            "id": planned.id,
            "workload": planned.workload,
            "rule": rule,
            "limits": self._limits,
        }
        if isinstance(planned, RecordedRun):
            message["record"] = [channel.value for channel in planned.record]
        with contextlib.suppress(BrokenPipeError):  # it has just ended: its stdout will tell
            slot.tell(json.dumps(message).encode())

    def _release(self, slot: Slot, how: str) -> None:
        """The result that waited for its fresh sandbox waits no more: it is there, or nobody needs it."""
        assert slot.pending is not None
        result, now = slot.pending, time.monotonic()
        took = now - slot.began if how else 0.0
        proof = f"{result.reset.proof if result.reset else ''}{how}"
        times = slot.watch.take("idle" if how else "boot", now)
        whole = {part: round(times.get(part, 0.0) + result.times.get(part, 0.0), 3) for part in {*result.times, *times}}
        reset = Reset("recreate", round(took, 3), proof)
        self._results.append(dataclasses.replace(result, reset=reset, seconds=result.seconds + took, times=whole))
        slot.pending = None

    def _lost(self, slot: Slot, why: str) -> None:
        """Its experiment is tried again, or an error (ours, not a finding); another sandbox takes its place."""
        said = f"{why}\n{slot.last_words()}".strip()
        if slot.stage is Stage.STARTING:
            self._keep_logs(slot, slot.name)
            self._failed_start(slot, said)
        elif slot.task is not None:
            task, slot.task = slot.task, None
            self._keep_logs(slot, _log_name(task))
            now = time.monotonic()
            self._failed(task, said, slot, now - slot.began, slot.watch.take("boot", now))
        self._replace(slot)

    def _failed(self, task: Task, why: str, slot: Slot, seconds: float, times: Mapping[str, float]) -> None:
        """Quarantine: an experiment under which the harness broke twice is not tried a third time."""
        if not task.failed:
            self._results.append(FailedAttempt(task, why))
            self._fresh.append(dataclasses.replace(task, failed=(why,)))
            return
        attempts = (*task.failed, why)
        self._results.append(
            Result(
                planned=task.planned,
                observation=None,
                error="\n\n".join(f"attempt {n}: {each}" for n, each in enumerate(attempts, 1)),
                reset=Reset("recreate", 0.0, "the harness failed"),
                seconds=seconds,
                sandbox=slot.sandbox,
                purpose=task.purpose,
                times=times,
            )
        )

    def _failed_start(self, slot: Slot, why: str) -> None:
        slot.failed_starts += 1
        wait_s = self._patience.back_off_s(slot.failed_starts)
        slot.not_before = time.monotonic() + wait_s
        if slot.pending is not None:
            self._release(slot, "")
        if all(each.failed_starts >= self._patience.starts for each in self._slots):
            raise ClusterError(f"sandboxes do not start: {why}\nlogs in {self._logs}")
        if slot.failed_starts == self._patience.starts:
            first = why.partition("\n")[0]
            self._progress.note(f"{slot.name} does not start ({first}); it is tried again, the others go on")
        self._progress.sandbox(slot.name, f"did not start, again in {wait_s:.0f} s")

    def _replace(self, slot: Slot) -> None:
        """Ends its sandbox; a look later finds it empty, and launches another if there is work for it."""
        if slot.stage not in (Stage.ENDING, Stage.EMPTY):
            if slot.failed_starts == 0:
                self._progress.sandbox(slot.name, "being replaced by a fresh one")
            self._deaf(slot)
            slot.kill()

    def _deaf(self, slot: Slot) -> None:
        stdout = slot.launched.process.stdout if slot.launched is not None else None
        if stdout is not None and not stdout.closed:
            with contextlib.suppress(KeyError):  # it is so already
                self._selector.unregister(stdout)

    def _unused(self, name: str) -> Path:
        """A folder for logs that is not there yet: the second replay's do not take the place of the first's."""
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(path for each in names if not (path := self._logs / each).exists())

    def _keep_logs(self, slot: Slot, name: str) -> None:
        if slot.launched is not None:
            try:
                shutil.copytree(slot.launched.config.logs, self._unused(name))
            except OSError as error:  # a full disk, say: the store will tell
                self._progress.note(f"the logs of {name} can't be kept: {error}")


def _recorded(said: Any) -> dict[str, Any]:
    """A worker's `recorded` as a Result has it."""
    channels = {Channel(name): recorded_from_json(each) for name, each in said.get("channels", {}).items()}
    baseline = {key: base64.b64decode(value) for key, value in said.get("baseline", {}).items()}
    return {"recorded": channels, "baseline": baseline}


def _log_name(task: Task) -> str:
    """Below the run's logs: ID, or ID-replay of a repeat; of what failed there before, -2 and so on."""
    return task.planned.id if task.purpose is Purpose.PLANNED else f"{task.planned.id}-{task.purpose.value}"
