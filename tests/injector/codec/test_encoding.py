"""Protobuf's wire format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.codec.encoding import decode_scalar, encode_scalar, encode_varint, read_varint, scan
from injector.errors import CodecError


@given(st.integers(-(2**63), 2**64 - 1))
def test_a_varint_comes_back_as_its_64_bits(value: int) -> None:
    data = encode_varint(value)
    assert read_varint(data, 0, len(data)) == (value % 2**64, len(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80", "ends inside a number"),
        (b"\xff" * 10 + b"\x01", "more than ten bytes"),
        (b"\x0a\x05abc", "beyond its message"),
        (b"\x00\x01", "illegal field number 0"),
        (b"\x0c", "illegal wire type 4"),
        (b"\x0f", "illegal wire type 7"),
        (b"\x09\x01", "beyond its message"),
        (b"\x0b\x08\x01", "ends inside a number"),
    ],
)
def test_bytes_that_are_no_message_say_where_and_why(data: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        list(scan(data, 0, len(data)))


def test_a_group_is_skipped_with_all_that_is_in_it() -> None:
    data = b"\x0b\x13\x08\x01\x14\x0c\x10\x07"
    assert [(raw.number, raw.tag_start, raw.end) for raw in scan(data, 0, len(data))] == [(1, 0, 6), (2, 6, 8)]


@pytest.mark.parametrize(
    ("type_name", "value", "payload"),
    [
        ("int32", -1, b"\xff" * 9 + b"\x01"),
        ("int64", 300, b"\xac\x02"),
        ("bool", True, b"\x01"),
        ("string", "ü", b"\xc3\xbc"),
        ("bytes", "AAE=", b"\x00\x01"),
        ("double", 1.0, b"\x00" * 6 + b"\xf0\x3f"),
    ],
)
def test_scalars_are_written_as_protobuf_has_them_and_read_back(type_name: str, value: object, payload: bytes) -> None:
    assert encode_scalar(type_name, value) == payload  # type: ignore[arg-type]
    assert decode_scalar(type_name, payload, 0, len(payload)) == value


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("int32", 2**31),
        ("int32", True),
        ("int64", "1"),
        ("bool", 1),
        ("string", 1),
        ("bytes", "!"),
        ("string", "\ud800"),
    ],
)
def test_a_value_of_another_type_is_refused(type_name: str, value: object) -> None:
    with pytest.raises(CodecError):
        encode_scalar(type_name, value)  # type: ignore[arg-type]


def test_an_int32_that_was_written_with_too_many_bits_is_cut_as_go_cuts_it() -> None:
    payload = encode_varint(2**32 + 5)
    assert decode_scalar("int32", payload, 0, len(payload)) == 5


def test_text_that_is_not_utf8_shows_its_bytes() -> None:
    assert decode_scalar("string", b"a\xff", 0, 2) == "a\\xff"
