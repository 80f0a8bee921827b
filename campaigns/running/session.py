"""One process's work on a run: tasks go to an executor, what comes back is judged, stored and shown, until all is done
or somebody says stop. Nothing of an experiment is kept in memory once it is stored.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from campaigns.judging.bench import Bench
from campaigns.judging.rejudging import rejudge
from campaigns.judging.suspects import is_quiet
from campaigns.record import ExperimentRecord, Purpose, Result
from campaigns.running.executor import Executor, FailedAttempt, Task
from campaigns.running.stopping import Stop, Tally
from campaigns.spec.policies import ConfirmPolicy, StopRules
from campaigns.store import Run
from campaigns.uninterrupted import uninterrupted
from classifiers.numbers import ALONE_GOLDENS
from classifiers.verdict import State

__all__ = ["Session", "SessionView", "due_alone", "due_confirmations", "missing_tasks"]


_MANY = 200
"""Judging so many again takes seconds, and a person may wonder."""


class SessionView(Protocol):
    """Told what came of the experiments."""

    def finished(self, record: ExperimentRecord, purpose: Purpose) -> None:
        """One is done and stored; its verdict is by the golden runs so far."""

    def note(self, words: str) -> None: ...


def missing_tasks(run: Run) -> list[Task]:
    """What the plan has and the record has not, in the plan's order, each with what it failed of before."""
    finished, failed = run.finished_ids(), run.failed_attempts()
    todo = (planned for planned in run.plan.experiments if planned.id not in finished)
    return [Task(planned, failed=failed.get(planned.id, ())[-1:]) for planned in todo]


def due_confirmations(run: Run, policy: ConfirmPolicy | None) -> list[Task]:
    """Findings of the policy's classes, as often as they are still to be done again, in the order they came."""
    if policy is None:
        return []
    done = Counter(each.record.planned.id for each in run.repeats(purpose=Purpose.CONFIRM, observations=False))
    found = [
        record.planned
        for record in run.records(observations=False)
        if not record.planned.golden and record.verdict.state is State.JUDGED
        if record.verdict.orchestrator is not None and record.verdict.orchestrator.value in policy.classes
    ]
    return [Task(planned, Purpose.CONFIRM) for planned in found for _ in range(policy.times - done[planned.id])]


def due_alone(run: Run) -> list[Task]:
    """What was late beside others and is to be done again alone; before it, of the same workloads, as many golden runs
    as there have to be to tell what is late then. What was tried and told nothing is tried again."""
    late = [record.planned for record in run.records(observations=False) if record.verdict.to_be_alone]
    if not late:
        return []
    seen: dict[str, set[str]] = {}
    for repeat in run.repeats(purpose=Purpose.ALONE, spoiled=lambda identifier, why: None):
        observation = repeat.record.observation
        if observation is not None and not (repeat.record.planned.golden and observation.unclean):
            seen.setdefault(repeat.record.planned.workload, set()).add(repeat.record.planned.id)
    tasks = []
    for workload in dict.fromkeys(each.workload for each in late):
        golden = [each for each in run.plan.experiments if each.golden and each.workload == workload]
        there = seen.get(workload, set())
        left = ALONE_GOLDENS - sum(each.id in there for each in golden)
        tasks += [each for each in golden if each.id not in there][: max(0, left)]
        tasks += [each for each in late if each.workload == workload and each.id not in there]
    return [Task(each, Purpose.ALONE) for each in tasks]


def _casts_doubt(record: ExperimentRecord) -> bool:
    """Whether it is a golden run that shows something wrong with its sandbox."""
    return record.planned.golden and record.verdict.state is State.JUDGED and not is_quiet(record.verdict)


class Session:
    """Works on an open run. `stop` is listened to while it works; its rules count from here."""

    def __init__(
        self,
        run: Run,
        bench: Bench,
        view: SessionView,
        *,
        stop: Stop,
        rules: StopRules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._bench, self._view, self._stop = run, bench, view, stop
        self._tally, self._clock = Tally(rules or StopRules.model_validate({"errors": None})), clock
        self._began = clock()
        self._kept: object = None

    @contextmanager
    def closing(self, executor: Executor) -> Iterator[None]:
        """At its end the executor is closed, whatever happens, and what was done but not yet handed over is kept."""
        try:
            yield
        finally:
            try:
                executor.close()
            finally:
                for came in executor.unfinished():
                    self._keep(came)

    def work(self, executor: Executor, tasks: Sequence[Task]) -> None:
        """Until all are done, or somebody says stop (`stop.why`)."""
        self._stop.listen(executor.finish)
        try:
            for came in executor.run(tasks):
                record = self._keep(came)
                if record is not None and _casts_doubt(record):
                    executor.retire(record.sandbox)
                if (why := self._tally.reached(self._clock() - self._began)) is not None:
                    self._stop.ask(why)
        finally:
            self._stop.listen(None)

    def judge_again(self) -> None:
        """All of it, by the golden runs that there are now; repeats that come later are judged by them, too."""
        number = len(self._run.finished_ids())
        if number >= _MANY:
            self._view.note(f"judging all {number} by all golden runs; left now, `mutineer resume` does it")
        self._bench.all_in()
        for identifier, why in rejudge(self._run).spoiled.items():
            self._view.note(f"{identifier} keeps its judgement: {why}")

    def _keep(self, came: Result | FailedAttempt) -> ExperimentRecord | None:
        """The record of a result, if it is new."""
        with uninterrupted():  # what is stored is known to be, and comes only once
            if came is self._kept:
                return None
            if isinstance(came, FailedAttempt):
                if came.task.purpose is Purpose.PLANNED:  # a repeat's own record tells of both
                    self._run.add_failed_attempt(came.task.planned.id, came.error)
                    self._tally.failed()
                self._kept = came
                first = came.error.partition("\n")[0]
                self._view.note(f"{came.task.planned.id} is tried again later, for the harness failed: {first}")
                return None
            record = self._store(came)
            self._kept = came
            self._view.finished(record, came.purpose)
            return record

    def _store(self, result: Result) -> ExperimentRecord:
        began = self._clock()
        record = self._bench.record(result)
        times = {**record.times, "judging": round(self._clock() - began, 3)}
        record = dataclasses.replace(record, times=times)
        if result.purpose is Purpose.PLANNED:
            self._run.add(record, result.trace)
            self._tally.count(record)
        else:
            self._run.add_repeat(record, result.purpose, result.trace)
        return record
