"""Objects stored as CBOR: what Kubernetes' own serializer wrote, and what else it would read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.codec import (
    Storage,
    content_of,
    decode_value,
    encode_value,
    find,
    list_fields,
    locate,
    payload_of,
    raw_span,
    read,
    read_meta,
    remove,
    replace,
    to_tree,
)
from injector.codec.cbor_items import encode_head, encode_item, scan_item
from injector.corrupt import corrupt
from injector.errors import CodecError, FaultError
from tests.injector.stored import golden, golden_cbor

_HEAD = b"\xd9\xd9\xf7\xa3\x44kind\x41X\x4aapiVersion\x42v1\x44spec"
"""An object of kind X; its spec is to follow."""

MIXED = _HEAD + (
    b"\xb8\x09"  # a map of nine, its count written long
    b"\x61t\x63abc"  # a text string under a name that is one
    b"\x41s\x43\xffbc"  # a byte string that is no UTF-8
    b"\x41b\xd6\x43\x00\x01\x02"  # tag 22: bytes
    b"\x41c\x7f\x61a\x62bc\xff"  # in chunks
    b"\x41l\x9f\x01\x38\x63\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a\xff"  # a list without a count: 1, -100, 1.1
    b"\x41m\xbf\x41k\xf4\xff"  # a map without a count
    b"\x41u\xd8\x63\x18\x05"  # tag 99, unknown; 5 written long
    b"\x41f\xf9\x3e\x00"  # 1.5 in two bytes
    b"\x41n\xf6"
)


def test_what_kubernetes_wrote_as_cbor_is_the_object_that_it_wrote_as_json() -> None:
    value = golden_cbor("box")
    assert to_tree(value) == to_tree(golden("box"))
    assert read_meta(value) == read_meta(golden("box"))
    assert (read(value).storage, read(value).kind, raw_span(value)) == (Storage.CBOR, "Box", (3, len(value)))
    listed, as_json = list_fields(value), list_fields(golden("box"))
    assert {(i.path, i.type, str(i.value)) for i in listed} == {(i.path, i.type, str(i.value)) for i in as_json}


@pytest.mark.parametrize("value", [MIXED, golden_cbor("box")], ids=["mixed", "box"])
def test_every_listed_field_is_found_again_and_writing_it_back_changes_nothing(value: bytes) -> None:
    for item in list_fields(value):
        found = locate(value, item.path)
        there = (found.path, found.type, found.value, found.kubernetes_type, found.wire_type, found.span)
        assert (there, value[slice(*item.span)]) == (item, found.payload)
        assert replace(value, found, found.payload) == value
        assert decode_value(found, found.payload) == found.value


def test_all_well_formed_items_are_read() -> None:
    assert to_tree(MIXED)["spec"] == {
        "t": "abc", "s": "\\xffbc", "b": "AAEC", "c": "abc", "l": [1, -100, 1.1], "m": {"k": False}, "u": 5, "f": 1.5,
        "n": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "wanted", "before", "after"),
    [
        ("spec.t", "x" * 24, b"\x63abc", b"\x78\x18" + b"x" * 24),
        ("spec.s", "é", b"\x43\xffbc", b"\x42\xc3\xa9"),
        ("spec.b", "/w==", b"\xd6\x43\x00\x01\x02", b"\xd6\x41\xff"),
        ("spec.l[1]", 2**31, b"\x38\x63", b"\x1a\x80\x00\x00\x00"),
        ("spec.l[2]", 0.5, b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a", b"\xf9\x38\x00"),
        ("spec.m[k]", True, b"\xf4", b"\xf5"),
        ("spec.u", -1, b"\x63\x18\x05", b"\x63\x20"),
        ("spec.n", "now", b"\xf6", b"\x43now"),
        ("spec.m.new", 1, b"\x41k\xf4", b"\x41k\xf4\x43new\x01"),
        ("spec.new", 1, b"\xb8\x09", b"\x0a"),
    ],
)
def test_one_item_changes_and_no_other_byte(path: str, wanted: Any, before: bytes, after: bytes) -> None:
    found = locate(MIXED, path)
    changed = replace(MIXED, found, encode_value(found, wanted))
    if path == "spec.new":
        assert changed == MIXED.replace(b"\xb8\x09", b"\xaa") + b"\x43new\x01"
    else:
        assert (MIXED.count(before), changed) == (1, MIXED.replace(before, after))
    assert (locate(changed, path).value, len(list_fields(changed))) == (
        wanted,
        len(list_fields(MIXED)) + (path in ("spec.n", "spec.m.new", "spec.new")),
    )


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("spec.t", b"\xb8\x09\x61t\x63abc", b"\xa8"),
        ("spec.u", b"\x41u\xd8\x63\x18\x05", b""),
        ("spec.l[1]", b"\x38\x63", b""),
        ("spec.m[k]", b"\x41k\xf4", b""),
        ("spec.m", b"\x41m\xbf\x41k\xf4\xff", b""),
    ],
)
def test_a_member_goes_and_is_counted_no_more(path: str, before: bytes, after: bytes) -> None:
    changed = remove(MIXED, find(MIXED, path))
    shortened = MIXED.replace(before, after)
    assert changed == (
        shortened if path in ("spec.t", "spec.l[1]", "spec.m[k]") else shortened.replace(b"\xb8\x09", b"\xa8")
    )
    to_tree(changed)


def test_models_change_cbor_fields_as_they_change_others() -> None:
    value = golden_cbor("box")
    assert corrupt(value, "bit-flip", {"bit": 63}, "spec.a").field_after == 1 - 2**63
    assert corrupt(value, "bit-flip", {"bit": 0}, "metadata.name").field_after == "c"
    assert corrupt(MIXED, "bit-flip", {"character": 1}, "spec.t").after == MIXED.replace(b"\x63abc", b"\x63acc")
    assert corrupt(MIXED, "bit-flip", {}, "spec.b").field_after == "AQEC"
    assert corrupt(MIXED, "bit-flip", {"bit": 7}, "spec.s").after == MIXED.replace(b"\x43\xffbc", b"\x43\x7fbc")
    assert corrupt(MIXED, "value-set", {"value": "AA=="}, "spec.b").field_after == "AA=="


def test_what_a_string_holds_is_had_and_written_without_its_head() -> None:
    for path, content in (("spec.t", b"abc"), ("spec.s", b"\xffbc"), ("spec.b", b"\x00\x01\x02"), ("spec.c", b"abc")):
        found = locate(MIXED, path)
        assert content_of(found) == content
        assert locate(replace(MIXED, found, payload_of(found, content)), path).value == found.value
    with pytest.raises(CodecError, match="is of type int64, not text or bytes"):
        content_of(locate(MIXED, "spec.u"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (b"", "ends where an item should begin"),
        (b"\x19\x01", "ends inside an item's head"),
        (b"\x44abc", "beyond the data"),
        (b"\x63a\xffc", "not UTF-8"),
        (b"\x1b\x80\x00\x00\x00\x00\x00\x00\x00", "beyond 64 bits"),
        (b"\xf9\x7c\x00", "has no JSON"),
        (b"\xf7", "illegal simple value 23"),
        (b"\xf8\x14", "illegal simple value"),
        (b"\x1c", "illegal head"),
        (b"\xff", "illegal head"),
        (b"\xa2\x41a\x01\x61a\x02", "expected a name that is a string and new, got 'a'"),
        (b"\xa1\x01\x01", "expected a name that is a string"),
        (b"\xc2\x41\x01", "tag 2 is not read here"),
        (b"\xd6\x01", "tag 22 is read around a byte string only"),
        (b"\xd6\xd6\x41a", "tag 22 is not read here"),
        (b"\x7f\x41a\xff", "expected a chunk"),
        (b"\x9f\x01", "ends where"),
        (b"\xbf\x41a\xff", "illegal head"),
        (b"\x01\x01", "1 bytes after the object"),
        (b"\x81" * 5000 + b"\x01", "more than 300"),
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "ends where"),
    ],
)
def test_what_is_no_cbor_of_kubernetes_is_refused_with_its_place(spec: bytes, problem: str) -> None:
    for reader in (to_tree, read_meta, read, list_fields):
        with pytest.raises(CodecError, match=problem):
            reader(_HEAD + spec)


def test_an_object_without_a_kind_is_refused() -> None:
    for text in (b"\xd9\xd9\xf7\xa0", b"\xd9\xd9\xf7\x80", b"\xd9\xd9\xf7\x01"):
        for reader in (to_tree, list_fields):
            with pytest.raises(CodecError, match="without apiVersion and kind"):
                reader(text)


def test_a_field_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(FaultError, match=r"spec\.m is an object, not a single value; it holds k"):
        locate(MIXED, "spec.m")
    for path, wanted in (
        ("spec.u", 2**63),
        ("spec.u", "1"),
        ("spec.b", "!"),
        ("spec.new", 2**63),
        ("spec.t", "\ud800"),
    ):
        with pytest.raises(CodecError):
            encode_value(locate(MIXED, path), wanted)


@given(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
def test_an_item_is_read_back_as_it_was_written(content: Any) -> None:
    assert scan_item(encode_item(content)).value == content


@pytest.mark.parametrize(
    ("argument", "expected"), [(0, "00"), (23, "17"), (24, "1818"), (256, "190100"), (2**32, "1b0000000100000000")]
)
def test_heads_have_their_shortest_form(argument: int, expected: str) -> None:
    assert encode_head(0, argument).hex() == expected
