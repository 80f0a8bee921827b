"""Objects stored as JSON: read as Go reads them, one token changed and no other byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import encode_value, find, list_fields, locate, read_meta, remove, replace, to_tree
from injector.codec.items import tree_of
from injector.codec.json_tokens import encode_token, parse_json, scan_json
from injector.errors import CodecError, FaultError
from tests.injector.stored import golden

STORED_AS_JSON = ("apiservice", "box", "crd")
ODD = (
    b'{ "kind" :"Box","apiVersion": "example.test/v1" ,\n\t"metadata":{"name":"b","labels":{"a.b/c":"x\\u003cy",'
    b'"n":"1"}},"spec":{"n":1.50e+2,"big":123456789012345678901,"z":-0,"list":[ 1 , {"name":"p","v":true} ,[ ] ],'
    b'"nul":null,"empty":{}}, "kind": "Crate" }\r\n'
)
"""Spaces, escapes and forms of numbers as no serialiser writes them, and a name that stands twice."""


def _object(spec: bytes) -> bytes:
    return b'{"apiVersion":"v1","kind":"X","spec":' + spec + b"}"


@pytest.mark.parametrize("name", STORED_AS_JSON)
def test_the_items_of_a_real_object_are_what_another_decoder_reads(name: str) -> None:
    assert tree_of(scan_json(golden(name))) == to_tree(golden(name)) == json.loads(golden(name))


@pytest.mark.parametrize("value", [ODD, *map(golden, STORED_AS_JSON)], ids=["odd", *STORED_AS_JSON])
def test_every_listed_field_is_found_again_and_writing_it_back_changes_nothing_else(value: bytes) -> None:
    for item in list_fields(value):
        found = locate(value, item.path)
        there = (found.path, found.type, found.value, found.kubernetes_type, found.wire_type, found.span)
        assert (there, value[slice(*item.span)]) == (item, found.payload)
        assert replace(value, found, found.payload) == value
        assert to_tree(replace(value, found, encode_value(found, found.value))) == to_tree(value)


def test_fields_are_listed_as_go_reads_them() -> None:
    assert [(item.path, item.type, item.value) for item in list_fields(ODD)] == [
        ("apiVersion", "string", "example.test/v1"),
        ("metadata.name", "string", "b"),
        ("metadata.labels[a.b/c]", "string", "x<y"),
        ("metadata.labels[n]", "string", "1"),
        ("spec.n", "double", 150.0),
        ("spec.big", "double", 1.2345678901234568e20),
        ("spec.z", "int64", 0),
        ("spec.list[0]", "int64", 1),
        ("spec.list[1].name", "string", "p"),
        ("spec.list[1].v", "bool", True),
        ("kind", "string", "Crate"),
    ]
    assert read_meta(ODD).kind == "Crate"


@pytest.mark.parametrize(
    ("path", "wanted", "before", "after"),
    [
        ("metadata.labels[a.b/c]", 'a"<\n\u2028é', b'"x\\u003cy"', b'"a\\"\\u003c\\n\\u2028\xc3\xa9"'),
        ("metadata.labels.n", "", b'"n":"1"', b'"n":""'),
        ("spec.n", 1e21, b"1.50e+2", b"1e+21"),
        ("spec.n", 1e-7, b"1.50e+2", b"1e-7"),
        ("spec.n", 2.0, b"1.50e+2", b"2"),
        ("spec.z", -(2**63), b"-0", b"-9223372036854775808"),
        ("spec.list[name=p].v", False, b"true", b"false"),
        ("spec.list[1].v", False, b"true", b"false"),
        ("spec.nul", 7, b"null", b"7"),
        ("kind", "K", b'"Crate"', b'"K"'),
        ("spec.empty[a/b]", "x", b"{}", b'{"a/b":"x"}'),
        ("spec.new", 1, b'"empty":{}', b'"empty":{},"new":1'),
        ("spec.list[1].w", True, b'"v":true', b'"v":true,"w":true'),
    ],
)
def test_one_token_changes_and_no_other_byte(path: str, wanted: Any, before: bytes, after: bytes) -> None:
    assert ODD.count(before) == 1
    found = locate(ODD, path)
    changed = replace(ODD, found, encode_value(found, wanted))
    assert changed == ODD.replace(before, after)
    assert (locate(changed, path).value, locate(changed, path).present) == (wanted, True)


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("metadata.labels[a.b/c]", b'"a.b/c":"x\\u003cy","n"', b'"n"'),
        ("metadata.labels[n]", b',"n":"1"', b""),
        ("metadata.labels", b',"labels":{"a.b/c":"x\\u003cy","n":"1"}', b""),
        ("spec.empty", b',"empty":{}', b""),
        ("spec.n", b'"n":1.50e+2,', b""),
        ("spec.list[0]", b"1 , {", b"{"),
        ("spec.list[name=p]", b'{"name":"p","v":true} ,', b""),
        ("spec.list[2]", b" ,[ ]", b""),
        ("spec.nul", b'"nul":null,', b""),
    ],
)
def test_a_member_goes_with_its_comma_and_no_other_byte(path: str, before: bytes, after: bytes) -> None:
    changed = remove(ODD, find(ODD, path))
    assert changed.replace(b" ", b"") == ODD.replace(before, after).replace(b" ", b"")
    paths = [item.path for item in list_fields(changed)]
    assert path not in paths or path == "spec.list[0]"  # the next has moved up
    to_tree(changed)


def test_of_a_name_that_stands_twice_both_are_removed() -> None:
    for text, left in (
        (b'{"a":1,"a":2,"b":3}', b'{"b":3}'),
        (b'{"b":3,"a":1, "a":2}', b'{"b":3}'),
        (b'{"a":1,"b":3,"a":2}', b'{"b":3}'),
        (b'{"a":1 ,"a":2}', b"{}"),
    ):
        value = _object(text)
        assert (locate(value, "spec.a").value, find(value, "spec.a").value) == (2, 2)
        assert remove(value, find(value, "spec.a")) == _object(left)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"nan", "value"),
        (b"NaN", "value"),
        (b"Infinity", "value"),
        (b"01", "expected ','"),
        (b"1e400", "too large"),
        (b"9" * 5000, "too large"),
        (b"[1,]", "value"),
        (b'{"a":1,}', "name"),
        (b'{"a" 1}', ":"),
        (b"{1:2}", "name"),
        (b'"\x01"', "value"),
        (b'"\\x"', "value"),
        (b'"\\u12"', "value"),
        (b"'a'", "value"),
        (b"1} x", "expected the end"),
        (b"\xff", "value"),
        (b"[" * 5000 + b"]" * 5000, "can't be parsed"),
    ],
)
def test_what_go_refuses_is_refused_by_both_readers(text: bytes, problem: str) -> None:
    for reader in (parse_json, scan_json):
        with pytest.raises(CodecError, match=problem if reader is scan_json else "."):
            reader(_object(text))
    with pytest.raises(CodecError):
        locate(_object(text), "spec")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'"a\xffb"', "a\ufffdb"),
        (b'"\xe6\xbc"', "\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\\ud800x"', "\ufffdx"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\ude00\\ud83d"', "\ufffd\ufffd"),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", float(2**63)),
        (b"1E2", 100.0),
    ],
)
def test_text_and_numbers_are_read_as_go_reads_them(text: bytes, expected: object) -> None:
    value = _object(text)
    assert to_tree(value)["spec"] == locate(value, "spec").value == expected
    assert type(to_tree(value)["spec"]) is type(expected)


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(_TREES, st.sampled_from((None, 1)), st.booleans())
def test_both_readers_and_another_encoder_agree(tree: Any, indent: int | None, ascii_only: bool) -> None:
    value = json.dumps({"apiVersion": "v1", "kind": "X", "spec": tree}, indent=indent, ensure_ascii=ascii_only).encode()
    assert tree_of(scan_json(value)) == parse_json(value) == json.loads(value)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text())
def test_a_token_means_what_was_written(content: Any) -> None:
    found = json.loads(encode_token(content))
    assert (float(found) if isinstance(content, float) else found) == content


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("spec.z", "1"), ("spec.z", True), ("spec.z", 2**63), ("spec.n", "1"), ("kind", 1), ("spec.new", 2**64),
     ("spec.new", [1]), ("spec.new", float("nan")), ("kind", "\ud800"), ("spec.nul", {})],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(path: str, wanted: Any) -> None:
    with pytest.raises(CodecError):
        encode_value(locate(ODD, path), wanted)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("spec.gone.x", "spec.gone is absent; spec holds n, big, z, list, nul, empty"),
        ("spec.list", "spec.list is an array, not a single value; it holds 3 elements"),
        ("metadata.labels", "metadata.labels is an object, not a single value; it holds a.b/c, n"),
        ("spec.list.v", r"spec.list holds several values; say which in brackets"),
        ("spec.list[3]", r"spec.list has 3 elements; there is no spec.list\[3\]"),
        ("spec.list[name=q].v", "no element with name 'q'; there are: p"),
        ("spec.list[q]", "expected an index or FIELD=VALUE"),
        ("spec.n.x", "spec.n is of type double; it has no field 'x'"),
        ("spec.n[x]", "spec.n is of type double, not a list or map"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        locate(ODD, path)
