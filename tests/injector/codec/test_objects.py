"""Reading stored objects: envelope, metadata and the whole tree."""

from __future__ import annotations

import timeit
from typing import Any

import pytest

from injector.codec import Meta, Owner, Storage, is_protobuf_object, list_fields, read, read_meta, to_tree
from injector.codec.encoding import encode_tag, encode_varint
from injector.errors import CodecError
from tests.injector.stored import GOLDEN, KEYS, PROTOBUF, WITH_JSON, api_json, envelope, golden


def _without_nulls(value: Any) -> Any:
    """The API writes null for some empty lists that are not in the bytes at all."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", WITH_JSON)
def test_a_tree_is_what_kubernetes_itself_says_of_the_object(name: str) -> None:
    expected = api_json(name)
    del expected["metadata"]["resourceVersion"]  # etcd's revision: the API adds it, nobody stores it
    assert _without_nulls(to_tree(golden(name))) == _without_nulls(expected)


@pytest.mark.parametrize("name", WITH_JSON)
def test_metadata_is_what_kubernetes_itself_says_of_the_object(name: str) -> None:
    expected, meta = api_json(name), read_meta(golden(name))
    own = expected["metadata"]
    owners = [reference for reference in own.get("ownerReferences", []) if reference.get("controller")]
    owner = Owner(*(owners[0][key] for key in ("kind", "name", "uid", "apiVersion"))) if owners else None
    assert meta == Meta(
        expected["apiVersion"],
        expected["kind"],
        own.get("namespace", ""),
        own["name"],
        own.get("generateName", ""),
        own["uid"],
        "",
        owner,
        "deletionTimestamp" in own,
    )


def test_a_time_that_was_never_set_is_left_out_as_the_api_leaves_it_out() -> None:
    template: Any = to_tree(golden("deployment"))["spec"]
    assert "creationTimestamp" not in template["template"]["metadata"]


def test_what_the_api_does_not_show_is_read_too() -> None:
    assert to_tree(golden("portrange"))["kind"] == "RangeAllocation"
    assert to_tree(golden("masterlease"))["subsets"] == [{"addresses": [{"ip": "172.30.0.1"}]}]
    assert to_tree(golden("crd"))["spec"]["names"]["kind"] == "Box"  # type: ignore[index, call-overload]


def test_the_golden_objects_stay_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 150_000


def test_every_golden_object_says_how_it_is_stored() -> None:
    for name in KEYS:
        expected = Storage.PROTOBUF if name in PROTOBUF else Storage.JSON
        assert (read(golden(name)).storage, is_protobuf_object(golden(name))) == (expected, name in PROTOBUF)


def test_an_object_is_read_lazily() -> None:
    broken = read(envelope("v1", "Pod", b"\x0b"))
    assert (broken.api_version, broken.kind, broken.group) == ("v1", "Pod", "")
    with pytest.raises(CodecError):
        _ = broken.tree


def test_an_object_under_deletion_with_an_owner_that_is_no_controller_is_known_as_such() -> None:
    owner = b"\x0a\x04Node\x1a\x02n1\x22\x01u\x2a\x02v1\x30\x00"
    metadata = b"\x0a\x01x\x4a\x02\x08\x05\x6a" + bytes((len(owner),)) + owner
    meta = read_meta(envelope("v1", "Pod", b"\x0a" + bytes((len(metadata),)) + metadata))
    assert (meta.name, meta.owner, meta.deleting) == ("x", None, True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "not a stored object"),
        (b"hello", "not a stored object"),
        (b"k8s\x00", "names no kind"),
        (b"k8s\x00\x12\x00", "names no kind"),
        (b"{", "can't be parsed"),
        (b"{}", "without apiVersion and kind"),
        (b'{"a":' * 50_000, "can't be parsed"),
        (b"k8s\x00\x08\x01", "typeMeta has wire type 0"),
        (envelope("v1", "Pod", b"\x08\x01"), "metadata.* has wire type 0"),
        (envelope("v1", "Pod", b"\x0a\x02\x08\x01"), "metadata"),
        (envelope("v1", "Pod", b"\x0a\x03\x0a\x05a"), "metadata"),
    ],
)
def test_what_is_no_stored_object_is_refused_in_words(value: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        read_meta(value)
    with pytest.raises(CodecError):
        to_tree(value)


def test_an_envelope_without_an_object_is_an_empty_object_as_in_kubernetes() -> None:
    value = b"k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod"
    assert to_tree(value) == {"apiVersion": "v1", "kind": "Pod"}
    assert read_meta(value).name == ""
    with pytest.raises(CodecError, match="has no object in it"):
        list_fields(value)


@pytest.mark.parametrize("text", ["1", "100m", "-1.5Gi", "+.5", "1e3", "12E-2", "5E", "0", "."])
def test_a_quantity_is_shown_as_it_is_stored(text: str) -> None:
    value = envelope("v1", "ResourceQuota", b"\x0a\x00" + _hard(text.encode()))
    assert to_tree(value)["spec"] == {"hard": {"pods": text}}


@pytest.mark.parametrize("text", [b"", b"x", b"1 ", b"1Kii", b"1mm", b"--1", b"1ki", b"1e", b"\xff1"])
def test_a_quantity_that_kubernetes_can_t_parse_makes_the_object_undecodable(text: bytes) -> None:
    with pytest.raises(CodecError, match="is no quantity"):
        to_tree(envelope("v1", "ResourceQuota", b"\x0a\x00" + _hard(text)))


def _hard(quantity: bytes) -> bytes:
    return _nested(2, _nested(1, _nested(1, b"pods") + _nested(2, _nested(1, quantity))))


def test_a_map_s_value_that_reaches_beyond_its_entry_is_read_as_kubernetes_reads_it() -> None:
    # ConfigMap.data: the value's length says one byte more than the entry has; that byte is the next field's tag.
    value = envelope("v1", "ConfigMap", b"\x12\x06\x0a\x01k\x12\x02v" + b"\x20\x01")
    assert to_tree(value) == {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v "}, "immutable": True}


def test_a_kind_that_the_table_does_not_have_still_has_metadata() -> None:
    value = envelope("example.test/v1", "Box", b"\x0a\x03\x0a\x01b")
    assert read_meta(value).name == "b"
    with pytest.raises(CodecError, match=r"example.test/v1 Box is not in the field table"):
        to_tree(value)


def test_a_message_that_was_written_in_two_pieces_is_merged() -> None:
    value = envelope("v1", "ConfigMap", b"\x0a\x03\x0a\x01a" + b"\x0a\x03\x1a\x01n")
    assert to_tree(value)["metadata"] == {"name": "a", "namespace": "n"}


def test_an_envelope_whose_type_was_written_twice_is_merged() -> None:
    assert read(golden("pod")[:-4] + b"\x0a\x00").kind == "Pod"


def test_a_time_that_was_written_twice_is_replaced_not_merged() -> None:
    value = envelope("v1", "Pod", b"\x0a\x06\x42\x02\x08\x05\x42\x00")
    assert to_tree(value)["metadata"] == {}
    assert list_fields(value) == []


def test_a_time_that_is_cut_off_is_refused_with_its_place_in_the_whole_value() -> None:
    value = envelope("v1", "ConfigMap", b"\x0a\x04\x42\x02\x08\xff")
    cut_off = value.index(b"\x08\xff") + 2
    for _ in range(2):
        with pytest.raises(CodecError, match=f"^byte {cut_off}: the data ends inside a number"):
            to_tree(value)


@pytest.mark.parametrize(("second", "shown"), [(b"", "1Gi"), (b"\x0a\x012", "2")])
def test_a_quantity_that_was_written_twice_is_merged(second: bytes, shown: str) -> None:
    limit = _nested(2, b"\x0a\x031Gi") + _nested(2, second)
    volume = _nested(1, b"scratch") + _nested(2, _nested(2, limit))
    value = envelope("v1", "Pod", _nested(2, _nested(1, volume)))
    assert to_tree(value)["spec"] == {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": shown}}]}


def test_times_beyond_python_s_calendar_and_embedded_bytes_that_are_no_json_are_still_shown() -> None:
    far = b"\x0a\x0a\x42\x08\x08\xff\xff\xff\xff\xff\xff\x7f"
    assert "after 1970" in str(to_tree(envelope("v1", "Pod", far))["metadata"])
    revision = b"\x0a\x00\x12\x03\x0a\x01x\x18\x01"
    assert to_tree(envelope("apps/v1", "ControllerRevision", revision))["data"] == "eA=="


def _nested(number: int, data: bytes) -> bytes:
    return encode_tag(number, 2) + encode_varint(len(data)) + data


def _definition_with_schema_of_depth(depth: int) -> bytes:
    schema = b""
    for _ in range(depth):
        schema = _nested(28, schema)  # not: { … }
    for number in (1, 4, 7, 2):  # spec.versions[0].schema.openAPIV3Schema
        schema = _nested(number, schema)
    return envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", schema)


def test_messages_in_each_other_are_followed_to_a_depth_and_then_refused() -> None:
    assert to_tree(_definition_with_schema_of_depth(50))["spec"]
    assert list_fields(_definition_with_schema_of_depth(50)) == []
    for reader in (to_tree, list_fields):
        with pytest.raises(CodecError, match="more than 100 messages in each other"):
            reader(_definition_with_schema_of_depth(5000))


def test_metadata_of_a_pod_is_read_within_its_budget() -> None:
    # 50 µs on the project's machine; four times that here, because tests share it.
    value = golden("pod")
    best = min(timeit.repeat(lambda: read_meta(value), number=300, repeat=10)) / 300
    assert best < 200e-6


def test_a_map_s_key_is_read_whole_however_long() -> None:
    # 128 bytes of key whose end looks like a short entry's value to who takes the key's length for one byte
    key, content = b"k" * 127 + b"\x12", b"v" * 17
    value = envelope("v1", "ConfigMap", _nested(2, _nested(1, key) + _nested(2, content)))
    assert to_tree(value)["data"] == {key.decode(): content.decode()}
