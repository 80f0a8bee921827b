"""SQLite's engine as the store uses it: its pragmas, its transactions, and its errors in words that say what to do."""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError

from injector.errors import StoreError

__all__ = ["RESCUE", "file_error", "memory_engine", "open_engine", "transaction"]

_BUSY_S = 10.0
"""Seconds to wait for another connection's lock. Readers never block the one writer in WAL mode; a checkpoint may, for
milliseconds. Far above that, far below a person's patience."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def open_engine(path: Path, mode: str) -> sa.Engine:
    """An engine for `path`: mode `ro`, `rw` or `rwc` (made if need be). Transactions begin where SQLAlchemy says: the
    driver's own rules would leave the creation of tables outside of any (docs.sqlalchemy.org, "Enabling Non-Legacy
    SQLite Transactional Modes")."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        uri += "&immutable=1"  # SQLite reads WAL only where it can make its index, or is told that none is needed

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        if mode != "ro":
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        return connection

    return _engine(connect)


def memory_engine(source: sa.Engine) -> sa.Engine:
    """An engine for a copy in memory of what `source` reads, which may be written to; gone with `dispose`."""
    name = f"file:/mutineer-{os.getpid()}-{next(_COPIES)}?vfs=memdb"
    keeper = sqlite3.connect(name, uri=True, check_same_thread=False)  # while one is open the copy lives
    raw = source.raw_connection()  # VACUUM can't run inside a transaction
    try:
        raw.cursor().execute(f"VACUUM INTO '{name}'")
    finally:
        raw.close()

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False)

    engine = _engine(connect)
    sa.event.listen(engine, "engine_disposed", lambda _: keeper.close())
    return engine


_COPIES = itertools.count()


def _engine(connect: Callable[[], sqlite3.Connection]) -> sa.Engine:
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


@contextmanager
def transaction(engine: sa.Engine, folder: Path, *, clash: str = "") -> Iterator[sa.Connection]:
    """One transaction: all of it or nothing. Its errors are StoreErrors about the run in `folder`; `clash` tells what
    it means when a row is there already."""
    try:
        with engine.begin() as connection:
            yield connection
    except IntegrityError as error:
        raise StoreError(f"{folder}: {clash or error.orig}") from error
    except DatabaseError as error:
        raise StoreError(_in_words(folder, error.orig)) from error


def _in_words(folder: Path, error: BaseException | None) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return _full(folder)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return _read_only(folder, str(error))
    if name.startswith("SQLITE_IOERR"):
        return f"{folder / 'record.sqlite'}: {error}: the disk is full or failing. {_KEPT} {_go_on(folder)}"
    if name.startswith("SQLITE_BUSY"):
        return f"{folder / 'record.sqlite'}: {error}: another program has held it for {_BUSY_S:g} s. {_KEPT}"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"{folder / 'record.sqlite'} is corrupted: {error}; {RESCUE}"
    return f"{folder / 'record.sqlite'}: {error}"


def file_error(folder: Path, error: OSError) -> StoreError:
    """What a file's error means for the run in `folder`."""
    if error.errno in _FULL:
        return StoreError(_full(folder))
    if error.errno in _READ_ONLY:
        return StoreError(_read_only(folder, error.strerror or str(error)))
    return StoreError(f"{folder}: {error}. {_KEPT} {_go_on(folder)}")


RESCUE = (
    "copy the folder, then `sqlite3 record.sqlite .recover | sqlite3 recovered.sqlite` saves what can be read; "
    "or run again into a new folder"
)

_KEPT = "Nothing of this experiment was recorded; all that was recorded before is kept."


def _full(folder: Path) -> str:
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize / 1e6
    return f"{folder}: the disk is full ({free:.1f} MB free). {_KEPT} Make space, then {_go_on(folder)}"


def _read_only(folder: Path, words: str) -> str:
    return f"{folder} can't be written any more: {words}. {_KEPT} Make it writable, then {_go_on(folder)}"


def _go_on(folder: Path) -> str:
    return f"go on with `mutineer resume {folder.name}`"
