"""Making a run's record, and opening one: what is wrong with it is said in words, with what to do.

A record of an older version is migrated where it is opened for writing, in one transaction. A reader changes nothing:
it reads a migrated copy in memory (records of version 1 are of short campaigns: some megabytes).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from campaigns.run_folder import RunnerLock, new_folder, write_new
from campaigns.store import tables as t
from campaigns.store.database import RESCUE, memory_engine, open_engine, transaction
from campaigns.store.migrations import migrate
from campaigns.store.rows import dump, plan_file_row, planned_rows
from campaigns.store.run import Run
from campaigns.store.traces import Traces
from injector.errors import StoreError
from injector.rules import JSONValue

if TYPE_CHECKING:
    from campaigns.planning.plan import Plan

__all__ = ["create_run", "open_run"]

_PARTS = ("spec.yaml", "plan.json", "record.sqlite")


def create_run(folder: Path, spec_text: str, plan: Plan, metadata: Mapping[str, JSONValue]) -> Run:
    """A new run, opened for writing. InputError if `folder` is there and not empty; StoreError if it is unwritable."""
    new_folder(folder)
    lock = _locked(folder)
    try:
        from campaigns.planning.plan import plan_to_json

        text = plan_to_json(plan)
        write_new(folder / "spec.yaml", spec_text)
        write_new(folder / "plan.json", text)
        database = folder / "record.sqlite"
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # what SQLite makes is anybody's
        engine = open_engine(database, "rw")
        with transaction(engine, folder) as connection:
            t.schema.create_all(connection)
            connection.execute(t.schema_version.insert().values(version=t.VERSION, made_by=t.MADE_BY))
            connection.execute(t.plan_file.insert().values(plan_file_row(plan, text.encode())))
            _insert(connection, t.planned, planned_rows(plan))
            _insert(connection, t.metadata, [{"name": n, "value": dump(v)} for n, v in metadata.items()])
    except StoreError:
        lock.release()
        raise
    except OSError as error:
        lock.release()
        raise StoreError(f"{folder} can't be written: {error}") from error
    return Run(folder, plan, engine, lock)


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, object]]) -> None:
    if rows:  # with no rows SQLAlchemy would insert one of defaults
        connection.execute(table.insert(), rows)


def open_run(folder: Path, *, writable: bool = False) -> Run:
    """A run as it stands, for reading, or for adding to it.

    StoreError, in words: no run there, half-written (its maker was killed before it was whole), foreign (a database of
    something else), newer than this program, corrupted; with `writable`, also where another process is adding.
    """
    parts = {name: folder / name for name in _PARTS}
    missing = [name for name, path in parts.items() if not path.is_file()]
    if "record.sqlite" in missing:
        raise StoreError(f"{folder} is no run: it has no {', '.join(missing)}")
    if missing:
        raise StoreError(f"{folder} is no whole run: it has no {', '.join(missing)}; run the campaign again")
    lock = _locked(folder) if writable else None
    try:
        engine = _opened(folder, writable)
        try:
            _check_plan(engine, parts["plan.json"])
            if writable:
                Traces(folder).remove_partial()
        except BaseException:
            engine.dispose()
            raise
    except (StoreError, OSError, UnicodeDecodeError) as error:
        if lock is not None:
            lock.release()
        raise StoreError(f"{folder}: {error}") from error
    return Run(folder, None, engine, lock)


def _locked(folder: Path) -> RunnerLock:
    try:
        return RunnerLock.acquire(folder)
    except OSError as error:
        raise StoreError(
            f"{folder} can't be written: {error.strerror}; make it writable to add to the run "
            "(`mutineer show` and `mutineer report --output FILE` only read it)"
        ) from error


def _opened(folder: Path, writable: bool) -> sa.Engine:
    """An engine for a record of this version: the file's own, or that of a copy."""
    path = folder / "record.sqlite"
    engine = open_engine(path, "rw" if writable else "ro")
    try:
        version = _version(engine)
        if writable:
            _check_whole(engine)
        if version == t.VERSION:
            return engine
        if not writable:
            copy = memory_engine(engine)
            engine.dispose()
            engine = copy
        with transaction(engine, folder) as connection:
            migrate(connection, version, folder / "plan.json")
        return engine
    except BaseException:
        engine.dispose()
        raise


def _version(engine: sa.Engine) -> int:
    """The version of our record in the database. StoreError if there is none that this program reads."""
    try:
        with engine.begin() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            row = connection.execute(sa.select(t.schema_version)).first() if "schema_version" in tables else None
    except DatabaseError as error:
        raise StoreError(f"record.sqlite is corrupted, or no database at all: {error.orig}; {RESCUE}") from error
    if not tables:
        raise StoreError("record.sqlite is half-written: it has no tables; delete the run and run again")
    if row is None or row.made_by != t.MADE_BY:
        raise StoreError(
            f"record.sqlite is foreign: it holds {', '.join(sorted(tables)[:5])} and no record of ours; "
            "was another program's file copied here?"
        )
    if row.version > t.VERSION:
        raise StoreError(
            f"record.sqlite is newer than this program: version {row.version}, this program reads {t.VERSION}; "
            "update mutineer"
        )
    lacking = t.TABLES.get(row.version, set(t.schema.tables)) - tables
    if lacking:
        raise StoreError(f"record.sqlite is corrupted: it lacks {', '.join(sorted(lacking))}; {RESCUE}")
    return int(row.version)


def _check_plan(engine: sa.Engine, path: Path) -> None:
    """By its size, which is quick; its content is compared where it is read (Run.plan)."""
    with transaction(engine, path.parent) as connection:
        known = connection.execute(sa.select(t.plan_file)).one()
    if (size := path.stat().st_size) != known.bytes:
        from campaigns.planning.plan import plan_from_json

        plan_from_json(path.read_text(encoding="utf-8"))  # says what is wrong with it, where it is no plan
        raise StoreError(f"plan.json is not the plan that this run began with: {size} bytes, it had {known.bytes}")


def _check_whole(engine: sa.Engine) -> None:
    """SQLite's own check, before anything is added: what follows a broken page would be lost with it."""
    try:
        with engine.begin() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    except DatabaseError as error:
        found = str(error.orig)
    if found != "ok":
        raise StoreError(f"record.sqlite is corrupted: {str(found).splitlines()[-1]}; {RESCUE}")
