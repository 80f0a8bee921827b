"""The runner with a stand-in for the worker: real processes in real namespaces, but no cluster in them."""

from __future__ import annotations

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
from campaigns.experiment import Limits
from campaigns.record import PlannedExperiment, Reset
from campaigns.runner import LocalExecutor, Result, sandboxes_side_by_side
from classifiers.record import observation_to_json
from injector.errors import ClusterError
from mutineer.interrupts import interruptible
from tests.builders import observation

ROOT = Path(__file__).parents[2]
Make = Callable[..., LocalExecutor]


class Told:
    """A view that keeps what it was told."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.on: Callable[[str], None] = lambda state: None

    def sandbox(self, name: str, state: str) -> None:
        self.states.append((name, state))
        self.on(state)


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

    def executor(*, parallel: int = 1, experiment_s: float = 30) -> LocalExecutor:
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
            )
        )
        return made[-1]

    yield executor
    for each in made:
        each.close()
    assert list(outside.root().iterdir()) == [], "a folder is left"
    shutil.rmtree(state_home)


def planned(*workloads: str) -> list[PlannedExperiment]:
    return [PlannedExperiment(id=f"g{n}", workload=workload) for n, workload in enumerate(workloads)]


def short(result: Result) -> tuple[str, str]:
    return result.planned.id, "error" if result.error else result.reset.rung if result.reset else "?"


def boots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str) -> None:
    (tmp_path / "boots").write_text(words)
    monkeypatch.setenv("STAND_IN_BOOTS", str(tmp_path / "boots"))


def test_results_come_in_order_with_what_the_worker_saw(make: Make, told: Told) -> None:
    executor = make()
    results = list(executor.run(planned("ok", "ok", "ok")))
    assert [short(result) for result in results] == [("g0", "rollback"), ("g1", "rollback"), ("g2", "rollback")]
    assert results[0].observation == observation(workload="ok", wanted_pods=6)
    assert results[0].reset == Reset("rollback", 0.1, "7 keys equal")
    assert all(result.seconds > 0 and result.sandbox == f"run-{os.getpid()}-1" for result in results)
    states = [state for _, state in told.states]
    assert states[:3] == ["starting", "starting nothing", "driving: golden run"] and states[-1] == "idle"


def test_several_sandboxes_share_the_plan(make: Make, told: Told) -> None:
    results = list(make(parallel=3).run(planned(*["ok"] * 9)))
    assert sorted(result.planned.id for result in results) == [f"g{n}" for n in range(9)]
    assert len({name for name, _ in told.states}) == 3


def test_no_more_sandboxes_than_experiments(make: Make, told: Told) -> None:
    assert len(list(make(parallel=3).run(planned("ok")))) == 1
    assert len({name for name, _ in told.states}) == 1


def test_a_worker_that_dies_makes_an_error_and_is_replaced(make: Make, tmp_path: Path) -> None:
    results = list(make().run(planned("ok", "die", "ok")))
    assert [short(result) for result in results] == [("g0", "rollback"), ("g1", "error"), ("g2", "rollback")]
    assert results[1].error == "its first process ended\nthe last words"
    assert results[1].observation is None and results[1].reset and results[1].reset.rung == "recreate"
    assert (tmp_path / "logs" / "g1" / "sandbox.log").read_text() == "the last words\n"


def test_an_error_that_the_worker_tells_is_the_results(make: Make) -> None:
    results = list(make().run(planned("error", "ok")))
    assert [short(result) for result in results] == [("g0", "error"), ("g1", "rollback")]
    assert results[0].error == "Traceback: it went wrong"


def test_a_worker_that_dies_between_two_experiments_costs_only_the_second(make: Make) -> None:
    results = list(make().run(planned("dirty", "ok", "ok")))
    assert [short(r) for r in results] in (
        [("g0", "rollback"), ("g1", "error"), ("g2", "rollback")],
        [("g0", "rollback"), ("g1", "rollback"), ("g2", "rollback")],
    )


def test_an_experiment_past_its_deadline_is_an_error_that_says_where_it_was(make: Make) -> None:
    results = list(make(experiment_s=0.3).run(planned("hang", "ok")))
    assert [short(result) for result in results] == [("g0", "error"), ("g1", "rollback")]
    error = results[0].error
    assert error == "the experiment did not end in time; last seen: starting nothing → driving: golden run"


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


def test_two_failed_starts_in_a_row_are_a_cluster_error_with_the_logs_end(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boots(monkeypatch, tmp_path, "fail fail ok")
    with pytest.raises(ClusterError, match=r"sandboxes do not start: its first process ended\nno cluster today\nlogs"):
        list(make().run(planned("ok")))
    assert list((tmp_path / "logs").rglob("sandbox.log"))


def test_what_was_done_is_kept_when_its_sandbox_can_not_be_replaced(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boots(monkeypatch, tmp_path, "ok fail fail")
    executor = make()
    with pytest.raises(ClusterError, match="sandboxes do not start"):
        list(executor.run(planned("recreate", "ok")))
    executor.close()
    assert [short(result) for result in executor.unfinished()] == [("g0", "recreate")]


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


def test_as_many_sandboxes_as_cores_memory_and_experiments_bear() -> None:
    gib = 1 << 30
    assert sandboxes_side_by_side(2, 64 * gib, 1024, 100) == 2
    assert sandboxes_side_by_side(16, 8 * gib, 1024, 100) == 5
    assert sandboxes_side_by_side(16, 64 * gib, 1024, 3) == 3
    assert sandboxes_side_by_side(16, 64 * gib, 128, 100) == 3, "the kernel's own default of inotify instances"
    assert sandboxes_side_by_side(16, 1 * gib, 1024, 100) == 1, "one is tried in any case"
