"""Protobuf's wire format, as Kubernetes' own decoder (gogo/protobuf's generated code) reads it.

That decoder is stricter than protobuf's in one way (a known field with a wrong wire type is an error, not an unknown
field) and laxer in another (strings need not be UTF-8). Both are kept, because what kube-apiserver can decode is the
question. Source: k8s.io/api v0.36.3, any generated.pb.go, `Unmarshal` and `skipGenerated`.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import NamedTuple

from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = [
    "RawField",
    "decode_scalar",
    "encode_scalar",
    "encode_tag",
    "encode_varint",
    "integer_range",
    "read_varint",
    "scan",
    "scan_map_entry",
    "signed",
    "text_of",
]

_MASK64 = (1 << 64) - 1
_INTEGER_BITS = {"int32": (32, True), "int64": (64, True), "uint32": (32, False), "uint64": (64, False)}


class RawField(NamedTuple):
    """One field as it lies in the bytes: offsets, no meaning.

    tag_start     first byte of the tag
    value_start   first byte after the tag: the length prefix of a length-delimited field, else the value itself
    start, end    the payload, without the length prefix
    """

    number: int
    wire_type: int
    tag_start: int
    value_start: int
    start: int
    end: int


def read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """(64-bit value, position after it). Raises CodecError at `end` or after ten bytes."""
    if position < end and data[position] < 0x80:
        return data[position], position + 1
    value = shift = 0
    while True:
        if position >= end:
            raise CodecError(f"byte {position}: the data ends inside a number")
        if shift >= 64:
            raise CodecError(f"byte {position}: a number of more than ten bytes")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, position
        shift += 7


def encode_varint(value: int) -> bytes:
    """Shortest form; negative numbers as 64-bit two's complement, ten bytes, as protobuf has them."""
    value &= _MASK64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_tag(number: int, wire_type: int) -> bytes:
    return encode_varint(number << 3 | wire_type)


def _end_of_value(data: bytes, wire_type: int, position: int, end: int) -> tuple[int, int]:
    """(start, end) of the payload of a field whose tag ends at `position`."""
    start = position
    if wire_type == 0:
        stop = read_varint(data, position, end)[1]
    elif wire_type == 1:
        stop = position + 8
    elif wire_type == 2:
        length, start = read_varint(data, position, end)
        stop = start + length
    elif wire_type == 3:
        stop = _end_of_group(data, position, end)
    elif wire_type == 5:
        stop = position + 4
    else:
        raise CodecError(f"byte {position - 1}: illegal wire type {wire_type}")
    if stop > end:
        raise _beyond(position, stop - end)
    return start, stop


def _beyond(position: int, size: int) -> CodecError:
    return CodecError(f"byte {position}: a field reaches {size} bytes beyond its message")


def _end_of_group(data: bytes, position: int, end: int) -> int:
    """Groups are unused in Kubernetes; its decoder skips them, nested or not, without comparing their numbers."""
    depth = 1
    while depth:
        tag, position = read_varint(data, position, end)
        if tag & 7 == 3:
            depth += 1
        elif tag & 7 == 4:
            depth -= 1
        else:
            position = _end_of_value(data, tag & 7, position, end)[1]
    return position


def scan(data: bytes, start: int, end: int) -> Iterator[RawField]:
    """The fields of the message in data[start:end], in order. Raises CodecError where they do not add up to `end`."""
    position = start
    while position < end:
        tag_start = position
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = read_varint(data, tag_start, end)
        number, wire_type = tag >> 3 & 0xFFFFFFFF, tag & 7
        if number == 0 or number >> 31:
            raise CodecError(f"byte {tag_start}: illegal field number {number}")
        value_start = position
        if wire_type == 2 and position < end and data[position] < 0x80:  # nearly all are short
            value_at = position + 1
            position = value_at + data[position]
            if position > end:
                raise _beyond(value_start, position - end)
        else:
            value_at, position = _end_of_value(data, wire_type, position, end)
        yield RawField(number, wire_type, tag_start, value_start, value_at, position)


def scan_map_entry(data: bytes, start: int, end: int, limit: int) -> Iterator[RawField]:
    """The fields of a map's entry. Kubernetes' decoder reads key (1) and value (2) as length-delimited, whatever wire
    type their tags have (all its maps have strings as keys, and strings, bytes or messages as values), and lets them
    reach beyond the entry up to `limit`, the end of the message that holds the map."""
    position = start
    while position < end:
        tag_start = position
        tag, position = read_varint(data, position, limit)
        value_start = position
        known = tag >> 3 in (1, 2)
        wire_type = 2 if known else tag & 7
        value_at, position = _end_of_value(data, wire_type, position, limit if known else end)
        yield RawField(tag >> 3, wire_type, tag_start, value_start, value_at, position)


def text_of(data: bytes) -> str:
    """Stored text. Bytes that are not UTF-8 are shown as `\\xNN`."""
    return data.decode("utf-8", "backslashreplace")


def integer_range(type_name: str) -> tuple[int, int] | None:
    """(least, greatest) of an integer type, None for other types."""
    if type_name not in _INTEGER_BITS:
        return None
    bits, signed = _INTEGER_BITS[type_name]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def decode_scalar(type_name: str, data: bytes, start: int, end: int) -> JSONValue:
    """A payload's value as JSON: bytes in base64, integers cut to their type's width as Go's conversion does."""
    if type_name == "string":
        return text_of(data[start:end])
    if type_name == "bytes":
        return base64.b64encode(data[start:end]).decode("ascii")
    if type_name == "double":
        return float(struct.unpack_from("<d", data, start)[0])
    if type_name == "float":
        return float(struct.unpack_from("<f", data, start)[0])
    number, _ = read_varint(data, start, end)
    if type_name == "bool":
        return number != 0
    return signed(number, type_name)


def signed(number: int, type_name: str) -> int:
    """A varint's 64 bits as an integer of that type, cut to its width as Go's conversion does."""
    if number < 1 << 31:
        return number
    bits, has_sign = _INTEGER_BITS[type_name]
    number &= (1 << bits) - 1
    return number - (1 << bits) if has_sign and number >> (bits - 1) else number


def encode_scalar(type_name: str, value: JSONValue) -> bytes:
    """The payload for a value of the right JSON type; raises CodecError for another. `bytes` come in base64."""
    try:
        return _encoded(type_name, value)
    except (ValueError, OverflowError) as error:  # not base64, not encodable as UTF-8, too large for a float
        raise CodecError(f"{value!r} is no {type_name}: {error}") from error


def _encoded(type_name: str, value: JSONValue) -> bytes:
    limits = integer_range(type_name)
    if limits is not None and isinstance(value, int) and not isinstance(value, bool):
        if limits[0] <= value <= limits[1]:
            return encode_varint(value)
    elif type_name == "bool" and isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    elif type_name == "string" and isinstance(value, str):
        return value.encode("utf-8")
    elif type_name == "bytes" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    elif type_name in {"double", "float"} and isinstance(value, (int, float)) and not isinstance(value, bool):
        return struct.pack("<d" if type_name == "double" else "<f", value)
    raise CodecError(f"{value!r} is no {type_name}")
