"""Once a symptom held, it still holds when the observation gets worse, whatever some golden run did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.golden import Baseline
from classifiers.observation import Observation
from classifiers.symptoms import less_resources, more_resources, network, outage, stall, timing
from classifiers.symptoms.registry import Detect
from tests.builders import CANARY, all_paths, baseline_of_all_paths, canary, faulty, firing, goldens, pods
from tests.classifiers.changes import (
    Change,
    anything_but_pods,
    canary_stage,
    canary_stages,
    controllers,
    created,
    each_after,
    fewer_objects,
    fewer_pods,
    milestone,
    milestones,
    more_objects,
    refused,
    requests,
    servers,
    several,
)
from tests.classifiers.labelled import LABELLED

ALL = baseline_of_all_paths()
quick = settings(max_examples=50, deadline=None)
labelled = st.sampled_from(list(LABELLED))
odd_goldens = st.sampled_from(
    [
        "nothing wrong",
        "kube-apiserver dead",
        "controller-manager in a crash loop",
        "canary refused, services run",
        "canary's endpoints never came",
        "canary gets endpoints, no traffic",
        "workload hot-loops",
        "one request in six fails",
        "service unreachable from everywhere",
        "one pod too many",
        "no pods at all",
        "never quiet",
    ]
)


@cache
def golden(odd: str) -> Baseline:
    """Of golden runs of which one went that way."""
    return Baseline.from_observations("deploy", [*goldens(4), replace(LABELLED[odd][0], armed=False, firings=())])


def stays(detect: Detect, observed: Observation, worse: Sequence[Change], runs: Baseline) -> bool:
    held = [detect(seen, runs) is not None for seen in each_after(observed, worse)]
    return held == sorted(held)


REFUSED = LABELLED["canary refused, services run"][0]


@pytest.mark.parametrize(
    ("detect", "observed", "respect"),
    [
        pytest.param(outage.detect, faulty(), servers, id="servers"),
        pytest.param(outage.detect, REFUSED, requests, id="requests with the canary refused"),
        pytest.param(stall.detect, faulty(), controllers, id="controllers"),
        pytest.param(stall.detect, faulty(), canary_stages, id="the canary's progress"),
        pytest.param(network.detect, faulty(), requests, id="requests"),
        pytest.param(more_resources.detect, faulty(), more_objects, id="more objects"),
        pytest.param(more_resources.detect, faulty(), created, id="created objects"),
        pytest.param(less_resources.detect, faulty(), fewer_objects, id="fewer objects"),
        pytest.param(less_resources.detect, faulty(), fewer_pods, id="fewer pods"),
        pytest.param(timing.detect, faulty(), milestones, id="milestones"),
        pytest.param(timing.detect, faulty(), canary_stages, id="the canary's times"),
    ],
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_symptom_stays_however_much_worse_its_own_respect_gets(
    detect: Detect, observed: Observation, respect: st.SearchStrategy[Change], data: st.DataObject
) -> None:
    worse = data.draw(st.lists(respect, min_size=2, max_size=10))
    assert stays(detect, observed, worse, golden("nothing wrong"))


@quick
@given(labelled, several(servers, requests, refused, fewer_pods, created, anything_but_pods), odd_goldens)
def test_an_outage_stays_one(name: str, worse: list[Change], odd: str) -> None:
    assert stays(outage.detect, LABELLED[name][0], worse, golden(odd))


@quick
@given(labelled, several(controllers, canary_stages, fewer_pods, anything_but_pods), odd_goldens)
def test_a_stall_stays_one(name: str, worse: list[Change], odd: str) -> None:
    assert stays(stall.detect, LABELLED[name][0], worse, golden(odd))


@quick
@given(labelled, several(requests, requests, servers, milestones, more_objects, fewer_objects, created), odd_goldens)
def test_a_network_failure_stays_one_with_the_same_pods_and_canary(name: str, worse: list[Change], odd: str) -> None:
    assert stays(network.detect, LABELLED[name][0], worse, golden(odd))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 6), several(requests))
def test_however_many_pods_are_ready_a_network_failure_on_any_path_stays_one(ready: int, worse: list[Change]) -> None:
    assert stays(network.detect, faulty(probes=all_paths(), pods=pods(6, ready=ready)), worse, ALL)


@quick
@given(several(canary_stages), odd_goldens)
def test_a_canary_without_traffic_becomes_a_stall_or_stays_a_network_failure(worse: list[Change], odd: str) -> None:
    def graver(observed: Observation, runs: Baseline) -> object:
        return network.detect(observed, runs) or stall.detect(observed, runs)

    held = [bool(graver(seen, golden(odd))) for seen in each_after(faulty(canary=canary(traffic=None)), worse)]
    assert held == sorted(held)


@quick
@given(labelled, several(more_objects, created, anything_but_pods), odd_goldens)
def test_more_resources_stay_more(name: str, worse: list[Change], odd: str) -> None:
    assert stays(more_resources.detect, LABELLED[name][0], worse, golden(odd))


@quick
@given(labelled, several(fewer_objects, fewer_pods, anything_but_pods), odd_goldens)
def test_less_resources_stay_less(name: str, worse: list[Change], odd: str) -> None:
    assert stays(less_resources.detect, LABELLED[name][0], worse, golden(odd))


@quick
@given(several(milestones, canary_stages), odd_goldens, st.sampled_from([0.2, 3.0, 7.0]))
def test_what_is_late_stays_late_whenever_the_fault_came(worse: list[Change], odd: str, fault_s: float) -> None:
    observed = faulty(firings=(firing(at_s=fault_s, revision=None),))
    assert stays(timing.detect, observed, worse, golden(odd))


@quick
@given(st.sampled_from([milestone, canary_stage]), st.data(), odd_goldens, st.sampled_from([0.5, 4.0, 9.0]))
def test_never_is_no_better_than_late(
    reached: Callable[..., Observation], data: st.DataObject, odd: str, by_s: float
) -> None:
    name = data.draw(st.sampled_from(list(CANARY if reached is canary_stage else faulty().milestones)))
    worse = [partial(reached, name=name, by_s=by_s), partial(reached, name=name, by_s=None)]
    assert stays(timing.detect, faulty(), worse, golden(odd))


@quick
@given(labelled, several(milestones, anything_but_pods))
def test_what_is_late_stays_late_whatever_else_is_wrong(name: str, worse: list[Change]) -> None:
    assert stays(timing.detect, LABELLED[name][0], worse, golden("nothing wrong"))
