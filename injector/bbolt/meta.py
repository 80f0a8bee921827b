"""bbolt's meta pages: the first two pages of a file. The valid one with the higher transaction id counts.

    | page header 16 | magic 4 | version 4 | page size 4 | flags 4 | root: page id 8, sequence 8 | freelist 8
                     | high-water mark 8 | transaction id 8 | checksum 8: FNV-64a of the 56 bytes before |

The high-water mark is the first page id that was never used. A freelist of NO_FREELIST is not kept in the file; bbolt
then finds the free pages by walking the tree (etcd on Linux always does so: backend/config_linux.go). bbolt v1.4.3,
internal/common/meta.go.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import mmap

from injector.bbolt.pages import HEADER_BYTES, Kind, read_header
from injector.errors import CodecError

__all__ = ["NO_FREELIST", "Bytes", "Meta", "read_metas"]

Bytes = bytes | mmap
"""A whole file: slices of either are bytes."""

MAGIC, VERSION = 0xED0CDAED, 2
NO_FREELIST = 0xFFFFFFFFFFFFFFFF

_FIELDS, _CHECKSUM = struct.Struct("<IIIIQQQQQ"), struct.Struct("<Q")
_END = HEADER_BYTES + _FIELDS.size + _CHECKSUM.size
_PAGE_SIZES = tuple(1024 << i for i in range(15))
"""Where bbolt looks for the second meta page when the first one is broken (db.go, getPageSizeFromSecondMeta)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """One meta page. `offset` is where it begins in the file."""

    offset: int
    page_size: int
    flags: int
    root: int
    sequence: int
    freelist: int
    high_water: int
    txid: int

    def packed(self) -> bytes:
        """The bytes from after the page's header on, with their checksum."""
        fields = _FIELDS.pack(
            MAGIC, VERSION, self.page_size, self.flags,
            self.root, self.sequence, self.freelist, self.high_water, self.txid,
        )  # fmt: skip
        return fields + _CHECKSUM.pack(_fnv64a(fields))

    @property
    def content(self) -> int:
        """Where in the file `packed` belongs."""
        return self.offset + HEADER_BYTES


def read_metas(data: Bytes) -> tuple[Meta, ...]:
    """The valid meta pages, the one that counts first. CodecError in words if there is none."""
    first = _read(data, 0)
    sizes = (first.page_size,) if isinstance(first, Meta) else _PAGE_SIZES
    found = [first]
    for size in sizes:
        second = _read(data, size)
        if not isinstance(second, Meta) or second.page_size == size:
            found.append(second)
    metas = [meta for meta in found if isinstance(meta, Meta)]
    if not metas:
        whys = [why for why in found if isinstance(why, str)]
        raise CodecError(f"not a bbolt database: {whys[0]}")
    return tuple(sorted(metas, key=lambda meta: -meta.txid))


def _read(data: Bytes, offset: int) -> Meta | str:
    """The meta page at `offset`, or why it is none."""
    if len(data) < offset + _END:
        return f"it has {len(data)} bytes"
    magic, version, page_size, flags, root, sequence, freelist, high_water, txid = _FIELDS.unpack_from(
        data, offset + HEADER_BYTES
    )
    if magic != MAGIC:
        return f"the magic number is {magic:#x}, expected {MAGIC:#x}"
    if version != VERSION:
        return f"its format has version {version}, this program knows {VERSION}"
    fields = data[offset + HEADER_BYTES : offset + HEADER_BYTES + _FIELDS.size]
    if _CHECKSUM.unpack_from(data, offset + HEADER_BYTES + _FIELDS.size)[0] != _fnv64a(fields):
        return "the checksum of its meta page is wrong"
    if read_header(data[offset : offset + HEADER_BYTES]).kind is not Kind.META:
        return "its first page is no meta page"
    return Meta(
        offset=offset, page_size=page_size, flags=flags, root=root, sequence=sequence, freelist=freelist,
        high_water=high_water, txid=txid,
    )  # fmt: skip


def _fnv64a(data: bytes) -> int:
    """Fowler, Noll and Vo's hash, 64 bits, variant 1a; Go's hash/fnv."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value
