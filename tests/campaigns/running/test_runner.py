"""The runner with a stand-in for the worker: real processes in real namespaces, but no cluster in them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import BINARIES
from campaigns.record import Limits, PlannedExperiment, Purpose, Reset, Result
from campaigns.running.executor import FailedAttempt, Task
from campaigns.running.runner import LocalExecutor
from campaigns.running.slots import Patience, Stage
from classifiers.record import observation_to_json
from injector.errors import ClusterError
from mutineer.interrupts import interruptible
from tests.builders import observation

ROOT = Path(__file__).parents[3]
Make = Callable[..., LocalExecutor]


class Told:
    """A view that keeps what it was told."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.on: Callable[[str], None] = lambda state: None

    def sandbox(self, name: str, state: str) -> None:
        self.states.append((name, state))
        self.on(state)

    def note(self, words: str) -> None:
        self.notes.append(words)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make(state_home: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes executors; at the end no sandbox may be left."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "observation.json").write_text(json.dumps(observation_to_json(observation())))
    monkeypatch.setenv("STAND_IN_OBSERVATION", str(tmp_path / "observation.json"))
    made: list[LocalExecutor] = []

    def executor(*, parallel: int = 1, experiment_s: float = 30, **patience: float) -> LocalExecutor:
        quick = {"starts": 2, "again_s": 0.05, "longest_s": 0.1, "apart_s": 0.0}
        made.append(
            LocalExecutor(
                binaries={name: Path("/nowhere") for name in BINARIES},
                settings={"nodes": 1, "profile": Profile.FAST, "audit": True},
                limits=Limits(settle_s=1, quiet_s=1, stuck_s=1, steady_s=1, canary_s=1),
                experiment_s=experiment_s,
                parallel=parallel,
                progress=told,
                logs=tmp_path / "logs",
                worker="tests.campaigns.stand_in_worker",
                patience=Patience(**{**quick, **patience}),  # type: ignore[arg-type]
            )
        )
        return made[-1]

    yield executor
    for each in made:
        each.close()
    assert list(outside.root().iterdir()) == [], "a folder is left"
    shutil.rmtree(state_home)


def planned(*workloads: str) -> list[Task]:
    return [Task(PlannedExperiment(id=f"g{n}", workload=workload)) for n, workload in enumerate(workloads)]


def repeats(count: int, purpose: Purpose = Purpose.REPLAY) -> list[Task]:
    return [Task(PlannedExperiment(id="g0", workload="ok"), purpose)] * count


def short(result: Result | FailedAttempt) -> tuple[str, str]:
    if isinstance(result, FailedAttempt):
        return result.task.planned.id, "failed"
    return result.planned.id, "error" if result.error else result.reset.rung if result.reset else "?"


def boots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str) -> None:
    (tmp_path / "boots").write_text(words)
    monkeypatch.setenv("STAND_IN_BOOTS", str(tmp_path / "boots"))


def test_results_come_in_order_with_what_the_worker_saw(make: Make, told: Told) -> None:
    executor = make()
    results = list(executor.run(planned("ok", "ok", "ok")))
    assert [short(result) for result in results] == [("g0", "rollback"), ("g1", "rollback"), ("g2", "rollback")]
    assert results[0].observation == observation(workload="ok", wanted_pods=len(dataclasses.fields(Limits)))
    assert results[0].reset == Reset("rollback", 0.1, "7 keys equal")
    assert all(result.seconds > 0 and result.sandbox == f"run-{os.getpid()}-1.1" for result in results)
    states = [state for _, state in told.states]
    assert states[:3] == ["starting", "starting nothing", "driving: golden run"] and states[-1] == "idle"


def test_a_retired_sandbox_ends_what_it_does_and_makes_way(make: Make) -> None:
    executor, names = make(), []
    for result in executor.run(planned(*["ok"] * 6)):
        assert isinstance(result, Result) and result.reset is not None and result.reset.rung == "rollback"
        names.append(result.sandbox)
        if len(names) == 2:
            executor.retire(result.sandbox)
            executor.retire("run-1-9.9")
    first = f"run-{os.getpid()}-1.1"
    assert names[0] == names[1] == first, "nothing else"
    assert names[-1] == f"run-{os.getpid()}-1.2" and names.count(first) <= 4, "one may be under way, one be done"


def test_several_sandboxes_share_the_plan(make: Make, told: Told) -> None:
    results = list(make(parallel=3).run(planned(*["ok"] * 9)))
    assert sorted(result.planned.id for result in results) == [f"g{n}" for n in range(9)]
    assert len({name for name, _ in told.states}) == 3


