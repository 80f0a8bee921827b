"""As much of DNS as one question needs: asking for a name's IPv4 addresses, and reading the answer. Pure.

RFC 1035, section 4. No library: none is locked, and a question is 12 bytes and a name.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

__all__ = ["Answer", "answer", "query"]

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_RECURSION_DESIRED, _IS_ANSWER, _RCODE = 0x0100, 0x8000, 0x000F
_A, _IN = 1, 1
_POINTER, _LONGEST_LABEL = 0xC0, 63
_IPV4_BYTES = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """`rcode` is 0 for no error, 2 for a server's failure, 3 for a name that does not exist; `addresses` sorted."""

    number: int
    rcode: int
    addresses: tuple[str, ...]


def query(name: str, number: int) -> bytes:
    """A question for `name` (labels of ASCII, no dot at the end); `number` (16 bits) comes back with the answer."""
    labels = b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split("."))
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + labels + b"\0" + _QUESTION.pack(_A, _IN)


def answer(data: bytes) -> Answer:
    """ValueError if it is none."""
    try:
        number, flags, questions, records, *_ = _HEADER.unpack_from(data)
        if not flags & _IS_ANSWER:
            raise ValueError("a question")
        at = _HEADER.size
        for _ in range(questions):
            at = _after_name(data, at) + _QUESTION.size
        found = []
        for _ in range(records):
            at = _after_name(data, at)
            kind, family, _, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            if (kind, family, length) == (_A, _IN, _IPV4_BYTES):
                found.append(str(ipaddress.IPv4Address(data[at : at + length])))
            at += length
    except (struct.error, IndexError, ipaddress.AddressValueError) as error:
        raise ValueError(f"cut short: {error}") from error
    if at > len(data):
        raise ValueError("cut short")
    return Answer(number, flags & _RCODE, tuple(sorted(found)))


def _after_name(data: bytes, at: int) -> int:
    while (length := data[at]) != 0:
        if length >= _POINTER:
            return at + 2
        if length > _LONGEST_LABEL:
            raise ValueError(f"a label of {length} bytes")
        at += 1 + length
    return at + 1
