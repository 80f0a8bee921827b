from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.record import ExperimentRecord
from classifiers.observation import (
    AuditEvent,
    AuditRecord,
    CanaryRecord,
    ComponentHealth,
    ComponentSample,
    ComponentSeries,
    EventRecord,
    LogErrors,
    MetricChange,
    Observation,
    PodFinal,
    ProbeSample,
    ProbeSeries,
    Write,
)
from classifiers.record import from_json, observation_from_json, observation_to_json, to_json
from classifiers.verdict import Verdict
from injector.errors import StoreError
from injector.rules import Firing, NearMiss, Told
from tests.builders import drop, faulty, firing, observation

ticks = st.integers(0, 10**8).map(lambda n: round(n / 10_000, 4))
seconds = st.floats(0, 1e6, allow_nan=False)
texts = st.text(max_size=8)
counts = st.dictionaries(texts, st.integers(0, 99), max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
firings = st.builds(
    Firing,
    rule_id=texts,
    at_s=seconds,
    key=texts,
    identity=texts,
    operation=st.sampled_from(["put", "delete", "drop"]),
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
    span=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
    field_before=json_values,
    field_after=json_values,
    accepted=st.none() | st.booleans(),
    revision=st.none() | st.integers(0),
    told=st.none() | st.sampled_from(Told),
)


def tuples(of: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=2).map(tuple)


observations = st.builds(
    Observation,
    workload=texts,
    seconds=seconds,
    r0=st.integers(0),
    milestones=st.dictionaries(texts, st.none() | seconds, max_size=3),
    wanted_pods=st.integers(0),
    pods=tuples(st.builds(PodFinal)),
    final_counts=counts,
    peak_counts=counts,
    probes=tuples(
        st.builds(ProbeSeries, samples=tuples(st.builds(ProbeSample, seconds | ticks, seconds | ticks, texts)))
    ),
    canary=st.builds(CanaryRecord, stages=st.dictionaries(texts, st.none() | seconds, max_size=2), deadline_s=seconds),
    components=tuples(st.builds(ComponentHealth, ready=st.none() | st.booleans(), cpu_s=seconds)),
    writes=tuples(st.builds(Write, at_s=seconds)),
    firings=tuples(firings),
    near_misses=tuples(st.builds(NearMiss)),
    unclean=tuples(texts),
    events=tuples(st.builds(EventRecord, at_s=seconds)),
    over_time=tuples(
        st.builds(ComponentSeries, samples=tuples(st.builds(ComponentSample, at_s=seconds, cpu_s=seconds)))
    ),
    metrics=tuples(st.builds(MetricChange, before=st.none() | seconds, after=st.none() | seconds)),
    log_errors=tuples(st.builds(LogErrors)),
    audit=st.none() | st.builds(AuditRecord, events=tuples(st.builds(AuditEvent, at_s=seconds))),
    load=st.dictionaries(texts, seconds, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(observations)
def test_an_observation_comes_back_equal_from_its_json_text(observed: Observation) -> None:
    text = json.dumps(observation_to_json(observed), allow_nan=False)
    assert observation_from_json(json.loads(text)) == observed


def test_the_form_is_rows_for_what_comes_in_thousands_and_names_elsewhere() -> None:
    document = observation_to_json(observation())["observation"]
    assert isinstance(document, dict)
    assert document["writes"][0] == [  # type: ignore[index]
        100, 0.1, "/registry/deployments/default/web", "Deployment", "Deployment/default/web", "create", 500, True,
    ]  # fmt: skip
    assert document["canary"]["deadline_s"] == 10.0  # type: ignore[index, call-overload]


def test_an_old_record_without_a_later_field_reads_with_its_default() -> None:
    document = observation_to_json(faulty())
    del document["observation"]["unclean"]  # type: ignore[union-attr, arg-type]
    assert observation_from_json(document) == faulty()


def test_samples_of_probes_are_columns_in_tenths_of_a_millisecond() -> None:
    series = (ProbeSample(0.05, 0.0012, "ok"), ProbeSample(0.1001, 0.0011, "ok"), ProbeSample(0.15, 0.4, "timeout"))
    columns = {"at": [500, 501, 499], "took": [12, 11, 4000], "outcomes": [["ok", 2], ["timeout", 1]]}
    assert to_json(series) == columns
    probe: Any = {"service": "web", "vantage": "node-1", "samples": columns}
    assert from_json(ProbeSeries, probe, where="it") == ProbeSeries(service="web", vantage="node-1", samples=series)


def test_an_old_record_with_rows_of_samples_and_none_of_what_came_later_reads() -> None:
    document = observation_to_json(observation())
    inner = document["observation"]
    assert isinstance(inner, dict)
    for name in ("events", "over_time", "metrics", "log_errors", "audit", "missing"):
        del inner[name]
    for series, probe in zip(observation().probes, inner["probes"], strict=True):  # type: ignore[arg-type]
        probe["samples"] = [[s.at_s, s.latency_s, s.outcome] for s in series.samples]  # type: ignore[index, call-overload]
        del probe["kind"]  # type: ignore[union-attr, arg-type]
    assert observation_from_json(document) == observation()


@pytest.mark.parametrize(
    "columns",
    [
        {"at": [1], "took": [1]},
        {"at": [1, 2], "took": [1], "outcomes": [["ok", 2]]},
        {"at": [1], "took": [1], "outcomes": [["ok", 2]]},
        {"at": [1.5], "took": [1], "outcomes": [["ok", 1]]},
        {"at": [1], "took": ["1"], "outcomes": [["ok", 1]]},
        {"at": [1], "took": [1], "outcomes": [1]},
        {"at": [True], "took": [1], "outcomes": [["ok", 1]]},
    ],
)
def test_columns_that_do_not_fit_are_named_with_their_place(columns: Any) -> None:
    with pytest.raises(StoreError, match=r"it\.samples: (no columns of samples|expected a list)"):
        from_json(ProbeSeries, {"service": "web", "vantage": "n", "samples": columns}, where="it")


def test_a_record_with_a_firing_keeps_bytes_and_told() -> None:
    observed = faulty(firings=(firing(before=bytes(range(256)), after=b""), drop(told=Told.TIMEOUT)))
    assert observation_from_json(json.loads(json.dumps(observation_to_json(observed)))) == observed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": "5"}, "observation.seconds: expected float, got '5'"),
        ({"r0": True}, "observation.r0: expected int, got True"),
        ({"pods": {}}, "observation.pods: expected a list"),
        ({"pods": [{"identity": "x"}]}, r"observation.pods\[0\]: PodFinal without phase, ready, node, ip"),
        ({"novel": 1}, "observation: Observation has no novel"),
        ({"writes": [[1, 0.1]]}, r"observation.writes\[0\]: Write without key"),
        ({"writes": [list(range(9))]}, r"observation.writes\[0\]: Write has 8 fields, got 9"),
        ({"milestones": {"applied": "soon"}}, "observation.milestones.applied: expected float"),
        ({"firings": [{}]}, r"observation.firings\[0\]: no Firing: rule_id is missing"),
        ({"firings": [7]}, r"observation.firings\[0\]: expected an object"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change: dict[str, object], words: str) -> None:
    document = observation_to_json(faulty())
    document["observation"].update(change)  # type: ignore[union-attr, arg-type]
    with pytest.raises(StoreError, match=words):
        observation_from_json(document)


@pytest.mark.parametrize("document", [None, [], {}, {"schema": 2, "observation": {}}, {"schema": "1"}])
def test_what_is_no_observation_of_this_schema_is_refused(document: object) -> None:
    with pytest.raises(StoreError, match="schema"):
        observation_from_json(document)  # type: ignore[arg-type]


def test_a_verdict_of_unknown_words_is_refused() -> None:
    with pytest.raises(StoreError, match=r"verdict\.state: 'fine' is not a valid State"):
        from_json(Verdict, {"state": "fine", "reasons": []}, where="verdict")


def test_a_record_without_its_observation_reads_back() -> None:
    from tests.campaigns.builders import record

    made = replace(record(), observation=None)
    assert from_json(ExperimentRecord, json.loads(json.dumps(to_json(made))), where="it") == made
