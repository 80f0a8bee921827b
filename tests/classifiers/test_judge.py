from __future__ import annotations

from dataclasses import replace

import pytest

from classifiers.golden import Baseline
from classifiers.judge import judge, judge_goldens
from classifiers.observation import ComponentHealth, Observation, ProbeSeries
from classifiers.symptoms import SYMPTOMS, Registry
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.rules import NearMiss
from tests.builders import (
    SERVICE,
    UP_AT_S,
    baseline,
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
)
from tests.classifiers.labelled import LABELLED, TIMEOUTS, dead


def accuracy(symptoms: Registry) -> float:
    golden = baseline()
    hits = [judge(o, golden, symptoms=symptoms).orchestrator is expected for o, expected in LABELLED.values()]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("name", LABELLED)
def test_every_labelled_observation_gets_its_class_and_a_reason(name: str) -> None:
    observed, expected = LABELLED[name]
    verdict = judge(observed, baseline())
    assert (verdict.state, verdict.orchestrator) == (State.JUDGED, expected), verdict.reasons
    assert any(r.startswith(f"{expected.value}: ") for r in verdict.reasons)


def test_a_judge_that_always_says_none_misses_most_of_the_labelled_set() -> None:
    assert accuracy(Registry()) < 0.3
    assert accuracy(SYMPTOMS) == 1.0


@pytest.mark.parametrize("missing", [d.name for d in SYMPTOMS.detectors()])
def test_without_any_one_symptom_the_labelled_set_is_misjudged(missing: str) -> None:
    assert accuracy(Registry(d for d in SYMPTOMS.detectors() if d.name != missing)) < 0.95


def test_every_class_is_in_the_labelled_set() -> None:
    assert {expected for _, expected in LABELLED.values()} == set(OrchestratorFailure)


def test_golden_runs_judged_against_the_others_report_no_failure() -> None:
    for verdict in judge_goldens("deploy", goldens(10)):
        assert (verdict.state, verdict.orchestrator, verdict.client, verdict.activation, verdict.aware) == (
            State.JUDGED,
            OrchestratorFailure.NONE,
            ClientFailure.NONE,
            None,
            None,
        )
        assert verdict.reasons


def test_a_golden_run_that_failed_is_seen_as_a_false_alarm() -> None:
    runs = [*goldens(5), observation(pods=pods(6, ready=4))]
    assert [v.orchestrator for v in judge_goldens("deploy", runs)][-1] is OrchestratorFailure.LESS_RESOURCES


def test_everything_that_held_is_kept_and_the_gravest_is_the_class() -> None:
    observed = faulty(
        components=dead("kube-scheduler"),
        probes=probes(TIMEOUTS),
        final_counts=counts(Pod=7),
        milestones={"applied": 0.2, "pods-ready": 2.1, "traffic": None, "settled": 6.0},
    )
    verdict = judge(observed, baseline())
    assert verdict.orchestrator is OrchestratorFailure.STALL
    assert verdict.also == (
        OrchestratorFailure.NETWORK,
        OrchestratorFailure.MORE_RESOURCES,
        OrchestratorFailure.TIMING,
    )


def test_a_lost_service_is_network_with_less_resources_beside_it() -> None:
    verdict = judge(LABELLED["the Service was lost"][0], baseline())
    assert verdict.also == (OrchestratorFailure.LESS_RESOURCES,)
    assert verdict.client is ClientFailure.UNREACHABLE


def test_an_outage_does_not_need_eyes_but_nothing_else_is_judged_blind() -> None:
    blind = ("the API could not be asked: connection refused",)
    outage = judge(faulty(components=dead("kube-apiserver"), blind=blind), baseline())
    assert (outage.state, outage.orchestrator) == (State.JUDGED, OrchestratorFailure.OUTAGE)
    less = judge(faulty(pods=pods(6, ready=1), blind=blind), baseline())
    assert less.state is State.INCONCLUSIVE


def inconclusive(observed: Observation, golden: Baseline | None = None) -> Verdict:
    verdict = judge(observed, golden or baseline())
    assert (verdict.state, verdict.orchestrator, verdict.client, verdict.also) == (State.INCONCLUSIVE, None, None, ())
    return verdict


def test_a_fault_that_did_not_fire_is_inconclusive_and_names_the_nearest_message() -> None:
    miss = NearMiss(identity="Service/default/web", why="no field spec.selector[ap]", times=3)
    verdict = inconclusive(observation(armed=True, near_misses=(miss,)))
    assert verdict.activation is Activation.NOT_FIRED
    assert "not fired" in verdict.reasons[0] and "no field spec.selector[ap]" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (faulty(blind=("canary: no kubeconfig",)), "blind: canary: no kubeconfig"),
        (faulty(probes=(ProbeSeries(service=SERVICE, vantage="node-1", samples=(), blind="no route"),)), "no route"),
        (faulty(probes=probes()[:2]), "was not probed from node-3"),
        (faulty(components=components()[1:]), "blind: etcd was not looked at"),
        (faulty(probes=probes(samples()[:2], only="node-2")), "too little traffic: 2 requests"),
        (faulty(unclean=("Pod/default/old was there",)), "unclean start: Pod/default/old"),
        (faulty(caps=("64 pods on node-1",)), "host guard: 64 pods on node-1"),
        (faulty(canary=canary().__class__(stages={}, deadline_s=10.0)), "the canary was not tried"),
    ],
)
def test_what_cannot_be_judged_is_inconclusive_with_the_reason(observed: Observation, words: str) -> None:
    assert any(words in reason for reason in inconclusive(observed).reasons)


