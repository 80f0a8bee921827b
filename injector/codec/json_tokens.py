"""Objects stored as JSON, read as Kubernetes reads them and with the place of every token; and tokens, written so.

Kubernetes' decoder is Go's encoding/json in the fork sigs.k8s.io/json: names are case-sensitive, of equal names the
last counts, whole numbers without `.` and exponent that fit are int64 and all others float64 (too large for it is an
error), bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD. Not copied: its depth (items.MAX_DEPTH).
Source: sigs.k8s.io/json v0.0.0-20250730193827-2d320260d730, internal/golang/encoding/json/{scanner,decode,encode}.go.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

from injector.codec.encoding import integer_range
from injector.codec.envelope import Storage
from injector.codec.items import MAX_DEPTH, Item, Member, named_tree, tree_of
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = ["encode_token", "parse_json", "scan_json", "scan_token"]

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_WORD = re.compile(rb"true|false|null")
_WORDS: dict[bytes, tuple[str, JSONValue]] = {
    b"true": ("bool", True),
    b"false": ("bool", False),
    b"null": ("null", None),
}

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_INT64 = integer_range("int64") or (0, 0)
_SHOWN_BYTES = 12

_ESCAPES = {
    ord(char): f"\\u{ord(char):04x}" for char in (*map(chr, range(0x20)), "<", ">", "&", "\u2028", "\u2029")
} | {
    ord(char): text
    for char, text in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
        ("\b", "\\b"),
        ("\f", "\\f"),
    )
}
"""As Go escapes by default."""


def _text(data: bytes) -> str:
    """As Go reads it: one U+FFFD for each byte that is not part of UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pieces: list[str] = []
        position = 0
        while True:
            try:
                return "".join((*pieces, data[position:].decode("utf-8")))
            except UnicodeDecodeError as error:
                good, bad = position + error.start, position + error.end
                pieces.append(data[position:good].decode("utf-8") + _REPLACEMENT * (bad - good))
                position = bad


def _string(token: bytes) -> str:
    if b"\\" not in token:
        return _text(token[1:-1])
    found: str = json.loads(_text(token))
    return _SURROGATE.sub(_REPLACEMENT, found)


def _number(text: str) -> int | float:
    if "." not in text and len(text) <= 20 and text.lstrip("-").isdecimal():
        whole = int(text)
        if _INT64[0] <= whole <= _INT64[1]:
            return whole
    found = float(text)
    if math.isinf(found):
        raise CodecError(f"the number {text[:_SHOWN_BYTES]}… is too large")
    return found


def _no_constant(text: str) -> JSONValue:
    raise CodecError(f"stored as JSON, but can't be parsed: {text} is no JSON")


def parse_json(value: bytes) -> dict[str, JSONValue]:
    """An object stored as JSON. Raises CodecError where it is none, or has no apiVersion or kind."""
    if _SURROGATE_ESCAPE.search(value):  # the fast way keeps halves of surrogate pairs
        return named_tree(tree_of(scan_json(value)), Storage.JSON)
    try:
        tree = json.loads(_text(value), parse_int=_number, parse_float=_number, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"stored as JSON, but can't be parsed: {error}") from error
    return named_tree(tree, Storage.JSON)


def scan_json(value: bytes) -> Item:
    """The whole value as items. Raises CodecError, with the byte, where it is no JSON."""
    item = _item(value, _skip(value, 0), 0)
    if _skip(value, item.end) != len(value):
        raise _unexpected(value, _skip(value, item.end), "the end")
    return item


def scan_token(payload: bytes) -> Item:
    """Bytes that are one single value and nothing else. Raises CodecError where they are not."""
    item = _single(payload, 0)
    if item.end != len(payload):
        raise _unexpected(payload, item.end, "the end")
    return item


def _skip(data: bytes, position: int) -> int:
    found = _SPACE.match(data, position)
    assert found is not None
    return found.end()


def _unexpected(data: bytes, position: int, expected: str) -> CodecError:
    return CodecError(
        f"stored as JSON, but can't be parsed: byte {position}: expected {expected}, "
        f"got {data[position : position + _SHOWN_BYTES]!r}"
    )


def _item(data: bytes, at: int, depth: int) -> Item:
    first = data[at : at + 1]
    if first not in (b"{", b"["):
        return _single(data, at)
    if depth > MAX_DEPTH:
        raise CodecError(f"byte {at}: can't be parsed: more than {MAX_DEPTH} objects and lists in each other")
    is_object = first == b"{"
    members: list[Member] = []
    position = _skip(data, at + 1)
    close = b"}" if is_object else b"]"
    while not (data[position : position + 1] == close and not members):
        start, name = position, ""
        if is_object:
            name, position = _name(data, position)
        item = _item(data, position, depth + 1)
        members.append(Member(name, start, item))
        position = _skip(data, item.end)
        mark = data[position : position + 1]
        if mark == close:
            break
        if mark != b",":
            raise _unexpected(data, position, f"',' or {close.decode()!r}")
        position = _skip(data, position + 1)
    return Item("object" if is_object else "array", at, position + 1, None, at + 1, tuple(members))


def _name(data: bytes, at: int) -> tuple[str, int]:
    """(name, where its value begins)"""
    found = _STRING.match(data, at)
    if found is None:
        raise _unexpected(data, at, "a name in quotes")
    colon = _skip(data, found.end())
    if data[colon : colon + 1] != b":":
        raise _unexpected(data, colon, "':'")
    return _string(found.group()), _skip(data, colon + 1)


def _single(data: bytes, at: int) -> Item:
    if found := _STRING.match(data, at):
        return Item("string", at, found.end(), _string(found.group()))
    if found := _NUMBER.match(data, at):
        number = _number(found.group().decode("ascii"))
        return Item("int64" if isinstance(number, int) else "double", at, found.end(), number)
    if found := _WORD.match(data, at):
        return Item(_WORDS[found.group()][0], at, found.end(), _WORDS[found.group()][1])
    raise _unexpected(data, at, "a value")


def encode_token(value: JSONValue) -> bytes:
    """A single value as Go writes it. Raises CodecError for what is none or has no JSON (NaN, half a surrogate)."""
    if value is None or isinstance(value, bool):
        return {None: b"null", True: b"true", False: b"false"}[value]
    if isinstance(value, str):
        try:
            return f'"{value.translate(_ESCAPES)}"'.encode()
        except UnicodeEncodeError as error:
            raise CodecError(f"{value!r} can't be written as JSON: {error}") from error
    if isinstance(value, int):
        return str(value).encode("ascii")
    if isinstance(value, float) and math.isfinite(value):
        return _float(value).encode("ascii")
    raise CodecError(f"{value!r} can't be written as one JSON value")


def _float(value: float) -> str:
    """encoding/json, encode.go floatEncoder: plain digits from 1e-6 to 1e21, else with the shortest exponent."""
    if value and not 1e-6 <= abs(value) < 1e21:
        return re.sub(r"e-0(\d)$", r"e-\1", repr(value).replace(".0e", "e"))
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")
