"""A bbolt database in memory: its buckets, their entries, and what has to be written to give one entry another value.

The choice made: bbolt itself copies every page that it changes; here a page is changed where it is, so that everything
but the entry's element, its page's header and the meta pages stays byte for byte. Only a leaf that has outgrown its
pages goes to fresh ones at the high-water mark. Then no freelist is kept in the file any more (see injector.bbolt.meta)
and the pages left behind are free.

An inline bucket (one leaf in the bucket's own value) stays inline however large it gets: bbolt reads it so, and makes
pages of it when it writes it next. Buckets in buckets are not looked into; etcd has none.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from injector.bbolt.meta import NO_FREELIST, Bytes, Meta, read_metas
from injector.bbolt.pages import (
    BUCKET_FLAG,
    HEADER_BYTES,
    Header,
    Kind,
    branches,
    leaf_with_value,
    leaves,
    read_header,
)
from injector.errors import CodecError, FaultError

__all__ = ["Database", "Entry", "Write"]

_PAGE_ID = struct.Struct("<Q")
_BUCKET_BYTES = 16
"""A bucket's value: its root page's id and a sequence number, eight bytes each; an inline one has root 0 and then the
page."""
_MAX_DEPTH = 64
"""Of a tree: pages that lead in a circle are refused. Four levels hold more than etcd ever keeps."""


class Entry(NamedTuple):
    key: bytes
    value: bytes


class Write(NamedTuple):
    """`data` goes to `offset` of the file, which may be beyond its end."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """A leaf's element.

    pointer  offset in the file of the eight bytes that lead to the leaf page; None for the root bucket's root page,
             whose id is in the meta page
    """

    page_id: int
    page: bytes
    index: int
    pointer: int | None

    @property
    def value(self) -> bytes:
        leaf = leaves(self.page)[self.index]
        return self.page[leaf.value : leaf.end]


class Database:
    """`data` is the whole file. Raises CodecError where it is not one of bbolt's, or its tree is broken."""

    def __init__(self, data: Bytes) -> None:
        self._data = data
        self.metas = read_metas(data)

    @property
    def meta(self) -> Meta:
        """The one that counts."""
        return self.metas[0]

    def buckets(self) -> tuple[bytes, ...]:
        """The names of the buckets."""
        pages = self._walk(self.meta.root)
        return tuple(page[leaf.key : leaf.value] for page in pages for leaf in leaves(page) if leaf.flags & BUCKET_FLAG)

    def entries(self, bucket: bytes) -> Iterator[Entry]:
        """Every entry of a bucket, in order of key. FaultError if there is no such bucket."""
        for page in self._leaf_pages(bucket):
            for leaf in leaves(page):
                yield Entry(page[leaf.key : leaf.value], page[leaf.value : leaf.end])

    def get(self, bucket: bytes, key: bytes) -> bytes | None:
        """An entry's value; None if the bucket does not have it. FaultError if there is no such bucket."""
        place = self._bucket(bucket)
        if (inline := _inline(place.value)) is not None:
            index = _index(inline, key)
            return None if index is None else _value(inline, index)
        found = self._find(key, self._root_of(place), self._root_pointer(place))
        return found.value if found else None

    def replacing(self, bucket: bytes, key: bytes, value: bytes) -> tuple[tuple[Write, ...], ...]:
        """What has to be written so that an entry has this value: steps, each to be on disk before the next begins, so
        that the file is a valid database after each (within a step only as far as one write is atomic).

        FaultError if there is no such bucket or entry.
        """
        place = self._bucket(bucket)
        if (inline := _inline(place.value)) is not None:
            index = _index(inline, key)
            if index is None:
                raise FaultError(f"the bucket {bucket.decode(errors='replace')} has no entry {key.hex()}")
            header = read_header(inline)
            page = leaf_with_value(inline, index, value, page_id=header.id, overflow=header.overflow)
            return self._with_value(place, place.value[:_BUCKET_BYTES] + page)
        found = self._find(key, self._root_of(place), self._root_pointer(place))
        if found is None:
            raise FaultError(f"the bucket {bucket.decode(errors='replace')} has no entry {key.hex()}")
        return self._with_value(found, value)

    def _with_value(self, place: _Place, value: bytes) -> tuple[tuple[Write, ...], ...]:
        size, leaf = self.meta.page_size, leaves(place.page)[place.index]
        if len(value) == leaf.end - leaf.value:
            return ((Write(place.page_id * size + leaf.value, value),),)
        overflow = read_header(place.page).overflow
        page = leaf_with_value(place.page, place.index, value, page_id=place.page_id, overflow=overflow)
        if len(page) <= (1 + overflow) * size:
            return ((Write(place.page_id * size, page),),)
        return self._moved(place, value, pages=-(-len(page) // size))

    def _moved(self, place: _Place, value: bytes, *, pages: int) -> tuple[tuple[Write, ...], ...]:
        """The leaf on fresh pages. They come first, then the room for them, then what leads there: the file is a
        valid database at any time between. The older meta page, to which bbolt falls back, gets the room too, since
        its tree may share the page that leads to the leaf."""
        size, fresh = self.meta.page_size, max(meta.high_water for meta in self.metas)
        page = leaf_with_value(place.page, place.index, value, page_id=fresh, overflow=pages - 1)
        steps = [(Write(fresh * size, page.ljust(pages * size, b"\0")),)]
        for meta in reversed(self.metas):
            root = fresh if place.pointer is None and meta is self.meta else meta.root
            roomier = dataclasses.replace(meta, root=root, high_water=fresh + pages, freelist=NO_FREELIST)
            steps.append((Write(roomier.content, roomier.packed()),))
        if place.pointer is not None:
            steps.append((Write(place.pointer, _PAGE_ID.pack(fresh)),))
        return tuple(steps)

    # the tree

    def _page(self, page_id: int) -> tuple[Header, bytes]:
        """A page with its overflow. CodecError if it is not where it should be."""
        size = self.meta.page_size
        start = page_id * size
        if not 2 <= page_id < self.meta.high_water or start + size > len(self._data):
            raise CodecError(
                f"page {page_id} is beyond the database's {self.meta.high_water} pages or the file's "
                f"{len(self._data)} bytes"
            )
        header = read_header(self._data[start : start + HEADER_BYTES])
        if header.id != page_id:
            raise CodecError(f"page {page_id} says that it is page {header.id}")
        end = start + (1 + header.overflow) * size
        if end > len(self._data):
            raise CodecError(f"page {page_id} with its overflow ends beyond the file's {len(self._data)} bytes")
        return header, self._data[start:end]

    def _find(self, key: bytes, page_id: int, pointer: int | None) -> _Place | None:
        """The entry with this key below a root page."""
        for _ in range(_MAX_DEPTH):
            header, page = self._page(page_id)
            if header.kind is Kind.LEAF:
                index = _index(page, key)
                return None if index is None else _Place(page_id, page, index, pointer)
            below = [branch for branch in branches(page) if branch.key <= key]
            if not below:
                return None
            pointer = page_id * self.meta.page_size + below[-1].pointer
            page_id = below[-1].page_id
        raise CodecError(f"the tree is deeper than {_MAX_DEPTH} pages: its pages lead in a circle")

    def _walk(self, page_id: int, depth: int = 0) -> Iterator[bytes]:
        """The leaf pages below a page, in order of key."""
        if depth > _MAX_DEPTH:
            raise CodecError(f"the tree is deeper than {_MAX_DEPTH} pages: its pages lead in a circle")
        header, page = self._page(page_id)
        if header.kind is Kind.LEAF:
            yield page
            return
        for branch in branches(page):
            yield from self._walk(branch.page_id, depth + 1)

    def _bucket(self, name: bytes) -> _Place:
        place = self._find(name, self.meta.root, None)
        if place is None or not leaves(place.page)[place.index].flags & BUCKET_FLAG:
            there = ", ".join(each.decode(errors="replace") for each in self.buckets())
            raise FaultError(f"no bucket {name.decode(errors='replace')} in the database; there is {there or 'none'}")
        if len(place.value) < _BUCKET_BYTES:
            raise CodecError(f"the bucket {name!r} has a value of {len(place.value)} bytes")
        return place

    def _leaf_pages(self, bucket: bytes) -> Iterator[bytes]:
        place = self._bucket(bucket)
        if (inline := _inline(place.value)) is not None:
            yield inline
        else:
            yield from self._walk(self._root_of(place))

    def _root_of(self, bucket: _Place) -> int:
        root: int = _PAGE_ID.unpack_from(bucket.value)[0]
        return root

    def _root_pointer(self, bucket: _Place) -> int:
        return bucket.page_id * self.meta.page_size + leaves(bucket.page)[bucket.index].value


def _inline(bucket: bytes) -> bytes | None:
    """The page in an inline bucket's value; None if the bucket has pages of its own."""
    return bucket[_BUCKET_BYTES:] if _PAGE_ID.unpack_from(bucket)[0] == 0 else None


def _index(page: bytes, key: bytes) -> int | None:
    return next((i for i, leaf in enumerate(leaves(page)) if page[leaf.key : leaf.value] == key), None)


def _value(page: bytes, index: int) -> bytes:
    leaf = leaves(page)[index]
    return page[leaf.value : leaf.end]
