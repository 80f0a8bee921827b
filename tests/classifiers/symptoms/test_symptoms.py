"""Lines between neighbouring classes that the labelled set (test_judge) does not draw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from classifiers.golden import Baseline
from classifiers.judge import judge
from classifiers.observation import (
    CanaryRecord,
    ComponentHealth,
    ComponentSample,
    ComponentSeries,
    Observation,
    ProbeSample,
    ProbeSeries,
)
from classifiers.symptoms import less_resources, more_resources, network, outage, stall, timing
from classifiers.verdict import ClientFailure, OrchestratorFailure, State
from tests.builders import (
    CANARY,
    all_paths,
    baseline,
    baseline_of_all_paths,
    canary,
    components,
    counts,
    faulty,
    firing,
    goldens,
    observation,
    pods,
    probes,
    samples,
    writes,
)
from tests.classifiers.labelled import TIMEOUTS, UP_THEN_DOWN, runaway

BASELINE = baseline()
REFUSED = CanaryRecord(stages=dict.fromkeys(CANARY), deadline_s=10.0, error="500 from the API")
LATE = {"applied": 0.2, "pods-ready": 2.1, "traffic": 4.0, "settled": 15.0}


def test_services_down_with_a_control_plane_that_works_are_no_outage() -> None:
    assert outage.detect(faulty(probes=probes(TIMEOUTS)), BASELINE) is None


def test_services_down_from_some_nodes_only_are_no_outage_even_if_the_canary_is_refused() -> None:
    assert outage.detect(faulty(probes=probes(UP_THEN_DOWN, only="node-1"), canary=REFUSED), BASELINE) is None
    assert outage.detect(faulty(probes=probes(UP_THEN_DOWN), canary=REFUSED), BASELINE) is not None


def test_a_warning_to_a_canary_that_was_created_is_no_stall() -> None:
    warned = CanaryRecord(stages=CANARY, deadline_s=10.0, error="Warning: deprecated")
    assert stall.detect(faulty(canary=warned), BASELINE) is None


def test_a_stall_names_the_first_stage_that_is_missing() -> None:
    found = stall.detect(faulty(canary=canary(pod_scheduled=None, pod_ready=None, endpoints=None)), BASELINE)
    assert found is not None
    assert "`pod-scheduled` within 10 s (golden 0.3 s)" in found.why


@pytest.mark.parametrize(
    "changes",
    [
        {"milestones": {"settled": 6.0}},
        {"pods": pods(1, ready=0)},
        {"writes": (*writes(0), *(w for w in writes() if w.identity == "Pod/default/web#1"))},
    ],
)
def test_a_workload_that_is_quiet_or_has_some_pods_is_no_hot_loop(changes: dict[str, object]) -> None:
    looping: dict[str, object] = {"milestones": {"settled": None}, "pods": (), "writes": writes(0)}
    assert stall.detect(faulty(**looping), BASELINE) is not None
    assert stall.detect(faulty(**{**looping, **changes}), BASELINE) is None


@pytest.mark.parametrize("changes", [{}, {"final_counts": counts(ReplicaSet=9)}])
def test_what_is_made_again_and_again_without_a_pod_is_a_hot_loop(changes: dict[str, object]) -> None:
    again = tuple(w for w in writes(0) if w.kind == "ReplicaSet")
    looping = {"milestones": {"settled": None}, "pods": (), "writes": (*writes(0), *again, *again)}
    assert stall.detect(faulty(**{**looping, **changes}), BASELINE) is not None


def test_traffic_that_failed_for_a_while_but_flows_at_the_end_is_no_network_failure() -> None:
    gap = samples(lambda t: "ok" if 4 <= t < 8 or t >= 12 else "timeout")
    assert network.detect(faulty(probes=probes(gap)), BASELINE) is None


def test_failures_with_no_ready_pod_are_not_the_networks() -> None:
    assert network.detect(faulty(probes=probes(TIMEOUTS), pods=pods(6, ready=0)), BASELINE) is None


def test_a_few_failures_with_pods_missing_are_the_missing_pods_doing() -> None:
    flaky = probes(samples(lambda t: "ok" if t < 12 or int(t * 10) % 6 else "timeout"))
    assert network.detect(faulty(probes=flaky, pods=pods(6, ready=5)), BASELINE) is None


def test_a_canary_that_did_not_get_to_its_endpoints_is_not_the_networks() -> None:
    assert network.detect(faulty(canary=canary(endpoints=None, traffic=None)), BASELINE) is None


def test_the_words_of_network_tell_from_where() -> None:
    some = network.detect(faulty(probes=probes(UP_THEN_DOWN, only="node-2")), BASELINE)
    every = network.detect(faulty(probes=probes(UP_THEN_DOWN)), BASELINE)
    assert some is not None and "unreachable from node-2 at the end" in some.why
    assert every is not None and "unreachable from every node at the end" in every.why


def test_a_kind_that_no_golden_run_has_is_one_too_many() -> None:
    assert more_resources.detect(faulty(final_counts=counts(ConfigMap=1)), BASELINE) is not None


def test_a_surge_at_the_peak_is_allowed_up_to_a_quarter_but_nothing_at_the_end() -> None:
    assert more_resources.detect(faulty(peak_counts=counts(Pod=8)), BASELINE) is None
    assert more_resources.detect(faulty(peak_counts=counts(Pod=9)), BASELINE) is not None
    assert more_resources.detect(faulty(final_counts=counts(Pod=7)), BASELINE) is not None


def test_a_runaway_is_told_by_its_rate_at_the_end() -> None:
    found = more_resources.detect(faulty(writes=runaway(), final_counts=counts(Pod=206)), BASELINE)
    assert found is not None
    assert "206 of Pod at the end, golden 6, runaway: 9.7 of Pod created per second to the end, 206 in all" in found.why
    stopped = tuple(w for w in runaway() if w.at_s < 12)
    assert more_resources.detect(faulty(writes=stopped), BASELINE) is None


def test_less_resources_names_pods_that_are_not_ready() -> None:
    found = less_resources.detect(faulty(pods=pods(6, ready=2)), BASELINE)
    assert found is not None
    assert "2 pods ready at the end, golden 6 (not ready: Pod/default/web#3 Pending on node-3" in found.why
    assert found.why.endswith("…)")


def test_more_ready_pods_than_golden_are_not_less() -> None:
    assert less_resources.detect(faulty(pods=pods(9)), BASELINE) is None


def test_a_milestone_is_not_late_after_a_fault_that_came_when_golden_runs_had_reached_it() -> None:
    assert timing.detect(faulty(milestones=LATE), BASELINE) is not None
    at_rest = firing(at_s=7.0, revision=None)
    assert timing.detect(faulty(milestones=LATE, firings=(at_rest,)), BASELINE) is None
    never = {**LATE, "settled": None}
    found = timing.detect(faulty(milestones=never, firings=(at_rest,)), BASELINE)
    assert found is not None and "`settled` never came" in found.why


@pytest.mark.parametrize("settled_s", [15.0, None])
def test_what_some_golden_run_never_reached_is_not_late(settled_s: float | None) -> None:
    observed = faulty(milestones={**LATE, "settled": settled_s})
    assert timing.detect(observed, BASELINE) is not None
    restless = observation(milestones={**LATE, "settled": None})
    assert timing.detect(observed, Baseline.from_observations("deploy", [*goldens(), restless])) is None


def test_every_symptom_is_of_its_own_class() -> None:
    found = timing.detect(faulty(milestones=LATE), BASELINE)
    assert found is not None
    assert found.orchestrator is OrchestratorFailure.TIMING
    assert "`settled` came after 15.0 s, golden 6..6.4 s (late from 9.3 s)" in found.why


# Names and pods as paths of their own

ALL = baseline_of_all_paths()
NO_NAME = samples(lambda t: "ok" if 4 <= t < 12 else "servfail")


def judged(**changes: object) -> tuple[State, OrchestratorFailure | None, ClientFailure | None]:
    verdict = judge(faulty(**changes), ALL)
    return verdict.state, verdict.orchestrator, verdict.client


def test_golden_runs_with_all_paths_are_none() -> None:
    verdict = judge(observation(probes=all_paths()), ALL, golden=True)
    assert (verdict.orchestrator, verdict.client) == (OrchestratorFailure.NONE, ClientFailure.NONE)


def test_a_name_that_leads_nowhere_is_a_network_failure_and_its_clients() -> None:
    network_, unreachable = OrchestratorFailure.NETWORK, ClientFailure.UNREACHABLE
    assert judged(probes=all_paths(dns=NO_NAME)) == (State.JUDGED, network_, unreachable)
    found = network.detect(faulty(probes=all_paths(dns=NO_NAME), pods=pods(6, ready=0)), ALL)
    assert found is not None, "whatever the pods do"
    assert found.why.startswith("DNS of default/web is unreachable from every node at the end (all of the last")
    sometimes = samples(lambda t: "ok" if t < 12 or int(t * 10) % 6 else "timeout")
    assert judged(probes=all_paths(dns=sometimes)) == (State.JUDGED, network_, ClientFailure.INTERMITTENT)


def test_ready_pods_that_other_nodes_do_not_reach_are_a_network_failure() -> None:
    assert judged(probes=all_paths(pod=UP_THEN_DOWN))[1] is OrchestratorFailure.NETWORK
    found = network.detect(faulty(probes=all_paths(pod=UP_THEN_DOWN)), ALL)
    assert found is not None and found.why.startswith("6 pods are ready, but pods of default is unreachable from every")


def test_pods_that_are_gone_and_not_asked_any_more_say_nothing_of_the_network() -> None:
    none_since_12 = tuple(s for s in UP_THEN_DOWN if s.at_s < 12.5)  # the last five were on their way out
    gone = faulty(probes=all_paths(pod=none_since_12), pods=pods(3))
    assert network.detect(gone, ALL) is None
    assert judged(probes=all_paths(pod=()))[0] is State.JUDGED, "nobody to ask is not too little traffic"
    assert judged(probes=all_paths(dns=()))[0] is State.INCONCLUSIVE


def test_names_that_still_answer_do_not_make_an_outage_milder() -> None:
    assert outage.detect(faulty(probes=all_paths(http=UP_THEN_DOWN), canary=REFUSED), ALL) is not None
    assert outage.detect(faulty(probes=all_paths(dns=UP_THEN_DOWN), canary=REFUSED), ALL) is None


def test_an_experiment_without_a_path_that_golden_runs_had_is_blind() -> None:
    verdict = judge(faulty(probes=tuple(s for s in all_paths() if s.kind != "dns")), ALL)
    assert "blind: DNS of default/web was not probed from node-1, though golden runs were" in verdict.reasons


def test_two_requests_that_failed_at_the_end_are_no_unreachable_path() -> None:
    late = (*samples(until_s=16), ProbeSample(18.0, 0.4, "timeout"), ProbeSample(19.0, 0.4, "timeout"))
    only = ProbeSeries(service="pods of default", vantage="node-1", kind=all_paths()[-1].kind, samples=late)
    assert network.detect(faulty(probes=(*all_paths()[:6], only)), ALL) is None


@pytest.mark.parametrize(("away_s", "late"), [(20, False), (30, False), (42, True)])
def test_an_api_that_was_away_for_long_and_came_back_is_late(away_s: int, late: bool) -> None:
    samples = tuple(
        ComponentSample(float(at_s), True, 0, 0.0, 0, ready=not 5 <= at_s < 5 + away_s) for at_s in range(70)
    )
    series = ComponentSeries(name="kube-apiserver", samples=samples)
    found = timing.detect(faulty(over_time=(series,), seconds=70.0), BASELINE)
    assert (found is not None) is late
    if found is not None:
        assert found.why == f"kube-apiserver was not ready for {away_s} s, golden never"
    other = replace(series, name="kube-scheduler")
    assert timing.detect(faulty(over_time=(other,), seconds=70.0), BASELINE) is None


def restarting(*ends_s: float, until_s: float = 60.0) -> Observation:
    """kube-controller-manager ended so often, and was started again at once."""
    name = "kube-controller-manager"
    samples = tuple(
        ComponentSample(float(at_s), True, sum(end <= at_s for end in ends_s), 0.0, 0)
        for at_s in range(int(until_s) + 1)
    )
    health = ComponentHealth(name=name, alive=True, ready=True, restarts=len(ends_s))
    return faulty(components=components(it=health), over_time=(ComponentSeries(name=name, samples=samples),))


@pytest.mark.parametrize(
    ("ends_s", "loops"),
    [((10.0, 24.0), False), ((10.0, 24.0, 45.0), True), ((30.0, 40.0), False), ((30.0, 41.0), True)],
)
def test_what_ended_several_times_and_then_ran_on_is_in_no_crash_loop(ends_s: tuple[float, ...], loops: bool) -> None:
    assert (stall.detect(restarting(*ends_s), BASELINE) is not None) is loops
    unready = restarting(*ends_s)
    unready = replace(unready, components=tuple(replace(c, ready=False) for c in unready.components))
    assert stall.detect(unready, BASELINE) is not None
