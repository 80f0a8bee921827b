from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import Storage, to_bytes, to_tree
from injector.codec.table import shipped_table
from injector.errors import InputError
from injector.rules import JSONValue
from tests.injector.codec.trees import random_tree
from tests.injector.stored import KEYS, envelope, golden, parsed

STORED = [each for each in shipped_table().kinds() if not each[0].startswith("apiextensions")]
RANDOMS = st.integers(0, 2**32).map(Random)


def spec(kind: str, fields: JSONValue) -> dict[str, JSONValue]:
    return {"apiVersion": "v1", "kind": kind, "spec": fields}


def problems(tree: dict[str, JSONValue], storage: Storage | None = None) -> dict[str, str]:
    with pytest.raises(InputError) as raised:
        to_bytes(tree, storage=storage, source="web.yaml")
    assert {problem.file for problem in raised.value.problems} == {"web.yaml"}
    return {problem.path: problem.message for problem in raised.value.problems}


@pytest.mark.parametrize("name", sorted(KEYS))
def test_what_a_cluster_stored_is_written_byte_for_byte(name: str) -> None:
    assert to_bytes(to_tree(golden(name))) == golden(name)


@settings(deadline=None)
@given(RANDOMS, st.sampled_from(STORED))
def test_reading_is_the_inverse_of_writing(random: Random, kind: tuple[str, str]) -> None:
    value = to_bytes(random_tree(random, *kind), storage=Storage.PROTOBUF)
    assert to_bytes(to_tree(value), storage=Storage.PROTOBUF) == value


@settings(deadline=None)
@given(RANDOMS)
def test_google_protobuf_reads_what_is_written(random: Random) -> None:
    value = to_bytes(random_tree(random, "v1", "Pod"))
    again = parsed(value, "v1", "Pod").SerializeToString(deterministic=True)
    assert len(envelope("v1", "Pod", again)) == len(value)


def test_what_is_no_pointer_is_written_though_it_is_zero_and_what_is_one_only_if_it_is_there() -> None:
    written = to_bytes({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {}}})
    deployment = parsed(written, "apps/v1", "Deployment")
    spec = deployment.f2  # type: ignore[attr-defined]
    assert not spec.HasField("f1"), "replicas is a pointer"
    assert spec.HasField("f7") and spec.f7 is False, "paused is not"
    assert not spec.HasField("f2"), "the selector is a pointer"
    assert spec.HasField("f4"), "the strategy is not"
    zero = to_bytes({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0}})
    assert parsed(zero, "apps/v1", "Deployment").f2.HasField("f1")  # type: ignore[attr-defined]


def test_null_is_absent_as_go_reads_it() -> None:
    bare = {"apiVersion": "v1", "kind": "ConfigMap"}
    nulls = {**bare, "data": None, "immutable": None, "metadata": {"creationTimestamp": None, "labels": None}}
    assert to_bytes(nulls) == to_bytes({**bare, "metadata": {}})


def test_maps_are_sorted_by_bytes() -> None:
    tree: dict[str, JSONValue] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"ü": "", "\uffff": "", "🙂": "", "b": "", "A": ""},
    }
    assert list(to_tree(to_bytes(tree))["data"]) == ["A", "b", "ü", "\uffff", "🙂"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [("1970-01-01T00:00:01Z", 1), ("1969-12-31T23:59:59Z", -1), ("2026-01-31T12:00:00+02:00", 1769853600),
     ("1970-01-01T00:00:01.9Z", 1), ("-99999999999999 s after 1970-01-01T00:00:00Z", -99999999999999)],
)  # fmt: skip
def test_times_are_seconds_since_1970(shown: str, seconds: int) -> None:
    tree: dict[str, JSONValue] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"creationTimestamp": shown}}
    moment = parsed(to_bytes(tree), "v1", "ConfigMap").f1.f8  # type: ignore[attr-defined]
    assert (moment.f1, moment.f2) == (seconds, 0), "fractions of a second are not stored"


