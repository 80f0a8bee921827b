from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from campaigns import show
from campaigns.record import Purpose
from campaigns.show import document, experiment_document, stream
from campaigns.store import create_run, open_run
from classifiers.verdict import OrchestratorFailure, State, Verdict
from injector.errors import StoreError
from injector.rules import JSONValue
from tests.campaigns.builders import SPEC, judge_again, record, small_plan

SCHEMA = json.loads((Path(show.__file__).parents[1] / "mutineer/schemas/show.schema.json").read_text())
PLAN = small_plan()
FAULTS = [e for e in PLAN.experiments if not e.golden]


def shown(tmp_path: Path, *, finished: int = len(PLAN.experiments)) -> dict[str, JSONValue]:
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        for planned in reversed(PLAN.experiments[:finished]):
            run.add(record(planned))
        return document(run)


def valid(instance: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(instance)


def test_the_document_has_exactly_the_shape_that_scripts_were_promised(tmp_path: Path) -> None:
    made = shown(tmp_path)
    valid(made)
    lost = next(e for e in FAULTS if e.rule is not None and e.rule.model == "drop")
    assert next(e for e in made["experiments"] if e["id"] == lost.id) == {  # type: ignore[union-attr, index, call-overload]
        "id": lost.id,
        "workload": "deploy",
        "why": "a lost pod",
        "channel": "apiserver-to-etcd",
        "model": "drop",
        "parameters": {"told": "success"},
        "target": {
            "kind": "Pod",
            "group": "",
            "identity": "Pod/default/web#3",
            "field": None,
            "operation": None,
            "component": None,
            "occurrence": 1,
            "namespace": None,
            "labels": None,
            "role": None,
            "by": None,
            "after": None,
        },
        "activation": "accepted",
        "verdict": "judged",
        "reasons": list(record(lost).verdict.reasons),
        "orchestrator": "none",
        "also": [],
        "client": "none",
        "aware": False,
        "aware_s": None,
        "detected": [],
        "recovery": None,
        "incidents": [{"id": "monzo-empty-endpoints-2017", "score": 0.7, "why": "same field"}],
        "reset": {"rung": "rollback", "seconds": 0.2},
        "seconds": 9.5,
        "stratum": "",
        "repeats": [],
    }
    assert made["summary"] == {
        "experiments": 2,
        "planned": 2,
        "by_verdict": {"judged": 2, "inconclusive": 0, "error": 0},
        "by_orchestrator": {
            "outage": 0, "stall": 0, "network": 0, "more-resources": 0, "less-resources": 0, "timing": 0, "none": 2,
        },
        "by_client": {"unreachable": 0, "intermittent": 0, "slower": 0, "none": 2},
    }  # fmt: skip
    assert [g["verdict"] for g in made["golden"]] == ["judged"] * 4  # type: ignore[union-attr, index, call-overload]


def test_experiments_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    made = shown(tmp_path)
    assert [e["id"] for e in made["experiments"]] == [e.id for e in FAULTS]  # type: ignore[union-attr, index, call-overload]


def test_a_run_that_has_only_begun_is_valid_too(tmp_path: Path) -> None:
    made = shown(tmp_path, finished=1)
    valid(made)
    assert (made["experiments"], made["summary"]["experiments"], made["summary"]["planned"]) == ([], 0, 2)  # type: ignore[index, call-overload]


def test_what_was_not_judged_has_no_classes_and_is_counted_by_its_state() -> None:
    failed = record(verdict=Verdict(state=State.ERROR, reasons=("x",)), observation=None, reset=None, incidents=())
    made = experiment_document(failed)
    assert (made["verdict"], made["orchestrator"], made["client"], made["aware"], made["reset"]) == (
        "error",
        None,
        None,
        None,
        None,
    )
    summary = {"experiments": 1, "by_verdict": {"error": 1}, "by_orchestrator": {}, "by_client": {}}
    valid({"schema": 1, "summary": summary, "golden": [], "experiments": [made]})


@pytest.mark.parametrize(
    "change",
    [
        {"orchestrator": "broken"},
        {"orchestrator": None},
        {"verdict": "passed"},
        {"aware": "yes"},
        {"target": {}},
        {"reset": {"rung": "rollback"}},
        {"reasons": "none"},
    ],
)
def test_the_schema_refuses_what_is_not_of_the_shape(change: dict[str, JSONValue]) -> None:
    made = {**experiment_document(record()), **change}
    summary = {"experiments": 1, "by_verdict": {}, "by_orchestrator": {}, "by_client": {}}
    with pytest.raises(jsonschema.ValidationError):
        valid({"schema": 1, "summary": summary, "golden": [], "experiments": [made]})


def test_a_golden_run_is_no_experiment_with_a_fault() -> None:
    with pytest.raises(ValueError, match="golden"):
        experiment_document(record(PLAN.experiments[0]))


def test_the_text_that_is_streamed_is_the_document(tmp_path: Path) -> None:
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        assert json.loads("".join(stream(run))) == document(run)
        for planned in PLAN.experiments:
            run.add(record(planned))
        text = "".join(stream(run))
        assert json.loads(text) == document(run)
    valid(json.loads(text))
    assert len(text.splitlines()) == len(PLAN.experiments) + 3, "a line each"


def test_repeats_sessions_and_strata_are_told_beside_the_experiment(tmp_path: Path) -> None:
    first, second = (replace(each, stratum="Service/selector") for each in FAULTS)
    plan = replace(PLAN, experiments=(*(e for e in PLAN.experiments if e.golden), first, second))
    stalled = replace(record(first).verdict, orchestrator=OrchestratorFailure.STALL)
    with create_run(tmp_path / "r", SPEC, plan, {}) as run:
        run.begin_session({"sandboxes": 2})
        run.add(record(first))
        run.add(record(second))
        run.add_repeat(record(first, verdict=stalled), Purpose.CONFIRM)
        run.add_repeat(record(first), Purpose.REPLAY)
        run.end_session("finished")
        made = document(run)
        one = experiment_document(record(first), tuple(run.repeats(first.id)))
    valid(made)
    told = {e["id"]: e for e in made["experiments"]}  # type: ignore[union-attr, index, call-overload]
    assert told[first.id] == one and one["stratum"] == "Service/selector"
    assert one["repeats"] == [
        {"purpose": "confirm", "number": 1, "verdict": "judged", "orchestrator": "stall", "client": "none"},
        {"purpose": "replay", "number": 1, "verdict": "judged", "orchestrator": "none", "client": "none"},
    ]
    assert told[second.id]["repeats"] == []
    (session,) = made["sessions"]  # type: ignore[misc]
    assert (session["number"], session["why"], session["experiments"]) == (1, "finished", 2)  # type: ignore[index, call-overload]
    assert made["summary"]["experiments"] == 2, "repeats are not counted"  # type: ignore[index, call-overload]


def test_the_latest_judgement_is_what_is_counted_and_shown(tmp_path: Path) -> None:
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        for planned in FAULTS:
            run.add(record(planned))
        for failure in (OrchestratorFailure.OUTAGE, OrchestratorFailure.STALL):
            judge_again(run, lambda r, f=failure: replace(r, verdict=replace(r.verdict, orchestrator=f)))  # type: ignore[misc]
        made = document(run)
    assert made["summary"]["by_orchestrator"]["stall"] == len(FAULTS)  # type: ignore[index, call-overload]
    assert {e["orchestrator"] for e in made["experiments"]} == {"stall"}  # type: ignore[union-attr, index, call-overload]


def test_a_record_that_lost_a_part_is_named_and_not_half_shown(tmp_path: Path) -> None:
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        run.add(record(FAULTS[0]))
    connection = sqlite3.connect(tmp_path / "r" / "record.sqlite")
    with connection:
        connection.execute("UPDATE experiments SET document = json_remove(document, '$.verdict')")
    connection.close()
    with open_run(tmp_path / "r") as run, pytest.raises(StoreError, match="a record is corrupted, it lacks 'verdict'"):
        document(run)
