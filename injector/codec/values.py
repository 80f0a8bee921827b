"""From a located field's bytes to its value and back, however its object is stored. Fault models use these.

    payload = encode_value(located, 5)       # replace(value, located, payload) writes it
    decode_value(located, payload)           # 5

`content_of` and `payload_of` are for models that change text or bytes below the level of values: what a string or bytes
field holds, without quotes, escapes or heads.
"""

from __future__ import annotations

import base64
from typing import NoReturn

from injector.codec import cbor_items, json_tokens
from injector.codec.encoding import decode_scalar, encode_scalar, integer_range
from injector.codec.envelope import Storage
from injector.codec.items import Item
from injector.codec.located import ANY, Located
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = ["content_of", "decode_value", "encode_value", "payload_of"]

_TEXT_HEAD = 3
"""CBOR's major type of text strings."""

_FREE = frozenset({ANY, "null"})
"""Types that say nothing of what would fit."""


def encode_value(located: Located, value: JSONValue) -> bytes:
    """The payload for a value of the field's type, as Kubernetes would write it; a CBOR text stays a text. `bytes` come
    in base64. Raises CodecError for a value that the type can't hold."""
    if located.storage is Storage.PROTOBUF:
        return encode_scalar(located.type, value)
    if located.type not in _FREE:
        _check(located, value)
    elif isinstance(value, (list, dict)):
        _refuse(value, "single value")
    elif isinstance(value, int) and not isinstance(value, bool):
        _check_integer(value)
    if located.storage is Storage.JSON:
        return json_tokens.encode_token(value)
    if located.type == "bytes":
        return cbor_items.encode_string(encode_scalar("bytes", value))
    if located.type == "string" and isinstance(value, str):
        return payload_of(located, encode_scalar("string", value))
    return cbor_items.encode_item(value)


def decode_value(located: Located, payload: bytes) -> JSONValue:
    """What a payload in the field's place would be. Raises CodecError where it is no value."""
    if located.storage is Storage.PROTOBUF:
        return decode_scalar(located.type, payload, 0, len(payload))
    return _token(located, payload).value


def content_of(located: Located) -> bytes:
    """What a field of type string or bytes holds: the text in UTF-8, or the bytes. Raises CodecError for others."""
    if located.type not in ("string", "bytes"):
        raise CodecError(f"{located.path} is of type {located.type}, not text or bytes")
    if located.storage is Storage.PROTOBUF:
        return located.payload
    if located.storage is Storage.CBOR:
        return cbor_items.string_content(located.payload)
    assert isinstance(located.value, str)
    return located.value.encode("utf-8")


def payload_of(located: Located, content: bytes) -> bytes:
    """The payload with which a field of type string or bytes holds `content`. Raises CodecError where it can't."""
    if located.storage is Storage.PROTOBUF:
        return content
    if located.storage is Storage.CBOR:
        return cbor_items.encode_string(content, text=located.payload[:1] >= bytes((_TEXT_HEAD << 5,)))
    try:
        return json_tokens.encode_token(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CodecError(f"{content!r} can't be written as JSON: {error}") from error


def _token(located: Located, payload: bytes) -> Item:
    if located.storage is Storage.JSON:
        return json_tokens.scan_token(payload)
    item = cbor_items.scan_item(payload)
    if located.type == "bytes" and item.type == "string":  # the tag that says so stands before the payload
        content = base64.b64encode(cbor_items.string_content(payload)).decode("ascii")
        return item._replace(type="bytes", value=content)
    return item


def _check(located: Located, value: JSONValue) -> None:
    """Raises CodecError for a value of another type. Numbers with a fraction take whole ones, too."""
    if located.type == "double":
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            _refuse(value, located.type)
    else:
        encode_scalar(located.type, value)


def _check_integer(value: int) -> None:
    limits = integer_range("int64")
    if limits is None or not limits[0] <= value <= limits[1]:
        _refuse(value, "int64")


def _refuse(value: JSONValue, expected: str) -> NoReturn:
    raise CodecError(f"{value!r} is no {expected}")