def test_nothing_runs_or_starts_beside_what_is_to_be_alone(make: Make, told: Told) -> None:
    executor, beside = make(parallel=3), []

    def look(state: str) -> None:
        if state.startswith("driving") and any(slot.task and slot.task.alone for slot in executor._slots):
            at_rest = (Stage.IDLE, Stage.EMPTY)
            beside.append(sum(slot.stage not in at_rest for slot in executor._slots) - 1)

    told.on = look
    list(executor.run(planned(*["ok"] * 6)))
    alone = [dataclasses.replace(task, purpose=Purpose.ALONE) for task in planned("ok", "once-die", "recreate", "ok")]
    came = list(executor.run([*alone, *planned("ok", "ok")]))
    assert beside == [0] * 5, "four, and one of them twice"
    assert sorted(short(each) for each in came) == sorted(
        [("g0", "rollback"), ("g1", "failed"), ("g1", "rollback"), ("g2", "recreate"), ("g3", "rollback"),
         ("g0", "rollback"), ("g1", "rollback")]
    )  # fmt: skip


def test_what_is_to_be_alone_starts_one_sandbox(make: Make, told: Told) -> None:
    alone = [dataclasses.replace(task, purpose=Purpose.ALONE) for task in planned("ok", "ok", "ok")]
    assert len(list(make(parallel=3).run(alone))) == 3
    assert len({name for name, _ in told.states}) == 1


def test_no_more_sandboxes_than_experiments(make: Make, told: Told) -> None:
    assert len(list(make(parallel=3).run(planned("ok")))) == 1
    assert len({name for name, _ in told.states}) == 1


def test_what_broke_the_harness_is_tried_again_at_the_end_and_then_an_error_with_both_reasons(
    make: Make, tmp_path: Path
) -> None:
    results = list(make().run(planned("ok", "die", "ok")))
    expected = [("g0", "rollback"), ("g1", "failed"), ("g2", "rollback"), ("g1", "error")]
    assert [short(result) for result in results] == expected
    failed, last = results[1], results[3]
    assert isinstance(failed, FailedAttempt) and failed.error == "its first process ended\nthe last words"
    assert isinstance(last, Result) and last.observation is None and last.reset and last.reset.rung == "recreate"
    assert last.error == f"attempt 1: {failed.error}\n\nattempt 2: {failed.error}"
    assert (tmp_path / "logs" / "g1" / "sandbox.log").read_text() == "the last words\n"
    assert (tmp_path / "logs" / "g1-2" / "sandbox.log").read_text() == "the last words\n"


def test_what_broke_the_harness_once_has_a_result_like_any_other(make: Make) -> None:
    results = list(make().run(planned("once-die", "ok")))
    assert [short(result) for result in results] == [("g0", "failed"), ("g1", "rollback"), ("g0", "rollback")]


def test_what_failed_before_this_start_has_only_one_more_attempt(make: Make) -> None:
    task = dataclasses.replace(planned("error")[0], failed=("it broke then",))
    (only,) = make().run([task])
    assert isinstance(only, Result)
    assert only.error == "attempt 1: it broke then\n\nattempt 2: Traceback: it went wrong"


def test_an_error_that_the_worker_tells_is_the_attempts(make: Make) -> None:
    results = list(make().run(planned("error", "ok")))
    assert [short(result) for result in results] == [("g0", "failed"), ("g1", "rollback"), ("g0", "error")]
    assert isinstance(results[0], FailedAttempt) and results[0].error == "Traceback: it went wrong"


def test_words_that_nobody_understands_are_a_failed_attempt(make: Make) -> None:
    failed, *_ = make().run(planned("gibberish"))
    assert isinstance(failed, FailedAttempt)
    assert failed.error.startswith("its worker said what nobody understands: b'Killed'")


def test_a_worker_that_dies_between_two_experiments_costs_no_result(make: Make) -> None:
    results = [short(r) for r in make().run(planned("dirty", "ok", "ok"))]
    assert [each for each in results if each[1] != "failed"].count(("g1", "rollback")) == 1
    assert sorted(each[0] for each in results if each[1] == "rollback") == ["g0", "g1", "g2"]


def test_an_experiment_past_its_deadline_says_where_it_was(make: Make) -> None:
    results = list(make(experiment_s=0.3).run(planned("once-hang", "ok")))
    assert [short(result) for result in results] == [("g0", "failed"), ("g1", "rollback"), ("g0", "rollback")]
    assert isinstance(results[0], FailedAttempt)
    assert results[0].error == ("the experiment did not end in time; last seen: starting nothing → driving: golden run")


