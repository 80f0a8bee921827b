from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.client import client_views, worst
from classifiers.observation import Observation, ProbeSample, ProbeSeries
from classifiers.verdict import ClientFailure
from tests.builders import SERVICE, UP_AT_S, baseline, faulty, firing, probes, samples

BASELINE = baseline()
GRAVITY = list(ClientFailure)


def failure(observed: Observation) -> ClientFailure:
    return worst(client_views(observed, BASELINE))


def with_series(series: tuple[ProbeSample, ...]) -> Observation:
    return faulty(probes=(ProbeSeries(service=SERVICE, vantage="node-1", samples=series),))


def test_a_good_series_is_none() -> None:
    assert failure(faulty()) is ClientFailure.NONE


def test_no_success_at_the_end_is_unreachable_even_from_one_node_only() -> None:
    gone = samples(lambda t: "ok" if UP_AT_S <= t < 15 else "no-address")
    assert failure(faulty(probes=probes(gone, only="node-3"))) is ClientFailure.UNREACHABLE


def test_one_success_at_the_end_is_not_unreachable_but_intermittent() -> None:
    rare = samples(lambda t: "ok" if UP_AT_S <= t < 15 or t == 19.0 else "timeout")
    assert failure(faulty(probes=probes(rare))) is ClientFailure.INTERMITTENT


def test_an_interruption_that_is_over_at_the_end_is_intermittent() -> None:
    gap = samples(lambda t: "ok" if UP_AT_S <= t < 8 or t >= 9 else "reset")
    assert failure(faulty(probes=probes(gap))) is ClientFailure.INTERMITTENT


def test_failures_before_the_service_had_to_be_up_are_nobodys_fault() -> None:
    assert failure(with_series(samples(lambda t: "ok" if t >= UP_AT_S else "timeout"))) is ClientFailure.NONE


def test_a_service_that_comes_up_after_the_golden_threshold_is_intermittent() -> None:
    late = samples(lambda t: "ok" if t >= 10 else "refused")
    milestones = {"applied": 0.2, "pods-ready": 2.1, "traffic": 10.0, "settled": 11.0}
    assert failure(replace(with_series(late), milestones=milestones)) is ClientFailure.INTERMITTENT


def test_answers_that_take_much_longer_are_slower() -> None:
    assert failure(with_series(samples(latency_s=0.5))) is ClientFailure.SLOWER
    assert failure(with_series(samples(latency_s=0.05))) is ClientFailure.NONE


def test_what_failed_before_the_fault_is_not_the_faults_doing() -> None:
    early = samples(lambda t: "ok" if UP_AT_S <= t < 8 or t >= 9 else "reset")
    observed = replace(with_series(early), firings=(firing(at_s=12.0, revision=None),))
    assert failure(observed) is ClientFailure.NONE


def test_a_hanging_service_with_few_requests_is_still_seen() -> None:
    sparse = tuple(ProbeSample(at_s=t, latency_s=3.0, outcome="timeout") for t in (0.0, 4.0, 8.0, 12.0, 16.0))
    assert failure(with_series(sparse)) is ClientFailure.UNREACHABLE


def test_failing_does_not_make_a_slow_client_look_quick() -> None:
    slow = [ProbeSample(at_s=15 + n / 10, latency_s=1.0 if n < 3 else 0.001, outcome="ok") for n in range(20)]
    assert failure(with_series(tuple(slow))) is ClientFailure.SLOWER
    failing = (replace(slow[0], latency_s=0.001, outcome="refused"), *slow[1:])
    assert failure(with_series(failing)) is ClientFailure.SLOWER


def test_one_failed_request_in_the_last_seconds_is_not_the_whole_end() -> None:
    outcomes = ("ok", "ok", "ok", "ok", "timeout")
    sparse = tuple(ProbeSample(at_s=4.0 * n, latency_s=1.0, outcome=o) for n, o in enumerate(outcomes))
    assert failure(with_series(sparse)) is ClientFailure.NONE


def test_an_interruption_counts_from_the_runs_own_first_traffic_on() -> None:
    gap = samples(lambda t: "ok" if UP_AT_S <= t < 5 or t >= 6 else "reset")
    observed = with_series(gap)
    assert failure(observed) is ClientFailure.INTERMITTENT
    later = {**observed.milestones, "traffic": 6.0}
    assert failure(replace(observed, milestones=later)) is ClientFailure.NONE


def test_where_golden_requests_fail_nearly_as_often_as_a_p90_allows_it_is_not_asked() -> None:
    from classifiers.golden import Baseline
    from tests.builders import observation

    def lossy(each: int) -> tuple[ProbeSample, ...]:
        return samples(lambda t: "timeout" if t >= UP_AT_S and int(t * 10) % each == 0 and t < 16 else "ok")

    golden = Baseline.from_observations("deploy", [observation(probes=probes(lossy(12)))] * 3)
    (view, *_) = client_views(faulty(probes=probes(lossy(7))), golden)
    assert view.failure is ClientFailure.NONE, "one in seven instead of one in twelve is chance"
    (view, *_) = client_views(faulty(probes=probes(lossy(3))), golden)
    assert view.failure is ClientFailure.INTERMITTENT


def test_a_service_that_golden_runs_take_away_is_not_missed() -> None:
    from classifiers.golden import Baseline
    from tests.builders import observation

    taken_away = probes(samples(lambda t: "ok" if UP_AT_S <= t < 12 else "refused"))
    golden = Baseline.from_observations("deploy", [observation(probes=taken_away)] * 3)
    assert worst(client_views(faulty(probes=taken_away), golden)) is ClientFailure.NONE


outcomes = st.sampled_from(["ok", "ok", "ok", "timeout", "refused"])
latencies = st.sampled_from([0.001, 0.02, 0.3, 1.0])


@st.composite
def series_and_a_worse_one(draw: st.DrawFn) -> tuple[tuple[ProbeSample, ...], tuple[ProbeSample, ...]]:
    times = draw(st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=80))
    better, worse = [], []
    for at_s in sorted(times):
        sample = ProbeSample(at_s, draw(latencies), draw(outcomes))
        better.append(sample)
        how = draw(st.sampled_from(["same", "same", "fails", "slower"]))
        if how == "fails":
            sample = replace(sample, outcome="timeout")
        elif how == "slower":
            sample = replace(sample, latency_s=sample.latency_s * 4)
        worse.append(sample)
    return tuple(better), tuple(worse)


@settings(max_examples=150, deadline=None)
@given(series_and_a_worse_one())
def test_a_worse_series_never_gets_a_milder_class(pair: tuple[tuple[ProbeSample, ...], ...]) -> None:
    better, worse = (GRAVITY.index(failure(with_series(s))) for s in pair)
    assert worse <= better


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_samples_are_stored_changes_nothing(random: object) -> None:
    shuffled = list(samples(lambda t: "ok" if UP_AT_S <= t < 15 else "timeout"))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert failure(with_series(tuple(shuffled))) is ClientFailure.UNREACHABLE
