"""The judge on observations of real runs (tests.classifiers.recorded), as they are and changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from classifiers.activation import activation
from classifiers.golden import Baseline
from classifiers.judge import judge, judge_goldens
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State
from tests.classifiers.changes import (
    Change,
    after,
    canary_stages,
    controllers,
    each_after,
    normal_events,
    order,
    refused,
    requests,
    servers,
    several,
    volatile,
)
from tests.classifiers.recorded import Recorded, recorded

ALL = recorded()
GOLDENS = [each.observation for each in ALL if each.expected is None]
EXPERIMENTS = [each for each in ALL if each.expected is not None]
BASELINE = Baseline.from_observations("deploy", GOLDENS)
GRAVITY = list(OrchestratorFailure)
quick = settings(max_examples=30, deadline=None)
experiments = st.sampled_from([each.expected for each in EXPERIMENTS])
BY_CLASS = {each.expected: each.observation for each in EXPERIMENTS}


def test_there_is_one_of_each_class() -> None:
    assert {each.expected for each in EXPERIMENTS} == set(OrchestratorFailure)


@pytest.mark.parametrize("each", EXPERIMENTS, ids=[str(each.expected) for each in EXPERIMENTS])
def test_each_has_the_class_that_it_was_recorded_for(each: Recorded) -> None:
    verdict = judge(each.observation, BASELINE)
    assert (verdict.state, verdict.orchestrator) == (State.JUDGED, each.expected), verdict.reasons
    assert activation(each.observation, BASELINE)[0] is not Activation.NOT_FIRED


def test_golden_runs_are_quiet_by_each_other() -> None:
    for verdict in judge_goldens("deploy", GOLDENS):
        assert (verdict.orchestrator, verdict.client) == (OrchestratorFailure.NONE, ClientFailure.NONE), verdict.reasons


@quick
@given(experiments, several(servers, controllers, requests, canary_stages, refused))
def test_a_worse_one_never_gets_a_milder_class(expected: OrchestratorFailure, worse: list[Change]) -> None:
    verdicts = [judge(seen, BASELINE) for seen in each_after(BY_CLASS[expected], worse)]
    assume(all(verdict.state is State.JUDGED for verdict in verdicts))  # requests may fail before the fault came
    found = [GRAVITY.index(verdict.orchestrator) for verdict in verdicts if verdict.orchestrator is not None]
    assert found == sorted(found, reverse=True)


@quick
@given(experiments, several(order, volatile, normal_events))
def test_what_tells_nothing_changes_no_verdict(expected: OrchestratorFailure, changes: list[Change]) -> None:
    observed = BY_CLASS[expected]
    changed = judge(after(observed, changes), BASELINE)
    assert replace(changed, reasons=()) == replace(judge(observed, BASELINE), reasons=())