def test_a_worker_that_is_stopped_is_ended_and_replaced(make: Make, told: Told) -> None:
    executor = make(silence_s=8)

    def stop(state: str) -> None:
        if state.startswith("driving") and not stopped:
            stopped.append(outside.pid_of(f"run-{os.getpid()}-1"))
            os.kill(stopped[0], signal.SIGSTOP)

    stopped: list[int] = []
    told.on = stop
    results = list(executor.run(planned("once-hang", "ok")))
    assert [short(result) for result in results] == [("g0", "failed"), ("g1", "rollback"), ("g0", "rollback")]
    assert isinstance(results[0], FailedAttempt) and "has said nothing for 8 s" in results[0].error
    status = Path(f"/proc/{stopped[0]}/status")
    assert not status.exists() or "zombie" in status.read_text()


def test_sandboxes_limits_wait_while_nobody_looks(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when this process was stopped (Ctrl-Z), or had much else to do."""
    monkeypatch.setenv("STAND_IN_GO", str(tmp_path / "go"))
    running = make(experiment_s=2.0, silence_s=2.0).run(planned("ok", "waits"))
    assert short(next(running)) == ("g0", "rollback")
    threading.Event().wait(2.5)
    threading.Timer(0.3, (tmp_path / "go").touch).start()
    assert [short(result) for result in running] == [("g1", "rollback")]


def test_a_cluster_that_must_be_recreated_is_and_the_result_says_why(make: Make) -> None:
    first, second = make().run(planned("recreate", "ok"))
    assert first.observation is not None and first.error is None and first.reset is not None
    assert (first.reset.rung, first.reset.proof) == ("recreate", "etcd had ended; a fresh sandbox")
    assert first.reset.seconds > 0 and first.seconds >= first.reset.seconds
    assert short(second) == ("g1", "rollback")


def test_the_last_experiments_cluster_is_not_recreated_for_nobody(make: Make, told: Told) -> None:
    (only,) = make().run(planned("recreate"))
    assert only.reset == Reset("recreate", 0.0, "etcd had ended")
    assert [state for _, state in told.states].count("starting") == 1


def test_one_failed_start_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    boots(monkeypatch, tmp_path, "fail ok")
    assert [short(result) for result in make().run(planned("ok"))] == [("g0", "rollback")]


def test_a_start_that_hangs_is_given_up_and_tried_again(
    make: Make, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boots(monkeypatch, tmp_path, "hang ok")
    assert [short(result) for result in make(start_s=1.0).run(planned("ok"))] == [("g0", "rollback")]
    assert "did not start, again in 0 s" in [state for _, state in told.states]


def test_a_sandbox_that_never_starts_is_noted_and_the_others_do_the_work(
    make: Make, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boots(monkeypatch, tmp_path, " ".join(["ok", *["fail"] * 50]))
    monkeypatch.setenv("STAND_IN_GO", str(tmp_path / "go"))
    executor = make(parallel=2, apart_s=0.3)
    told.on = lambda state: (tmp_path / "go").touch() if told.notes else None
    results = list(executor.run(planned("waits", "ok", "ok", "ok")))
    assert [short(result) for result in results] == [(f"g{n}", "rollback") for n in range(4)]
    assert told.notes == [
        f"run-{os.getpid()}-2 does not start (its first process ended); it is tried again, the others go on"
    ]


def test_if_no_sandbox_starts_at_all_that_is_a_cluster_error_with_the_logs_end(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boots(monkeypatch, tmp_path, "fail " * 9)
    with pytest.raises(ClusterError, match=r"sandboxes do not start: its first process ended\nno cluster today\nlogs"):
        list(make(parallel=2).run(planned("ok", "ok")))
    assert list((tmp_path / "logs").rglob("sandbox.log"))
    assert len((tmp_path / "boots").read_text().split()) <= 9 - 4, "each was tried twice"


def test_repeats_have_a_fresh_sandbox_each(make: Make, told: Told) -> None:
    results = list(make().run([*planned("ok"), *repeats(2)]))
    assert [short(result) for result in results] == [("g0", "rollback")] * 3
    assert [r.purpose for r in results if isinstance(r, Result)] == [Purpose.PLANNED, *[Purpose.REPLAY] * 2]
    assert [state for _, state in told.states].count("starting") == 3


def test_one_repeat_takes_one_fresh_sandbox_and_leaves_the_other_alone(
    make: Make, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_GO", str(tmp_path / "go"))
    executor = make(parallel=2)

    def both(state: str) -> None:
        if sum(each.startswith("driving") for _, each in told.states) == 2:
            (tmp_path / "go").touch()

    told.on = both
    assert len(list(executor.run(planned("waits", "waits")))) == 2
    assert len(list(executor.run(repeats(1)))) == 1
    assert [state for _, state in told.states].count("being replaced by a fresh one") == 1


def test_logs_of_each_attempt_are_kept(make: Make, tmp_path: Path) -> None:
    task = Task(PlannedExperiment(id="g0", workload="die"), Purpose.REPLAY)
    executor = make()
    for _ in range(2):
        list(executor.run([task]))
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {
        "g0-replay",
        *(f"g0-replay-{n}" for n in (2, 3, 4)),
    }


def test_it_can_be_run_again_with_the_same_sandboxes(make: Make, told: Told) -> None:
    executor = make(parallel=2)
    assert len(list(executor.run(planned("ok", "ok")))) == 2
    assert len(list(executor.run(planned("ok", "ok")))) == 2
    assert [state for _, state in told.states].count("starting") <= 2


def test_finishing_begins_nothing_more_and_yields_what_is_under_way(
    make: Make, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_GO", str(tmp_path / "go"))
    executor = make(parallel=2)

    def both(state: str) -> None:
        if sum(each.startswith("driving") for _, each in told.states) == 2 and not told.notes:
            executor.finish()
            threading.Timer(0.5, (tmp_path / "go").touch).start()

    told.on = both
    results = list(executor.run(planned(*["waits"] * 6)))
    assert sorted(short(result) for result in results) == [("g0", "rollback"), ("g1", "rollback")]
    assert told.notes == ["finishing what is under way: 2 experiments, 30 s at most"]


def test_finishing_waits_for_no_fresh_sandbox(make: Make, told: Told) -> None:
    executor = make()
    told.on = lambda state: executor.finish() if state.startswith("being replaced") else None
    assert [short(r) for r in executor.run(planned("recreate", "ok"))] == [("g0", "recreate")]
    assert [state for _, state in told.states].count("starting") == 1


def test_the_time_of_an_experiment_is_told_by_part_without_a_gap(make: Make) -> None:
    first, second = make().run(planned("recreate", "traced"))
    assert isinstance(first, Result) and isinstance(second, Result)
    assert set(first.times) == {"boot", "idle", "driving", "resetting"} and first.trace is None
    assert set(second.times) == {"idle", "driving"} and second.trace == b"trace"
    parts = sum(first.times.values()) - first.times["boot"] - first.times["idle"]
    assert parts == pytest.approx(first.seconds, abs=0.1) and first.reset is not None
    assert first.times["resetting"] == pytest.approx(first.reset.seconds, abs=0.1)


def test_what_was_done_is_kept_when_its_sandbox_can_not_be_replaced(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boots(monkeypatch, tmp_path, "ok fail fail")
    results = []
    with pytest.raises(ClusterError, match="sandboxes do not start"):
        results.extend(make().run(planned("recreate", "ok")))
    assert [short(result) for result in results] == [("g0", "recreate")]


def test_an_interrupt_keeps_what_is_finished_and_leaves_nothing(make: Make, told: Told) -> None:
    executor, taken = make(parallel=2), []
    with interruptible(), pytest.raises(KeyboardInterrupt):
        for result in executor.run(planned("ok", "ok", "hang", "hang")):
            taken.append(result)
            if len(taken) == 2:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    executor.close()
    assert {short(result) for result in taken} == {("g0", "rollback"), ("g1", "rollback")}
    last = taken[-1].planned.id
    assert {r.planned.id for r in executor.unfinished()} <= {last}, "only the last one may be there twice"
    assert outside.running() == []


def test_an_interrupt_while_a_result_waits_for_its_fresh_sandbox_keeps_the_result(make: Make, told: Told) -> None:
    executor = make()
    told.on = lambda state: signal.raise_signal(signal.SIGINT) if state.startswith("being replaced") else None
    with interruptible(), pytest.raises(KeyboardInterrupt):
        list(executor.run(planned("recreate", "ok")))
    executor.close()
    assert [short(result) for result in executor.unfinished()] == [("g0", "recreate")]


def test_a_result_whose_taker_was_interrupted_is_kept(make: Make) -> None:
    executor = make()
    with interruptible(), pytest.raises(KeyboardInterrupt):
        for _ in executor.run(planned("ok", "ok")):
            signal.raise_signal(signal.SIGINT)
    executor.close()
    assert next(executor.unfinished()).planned.id == "g0"


def test_an_interrupt_during_a_start_leaves_no_process_and_no_folder(make: Make, told: Told) -> None:
    executor = make(parallel=2)
    told.on = lambda state: signal.raise_signal(signal.SIGTERM) if state == "starting" else None
    with interruptible(), pytest.raises(KeyboardInterrupt):
        list(executor.run(planned("ok", "ok")))
    executor.close()
    assert list(outside.root().iterdir()) == []
