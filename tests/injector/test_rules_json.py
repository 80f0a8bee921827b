from __future__ import annotations

import json
from dataclasses import replace

import pytest

from injector.rules import Firing, NearMiss, Rule, Told
from injector.rules_json import (
    firing_from_json,
    firing_to_json,
    near_miss_from_json,
    near_miss_to_json,
    rule_from_json,
    rule_to_json,
)
from injector.targets import Channel, Target

RULE = Rule(
    id="e1",
    channel=Channel.AT_REST_WRITE,
    model="bit-flip",
    target=Target(kind="Deployment", group="apps", identity="Deployment/default/web", field="spec.replicas"),
    parameters={"bit": 3, "nested": {"a": [1, None, 0.5, "x", True]}},
)
CHOSEN = Target(
    kind="Pod",
    namespace="default",
    labels="app=web",
    role="identity",
    by="kubelet",
    after="Deployment/default/web Available",
)
FIRING = Firing(
    rule_id="e1",
    at_s=1.25,
    key="/registry/x",
    identity="Deployment/default/web",
    operation="put",
    before=b"\x00\xff",
    after=b"",
    span=(0, 1),
    field_before=6,
    field_after=14,
    accepted=True,
    revision=7,
    told=Told.SUCCESS,
)


def test_rules_firings_and_near_misses_come_back_equal() -> None:
    miss = NearMiss(identity="x", why="y", times=2)
    assert rule_from_json(json.loads(json.dumps(rule_to_json(RULE)))) == RULE
    reread = replace(RULE, channel=Channel.AT_REST_SILENT, reread=True)
    assert rule_from_json(json.loads(json.dumps(rule_to_json(reread)))) == reread
    one = replace(RULE, channel=Channel.APISERVER_TO_COMPONENT, target=replace(RULE.target, component="kubelet-*"))
    assert rule_from_json(json.loads(json.dumps(rule_to_json(one)))) == one
    assert "reread" not in rule_to_json(RULE), "the ids of plans made before are hashes of this"
    chosen = replace(RULE, target=CHOSEN)
    assert rule_from_json(json.loads(json.dumps(rule_to_json(chosen)))) == chosen
    usual = {"kind", "group", "identity", "field", "occurrence"}
    assert set(rule_to_json(RULE)["target"]) == usual, "the ids of plans made before are hashes of this"  # type: ignore[arg-type]
    seen = replace(FIRING, field="a.b", stream="connection 1, stream 3", actor="kubectl", consumed=("x", "y"))
    assert firing_from_json(json.loads(json.dumps(firing_to_json(seen)))) == seen
    assert not {"field", "stream", "actor", "consumed"} & set(firing_to_json(FIRING))
    assert firing_from_json(json.loads(json.dumps(firing_to_json(FIRING)))) == FIRING
    assert near_miss_from_json(json.loads(json.dumps(near_miss_to_json(miss)))) == miss


def test_bytes_are_base64_and_a_span_is_a_list() -> None:
    document = firing_to_json(FIRING)
    assert (document["before"], document["after"], document["span"], document["told"]) == (
        "AP8=",
        "",
        [0, 1],
        "success",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": None}, "key: expected a string, got None"),
        ({"at_s": True}, "at_s: expected a number, got True"),
        ({"before": "***"}, "base64"),
        ({"span": [1]}, "span: expected two integers"),
        ({"accepted": "yes"}, "accepted: expected true, false or null"),
        ({"told": "nobody"}, "nobody"),
        ({"extra": 1}, "unknown extra"),
        ({"consumed": [1]}, "consumed: expected a list of strings"),
    ],
)
def test_a_firing_that_is_none_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        firing_from_json({**firing_to_json(FIRING), **change})  # type: ignore[dict-item]


def test_a_rule_without_its_target_is_refused() -> None:
    document = {k: v for k, v in rule_to_json(RULE).items() if k != "target"}
    with pytest.raises(ValueError, match="target is missing"):
        rule_from_json(document)
