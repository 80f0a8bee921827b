from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from campaigns.judging import gate_policy
from campaigns.judging.gate_policy import AtMost, GatePolicy, Limit, load_policy, parse_policy
from classifiers.verdict import ClientFailure, OrchestratorFailure
from injector.errors import InputError

ROOT = Path(gate_policy.__file__).parents[2]


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        parse_policy(text, file="gate.yaml")
    return [str(p) for p in raised.value.problems]


def test_every_mistake_is_told_at_once_in_the_files_order_with_value_and_expectation() -> None:
    text = """
limits:
  - {class: outge, at_most: 5.5}
  - {at_most: 1}
  - {class: none, at_most: 101%, rle: x}
  - {class: stall, at_most: true, role: [dependncy], channel: etcd}
inconclusve: {at_most: 5%}
judged: {at_least: 0}
known: [{id: a, until: 2026-13-40, why: ""}, {id: b, until: 3, why: x}]
"""
    classes = "expected outage, stall, network, more-resources, less-resources or timing, got"
    bound = "expected a whole number >= 0 or a share such as 5%, got"
    assert problems(text) == [
        f"gate.yaml: limits[0].class[0]: {classes} 'outge'; did you mean 'outage'?",
        f"gate.yaml: limits[0].at_most: {bound} 5.5",
        "gate.yaml: limits[1]: expected class or client: which failures are limited?",
        f"gate.yaml: limits[2].class[0]: {classes} 'none'",
        f"gate.yaml: limits[2].at_most: {bound} '101%'",
        "gate.yaml: limits[2].rle: unknown key; did you mean 'role'?",
        f"gate.yaml: limits[3].at_most: {bound} True",
        "gate.yaml: limits[3].role: no 'dependncy'; did you mean 'dependency'?",
        "gate.yaml: limits[3].channel: no 'etcd'; there are: apiserver-to-component, apiserver-to-etcd, "
        "at-rest-silent, at-rest-write, component-to-apiserver, etcd-to-apiserver",
        "gate.yaml: inconclusve: unknown key; did you mean 'inconclusive'?",
        "gate.yaml: judged.at_least: expected a number >= 1, got 0",
        "gate.yaml: known[0].until: expected a date such as 2026-12-31, got '2026-13-40'",
        "gate.yaml: known[0].why: expected a text that is not empty, got ''",
        "gate.yaml: known[1].until: expected a date such as 2026-12-31, got 3",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a mapping with limits"),
        ("limits: []", "limits: expected at least one entry, got none"),
        ("inconclusive: {at_most: 0}", "limits: is missing"),
        (
            "limits: [{class: stall, at_most: 0}]\nknown: [{id: a, until: 2026-01-01, why: x}, "
            "{id: a, until: 2026-01-02, why: y}]",
            "known: 'a' named twice",
        ),
        ("limits: [{class: [], at_most: 0}]", "limits[0].class: expected at least one entry, got none"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, words: str) -> None:
    assert any(words in found for found in problems(text)), problems(text)


def test_a_word_and_a_list_of_one_word_are_the_same_and_dates_need_no_quotes() -> None:
    one = "limits: [{class: stall, role: status, at_most: 5%}]\nknown: [{id: a, until: 2026-12-31, why: x}]"
    same = 'limits: [{class: [stall], role: [status], at_most: "5 %"}]\nknown: [{id: a, until: "2026-12-31", why: x}]'
    assert parse_policy(one, file="a") == parse_policy(same, file="b")


def test_of_several_classes_the_mildest_counts() -> None:
    limit = Limit.model_validate({"class": ["network", "outage"], "client": ["unreachable", "slower"], "at_most": 0})
    assert (limit.mildest, limit.mildest_client) == (OrchestratorFailure.NETWORK, ClientFailure.SLOWER)


@pytest.mark.parametrize(
    ("at_most", "found", "of", "allowed"),
    [
        (0, 0, 10, True),
        (0, 1, 10, False),
        (3, 3, 3, True),
        ("5%", 1, 20, True),
        ("5%", 1, 19, False),
        ("0.1%", 1, 1000, True),
        ("0.1%", 1, 999, False),
        ("100%", 7, 7, True),
        ("0%", 0, 0, True),
        ("5%", 0, 0, True),
    ],
)
def test_a_budget_is_a_number_or_an_exact_share(at_most: object, found: int, of: int, allowed: bool) -> None:
    assert AtMost.model_validate({"at_most": at_most}).allows(found, of) is allowed


def test_a_file_that_can_not_be_read_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        load_policy(tmp_path / "nothing.yaml")


def test_the_shipped_schema_is_the_models_and_takes_the_example() -> None:
    shipped = json.loads((ROOT / "mutineer/schemas/gate.schema.json").read_text())
    assert {k: v for k, v in shipped.items() if k != "$schema"} == GatePolicy.model_json_schema(), (
        "write it anew: json.dumps({'$schema': …, **GatePolicy.model_json_schema()}, indent=2)"
    )
    example = ROOT / "examples/gate.yaml"
    jsonschema.validate(yaml.safe_load(example.read_text()), shipped)
    policy = load_policy(example)
    assert {name for name in GatePolicy.model_fields if name not in policy.model_fields_set} == {"known"}
    without_comment = example.read_text().replace("# known:", "known:").replace("#   ", "  ")
    assert [known.id for known in parse_policy(without_comment, file="gate.yaml").known] == ["e0123456789ab"]


def test_the_schema_refuses_what_the_models_refuse() -> None:
    schema = json.loads((ROOT / "mutineer/schemas/gate.schema.json").read_text())
    for wrong in ({"class": "none", "at_most": 0}, {"class": "stall", "at_most": "5"}, {"class": "stall"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"limits": [wrong]}, schema)
