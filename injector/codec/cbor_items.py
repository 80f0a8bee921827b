"""Objects stored as CBOR (RFC 8949), read as Kubernetes reads them and with the place of every item; and items, written
so.

Kubernetes writes strings and names as byte strings, `[]byte` as a byte string in tag 22, maps sorted, everything in its
shortest form with counts; it reads text strings, indefinite lengths and unknown tags (their content counts) too. It
refuses equal names, names that are no strings, text that is not UTF-8, integers beyond int64, NaN and infinity, bignums
and simple values but false, true and null. Not read here although Kubernetes would: tags 0, 1, 21 and 23 (times and
other encodings of bytes; its own encoder never writes them), and tag 22 around anything but a byte string.
Source: k8s.io/apimachinery v0.36.3, pkg/runtime/serializer/cbor/internal/modes/{decode,encode}.go.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import NamedTuple

from injector.codec.encoding import text_of
from injector.codec.envelope import CBOR_MAGIC, Storage
from injector.codec.items import CONTAINERS, MAX_DEPTH, Item, Member, named_tree, tree_of
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = [
    "encode_head",
    "encode_item",
    "encode_string",
    "head_of",
    "parse_cbor",
    "scan_cbor",
    "scan_item",
    "string_content",
]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)
_INDEFINITE = 31
_BREAK = 0xFF
_BASE64 = 22
_REFUSED_TAGS = frozenset({0, 1, 2, 3, 21, 23})
_SIMPLE: dict[int, tuple[str, JSONValue]] = {20: ("bool", False), 21: ("bool", True), 22: ("null", None)}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}


class _Head(NamedTuple):
    """`argument` is None for an indefinite length; `end` is the first byte behind the head."""

    major: int
    info: int
    argument: int | None
    end: int


def head_of(data: bytes, at: int) -> _Head:
    """The head at byte `at`. Raises CodecError where there is none."""
    if at >= len(data):
        raise CodecError(f"byte {at}: the data ends where an item should begin")
    major, info = data[at] >> 5, data[at] & 0x1F
    if info < 24:
        return _Head(major, info, info, at + 1)
    if info < 28:
        end = at + 1 + (1 << info - 24)
        if end > len(data):
            raise CodecError(f"byte {at}: the data ends inside an item's head")
        return _Head(major, info, int.from_bytes(data[at + 1 : end], "big"), end)
    if info == _INDEFINITE and major in (_BYTES, _TEXT, _ARRAY, _MAP):
        return _Head(major, info, None, at + 1)
    raise CodecError(f"byte {at}: illegal head {data[at]:#04x}")


def parse_cbor(value: bytes) -> dict[str, JSONValue]:
    """An object stored as CBOR. Raises CodecError where it is none, or has no apiVersion or kind."""
    return named_tree(tree_of(scan_cbor(value)), Storage.CBOR)


def scan_cbor(value: bytes) -> Item:
    """The whole value, with its magic, as items. Raises CodecError, with the byte, where Kubernetes would refuse it."""
    return _only(value, len(CBOR_MAGIC))


def scan_item(payload: bytes) -> Item:
    """Bytes that are one single value and nothing else. Raises CodecError where they are not."""
    item = _only(payload, 0)
    if item.type in CONTAINERS:
        raise CodecError(f"not a single value: {payload[:1].hex()}…")
    return item


def _only(data: bytes, at: int) -> Item:
    item = _item(data, at, 0)
    if item.end != len(data):
        raise CodecError(f"byte {item.end}: {len(data) - item.end} bytes after the object")
    return item


def _item(data: bytes, at: int, depth: int) -> Item:
    head, tagged = head_of(data, at), False
    while head.major == _TAG:
        if head.argument in _REFUSED_TAGS or tagged:
            raise CodecError(f"byte {at}: tag {head.argument} is not read here")
        at, tagged = head.end, head.argument == _BASE64
        head = head_of(data, at)
    if tagged and head.major != _BYTES:
        raise CodecError(f"byte {at}: tag {_BASE64} is read around a byte string only")
    if head.major in (_BYTES, _TEXT):
        return _string(data, at, head, tagged=tagged)
    if head.major in (_ARRAY, _MAP):
        return _container(data, at, head, depth)
    return _single(data, at, head)


def _single(data: bytes, at: int, head: _Head) -> Item:
    number = head.argument or 0
    if head.major in (_UNSIGNED, _NEGATIVE):
        if number >> 63:
            raise CodecError(f"byte {at}: an integer beyond 64 bits with sign")
        return Item("int64", at, head.end, -1 - number if head.major == _NEGATIVE else number)
    if head.info in _FLOATS:
        found = float(struct.unpack_from(_FLOATS[head.info], data, at + 1)[0])
        if not math.isfinite(found):
            raise CodecError(f"byte {at}: {found} has no JSON")
        return Item("double", at, head.end, found)
    if head.info not in _SIMPLE:
        raise CodecError(f"byte {at}: illegal simple value {number}")
    return Item(_SIMPLE[head.info][0], at, head.end, _SIMPLE[head.info][1])


def _string(data: bytes, at: int, head: _Head, *, tagged: bool) -> Item:
    content, end = _string_at(data, at, head)
    if tagged:
        return Item("bytes", at, end, base64.b64encode(content).decode("ascii"))
    if head.major == _BYTES:
        return Item("string", at, end, text_of(content))
    try:
        return Item("string", at, end, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CodecError(f"byte {at}: a text that is not UTF-8: {error}") from error


def _string_at(data: bytes, at: int, head: _Head) -> tuple[bytes, int]:
    """(content, end) of a string, in one piece or in chunks."""
    if head.argument is not None:
        end = head.end + head.argument
        if end > len(data):
            raise CodecError(f"byte {at}: a string reaches {end - len(data)} bytes beyond the data")
        return data[head.end : end], end
    pieces, position = [], head.end
    while data[position : position + 1] != bytes((_BREAK,)):
        chunk = head_of(data, position)
        if chunk.major != head.major or chunk.argument is None:
            raise CodecError(f"byte {position}: expected a chunk of the string that began at byte {at}")
        piece, position = _string_at(data, position, chunk)
        pieces.append(piece)
    return b"".join(pieces), position + 1


def string_content(payload: bytes) -> bytes:
    """What a string (item with head) holds. Raises CodecError for another item."""
    head = head_of(payload, 0)
    if head.major not in (_BYTES, _TEXT):
        raise CodecError(f"{payload[:1].hex()}… is no string")
    return _string_at(payload, 0, head)[0]


def _container(data: bytes, at: int, head: _Head, depth: int) -> Item:
    if depth > MAX_DEPTH:
        raise CodecError(f"byte {at}: more than {MAX_DEPTH} maps and lists in each other")
    members: list[Member] = []
    names: set[str] = set()
    left, position = head.argument, head.end
    while left if left is not None else data[position : position + 1] != bytes((_BREAK,)):
        start, name = position, ""
        if head.major == _MAP:
            key = _item(data, position, depth + 1)
            if key.type != "string" or not isinstance(key.value, str) or key.value in names:
                raise CodecError(f"byte {position}: expected a name that is a string and new, got {key.value!r}")
            name, position = key.value, key.end
            names.add(name)
        item = _item(data, position, depth + 1)
        members.append(Member(name, start, item))
        position = item.end
        left = left - 1 if left is not None else None
    counted = (at, head.end) if head.argument is not None else None
    end = position if counted else position + 1
    return Item("object" if head.major == _MAP else "array", at, end, None, head.end, tuple(members), counted)


def encode_head(major: int, argument: int) -> bytes:
    """Shortest form."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    size = next(size for size in range(4) if argument < 1 << (8 << size))
    return bytes((major << 5 | 24 + size,)) + argument.to_bytes(1 << size, "big")


def encode_string(content: bytes, *, text: bool = False) -> bytes:
    """A byte string, as Kubernetes writes all strings, or a text string."""
    return encode_head(_TEXT if text else _BYTES, len(content)) + content


def encode_item(value: JSONValue) -> bytes:
    """A single value as Kubernetes writes it. Raises CodecError for what is none or can't be stored."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return encode_head(_NEGATIVE, -1 - value) if value < 0 else encode_head(_UNSIGNED, value)
    if isinstance(value, float) and math.isfinite(value):
        return _encode_float(value)
    if isinstance(value, str):
        try:
            return encode_string(value.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise CodecError(f"{value!r} can't be written as CBOR: {error}") from error
    raise CodecError(f"{value!r} can't be written as one CBOR item")


def _encode_float(value: float) -> bytes:
    """The smallest width that keeps the value."""
    for info, form in _FLOATS.items():
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            return bytes((_OTHER << 5 | info,)) + packed
    raise AssertionError("a double keeps every float")
