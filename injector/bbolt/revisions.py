"""What etcd keeps in its bucket `key`: one entry for every revision of every key since the last compaction.

    entry's key     | main revision 8, big-endian | `_` | sub 8, big-endian | `t` if the revision is a deletion |
    entry's value   mvccpb.KeyValue: key 1, create_revision 2, mod_revision 3, version 4, value 5, lease 6

`sub` numbers the changes of one transaction from 0. etcd v3.6.8, server/storage/mvcc/revision.go and
api/mvccpb/kv.proto.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from injector.codec import encode_varint
from injector.codec.encoding import RawField, encode_tag, read_varint, scan
from injector.errors import CodecError

__all__ = ["KeyValue", "Revision", "read_key", "read_key_value", "with_value"]

_REVISION = struct.Struct(">qcq")
_TOMBSTONE = b"t"
_KEY, _VALUE = 1, 5
_LENGTH_DELIMITED = 2


class Revision(NamedTuple):
    """The key of an entry."""

    main: int
    sub: int
    tombstone: bool

    @classmethod
    def read(cls, entry: bytes) -> Revision:
        """CodecError if it is none."""
        size = _REVISION.size
        if len(entry) not in (size, size + 1) or entry[8:9] != b"_" or entry[size:] not in (b"", _TOMBSTONE):
            raise CodecError(f"expected a revision (8 bytes, `_`, 8 bytes, perhaps `t`), got {entry.hex()}")
        main, _, sub = _REVISION.unpack_from(entry)
        return cls(main, sub, len(entry) > size)

    def packed(self) -> bytes:
        """The entry's key."""
        return _REVISION.pack(self.main, b"_", self.sub) + (_TOMBSTONE if self.tombstone else b"")


class KeyValue(NamedTuple):
    """mvccpb.KeyValue; of a tombstone only key and mod_revision are kept."""

    key: bytes
    create_revision: int
    mod_revision: int
    version: int
    value: bytes
    lease: int


def read_key(entry: bytes) -> bytes:
    """The etcd key alone, without a look at what follows it: a member holds many revisions of few keys."""
    for field in scan(entry, 0, len(entry)):
        if field.number == _KEY and field.wire_type == _LENGTH_DELIMITED:
            return entry[field.start : field.end]
    raise CodecError("a KeyValue without a key")


def read_key_value(entry: bytes) -> KeyValue:
    """The KeyValue in an entry's value. CodecError if it is none."""
    numbers, texts = dict.fromkeys(range(1, 7), 0), {_KEY: b"", _VALUE: b""}
    for field in scan(entry, 0, len(entry)):
        if field.number in texts and field.wire_type == _LENGTH_DELIMITED:
            texts[field.number] = entry[field.start : field.end]
        elif field.wire_type == 0:
            numbers[field.number] = read_varint(entry, field.start, field.end)[0]
    if not texts[_KEY]:
        raise CodecError("a KeyValue without a key")
    return KeyValue(texts[_KEY], numbers[2], numbers[3], numbers[4], texts[_VALUE], numbers[6])


def with_value(entry: bytes, value: bytes) -> bytes:
    """The same KeyValue with another value, every other byte as it was. An empty value is left out, as etcd does."""
    fields = list(scan(entry, 0, len(entry)))
    new = encode_tag(_VALUE, _LENGTH_DELIMITED) + encode_varint(len(value)) + value if value else b""
    old = [field for field in fields if field.number == _VALUE and field.wire_type == _LENGTH_DELIMITED]
    if old:
        return entry[: old[0].tag_start] + new + entry[old[-1].end :]
    at = _after_lower(fields)
    return entry[:at] + new + entry[at:]


def _after_lower(fields: list[RawField]) -> int:
    """Where the value's field belongs: after all fields with lower numbers, as etcd writes them."""
    return max((field.end for field in fields if field.number < _VALUE), default=0)
