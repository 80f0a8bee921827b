"""A session's work on a run, with a stand-in executor and a real record: what is kept, when it stops, what is due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.judging.bench import Bench
from campaigns.planning.plan import plan
from campaigns.record import ExperimentRecord, PlannedExperiment, Purpose, Result
from campaigns.running.executor import Executor, FailedAttempt, Task
from campaigns.running.host import Host, available_bytes
from campaigns.running.session import Session, due_confirmations, missing_tasks
from campaigns.running.stopping import Stop
from campaigns.spec.policies import ConfirmPolicy, StopRules
from campaigns.store import Run, create_run
from classifiers.verdict import OrchestratorFailure, State, Verdict
from injector.errors import ClusterError
from tests.builders import faulty, goldens, pods
from tests.campaigns.builders import SPEC, record, small_plan, spec


class StandIn:
    """An executor that yields what it was given, and has some left that `run` never handed over."""

    def __init__(
        self,
        results: Sequence[Result | FailedAttempt] = (),
        left: Sequence[Result | FailedAttempt] = (),
        *,
        resists: bool = False,
    ) -> None:
        self.results, self.left, self.resists = results, left, resists
        self.closed = self.finishing = False
        self.retired: list[str] = []

    def run(self, tasks: Sequence[Task]) -> Iterator[Result | FailedAttempt]:
        for each in self.results:
            if self.finishing:
                return
            yield each

    def finish(self) -> None:
        self.finishing = True

    def close(self) -> None:
        self.closed = True
        if self.resists:
            raise ClusterError("a sandbox does not end")

    def retire(self, sandbox: str) -> None:
        self.retired.append(sandbox)

    def unfinished(self) -> Iterator[Result | FailedAttempt]:
        assert self.closed, "closing comes first: it moves what is pending"
        yield from self.left


class View:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def finished(self, record: ExperimentRecord, purpose: Purpose) -> None:
        self.seen.append((record.planned.id, purpose.value))

    def note(self, words: str) -> None:
        self.notes.append(words)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with create_run(tmp_path / "run", SPEC, small_plan(), {}) as made:
        yield made


@pytest.fixture
def view() -> View:
    return View()


def result(planned: PlannedExperiment, purpose: Purpose = Purpose.PLANNED, *, error: str | None = None) -> Result:
    seen = None if error else goldens(1)[0] if planned.golden else faulty()
    return Result(
        planned=planned, observation=seen, error=error, reset=None, seconds=1.0, sandbox="s", purpose=purpose,
        times={"driving": 1.0},
    )  # fmt: skip


def results(run: Run) -> list[Result]:
    return [result(planned) for planned in run.plan.experiments]


def session(run: Run, view: View, stop: Stop | None = None, **rules: object) -> Session:
    limits = StopRules.model_validate({"errors": None, **rules})
    return Session(run, Bench(()), view, stop=stop or Stop(), rules=limits, clock=iter(range(10**6)).__next__)


@pytest.mark.parametrize("resists", [False, True])
def test_an_interrupted_session_keeps_what_is_done_once_each(run: Run, view: View, resists: bool) -> None:
    first, second, *_ = results(run)
    executor: Executor = StandIn([first], [first, second], resists=resists)
    working = session(run, view)
    with pytest.raises(ClusterError if resists else KeyboardInterrupt), working.closing(executor):
        working.work(executor, missing_tasks(run))
        raise KeyboardInterrupt
    assert run.finished_ids() == {first.planned.id, second.planned.id}
    assert view.seen == [(first.planned.id, "planned"), (second.planned.id, "planned")]


def test_a_repeat_that_comes_twice_is_kept_once(run: Run, view: View) -> None:
    again = result(run.plan.experiments[0], Purpose.REPLAY)
    executor, working = StandIn([again], [again]), session(run, view)
    with working.closing(executor):
        working.work(executor, [])
    assert [(each.purpose, each.number) for each in run.repeats()] == [("replay", 1)]
    assert run.finished_ids() == frozenset()


def test_a_session_that_ends_closes_its_executor(run: Run, view: View) -> None:
    executor = StandIn()
    with session(run, view).closing(executor):
        assert not executor.closed
    assert executor.closed and run.finished_ids() == frozenset()


def test_where_the_time_went_is_in_the_record_with_that_of_judging(run: Run, view: View) -> None:
    session(run, view).work(StandIn([results(run)[0]]), [])
    (kept,) = run.records()
    assert kept.times == {"driving": 1.0, "judging": 1.0}


def test_a_failed_attempt_is_noted_and_still_missing_with_what_it_failed_of(run: Run, view: View) -> None:
    task = missing_tasks(run)[1]
    session(run, view).work(StandIn([FailedAttempt(task, "it broke\nlog")]), [])
    assert view.notes == [f"{task.planned.id} is tried again later, for the harness failed: it broke"]
    assert [(each.planned.id, each.failed) for each in missing_tasks(run)] == [
        (planned.id, ("it broke\nlog",) if planned.id == task.planned.id else ()) for planned in run.plan.experiments
    ]


def test_what_is_missing_comes_in_the_plans_order(run: Run) -> None:
    ids = [planned.id for planned in run.plan.experiments]
    for planned in (run.plan.experiments[2], run.plan.experiments[0]):
        run.add(record(planned))
    assert [task.planned.id for task in missing_tasks(run)] == [ids[1], *ids[3:]]


@pytest.mark.parametrize(
    ("rules", "done", "why"),
    [
        ({"experiments": 1}, 4, "stop.experiments: 1 were done"),
        ({"after": 8}, 3, "stop.after: 8 s are over"),
        ({"after": "3h"}, 6, None),
        ({}, 6, None),
    ],
)
def test_a_rule_ends_the_session_with_its_words(
    run: Run, view: View, rules: dict[str, object], done: int, why: str | None
) -> None:
    """The clock of these sessions goes on by a second at each look: three an experiment."""
    stop = Stop()
    session(run, view, stop, **rules).work(StandIn(results(run)), [])
    assert (len(view.seen), stop.why, stop.interrupted) == (done, why, False)


def test_errors_in_a_row_end_it_and_a_good_one_between_them_counts_anew(run: Run, view: View) -> None:
    good, *others = run.plan.experiments
    came = [result(each, error="x") for each in others[:2]] + [result(good)]
    came += [result(each, error="x") for each in others[2:]]
    stop = Stop()
    session(run, view, stop, errors=3).work(StandIn(came), [])
    assert stop.why == "stop.errors: the harness failed in 3 experiments in a row" and len(view.seen) == 6


def failed(run: Run, place: int, failure: OrchestratorFailure) -> ExperimentRecord:
    faults = [planned for planned in run.plan.experiments if not planned.golden]
    return record(faults[place], verdict=Verdict(state=State.JUDGED, reasons=("so",), orchestrator=failure))


def test_findings_of_the_policys_classes_are_due_as_often_as_they_were_not_yet_confirmed(run: Run, view: View) -> None:
    stall, network = failed(run, 0, OrchestratorFailure.STALL), failed(run, 1, OrchestratorFailure.NETWORK)
    for each in (stall, network):
        run.add(each)
    policy = ConfirmPolicy.model_validate({"times": 2})
    assert due_confirmations(run, None) == []
    assert due_confirmations(run, policy) == [Task(stall.planned, Purpose.CONFIRM)] * 2
    session(run, view).work(StandIn([result(stall.planned, Purpose.CONFIRM)]), [])
    assert due_confirmations(run, policy) == [Task(stall.planned, Purpose.CONFIRM)]
    both = ConfirmPolicy.model_validate({"classes": ["stall", "network"]})
    assert [task.planned.id for task in due_confirmations(run, both)] == [network.planned.id]


def test_a_wish_to_stop_is_heard_once_and_only_while_somebody_listens() -> None:
    stop, calls = Stop(), []
    assert not stop.ask("too soon") and stop.why is None
    stop.listen(lambda: calls.append(1))
    assert stop.ask("Ctrl-C", interrupted=True) and stop.interrupted and stop.why == "Ctrl-C"
    assert not stop.ask("again") and calls == [1]
    stop.listen(lambda: calls.append(2))
    assert calls == [1, 2], "whoever listens later is told at once"


def test_the_host_is_told_with_what_it_really_has() -> None:
    host = Host.this()
    assert host.cores >= 1 and host.kernel and host.python.startswith("3.")
    assert 0 < available_bytes() <= host.memory_bytes


@pytest.mark.parametrize(("pods_seen", "retired"), [(6, []), (5, ["s"])])
def test_the_sandbox_of_a_golden_run_in_which_something_was_wrong_is_used_no_more(
    tmp_path: Path, view: View, pods_seen: int, retired: list[str]
) -> None:
    with create_run(tmp_path / "six", SPEC, plan(spec(golden=6)), {}) as run:
        planned = [each for each in run.plan.experiments if each.golden]
        seen = [*goldens(5), replace(goldens(6)[5], pods=pods(pods_seen))]
        executor = StandIn([replace(result(p), observation=o) for p, o in zip(planned, seen, strict=True)])
        session(run, view).work(executor, [])
        assert (len(run.finished_ids()), executor.retired) == (6, retired)
