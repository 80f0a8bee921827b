"""Judging a stored run again, from the store alone."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns.judging import rejudging
from campaigns.judging.rejudging import rejudge
from campaigns.judging.workers import Workers
from campaigns.record import ExperimentRecord, Purpose
from campaigns.store import Run, Spoiled, open_run
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from injector.errors import HarnessError
from tests.campaigns.builders import judge_again
from tests.campaigns.store.recorded import VERSION_1, copy_of, rows

FAILED = Verdict(state=State.ERROR, reasons=("an older classifier failed",))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with open_run(copy_of(VERSION_1, tmp_path / "r"), writable=True) as opened:
        yield opened  # type: ignore[misc]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejudging, "WORTH_PROCESSES", 1)


def latest(run: Run) -> dict[str, Verdict]:
    return {record.planned.id: record.verdict for record in run.records(observations=False)}


def failing(record: ExperimentRecord) -> ExperimentRecord:
    return replace(record, verdict=FAILED, incidents=())


def test_what_an_older_classifier_said_is_judged_anew_and_the_difference_told(run: Run) -> None:
    rejudge(run)
    now = latest(run)
    judge_again(run, failing)
    assert set(latest(run).values()) == {FAILED}
    told: list[tuple[int, int]] = []
    summary = rejudge(run, lambda done, of: told.append((done, of)))
    assert latest(run) == now
    assert (summary.judged, summary.worded, len(summary.changes)) == (11, 0, 11)
    stall = next(name for name, verdict in now.items() if verdict.orchestrator is OrchestratorFailure.STALL)
    change = next(change for change in summary.changes if change.id == stall)
    assert (str(change.before), str(change.after), change.repeat) == ("error", "stall / unreachable", "")
    assert change.after.client is ClientFailure.UNREACHABLE
    assert told == [(n, 11) for n in range(1, 12)]


def test_what_is_judged_as_before_is_not_kept_twice(run: Run) -> None:
    rejudge(run)
    before = rows(run.folder, "SELECT count(*) FROM judgements")
    summary = rejudge(run)
    assert (summary.judged, summary.worded, summary.changes) == (11, 0, ())
    assert rows(run.folder, "SELECT count(*) FROM judgements") == before


def test_new_reasons_for_the_same_classes_are_kept_and_counted_apart(run: Run) -> None:
    rejudge(run)
    now = latest(run)
    judge_again(run, lambda r: replace(r, verdict=replace(r.verdict, reasons=("in other words",))))
    summary = rejudge(run)
    assert (summary.worded, summary.changes) == (11, ())
    assert latest(run) == now


def test_processes_judge_as_one_does(run: Run, processes: None) -> None:
    judge_again(run, failing)
    told: list[int] = []
    summary = rejudge(run, lambda done, of: told.append(done))
    with_processes = latest(run)
    assert (summary.judged, len(summary.changes), told[-1]) == (11, 11, 11)
    bench = rejudging.bench_of(run)
    assert with_processes == {r.planned.id: bench.judged(r).verdict for r in run.records()}


@pytest.mark.parametrize("worth", [1, 400])
def test_what_golden_runs_as_they_are_judged_now_cast_doubt_on_is_inconclusive(
    run: Run, monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    monkeypatch.setattr(rejudging, "WORTH_PROCESSES", worth)
    rejudge(run)
    judged = next(each for each in run.records() if each.planned.rule and each.verdict.state is State.JUDGED)
    judge_again(run, failing)
    states: list[State] = []

    def suspects(records: Iterable[ExperimentRecord], verdict_of: Callable[[ExperimentRecord], Verdict]) -> object:
        states.extend(verdict_of(each).state for each in records if each.planned.golden)
        return {judged.planned.id: "it smells"}

    monkeypatch.setattr(rejudging, "suspects", suspects)
    rejudge(run)
    now = latest(run)
    assert states == [State.JUDGED] * 5
    verdict = now.pop(judged.planned.id)
    assert (verdict.state, verdict.reasons[0]) == (State.INCONCLUSIVE, "unclean start, perhaps: it smells")
    assert [each.state for each in now.values()].count(State.JUDGED) >= 9


def test_repeats_are_judged_again_too(run: Run) -> None:
    fault = [record for record in run.records() if not record.planned.golden][-1]
    run.add_repeat(failing(fault), Purpose.CONFIRM)
    run.add_repeat(failing(fault), Purpose.CONFIRM)
    summary = rejudge(run)
    assert [change.repeat for change in summary.changes if change.repeat] == ["confirm 1", "confirm 2"]
    assert [r.record.verdict.state for r in run.repeats(fault.planned.id)] == [State.JUDGED] * 2
    assert run.record(fault.planned.id) is not None
    assert rejudge(run).changes == ()


def test_an_error_of_the_harness_stays_one(run: Run) -> None:
    failed = next(iter(run.records()))
    error = Verdict(state=State.ERROR, reasons=("the harness failed",))
    run.add_repeat(replace(failed, observation=None, verdict=error, error="etcd ended"), Purpose.REPLAY)
    rejudge(run)
    (repeat,) = run.repeats()
    assert (repeat.record.verdict.state, repeat.record.error) == (State.ERROR, "etcd ended")


def test_the_run_folder_is_all_that_it_needs(run: Run, tmp_path: Path) -> None:
    """In another place, by another process, with nothing else of the campaign: no assets, state, logs or report."""
    rejudge(run)
    known = {name: verdict.reasons for name, verdict in latest(run).items()}
    judge_again(run, failing)
    run.close()
    alone = tmp_path / "elsewhere"
    alone.mkdir(mode=0o700)
    for name in ("spec.yaml", "plan.json", "record.sqlite"):
        shutil.copy(run.folder / name, alone / name)
    shutil.rmtree(run.folder)
    code = (
        "import sys, pathlib\n"
        "from campaigns.judging.rejudging import rejudge\n"
        "from campaigns.store import open_run\n"
        "with open_run(pathlib.Path(sys.argv[1]), writable=True) as run: print(len(rejudge(run).changes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(alone)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={"PATH": "/nonexistent", "HOME": "/nonexistent"},
        check=True,
    )
    assert done.stdout == "11\n"
    with open_run(alone) as opened:
        assert {name: verdict.reasons for name, verdict in latest(opened).items()} == known


def test_a_worker_that_ends_early_is_told_and_nothing_has_changed(
    run: Run, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_again(run, failing)
    monkeypatch.setattr(Workers, "_answer", _kill_first)
    with pytest.raises(HarnessError, match="ended; its exit code is -9"):
        rejudge(run)
    assert set(latest(run).values()) == {FAILED}


ANSWER = Workers._answer


def _kill_first(workers: Workers, process: subprocess.Popen[str], identifier: str, spoiled: Spoiled) -> dict[str, Any]:
    process.kill()
    while True:
        ANSWER(workers, process, identifier, spoiled)  # what it said before it ended may still come


@pytest.mark.parametrize("worth", [1, 400])
def test_what_rotted_keeps_its_judgement_and_is_told_and_the_rest_is_judged(
    run: Run, worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejudging, "WORTH_PROCESSES", worth)
    rejudge(run)
    judge_again(run, failing)
    records = list(run.records(observations=False))
    golden = next(each.planned.id for each in records if each.planned.golden)
    fault = next(each.planned.id for each in records if not each.planned.golden)
    connection = sqlite3.connect(run.folder / "record.sqlite")
    with connection:
        theirs = "SELECT observation FROM experiments WHERE id IN (?, ?)"
        connection.execute(f"UPDATE observations SET body = x'00' WHERE hash IN ({theirs})", (golden, fault))
    connection.close()
    told: list[int] = []
    summary = rejudge(run, lambda done, of: told.append(done))
    assert (told[-1], set(summary.spoiled)) == (11, {golden, fault})
    assert all("its observation is corrupted" in why for why in summary.spoiled.values())
    assert (summary.judged, len(summary.changes)) == (9, 9)
    verdicts = latest(run)
    assert verdicts[golden] == verdicts[fault] == FAILED
