from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.planning.plan import GOLDENS_FIRST, Plan, plan, plan_from_json, plan_to_json
from campaigns.spec.campaign_spec import ClusterSpec, FaultSpec, load_preset
from classifiers.numbers import MIN_GOLDENS
from injector.errors import StoreError
from tests.campaigns.builders import small_plan, spec


def shape(made: Plan) -> str:
    return "".join("g" if e.golden else "e" for e in made.experiments)


def test_the_golden_runs_needed_for_a_verdict_come_first_and_the_others_are_spread() -> None:
    assert GOLDENS_FIRST == MIN_GOLDENS
    made = plan(load_preset("quickstart")[0])
    assert shape(made).count("g") == 10
    assert shape(made)[:4] == "ggge"
    gaps = [len(part) for part in shape(made)[3:].split("g")]
    assert max(gaps) - min(gaps) <= 1


@given(st.integers(3, 30), st.integers(0, 12))
def test_any_number_of_golden_runs_and_faults_is_planned_completely(goldens: int, faults: int) -> None:
    pattern = spec().faults[0]
    made = [FaultSpec.model_validate({**pattern.model_dump(), "parameters": {"value": f"v{n}"}}) for n in range(faults)]
    planned = plan(spec(golden=goldens, faults=made))
    assert shape(planned).count("g") == goldens
    assert shape(planned).count("e") == faults
    assert shape(planned)[:3] == "ggg"
    assert len({e.id for e in planned.experiments}) == goldens + faults


def test_ids_are_content_and_neither_seed_nor_reason_nor_place() -> None:
    one = {e.id for e in small_plan().experiments}
    assert {e.id for e in plan(spec(seed=99)).experiments} == one
    assert {e.id for e in plan(spec(faults=spec().faults[::-1], name="other")).experiments} == one
    reasoned = [f.model_copy(update={"why": "other"}) for f in spec().faults]
    assert {e.id for e in plan(spec(faults=reasoned)).experiments} == one
    assert (
        not {e.id for e in plan(spec(cluster=ClusterSpec(kind="sandbox", nodes=1, profile="fast"))).experiments} & one
    )
    for key, value in (("audit", True), ("etcd_tls", True), ("furniture", ["quota"]), ("images", {"a": ["sh"]})):
        cluster = ClusterSpec.model_validate({key: value})
        assert not {e.id for e in plan(spec(cluster=cluster)).experiments} & one, key


def test_ids_stay_the_same_from_version_to_version() -> None:
    """Runs are compared by them: a change here breaks `compare` and `resume` of every run there is."""
    assert sorted(e.id for e in small_plan().experiments) == [
        "e552bae436fc3",
        "e885bccc490a8",
        "g0f5f317dbdb2",
        "g417f5e11c43a",
        "gbe184d7aeed8",
        "gfcb5a37a642d",
    ]


def test_the_seed_fixes_the_order_of_the_faults() -> None:
    quickstart = load_preset("quickstart")[0]
    orders = [[e.id for e in plan(quickstart.model_copy(update={"seed": s})).experiments] for s in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_a_rule_carries_its_experiments_id_and_the_group_of_its_kind() -> None:
    rules = {e.rule.id: e.rule for e in plan(load_preset("quickstart")[0]).experiments if e.rule}
    assert all(e.rule is None or e.rule.id == e.id for e in small_plan().experiments)
    groups = {r.target.kind: r.target.group for r in rules.values()}
    assert groups == {
        "Service": "",
        "Pod": "",
        "Node": "",
        "Deployment": "apps",
        "ReplicaSet": "apps",
        "EndpointSlice": "discovery.k8s.io",
    }


def test_a_plan_comes_back_equal_and_its_text_is_the_same_in_another_process() -> None:
    text = plan_to_json(plan(load_preset("quickstart")[0]))
    assert plan_from_json(text) == plan(load_preset("quickstart")[0])
    code = (
        "from campaigns.planning.plan import *; from campaigns.spec.campaign_spec import *; "
        "print(plan_to_json(plan(load_preset('quickstart')[0])), end='')"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONHASHSEED": "77"}, timeout=60
    )
    assert other.stdout.decode() == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "schema"),
        ('{"schema": 3}', "of schema 3; this program reads schemas 1 to 2"),
        ('{"schema": 1}', "lacks its name, seed or experiments"),
        ('{"schema": 1, "name": "a", "seed": 1, "experiments": [{"id": 1}]}', r"experiments\[0\].id: expected str"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        plan_from_json(text)
