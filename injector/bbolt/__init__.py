"""bbolt's file format, as far as an etcd member's database needs it: read it, and change one value of it in place.

    pages       a page: header, elements, the same page with another value in it (pure)
    meta        the two pages at the file's start: where the tree begins, checksum (pure)
    database    the tree: buckets, entries, and the writes that give one entry another value (pure)
    revisions   what etcd keeps in the bucket `key`: revisions and mvccpb.KeyValue (pure)
    member      the file: its lock, reading, writing

Facts are from go.etcd.io/bbolt v1.4.3 (internal/common, tx_check.go) and go.etcd.io/etcd/server/v3 v3.6.8
(storage/mvcc, storage/schema). bbolt writes numbers in the machine's own byte order: only little-endian is read here;
a file from a big-endian machine is refused by its magic number.
"""

from __future__ import annotations

from injector.bbolt.database import Database, Entry, Write
from injector.bbolt.member import Live, Member, opened
from injector.bbolt.meta import Meta
from injector.bbolt.revisions import KeyValue, Revision, read_key_value, with_value

__all__ = [
    "Database",
    "Entry",
    "KeyValue",
    "Live",
    "Member",
    "Meta",
    "Revision",
    "Write",
    "opened",
    "read_key_value",
    "with_value",
]
