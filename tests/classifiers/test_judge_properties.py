"""What holds of every verdict: worse is never milder, what tells nothing changes nothing, what golden runs do, too, is
none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.client import client_views
from classifiers.golden import Baseline
from classifiers.judge import judge, judge_goldens
from classifiers.observation import Observation
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from tests.builders import NODES, baseline, faulty, goldens, observation, probes
from tests.classifiers.changes import (
    Change,
    after,
    anything_but_pods,
    created,
    each_after,
    fewer_pods,
    normal_events,
    order,
    requests,
    several,
    volatile,
    with_nodes_called,
)
from tests.classifiers.labelled import LABELLED

BASELINE = baseline()
GRAVITY = list(OrchestratorFailure)
quick = settings(max_examples=50, deadline=None)
labelled = st.sampled_from(list(LABELLED))


def gravity(observed: Observation) -> int:
    verdict = judge(observed, BASELINE)
    assert verdict.state is State.JUDGED and verdict.orchestrator is not None, verdict.reasons
    return GRAVITY.index(verdict.orchestrator)


def never_milder(observed: Observation, worse: Sequence[Change]) -> bool:
    found = [gravity(seen) for seen in each_after(observed, worse)]
    return found == sorted(found, reverse=True)


def without_words(verdict: Verdict) -> Verdict:
    return replace(verdict, reasons=())


# Worse


@quick
@given(labelled, several(anything_but_pods))
def test_a_worse_observation_never_gets_a_milder_class(name: str, worse: list[Change]) -> None:
    assert never_milder(LABELLED[name][0], worse)


@quick
@given(labelled.filter(lambda name: name != "workload hot-loops"), several(created, anything_but_pods))
def test_nor_does_one_that_makes_objects_unless_it_went_round_without_any_pod(name: str, worse: list[Change]) -> None:
    assert never_milder(LABELLED[name][0], worse)


def served(name: str) -> bool:
    return all(view.at_end is ClientFailure.NONE for view in client_views(LABELLED[name][0], BASELINE))


@quick
@given(labelled.filter(served), several(fewer_pods))
def test_nor_does_one_with_fewer_pods_while_clients_are_served(name: str, worse: list[Change]) -> None:
    assert never_milder(LABELLED[name][0], worse)


DOUBTS: dict[str, dict[str, tuple[str, ...]]] = {
    "blind": {"blind": ("the API could not be asked",)},
    "unclean": {"unclean": ("Pod/default/old was there",)},
    "capped": {"caps": ("64 pods on node-1",)},
    "not fired": {"firings": ()},
}


@quick
@given(labelled, st.lists(anything_but_pods, max_size=3), st.sampled_from(list(DOUBTS)))
def test_what_is_in_doubt_gets_no_class_but_what_the_doubt_cannot_make_up(
    name: str, worse: list[Change], doubt: str
) -> None:
    observed = after(LABELLED[name][0], worse)
    verdict = judge(replace(observed, **DOUBTS[doubt]), BASELINE)  # type: ignore[arg-type]
    sure = judge(observed, BASELINE)
    believed = {"blind": {OrchestratorFailure.OUTAGE}, "capped": {OrchestratorFailure.MORE_RESOURCES}}
    if verdict.state is State.JUDGED:
        assert verdict.orchestrator in {sure.orchestrator, *sure.also} & believed.get(doubt, set())
    else:
        assert (verdict.state, verdict.orchestrator, verdict.client) == (State.INCONCLUSIVE, None, None)


# Irrelevant


@quick
@given(labelled, several(order, volatile, normal_events))
def test_order_and_what_lives_by_the_clock_change_no_verdict(name: str, changes: list[Change]) -> None:
    observed = LABELLED[name][0]
    assert without_words(judge(after(observed, changes), BASELINE)) == without_words(judge(observed, BASELINE))


@quick
@given(several(volatile, normal_events), labelled)
def test_what_lives_by_the_clock_changes_no_word_either(changes: list[Change], name: str) -> None:
    observed = LABELLED[name][0]
    assert judge(after(observed, changes), BASELINE) == judge(observed, BASELINE)


@cache
def with_nodes(names: tuple[str, ...]) -> Baseline:
    return Baseline.from_observations("deploy", [with_nodes_called(run, names) for run in goldens()])


@quick
@given(
    several(requests) | several(anything_but_pods), st.sampled_from([NODES, ("z", "a", "m")]), st.permutations(range(3))
)
def test_what_nodes_are_called_and_which_of_equal_ones_it_is_change_no_verdict(
    worse: list[Change], names: tuple[str, ...], places: list[int]
) -> None:
    observed = after(faulty(), worse)
    verdict = judge(with_nodes_called(observed, [names[place] for place in places]), with_nodes(names))
    usual = judge(observed, BASELINE)
    assert replace(verdict, reasons=(), detected=()) == replace(usual, reasons=(), detected=())


@quick
@given(labelled, st.permutations(goldens()), st.integers(1, 3))
def test_the_order_of_golden_runs_and_how_often_they_were_made_change_nothing(
    name: str, runs: list[Observation], times: int
) -> None:
    observed = LABELLED[name][0]
    assert judge(observed, Baseline.from_observations("deploy", runs * times)) == judge(observed, BASELINE)


# Golden


def fine(verdict: Verdict) -> bool:
    return (verdict.orchestrator, verdict.client) == (OrchestratorFailure.NONE, ClientFailure.NONE)


wrong = several(anything_but_pods, created, fewer_pods)
SPARSE = observation(probes=tuple(replace(series, samples=series.samples[::4]) for series in probes()))


@settings(max_examples=30, deadline=None)
@given(wrong, st.integers(4, 6))
def test_golden_runs_that_are_all_alike_are_none_whatever_they_do(changes: list[Change], count: int) -> None:
    verdicts = judge_goldens("deploy", [after(SPARSE, changes)] * count)
    assert all(map(fine, verdicts)), verdicts[0].reasons


@quick
@given(st.lists(wrong, min_size=3, max_size=4))
def test_what_some_golden_run_did_is_none_whatever_the_others_did(changes: list[list[Change]]) -> None:
    runs = [after(SPARSE, each) for each in changes]
    among = Baseline.from_observations("deploy", runs)
    for run in runs:
        verdict = judge(run, among, golden=True)
        assert fine(verdict), verdict.reasons
