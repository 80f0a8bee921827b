"""What Kubernetes itself told: what no golden run was told, and which of it pages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.detection import detected
from classifiers.golden import Baseline
from classifiers.judge import judge
from classifiers.observation import (
    ComponentHealth,
    ComponentSample,
    ComponentSeries,
    EventRecord,
    LogErrors,
    MetricChange,
    Observation,
)
from classifiers.record import from_json, to_json
from classifiers.verdict import Means, Sign, Verdict
from tests.builders import baseline, components, faulty, goldens


def series(name: str, *ready: bool, restarts: int = 0) -> ComponentSeries:
    samples = tuple(ComponentSample(float(n), True, restarts, 0.0, 0, each) for n, each in enumerate(ready))
    return ComponentSeries(name=name, samples=samples)


def event(reason: str, about: str, at_s: float, kind: str = "Warning") -> EventRecord:
    return EventRecord(at_s, kind, reason, about, "words", "kubelet")


def only(observed: Observation, against: Baseline | None = None) -> Sign:
    (sign,) = detected(observed, against or baseline())
    return sign


def told(name: str, alive: bool = True, ready: bool | None = None, restarts: int = 0) -> tuple[ComponentHealth, ...]:
    others = tuple(each for each in components() if each.name != name)
    return (*others, ComponentHealth(name=name, alive=alive, ready=ready, restarts=restarts))


def test_nothing_is_told_of_a_run_like_the_golden_ones() -> None:
    assert detected(faulty(), baseline()) == ()


def test_a_component_that_is_dead_at_the_end_pages_and_one_that_came_back_does_not() -> None:
    dead = only(faulty(components=told("kube-scheduler", alive=False, restarts=1)))
    assert (dead.means, dead.alert, dead.pages) == (Means.CRASH, "KubeSchedulerDown", True)
    back = only(
        faulty(
            components=told("kube-scheduler", restarts=1),
            over_time=(ComponentSeries(name="kube-scheduler", samples=(ComponentSample(3.5, True, 1, 0.0, 0),)),),
        )
    )
    assert (back.why, back.at_s, back.alert, back.pages) == ("ended 1 time, golden 0", 3.5, "", False)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("kubelet-node-2", "KubeletDown"), ("kube-system/coredns", "CoreDNSDown"), ("etcd", "etcdMembersDown"),
     ("runtime", "")],
)  # fmt: skip
def test_which_rule_looks_at_which_component(name: str, rule: str) -> None:
    sign = only(faulty(components=told(name, alive=False, restarts=1)))
    assert (sign.alert, sign.pages) == (rule, bool(rule))


def test_readiness_counts_by_how_long_it_was_gone_and_by_the_end() -> None:
    gone = (series("kube-apiserver", True, False, False, False, True),)
    sign = only(faulty(over_time=gone))
    assert (sign.means, sign.at_s, sign.why, sign.alert) == (Means.READYZ, 1.0, "was not ready for 3 s", "")
    assert detected(faulty(over_time=(series("kube-apiserver", True, False, True),)), baseline()) == ()
    usual = Baseline.from_observations("deploy", [replace(run, over_time=gone) for run in goldens()])
    assert detected(faulty(over_time=gone), usual) == (), "golden runs showed it too"
    at_end = only(faulty(components=told("kube-apiserver", ready=False)))
    assert (at_end.alert, at_end.pages) == ("KubeAPIDown", True)


def test_logs_and_metrics_count_by_how_much_more_than_golden_runs() -> None:
    runs = [replace(run, log_errors=(LogErrors(component="etcd", count=4),)) for run in goldens()]
    usual = Baseline.from_observations("deploy", runs)
    few, many = (faulty(log_errors=(LogErrors(component="etcd", count=n, first=("E1 no",)),)) for n in (9, 10))
    assert detected(few, usual) == ()
    assert only(many, usual) == Sign(means=Means.LOG, component="etcd", why="10 lines of errors, golden 4: E1 no")

    def rose(name: str, before: float | None, after: float | None) -> Observation:
        return faulty(metrics=(MetricChange(component="kube-apiserver", name=name, before=before, after=after),))

    sign = only(rose('apiserver_request_total{code="5..}', 2, 12))
    assert (sign.means, sign.alert, sign.pages) == (Means.METRIC, "KubeAPIErrorBudgetBurn", True)
    assert only(rose("apiserver_storage_decode_errors_total", 90, 10)).why.startswith("apiserver_storage"), "began anew"
    assert detected(rose("apiserver_request_terminations_total", 10, 13), baseline()) == ()
    assert detected(rose("apiserver_request_terminations_total", 10, None), baseline()) == ()


def test_a_warning_that_golden_runs_had_of_such_an_object_is_none_and_each_is_told_once() -> None:
    runs = [replace(run, events=(event("Unhealthy", "Pod/default/web#1", 1.0),)) for run in goldens()]
    usual = Baseline.from_observations("deploy", runs)
    observed = faulty(
        events=(
            event("Unhealthy", "Pod/default/web#3", 1.5),
            event("BackOff", "Pod/default/web#3", 2.0),
            event("BackOff", "Pod/default/web#4", 3.0),
            event("Pulled", "Pod/default/web#4", 3.0, "Normal"),
        )
    )
    sign = only(observed, usual)
    assert (sign.means, sign.component, sign.at_s) == (Means.EVENT, "kubelet", 2.0)
    assert sign.why == "BackOff of Pod/default/web#3: words, 2 times in all"


def test_signs_are_in_the_order_of_time_are_part_of_the_verdict_and_are_kept() -> None:
    observed = faulty(
        events=(event("BackOff", "Pod/default/web#3", 5.0),),
        over_time=(series("kube-apiserver", True, False, False, False, True),),
        log_errors=(LogErrors(component="etcd", count=40),),
    )
    verdict = judge(observed, baseline())
    assert [sign.means for sign in verdict.detected] == [Means.READYZ, Means.EVENT, Means.LOG]
    assert from_json(Verdict, to_json(verdict), where="v") == verdict
    older = {name: value for name, value in dict(to_json(verdict)).items() if name != "detected"}  # type: ignore[call-overload, arg-type]
    assert from_json(Verdict, older, where="v").detected == ()


@given(st.permutations([event("BackOff", f"Pod/default/web#{n}", float(n)) for n in range(1, 5)]))
def test_the_first_event_is_told_in_whatever_order_they_are_stored(events: list[EventRecord]) -> None:
    sign = only(faulty(events=tuple(events)))
    assert (sign.at_s, sign.why) == (1.0, "BackOff of Pod/default/web#1: words, 4 times in all")
