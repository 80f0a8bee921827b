from __future__ import annotations

import base64
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import Storage, list_fields, locate, replace, to_bytes, to_tree
from injector.errors import CodecError, InputError
from mutineer.documents import ORIGINAL, Form, document_of, parse, redacted, render, value_of
from tests.injector.codec.test_write import STORED
from tests.injector.codec.trees import random_tree
from tests.injector.stored import KEYS, envelope, golden

NASTY = st.sampled_from("\n\r\t \x85\u2028\ufeff\ud800\x00\x7f\xa0#:-|>'\"&*!%@`{[,?\\~=é🙂a1")
TEXT = st.text(st.characters(), max_size=6) | st.text(NASTY, max_size=6)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
    | st.sampled_from(["yes", "null", "1e5", "0x1f", "2026-01-31", "=", "<<", "- a", "a: b", "a\n", " a\nb",
                        "\n", "a\n\n", "|"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


def broken_configmap() -> bytes:
    """A ConfigMap with a text that is not UTF-8."""
    value = golden("configmap")
    path = next(each.path for each in list_fields(value) if each.path.startswith("data["))
    return replace(value, locate(value, path), b"\xff\xfe")


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_stored_object_comes_back_byte_for_byte_without_its_original(name: str, form: Form) -> None:
    document = document_of(golden(name))
    assert ORIGINAL not in document
    assert value_of(parse(render(document, form), file="x"), file="x") == golden(name)


@pytest.mark.parametrize("form", list(Form))
@settings(deadline=None)
@given(document=st.dictionaries(TEXT, ANY, min_size=1, max_size=4))
def test_every_document_can_be_written_and_read(form: Form, document: dict[str, Any]) -> None:
    assert parse(render(document, form), file="x") == document


@settings(deadline=None)
@given(random=st.integers(0, 2**32).map(Random), kind=st.sampled_from(STORED))
def test_bytes_that_kubernetes_would_not_write_come_back_too(random: Random, kind: tuple[str, str]) -> None:
    tree = random_tree(random, *kind)
    body = to_bytes(tree, storage=Storage.PROTOBUF)
    value = random.choice([body + b"\x2a\x01x", envelope(*kind, b"\xfa\x7d\x01x"), body[:-4] + b"\x22\x00\x1a\x00"])
    document = document_of(value)
    assert ORIGINAL in document
    form = random.choice(list(Form))
    assert value_of(parse(render(document, form), file="x"), file="x") == value


def test_metadata_stands_before_the_data_as_people_write_it() -> None:
    assert list(document_of(golden("secret")))[:3] == ["apiVersion", "kind", "metadata"]
    assert list(document_of(golden("crd")))[:2] == ["kind", "apiVersion"], "in stored JSON order says something"


def test_yaml_says_why_the_original_is_there_and_text_of_several_lines_is_a_block() -> None:
    text = render(document_of(broken_configmap()), Form.YAML)
    assert "# The stored bytes say more than this object does" in text
    assert text.splitlines()[-1].startswith("mutineer.original: azhz")
    assert "data: |\n    one\n    two\n" in render({"spec": {"data": "one\ntwo\n"}}, Form.YAML)


def test_an_edit_of_a_document_with_its_original_leaves_what_it_does_not_show() -> None:
    value = broken_configmap()
    document: Any = document_of(value)
    document["metadata"]["labels"] = {"seen": "yes"}
    after = value_of(document, file="x")
    assert b"\xff\xfe" in after and locate(after, "metadata.labels[seen]").payload == b"yes"
    del document[ORIGINAL]
    assert b"\xff\xfe" not in value_of(document, file="x")


@pytest.mark.parametrize("wrong", ["%", 5, None, "aGVsbG8=", base64.b64encode(golden("service")[:100]).decode()])
def test_an_original_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"web.yaml: mutineer\.original: is not the base64 of a stored object"):
        value_of({**to_tree(golden("service")), ORIGINAL: wrong}, file="web.yaml")


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(CodecError, match="that name is taken"):
        document_of(b'{"apiVersion":"v1","kind":"Box","mutineer.original":1}\n')


def test_a_redacted_secret_shows_no_value_anywhere_and_can_not_be_encoded() -> None:
    value = golden("secret")
    document = document_of(value)
    data: Any = document["data"]
    shown = redacted({**document, ORIGINAL: "x"})
    text = render(shown, Form.YAML)
    for each in data.values():
        assert each not in text and base64.b64decode(each).decode() not in text
    assert f"<redacted: {len(base64.b64decode(data['password']))} bytes>" in text and ORIGINAL not in shown
    with pytest.raises(InputError, match=r"x: data\[password\]: was redacted when it was decoded: .*--show-secrets"):
        value_of(shown, file="x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected one object with apiVersion and kind, got nothing"),
        ("- a", "expected one object with apiVersion and kind, got ['a']"),
        ("a: b: c", "line 1, column 5: not valid YAML"),
        ("a: 1\na: 2\n", "line 2, column 1: key 'a' is given twice"),
        ('{"a": 1,\n "a": 2}', "line 2, column 2: key 'a' is given twice"),
        ("{", "line 1, column 2: not valid YAML"),
        ("a: 2026-01-31", "expected a plain value, got datetime.date(2026, 1, 31) (date): quote it"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(text, file="web.yaml")
    assert str(raised.value).startswith("web.yaml: ") and words in str(raised.value)
