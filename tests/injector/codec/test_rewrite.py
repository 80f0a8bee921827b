from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import Storage, list_fields, locate, replace, rewrite, to_bytes, to_tree
from injector.codec.encoding import encode_varint
from injector.errors import InputError
from tests.injector.codec.test_write import STORED
from tests.injector.codec.trees import random_tree
from tests.injector.stored import KEYS, envelope, golden, golden_cbor

UNKNOWN = b"\xfa\x7d\x05later"
"""Field 2007, length-delimited: no version of Kubernetes has it."""
RANDOMS = st.integers(0, 2**32).map(Random)


def with_unknown(value: bytes, path: str) -> bytes:
    """An unknown field at the end of the message that holds `path`, with all lengths right."""
    spans = locate(value, path).enclosing[:-1]
    piece = value[spans[-1].start : spans[-1].end] + UNKNOWN
    start, end = spans[-1].length_start, spans[-1].end
    for around in reversed(spans[:-1]):
        piece = value[around.start : start] + encode_varint(len(piece)) + piece + value[end : around.end]
        start, end = around.length_start, around.end
    return value[:start] + encode_varint(len(piece)) + piece + value[end:]


def edited(value: bytes, change: Any) -> bytes:
    tree: Any = copy.deepcopy(to_tree(value))
    change(tree)
    return rewrite(value, tree)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_what_nobody_edited_keeps_its_bytes(name: str) -> None:
    assert rewrite(golden(name), to_tree(golden(name))) == golden(name)


@settings(deadline=None)
@given(RANDOMS, st.sampled_from(STORED))
def test_an_edited_canonical_value_is_what_kubernetes_would_write(random: Random, kind: tuple[str, str]) -> None:
    """Two random objects of a kind: one's bytes, with the other's tree written into them, are the other's bytes."""
    one, other = (to_bytes(random_tree(random, *kind), storage=Storage.PROTOBUF) for _ in range(2))
    assert to_tree(rewrite(one, to_tree(other))) == to_tree(other)
    assert len(rewrite(one, to_tree(other))) == len(other)


def test_an_edit_changes_its_span_and_the_lengths_around_it_and_nothing_else() -> None:
    value = golden("deployment")
    path = "spec.template.metadata.labels[app]"
    by_path = replace(value, locate(value, path), b"something-longer")

    def relabel(tree: Any) -> None:
        tree["spec"]["template"]["metadata"]["labels"]["app"] = "something-longer"

    assert edited(value, relabel) == by_path


def test_unknown_fields_survive_edits_beside_above_and_below_them() -> None:
    value = with_unknown(golden("deployment"), "spec.template.spec.containers[0].image")
    assert value.count(UNKNOWN) == 1 and to_tree(value) == to_tree(golden("deployment"))

    def edit(tree: Any) -> None:
        template = tree["spec"]["template"]
        template["spec"]["containers"][0]["image"] = "nginx:2"
        template["spec"]["containers"].insert(0, {"name": "first"})
        template["metadata"]["labels"]["new"] = "yes"
        tree["spec"]["replicas"] = 0
        del tree["metadata"]["annotations"]

    after = edited(value, edit)
    expected: Any = to_tree(value)
    edit(expected)
    assert after.count(UNKNOWN) == 1
    # what was added says its zeros, as Kubernetes' own does
    assert to_tree(after) == to_tree(to_bytes(expected))
    assert len(after) == len(to_bytes(expected)) + len(UNKNOWN)


def test_an_element_more_at_the_front_leaves_the_bytes_of_the_others() -> None:
    value = golden("service")

    def prepend(tree: Any) -> None:
        tree["spec"]["ports"].insert(0, {"name": "first", "port": 1})

    after = edited(value, prepend)
    assert [port["name"] for port in to_tree(after)["spec"]["ports"]] == ["first", "http", "raw"]  # type: ignore[index, call-overload, union-attr]
    port = locate(value, "spec.ports[1].port").enclosing[-1]
    assert value[port.start : port.end] in after


def test_text_that_is_not_utf8_stays_where_it_was_not_touched() -> None:
    value = golden("configmap")
    path = next(each.path for each in list_fields(value) if each.path.startswith("data["))
    broken = replace(value, locate(value, path), b"\xff\xfe")
    assert to_bytes(to_tree(broken)) != broken

    def rename(tree: Any) -> None:
        tree["metadata"]["labels"] = {"seen": "yes"}

    after = edited(broken, rename)
    assert locate(after, path).payload == b"\xff\xfe"
    assert locate(after, "metadata.labels[seen]").payload == b"yes"


def test_lengths_that_are_longer_than_need_be_stay_where_the_length_does() -> None:
    value = envelope("v1", "ConfigMap", b"\x12\x86\x00" + b"\x0a\x01a\x12\x01x")  # the length of data[a] in two bytes

    def set_value(text: str) -> Any:
        def change(tree: Any) -> None:
            tree["data"]["a"] = text

        return change

    assert edited(value, set_value("y")) == value[:-5] + value[-5:].replace(b"x", b"y")
    assert b"\x12\x07\x0a\x01a\x12\x02bb" in edited(value, set_value("bb"))


