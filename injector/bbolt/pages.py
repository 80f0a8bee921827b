"""One page of a bbolt file: its header and its elements, and a leaf with another value in it.

    page    | id 8 | flags 2 | count 2 | overflow 4 |  count elements  |  keys and values  |
    leaf    | flags 4 | pos 4 | ksize 4 | vsize 4 |        branch  | pos 4 | ksize 4 | page id 8 |

`pos` counts from the element's own first byte to its key; in a leaf the value follows the key. `overflow` pages follow
the first one and hold nothing but the rest of its bytes. bbolt v1.4.3, internal/common/page.go and inode.go.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from injector.errors import CodecError

__all__ = [
    "BUCKET_FLAG",
    "HEADER_BYTES",
    "Branch",
    "Header",
    "Kind",
    "Leaf",
    "branches",
    "leaf_with_value",
    "leaves",
    "read_header",
]

_HEADER, _LEAF, _BRANCH = struct.Struct("<QHHI"), struct.Struct("<IIII"), struct.Struct("<IIQ")
HEADER_BYTES = _HEADER.size
BUCKET_FLAG = 0x01
"""Of a leaf's element: its value is a bucket (BucketLeafFlag)."""


class Kind(IntEnum):
    """A page's flags; exactly one is set."""

    BRANCH = 0x01
    LEAF = 0x02
    META = 0x04
    FREELIST = 0x10


class Header(NamedTuple):
    """`elements`: how many; `overflow`: how many pages follow that are part of this one."""

    id: int
    kind: Kind
    elements: int
    overflow: int


class Leaf(NamedTuple):
    """An element of a leaf page. Offsets are in the page: the key is [key, value), the value [value, end)."""

    flags: int
    key: int
    value: int
    end: int


class Branch(NamedTuple):
    """An element of a branch page: the first key below it, and the page there. `pointer` is the offset in the page of
    the eight bytes that hold `page_id`."""

    key: bytes
    page_id: int
    pointer: int


def read_header(page: bytes) -> Header:
    """CodecError if these bytes don't begin with a page's header."""
    if len(page) < HEADER_BYTES:
        raise CodecError(f"a page of {len(page)} bytes; its header alone has {HEADER_BYTES}")
    page_id, flags, count, overflow = _HEADER.unpack_from(page)
    try:
        return Header(page_id, Kind(flags), count, overflow)
    except ValueError:
        raise CodecError(f"page {page_id} has the flags {flags:#x}, no kind of page") from None


def leaves(page: bytes) -> list[Leaf]:
    """The elements of a leaf page, in the order of their keys. CodecError if one reaches beyond the page."""
    header = _of_kind(page, Kind.LEAF)
    found = []
    for start in _starts(page, header, _LEAF.size):
        flags, position, key_bytes, value_bytes = _LEAF.unpack_from(page, start)
        key = start + position
        leaf = Leaf(flags, key, key + key_bytes, key + key_bytes + value_bytes)
        _within(page, header, leaf.end)
        found.append(leaf)
    return found


def branches(page: bytes) -> list[Branch]:
    """The elements of a branch page, in the order of their keys."""
    header = _of_kind(page, Kind.BRANCH)
    found = []
    for start in _starts(page, header, _BRANCH.size):
        position, key_bytes, page_id = _BRANCH.unpack_from(page, start)
        key = start + position
        _within(page, header, key + key_bytes)
        found.append(Branch(page[key : key + key_bytes], page_id, start + 8))
    return found


def leaf_with_value(page: bytes, index: int, value: bytes, *, page_id: int, overflow: int) -> bytes:
    """The used bytes of a leaf page in which element `index` has this value, laid out as bbolt does it (elements, then
    keys and values without a gap); `page_id` and `overflow` are the new header's."""
    header, elements = read_header(page), leaves(page)
    table, data = bytearray(), bytearray()
    for number, leaf in enumerate(elements):
        start = HEADER_BYTES + number * _LEAF.size
        position = HEADER_BYTES + len(elements) * _LEAF.size + len(data) - start
        content = value if number == index else page[leaf.value : leaf.end]
        table += _LEAF.pack(leaf.flags, position, leaf.value - leaf.key, len(content))
        data += page[leaf.key : leaf.value] + content
    return _HEADER.pack(page_id, header.kind, header.elements, overflow) + bytes(table) + bytes(data)


def _of_kind(page: bytes, kind: Kind) -> Header:
    header = read_header(page)
    if header.kind is not kind:
        raise CodecError(f"page {header.id} is a {header.kind.name.lower()} page where a {kind.name.lower()} belongs")
    return header


def _starts(page: bytes, header: Header, element_bytes: int) -> range:
    end = HEADER_BYTES + header.elements * element_bytes
    _within(page, header, end)
    return range(HEADER_BYTES, end, element_bytes)


def _within(page: bytes, header: Header, end: int) -> None:
    if end > len(page):
        raise CodecError(f"page {header.id}: an element ends at byte {end} of a page of {len(page)}")
