from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import numbers
from classifiers.golden import Baseline, Spread, ready_pods
from classifiers.observation import ProbeSample
from classifiers.windows import Phase, Traffic
from tests.builders import SERVICE, baseline, counts, faulty, goldens, observation, pods, probes, samples


def test_a_spread_is_median_deviation_and_range_of_what_came() -> None:
    spread = Spread.of([1.0, 2.0, None, 9.0, 3.0])
    assert spread == Spread(runs=4, missing=1, median=2.5, mad=1.0, low=1.0, high=9.0)
    assert not spread.always
    assert Spread.of([None]) is None


def test_one_slow_golden_run_does_not_hide_the_next_slow_one_but_is_itself_not_late() -> None:
    spread = Spread.of([4.0] * 9 + [11.0])
    assert spread is not None
    assert spread.late == 11.0
    clean = Spread.of([4.0] * 10)
    assert clean is not None
    assert clean.late == 4.0 + numbers.TIMING_FLOOR_S


def test_golden_runs_that_vary_widen_the_threshold_by_their_deviation() -> None:
    spread = Spread.of([4.0, 6.0, 8.0])
    assert spread is not None
    assert spread.late == pytest.approx(6.0 + 6 * 1.4826 * 2.0)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20))
def test_no_golden_value_is_ever_beyond_its_own_threshold(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert all(v <= spread.late for v in values)
    assert spread.low <= spread.median <= spread.high


def test_a_baseline_holds_what_golden_runs_did() -> None:
    golden = baseline()
    assert golden.runs == 5
    assert golden.enough and golden.shortfall is None
    assert golden.final_counts["Pod"] == Spread(runs=5, missing=0, median=6, mad=0, low=6, high=6)
    assert golden.ready_pods == golden.final_counts["Pod"]
    assert golden.writes["Pod/default/web#1"].median == 3
    assert golden.created["Pod"].median == 6
    assert golden.canary["traffic"].median == 2.9
    assert set(golden.clients) == {("default/web", n) for n in ("node-1", "node-2", "node-3")}
    assert golden.clients["default/web", "node-1"].tolerated(Phase.AFTER) == numbers.ERROR_RATE_MARGIN
    assert golden.components["etcd"].high == 0


def test_volatile_kinds_are_not_counted() -> None:
    golden = baseline()
    assert not {"Event", "Lease"} & {*golden.final_counts, *golden.peak_counts, *golden.created}
    assert not [identity for identity in golden.writes if identity.startswith("Event/")]


def test_an_object_that_some_golden_runs_lack_counts_as_none_there() -> None:
    runs = [observation(final_counts=counts(ReplicaSet=n)) for n in (1, 1, 2)] + [
        observation(final_counts={k: v for k, v in counts().items() if k != "ReplicaSet"})
    ]
    spread = Baseline.from_observations("deploy", runs).final_counts["ReplicaSet"]
    assert (spread.low, spread.high) == (0, 2)


def test_fewer_than_three_golden_runs_are_too_few_and_say_so() -> None:
    assert [baseline(n).enough for n in (0, 1, 2, 3)] == [False, False, False, True]
    assert baseline(1).shortfall == "golden baseline too small: 1 golden run of deploy, at least 3 needed"


def test_failing_requests_of_golden_clients_are_tolerated_as_often_as_they_came() -> None:
    flaky = probes(samples(lambda t: "ok" if t >= 4 and int(t * 10) % 10 else "reset"))
    golden = Baseline.from_observations("deploy", [*goldens(4), observation(probes=flaky)])
    assert golden.clients["default/web", "node-2"].tolerated(Phase.AFTER) == pytest.approx(0.1 + 0.02)


def test_where_golden_requests_fail_by_chance_few_requests_may_fail_more_often_than_many() -> None:
    flaky = probes(samples(lambda t: "ok" if t >= 4 and int(t * 10) % 10 else "reset"))
    client = Baseline.from_observations("deploy", [observation(probes=flaky)] * 3).clients["default/web", "node-2"]
    assert client.tolerated(Phase.DURING, 100) == pytest.approx(0.1 + 3 * 0.03)
    assert client.tolerated(Phase.DURING, 10_000) == pytest.approx(0.1 + 0.02)
    steady = Baseline.from_observations("deploy", goldens(4)).clients["default/web", "node-2"]
    assert steady.tolerated(Phase.AFTER, 10) == 0.02, "nothing fails by chance where nothing fails"


def test_pods_on_their_way_out_do_not_serve() -> None:
    from dataclasses import replace

    gone = tuple(replace(p, deleting=True) for p in pods(2))
    assert ready_pods(faulty(pods=(*gone, *pods(3, ready=1)))) == 1


def test_pods_that_ended_with_success_have_done_what_they_are_there_for() -> None:
    from dataclasses import replace

    ended = [replace(pod, ready=False, phase=phase) for pod, phase in zip(
        pods(3), ("Succeeded", "Failed", "Running"), strict=True)]  # fmt: skip
    assert ready_pods(observation(pods=tuple(ended))) == 1


def test_no_client_is_slower_than_one_whose_p90_was_endless_in_a_golden_run() -> None:
    taken_away = observation(probes=probes(samples(lambda t: "ok" if 4 <= t < 17 else "refused")))
    clients = Baseline.from_observations("deploy", [*goldens(3), taken_away]).clients
    assert clients[SERVICE, "node-1"].latency_s is None
    assert baseline().clients[SERVICE, "node-1"].latency_s is not None


def test_requests_sent_while_the_workload_was_prepared_are_before_in_golden_runs_too() -> None:
    early = tuple(ProbeSample(at_s=-1 + i / 10, latency_s=0.002, outcome="ok") for i in range(10))
    late = samples(lambda at_s: "refused" if at_s < 5 else "ok")
    seen = observation(probes=probes((*early, *late)), milestones={"traffic": 0.0})
    traffic = Traffic.of(seen, seen.probes[0], late_s=3.0, hit_s=None)
    assert traffic.before == early and {sample.outcome for sample in traffic.during} == {"refused", "ok"}
    golden = Baseline.from_observations("deploy", [seen] * 3).clients[SERVICE, "node-1"]
    assert golden.error_rates[Phase.BEFORE].high == 0 and golden.error_rates[Phase.DURING].high == 50 / 170
    traffic = Traffic.of(seen, seen.probes[0], late_s=3.0, hit_s=2.0)
    assert len(traffic.before) == len(early) + 20 and traffic.before[:10] == early