def test_of_entries_with_equal_keys_the_last_one_is_edited() -> None:
    one, two = b"\x12\x06\x0a\x01a\x12\x011", b"\x12\x06\x0a\x01a\x12\x012"
    value = envelope("v1", "ConfigMap", one + two)
    assert edited(value, lambda tree: tree.update(data={"a": "3"})) == value.replace(two, two[:-1] + b"3")
    assert edited(value, lambda tree: tree.pop("data")) == envelope("v1", "ConfigMap", b"")


def test_what_is_new_goes_behind_what_has_its_number_or_a_lower_one() -> None:
    body = b"\x0a\x00" + b"\x12\x06\x0a\x01b\x12\x01x" + b"\x20\x01"  # metadata, data[b], immutable
    after = edited(
        envelope("v1", "ConfigMap", body), lambda tree: tree.update(data={"a": "y", "b": "x"}, binaryData={"c": ""})
    )
    grown = b"\x12\x06\x0a\x01a\x12\x01y" + b"\x1a\x05\x0a\x01c\x12\x00"
    assert after == envelope("v1", "ConfigMap", body[:-2] + grown + body[-2:])


def test_an_edit_inside_a_message_in_two_pieces_is_refused_and_beside_it_is_not() -> None:
    value = envelope("v1", "ConfigMap", b"\x0a\x03\x0a\x01a\x0a\x03\x1a\x01n\x12\x05\x0a\x01a\x12\x00")
    assert to_tree(value)["metadata"] == {"name": "a", "namespace": "n"}

    def rename(tree: Any) -> None:
        tree["metadata"]["name"] = "b"

    with pytest.raises(InputError, match="metadata: is stored in 2 pieces"):
        edited(value, rename)

    def empty(tree: Any) -> None:
        tree["data"] = {"c": "d"}

    after = edited(value, empty)
    assert to_tree(after) == {**to_tree(value), "data": {"c": "d"}}


def test_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="kind: the bytes say 'Service', which can't be made 'Pod' in place"):
        edited(golden("service"), lambda tree: tree.update(kind="Pod"))


def test_problems_are_told_with_their_paths() -> None:
    def spoil(tree: Any) -> None:
        tree["spec"]["ports"][1]["port"] = "x"
        tree["spec"]["selector"]["app"] = 5
        tree["spec"]["sizes"] = 1

    with pytest.raises(InputError) as raised:
        edited(golden("service"), spoil)
    assert {each.path for each in raised.value.problems} == {"spec.ports[1].port", "spec.selector[app]", "spec.sizes"}


def test_a_packed_list_is_read_kept_and_written_anew_when_it_is_edited() -> None:
    """Kubernetes writes none (its lists of numbers are unpacked), but reads them."""
    fields = b"\x22\x02\x01\x02"  # securityContext.supplementalGroups = 4, packed
    pod = b"\x12" + bytes([len(fields) + 2]) + b"\x72" + bytes([len(fields)]) + fields
    value = envelope("v1", "Pod", pod)
    assert to_tree(value)["spec"] == {"securityContext": {"supplementalGroups": [1, 2]}}

    def append(tree: Any) -> None:
        tree["spec"]["securityContext"]["supplementalGroups"].append(3)

    assert b"\x20\x01\x20\x02\x20\x03" in edited(value, append)


def test_json_keeps_the_order_of_its_keys_and_its_end() -> None:
    value = golden("apiservice")

    def change(tree: Any) -> None:
        tree["spec"]["versionPriority"] = 7

    after = edited(value, change)
    priority = to_tree(value)["spec"]["versionPriority"]  # type: ignore[index, call-overload]
    assert after == value.replace(f'"versionPriority":{priority}'.encode(), b'"versionPriority":7')
    assert not edited(value.removesuffix(b"\n"), change).endswith(b"\n")


def test_an_object_without_any_body_gets_one() -> None:
    empty = b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap"

    def fill(tree: Any) -> None:
        tree["data"] = {"a": "b"}

    assert to_tree(edited(empty, fill))["data"] == {"a": "b"}


def test_single_values_and_removals_are_written_into_cbor_and_more_is_refused() -> None:
    value = golden_cbor("box")
    assert rewrite(value, to_tree(value)) == value

    def edit(tree: Any) -> None:
        tree["metadata"]["name"] = "another-name"
        tree["metadata"].pop("managedFields")

    expected: Any = to_tree(value)
    edit(expected)
    after = edited(value, edit)
    assert to_tree(after) == expected and len(after) < len(value)
    with pytest.raises(InputError, match=r"metadata\.labels: this edit can't be written into CBOR: "):
        edited(value, lambda tree: tree["metadata"].update(labels={"a": "b"}))


def test_one_true_and_one_point_zero_are_three_values() -> None:
    value = envelope("v1", "ConfigMap", b"\x20\x01")  # immutable
    for other in (1, 1.0):
        with pytest.raises(InputError, match="immutable: expected true or false"):
            edited(value, lambda tree, other=other: tree.update(immutable=other))