def test_every_problem_is_told_at_once_with_its_path() -> None:
    tree = spec(
        "Service",
        {"typ": "ClusterIP", "ports": [{"port": "80"}, {"port": 2**31, "targetPort": 1.5}, 80], "selector": ["web"],
         "publishNotReadyAddresses": 1, "clusterIP": 10, "externalIPs": "10.0.0.1", "ipFamilies": [None],
         "loadBalancerSourceRanges": ["\ud800"]},
    )  # fmt: skip
    found = problems(
        {**tree, "metadata": {"creationTimestamp": "yesterday", "deletionTimestamp": "2026-02-30T00:00:00Z"}}
    )
    assert set(found) == {
        "metadata.creationTimestamp", "metadata.deletionTimestamp", "spec.typ", "spec.ports[0].port",
        "spec.ports[1].port", "spec.ports[1].targetPort", "spec.ports[2]", "spec.selector",
        "spec.publishNotReadyAddresses", "spec.clusterIP", "spec.externalIPs", "spec.ipFamilies[0]",
        "spec.loadBalancerSourceRanges[0]",
    }  # fmt: skip
    assert found["spec.typ"] == "a ServiceSpec has no field 'typ'; did you mean 'type'?"
    assert (
        found["spec.ports[1].port"] == "expected a whole number from -2147483648 to 2147483647 (int32), got 2147483648"
    )
    assert found["spec.selector"] == "expected a mapping of string, got ['web']"
    assert found["spec.publishNotReadyAddresses"] == "expected true or false, got 1"
    assert found["metadata.creationTimestamp"] == "expected a time such as 2026-01-31T12:00:00Z, got 'yesterday'"


@pytest.mark.parametrize("wrong", ["1.5.5", "", "five", 1.5, True, "1 Gi"])
def test_what_is_no_quantity_is_refused(wrong: JSONValue) -> None:
    tree = spec("ResourceQuota", {"hard": {"pods": wrong}})
    assert set(problems(tree)) == {"spec.hard[pods]"}


def test_bytes_come_in_base64() -> None:
    tree: dict[str, JSONValue] = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "%%%"}}
    assert problems(tree) == {"data[a]": "expected bytes in base64, got '%%%'"}


@pytest.mark.parametrize(
    "tree", [{}, {"apiVersion": "v1"}, {"apiVersion": 1, "kind": "Pod"}, {"apiVersion": "v1", "kind": ""}]
)
def test_an_object_without_apiversion_or_kind_is_refused(tree: dict[str, JSONValue]) -> None:
    ((path, message),) = problems(tree).items()
    assert path in ("apiVersion", "kind") and message.startswith(f"expected the object's {path}, such as")


def test_a_custom_resource_can_not_be_written_as_protobuf() -> None:
    tree: dict[str, JSONValue] = {"apiVersion": "example.test/v1", "kind": "Box"}
    assert "the field table does not have it" in problems(tree, Storage.PROTOBUF)["kind"]


def test_messages_without_end_are_refused() -> None:
    schema: JSONValue = {}
    for _ in range(200):
        schema = {"not": schema}
    tree: dict[str, JSONValue] = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]},
    }  # fmt: skip
    (message,) = problems(tree, Storage.PROTOBUF).values()
    assert message == "more than 100 messages in each other"


def test_custom_resources_are_json_as_go_writes_it() -> None:
    tree: dict[str, JSONValue] = {
        "kind": "Box", "apiVersion": "example.test/v1",
        "spec": {"text": "<&>\u2028 \x01\x7f ü\n\"\\",
                 "b": [1.0, 1e21, 1e-7, 0.000001, -2.5, 123456789012345680.0, 5, None, True]},
    }  # fmt: skip
    assert to_bytes(tree) == (
        rb'{"apiVersion":"example.test/v1","kind":"Box","spec":{"b":[1,1e+21,1e-7,0.000001,-2.5,123456789012345680,5,'
        rb'null,true],"text":"\u003c\u0026\u003e\u2028 \u0001' + "\x7f ü".encode() + rb'\n\"\\"}}' + b"\n"
    )


def test_kinds_that_are_stored_as_json_keep_the_order_of_their_keys() -> None:
    value = golden("crd")
    assert list(json.loads(value))[:2] == ["kind", "apiVersion"]
    assert to_bytes(json.loads(value)) == value


def test_what_json_does_not_have_is_refused() -> None:
    tree: dict[str, JSONValue] = {"apiVersion": "example.test/v1", "kind": "Box", "spec": float("nan")}
    assert problems(tree) == {"": "can't be written as JSON: nan is no number in JSON"}
