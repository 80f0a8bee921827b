"""The bench: results in, verdicts out, and what a classifier that fails becomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from campaigns.judging import bench as judging
from campaigns.judging.bench import MOST_GOLDENS, Bench, _Measure
from campaigns.record import ExperimentRecord, PlannedExperiment, Purpose, Reset, Result
from classifiers.observation import ComponentHealth, Observation
from classifiers.verdict import OrchestratorFailure, State, Verdict
from failure_db.catalogue import load
from tests.builders import canary, components, counts, faulty, goldens, pods, rule

FAULT = PlannedExperiment(id="e1", workload="deploy", rule=rule(), why="a wrong word")


def result(planned: PlannedExperiment, observation: Observation | None, **changes: Any) -> Result:
    built: dict[str, Any] = {"error": None, "reset": Reset("rollback", 0.2), "seconds": 9.12345, "sandbox": "s"}
    return Result(planned=planned, observation=observation, **{**built, **changes})


def golden_results(count: int = 5) -> list[Result]:
    return [
        result(PlannedExperiment(id=f"g{n}", workload="deploy"), replace(seen, r0=n))
        for n, seen in enumerate(goldens(count))
    ]


def test_golden_runs_are_judged_by_each_other_and_quiet_once_there_are_enough() -> None:
    bench = Bench(())
    records = [bench.record(each) for each in golden_results()]
    assert records[0].verdict.state is State.INCONCLUSIVE and "too small" in records[0].verdict.reasons[0]
    again = [bench.judged(record) for record in records]
    assert [(r.verdict.state, r.verdict.orchestrator) for r in again] == [(State.JUDGED, OrchestratorFailure.NONE)] * 5


def test_a_fault_is_judged_by_the_golden_runs_so_far_and_again_by_all() -> None:
    bench = Bench(load())
    early = bench.record(result(FAULT, faulty(pods=pods(4))))
    assert early.verdict.state is State.INCONCLUSIVE, "no golden run yet is never `none`"
    for each in golden_results():
        bench.record(each)
    late = bench.judged(early)
    assert late.verdict.orchestrator is OrchestratorFailure.LESS_RESOURCES
    assert late.incidents and all(0 < match.score <= 1 and match.why for match in late.incidents)
    assert (late.seconds, late.sandbox, late.reset) == (9.123, "s", Reset("rollback", 0.2))


def test_a_failure_of_the_harness_is_an_error_and_stays_one() -> None:
    bench = Bench(())
    record = bench.record(result(FAULT, None, error="its first process ended"))
    assert (record.verdict.state, record.error) == (State.ERROR, "its first process ended")
    assert record.verdict.orchestrator is None and bench.judged(record) == record


def test_a_classifier_that_raises_makes_an_error_with_its_traceback_and_never_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(())
    for each in golden_results():
        bench.record(each)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a symptom divides by zero")

    with monkeypatch.context() as breaking:
        breaking.setattr(judging, "judge", broken)
        record = bench.record(result(FAULT, faulty()))
    assert record.verdict.state is State.ERROR and record.verdict.orchestrator is None
    assert record.error is not None and "a symptom divides by zero" in record.error
    assert record.observation is not None, "so that it can be judged again"
    again = bench.judged(record)
    assert (again.verdict.state, again.error) == (State.JUDGED, None)


def test_a_golden_run_that_was_not_quiet_does_not_hide_a_stall() -> None:
    bench = Bench(())
    for each in golden_results(6):
        bench.record(each)
    dead = canary(**dict.fromkeys(("pod_created", "pod_scheduled", "pod_ready", "endpoints", "traffic")))
    bad = result(PlannedExperiment(id="g9", workload="deploy"), replace(goldens(1)[0], r0=9, canary=dead))
    assert bench.judged(bench.record(bad)).verdict.orchestrator is OrchestratorFailure.STALL
    fault = bench.record(result(FAULT, faulty(canary=dead)))
    assert fault.verdict.orchestrator is OrchestratorFailure.STALL


def test_a_golden_run_that_started_unclean_measures_nothing_and_is_inconclusive() -> None:
    bench = Bench(())
    unclean = ("deploy was not prepared within 30 s",)
    poor = replace(goldens(1)[0], r0=9, unclean=unclean, pods=pods(3))
    broken = bench.record(result(PlannedExperiment(id="g9", workload="deploy"), poor))
    records = [bench.record(each) for each in golden_results(4)]
    assert [bench.judged(r).verdict.orchestrator for r in records] == [OrchestratorFailure.NONE] * 4
    odd = result(PlannedExperiment(id="g8", workload="deploy"), replace(goldens(1)[0], r0=8, pods=pods(4)))
    assert bench.record(odd).verdict.orchestrator is OrchestratorFailure.LESS_RESOURCES
    verdict = bench.judged(broken).verdict
    assert verdict.state is State.INCONCLUSIVE and verdict.reasons[0].startswith("unclean start: deploy was not")
    for each in (1, 2):
        few = Bench(())
        few.record(result(PlannedExperiment(id="g9", workload="deploy"), poor))
        for golden in golden_results(each):
            few.record(golden)
        assert "too small" in " ".join(few.record(result(FAULT, faulty())).verdict.reasons)


def test_golden_runs_of_an_earlier_session_count_like_those_of_this_one() -> None:
    first, later = Bench(()), Bench(())
    records = [first.record(each) for each in golden_results()]
    for record in records:
        later.remember(record)
    later.remember(first.record(result(FAULT, faulty())))
    fault = result(FAULT, faulty(pods=pods(4)))
    assert later.record(fault).verdict == first.record(fault).verdict
    assert later.record(fault).verdict.orchestrator is OrchestratorFailure.LESS_RESOURCES


def test_a_golden_run_done_once_more_is_judged_and_changes_no_baseline() -> None:
    bench = Bench(())
    for each in golden_results():
        bench.record(each)
    slow = replace(golden_results(1)[0], observation=replace(goldens(1)[0], canary=canary(traffic=None)))
    again = bench.record(replace(slow, purpose=Purpose.REPLAY))
    assert again.verdict.orchestrator is OrchestratorFailure.NETWORK
    assert bench._kept(_Measure("deploy", alone=False))["g0"].canary.stages["traffic"] is not None, (
        "the one of the plan"
    )
    stays = bench.record(result(FAULT, faulty(canary=canary(traffic=None))))
    assert stays.verdict.orchestrator is OrchestratorFailure.NETWORK, "such a canary is not normal"


LATE = {"applied": 0.2, "pods-ready": 2.1, "traffic": 4.0, "settled": 16.0}


def test_what_was_late_beside_others_is_judged_by_how_it_went_alone() -> None:
    alone: dict[str, ExperimentRecord] = {}
    bench = Bench((), beside=lambda identifier: True, alone=alone.get)
    for each in golden_results():
        bench.record(each)
    late = bench.record(result(FAULT, faulty(milestones=LATE)))
    assert (late.verdict.state, late.verdict.to_be_alone) == (State.INCONCLUSIVE, True)
    alone["e1"] = bench.record(result(FAULT, faulty(milestones=LATE), purpose=Purpose.ALONE))
    assert "too small" in " ".join(alone["e1"].verdict.reasons), "of golden runs made alone there are none yet"
    assert bench.judged(late).verdict.to_be_alone
    for each in golden_results():
        bench.record(replace(each, purpose=Purpose.ALONE))
    assert bench.judged(late).verdict.orchestrator is OrchestratorFailure.TIMING
    quick = [replace(run, milestones={**run.milestones, "settled": 2.0}) for run in goldens()]
    for n, run in enumerate(quick):  # alone, golden runs are quicker
        bench.record(result(PlannedExperiment(id=f"g{n}", workload="deploy"), run, purpose=Purpose.ALONE))
    bench.all_in()
    between = faulty(milestones={**LATE, "settled": 8.0})
    alone["e1"] = bench.record(result(FAULT, between, purpose=Purpose.ALONE))
    assert alone["e1"].verdict.orchestrator is OrchestratorFailure.TIMING
    beside = bench.record(result(PlannedExperiment(id="e2", workload="deploy", rule=rule()), between))
    assert beside.verdict.orchestrator is OrchestratorFailure.NONE, "beside others that is not late"


def test_where_nothing_ran_beside_it_what_was_late_counts_at_once() -> None:
    bench = Bench(())
    for each in golden_results():
        bench.record(each)
    assert bench.record(result(FAULT, faulty(milestones=LATE))).verdict.orchestrator is OrchestratorFailure.TIMING


def test_of_many_golden_runs_a_hundred_are_kept_evenly_spread_from_the_first_on() -> None:
    bench = Bench(())
    for number in range(250):
        bench.remember(bench._record(golden(number), Verdict(state=State.INCONCLUSIVE, reasons=("?",))))
    kept = [int(name[1:]) for name in bench._kept(_Measure("deploy", alone=False))]
    assert kept == list(range(0, 250, 4)) and len(kept) <= MOST_GOLDENS


def golden(number: int) -> Result:
    return result(PlannedExperiment(id=f"g{number}", workload="deploy"), replace(goldens(1)[0], r0=number))


def test_the_baseline_is_made_anew_now_and_then_and_of_all_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is believed has to be asked of every golden run: with each that comes, that would take hours."""
    asked: list[int] = []
    true = judging.judge_goldens

    def counted(workload: str, runs: Any) -> Any:
        asked.append(len(runs))
        return true(workload, runs)

    monkeypatch.setattr(judging, "judge_goldens", counted)
    bench = Bench(())
    for number in range(12):
        bench.record(golden(number))
        bench.record(result(FAULT, faulty()))
    assert asked == [4, 5, 7, 9, 12]
    for number in range(12, 14):
        bench.record(golden(number))
    bench.all_in()
    for _ in range(3):
        bench.record(result(FAULT, faulty()))
    assert asked[5:] == [14]


WRONG: list[dict[str, Any]] = [
    {"pods": pods(3)},
    {"canary": canary(traffic=None)},
    {"final_counts": counts(Service=0)},
    {"components": components(it=ComponentHealth(name="kube-scheduler", alive=False))},
]
"""Each otherwise: what two of them do looks normal."""


@pytest.mark.parametrize(("wrong", "of", "noisy"), [(1, 5, False), (2, 10, False), (2, 8, True), (4, 12, True)])
def test_golden_runs_of_which_too_many_are_wrong_judge_nothing(wrong: int, of: int, noisy: bool) -> None:
    bench = Bench(())
    for number in range(of):
        seen = replace(goldens(1)[0], r0=number, **(WRONG[number] if number < wrong else {}))
        bench.record(result(PlannedExperiment(id=f"g{number}", workload="deploy"), seen))
    bench.all_in()
    verdict = bench.record(result(FAULT, faulty(pods=pods(0)))).verdict
    words = f"golden baseline too noisy: in {wrong} of {of} golden runs of deploy something was wrong"
    assert (verdict.state is State.INCONCLUSIVE, words in verdict.reasons) == (noisy, noisy), verdict.reasons
