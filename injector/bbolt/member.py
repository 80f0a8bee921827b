"""A member's database file (DATA-DIR/member/snap/db) of an etcd that is stopped: what is stored, and another value for
one revision of one key.

The file is locked as bbolt locks it (flock, exclusive) for as long as it is open here: a running etcd holds that lock,
and one that is started meanwhile waits for it. Every step of an edit is synced before the next; a step that overwrites
a page in place is one write, which a crash of the machine may cut (one of this process only between pages of 4 KiB).

What etcd has acknowledged but not yet put into this file (up to 100 ms: --backend-batch-interval) is in its write-ahead
log alone and comes after the edit when it starts. An etcd that was stopped in good order has put all of it here; one
that was killed may not, and a value that is written again from the log has a revision of its own: the edit stays, but
is history. `Live.mod_revision` tells which revision was changed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from injector.bbolt.database import Database
from injector.bbolt.revisions import KeyValue, Revision, read_key, read_key_value, with_value
from injector.errors import CodecError, FaultError, HarnessError
from injector.rules import JSONValue

__all__ = ["Live", "Member", "opened"]

_KEY, _META = b"key", b"meta"
_NUMBERS = (b"consistent_index", b"term")
_REVISIONS = (b"scheduledCompactRev", b"finishedCompactRev")
_MAJOR = "3."
"""Storage versions with the buckets and messages above; before 3.6 none is written (schema/schema.go)."""


@dataclass(frozen=True, slots=True)
class Live:
    """The latest revision of a key that is not deleted: where it is, and what."""

    revision: Revision
    kv: KeyValue

    @property
    def mod_revision(self) -> int:
        return self.kv.mod_revision


class Member:
    """A member's database, open and locked; made by `opened`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        with self._mapped() as database:
            self._check(database)

    def live(self) -> Mapping[bytes, Live]:
        """Every key that is stored now, with its latest revision."""
        latest: dict[bytes, tuple[bytes, bytes]] = {}
        with self._mapped() as database:
            for entry in database.entries(_KEY):
                latest[read_key(entry.value)] = entry
        found = {key: (Revision.read(revision), value) for key, (revision, value) in latest.items()}
        return {
            key: Live(revision, read_key_value(value))
            for key, (revision, value) in found.items()
            if not revision.tombstone
        }

    def at(self, key: bytes, mod_revision: int) -> Live | None:
        """The key as revision `mod_revision` wrote it; None if that is compacted, or wrote another key."""
        with self._mapped() as database:
            for entry in database.entries(_KEY):
                revision = Revision.read(entry.key)
                if revision.main == mod_revision and read_key(entry.value) == key and not revision.tombstone:
                    return Live(revision, read_key_value(entry.value))
        return None

    def replace(self, revision: Revision, value: bytes) -> None:
        """Gives one revision's KeyValue another value: on disk when this returns. FaultError if there is no such
        revision, HarnessError if the file can't be written; what was done then is said by `at`."""
        with self._mapped() as database:
            entry = database.get(_KEY, revision.packed())
            if entry is None:
                raise FaultError(f"{self.path} has no revision {revision.main}.{revision.sub}")
            steps = database.replacing(_KEY, revision.packed(), with_value(entry, value))
        try:
            for step in steps:
                for write in step:
                    _write(self._descriptor, write.data, write.offset)
                os.fsync(self._descriptor)
        except OSError as error:
            raise HarnessError(f"{self.path} can't be written: {error}; the edit stopped halfway") from error
        with self._mapped() as database:
            after = database.get(_KEY, revision.packed())
        if after is None or read_key_value(after).value != value:
            raise HarnessError(f"{self.path}: revision {revision.main} does not hold what was written to it")

    def facts(self) -> Mapping[str, JSONValue]:
        """What the bucket `meta` says: numbers (the raft index up to which the file is complete, among others),
        revisions as MAIN.SUB, and the rest as JSON or text."""
        with self._mapped() as database:
            return {entry.key.decode(errors="backslashreplace"): _fact(*entry) for entry in database.entries(_META)}

    def _check(self, database: Database) -> None:
        if missing := {_KEY, _META} - set(database.buckets()):
            names = ", ".join(sorted(name.decode() for name in missing))
            raise CodecError(f"a bbolt database, but not an etcd member's: it has no bucket {names}")
        version = (database.get(_META, b"storageVersion") or b"3.").decode(errors="backslashreplace")
        if not version.startswith(_MAJOR):
            raise CodecError(f"etcd's storage version is {version}, this program knows {_MAJOR}x")

    @contextmanager
    def _mapped(self) -> Iterator[Database]:
        """The file as it is now. CodecError names it."""
        try:
            with mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) as data:
                yield Database(data)
        except CodecError as error:
            raise CodecError(f"{self.path}: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[Member]:
    """The member's database file, locked until the end of the block.

    Raises HarnessError if the file is not there or another process (a running etcd) has it locked, CodecError if it is
    not an etcd member's database.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HarnessError(f"{path} can't be opened: {error.strerror}") from error
    with contextlib.closing(os.fdopen(descriptor, "r+b", buffering=0)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise HarnessError(f"{path} can't be locked: {error.strerror}") from error
            raise HarnessError(
                f"{path} is locked by another process: a member's file can only be changed while its etcd is stopped"
            ) from None
        if os.fstat(descriptor).st_size == 0:
            raise CodecError(f"{path}: not a bbolt database: it is empty")
        yield Member(path, descriptor)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[done:], offset + done


def _fact(key: bytes, value: bytes) -> JSONValue:
    if key in _NUMBERS:
        return int.from_bytes(value, "big")
    if key in _REVISIONS:
        revision = Revision.read(value)
        return f"{revision.main}.{revision.sub}"
    text = value.decode(errors="backslashreplace")
    with contextlib.suppress(ValueError):
        parsed: JSONValue = json.loads(text)
        return parsed
    return text