def test_too_few_golden_runs_judge_nothing() -> None:
    verdict = inconclusive(faulty(pods=()), baseline(2))
    assert any("golden baseline too small: 2 golden runs" in r for r in verdict.reasons)
    assert verdict.activation is Activation.ACCEPTED
    assert judge(faulty(pods=()), baseline(3)).state is State.JUDGED


def test_clients_that_failed_before_the_fault_came_make_the_start_unclean() -> None:
    late = firing(at_s=15.0, revision=None)
    failing = samples(lambda t: "refused" if t < 4 or 6 <= t < 9 else "ok")
    verdict = inconclusive(faulty(firings=(late,), probes=probes(failing)))
    assert any("failed before the fault came" in reason for reason in verdict.reasons)


def test_a_run_that_was_late_before_the_fault_came_is_no_measure_of_the_fault() -> None:
    slow = {"applied": 0.2, "pods-ready": 2.1, "traffic": UP_AT_S + 8, "settled": UP_AT_S + 9}
    rising = samples(lambda t: "refused" if t < UP_AT_S + 8 else "ok")

    def late(at_s: float) -> Observation:
        return faulty(milestones=slow, probes=probes(rising), firings=(firing(at_s=at_s, revision=None),))

    behind = inconclusive(late(UP_AT_S + 3))
    assert any("`traffic` came after" in reason and "late before the fault" in reason for reason in behind.reasons)
    assert judge(late(1.0), baseline()).orchestrator is OrchestratorFailure.TIMING, "late because of the fault"
    down = replace(late(UP_AT_S + 3), components=components(it=ComponentHealth(name="etcd", alive=False)))
    assert judge(down, baseline()).orchestrator is OrchestratorFailure.OUTAGE, "no slow machine does that"
    held = observation().writes[1]  # which the firing became
    stored = replace(held, at_s=UP_AT_S + 3)
    held_back = replace(late(0.2), firings=(firing(at_s=0.2, revision=held.revision),), writes=(stored,))
    assert judge(held_back, baseline()).orchestrator is OrchestratorFailure.TIMING, "it came when it was held back"
    told = firing(at_s=UP_AT_S + 3, operation="range", revision=held.revision)  # of an object that is older
    assert judge(replace(late(1.0), firings=(told,)), baseline()).state is State.INCONCLUSIVE
    nobody_hurt = replace(late(UP_AT_S + 3), probes=probes())
    assert judge(nobody_hurt, baseline()).orchestrator is OrchestratorFailure.NONE


def test_a_cap_is_never_an_outage_and_its_consequences_are_told_but_not_judged() -> None:
    capped = inconclusive(faulty(components=dead("kube-apiserver"), caps=("memory of the sandbox",)))
    assert any("seen all the same, not judged: outage" in reason for reason in capped.reasons)


def test_more_resources_are_proven_in_spite_of_a_cap_but_nothing_graver_is() -> None:
    observed = faulty(
        final_counts=counts(Pod=60), canary=canary(pod_scheduled=None, pod_ready=None), caps=("20 pods on node-1",)
    )
    verdict = judge(observed, baseline())
    assert (verdict.orchestrator, verdict.also) == (OrchestratorFailure.MORE_RESOURCES, ())
    assert any("not counted, as the cap may have done it: stall" in reason for reason in verdict.reasons)


def test_awareness_is_what_the_api_told_this_user_and_not_golden_ones() -> None:
    usual = "Warning: v1 Endpoints is deprecated"
    golden = Baseline.from_observations("deploy", [observation(user_errors=(usual,)) for _ in range(3)])
    assert judge(faulty(user_errors=(usual,)), golden).aware is False
    told = judge(faulty(user_errors=(usual, "500: etcdserver: request timed out")), golden)
    assert told.aware is True
    assert "the user was told: 500: etcdserver: request timed out" in told.reasons and told.aware_s is None
    later = {"500": 4.25, "warning event BackOff on a Pod": 2.5, usual: 0.5}
    dated = judge(faulty(user_errors=tuple(later), told_s=later), golden)
    assert dated.aware_s == 2.5 and "the user was told after 4.2 s: 500" in dated.reasons
    assert judge(faulty(user_asked=False, user_errors=("500",)), golden).aware is None


def test_a_component_that_golden_runs_end_with_not_ready_tells_nothing() -> None:
    unready = components(it=ComponentHealth(name="kube-scheduler", alive=True, ready=False))
    golden = Baseline.from_observations("deploy", [observation(components=unready) for _ in range(3)])
    assert judge(faulty(components=unready), golden).orchestrator is OrchestratorFailure.NONE
    assert judge(faulty(components=unready), baseline()).orchestrator is OrchestratorFailure.STALL


def test_observations_of_another_workload_are_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        judge(faulty(workload="scale"), baseline())
    with pytest.raises(ValueError, match="scale"):
        Baseline.from_observations("scale", goldens())
    with pytest.raises(ValueError, match="no golden run"):
        Baseline.from_observations("deploy", [faulty()])
