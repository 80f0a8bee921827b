"""What a decoder and encoder that someone else wrote (Kubernetes' own, in Go) makes of the same objects."""

from __future__ import annotations

from random import Random

import pytest

from injector.codec import Storage, to_bytes, to_tree
from injector.codec.table import shipped_table
from injector.rules import JSONValue
from tests.injector.codec.reference import ask, binary
from tests.injector.codec.trees import random_tree
from tests.injector.stored import PROTOBUF, golden

# a build takes longer than a fast test may; once it is in the cache all of this takes seconds
pytestmark = [] if binary().exists() else [pytest.mark.slow, pytest.mark.timeout(1000)]

NOT_STORED = frozenset(
    {
        ("apidiscovery.k8s.io/v2", "APIGroupDiscovery"),
        ("apidiscovery.k8s.io/v2beta1", "APIGroupDiscovery"),
        ("imagepolicy.k8s.io/v1alpha1", "ImageReview"),
        ("meta.k8s.io/v1", "PartialObjectMetadata"),
    }
)
"""Kinds of the table that no etcd holds, and that client-go's scheme does not know."""
OWN_JSON = "apiextensions.k8s.io/"
"""JSONSchemaPropsOrArray, …OrBool and …OrStringArray have a JSON of their own, which `to_tree` does not imitate: these
objects are stored as JSON, and then are what they are. Their bytes in protobuf are compared all the same."""
KINDS = [each for each in shipped_table().kinds() if each not in NOT_STORED]


def without_nulls(value: JSONValue) -> JSONValue:
    """`null` is how Go writes lists and times that are not there; `to_tree` leaves them out."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


@pytest.mark.parametrize("seed", range(2))
def test_random_objects_of_every_kind_are_read_and_written_as_kubernetes_does(seed: int) -> None:
    trees = [random_tree(Random(f"{seed} {each}"), *each) for each in KINDS]
    values = [to_bytes(tree, storage=Storage.PROTOBUF) for tree in trees]
    for (api_version, kind), value, answer in zip(KINDS, values, ask(values), strict=True):
        assert answer.error == "", (api_version, kind)
        assert answer.stored == value, (api_version, kind)
        if not api_version.startswith(OWN_JSON):
            assert without_nulls(to_tree(value)) == without_nulls(answer.tree), (api_version, kind)
        assert to_bytes(to_tree(value), storage=Storage.PROTOBUF) == value, (api_version, kind)


def test_empty_objects_of_every_kind_are_written_as_kubernetes_does() -> None:
    values = [to_bytes({"apiVersion": each[0], "kind": each[1]}, storage=Storage.PROTOBUF) for each in KINDS]
    for each, value, answer in zip(KINDS, values, ask(values), strict=True):
        assert (answer.error, answer.stored) == ("", value), each


def test_objects_of_a_real_cluster_are_written_as_kubernetes_does() -> None:
    values = [golden(name) for name in PROTOBUF]
    for name, value, answer in zip(PROTOBUF, values, ask(values), strict=True):
        assert (answer.error, answer.stored) == ("", value), name
        assert to_bytes(to_tree(value)) == value, name
        assert without_nulls(to_tree(value)) == without_nulls(answer.tree), name
