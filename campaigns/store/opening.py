"""Making a run's record, and opening one: what is wrong with it is said in words, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from campaigns.plan import Plan, plan_from_json, plan_to_json
from campaigns.run_folder import RunnerLock, new_folder, write_new
from campaigns.store import tables as t
from campaigns.store.database import open_engine
from campaigns.store.rows import dump
from campaigns.store.run import Run
from campaigns.store.traces import Traces
from injector.errors import StoreError
from injector.rules import JSONValue

__all__ = ["create_run", "open_run"]

_PARTS = ("spec.yaml", "plan.json", "record.sqlite")


def create_run(folder: Path, spec_text: str, plan: Plan, metadata: Mapping[str, JSONValue]) -> Run:
    """A new run, opened for writing. InputError if `folder` is there and not empty; StoreError if it is unwritable."""
    new_folder(folder)
    lock = RunnerLock.acquire(folder)
    try:
        write_new(folder / "spec.yaml", spec_text)
        write_new(folder / "plan.json", plan_to_json(plan))
        engine = open_engine(folder / "record.sqlite", "rwc")
        with engine.begin() as connection:
            t.schema.create_all(connection)
            connection.execute(t.schema_version.insert().values(version=t.VERSION, made_by=t.MADE_BY))
            for name, value in metadata.items():
                connection.execute(t.metadata.insert().values(name=name, value=dump(value)))
            add_planned(connection, plan)
    except (OSError, DatabaseError) as error:
        lock.release()
        raise StoreError(f"{folder} can't be written: {error}") from error
    return Run(folder, plan, engine, lock)


def add_planned(connection: sa.Connection, plan: Plan) -> None:
    """The plan's lines as rows."""
    rows = [
        {"seq": place, "id": e.id, "workload": e.workload, "golden": e.golden, "stratum": e.stratum}
        for place, e in enumerate(plan.experiments, start=1)
    ]
    if rows:
        connection.execute(t.planned.insert(), rows)


def open_run(folder: Path, *, writable: bool = False) -> Run:
    """A run as it stands, for reading, or for adding to it.

    StoreError, in words: no run there, half-written (its maker was killed before it was whole), foreign (a database of
    something else), newer than this program, corrupted; with `writable`, also where another process is adding.
    """
    parts = {name: folder / name for name in _PARTS}
    missing = [name for name, path in parts.items() if not path.is_file()]
    if len(missing) == len(parts):
        raise StoreError(f"{folder} is no run: it has no {', '.join(missing)}")
    if missing:
        raise StoreError(f"{folder} is half-written: it has no {', '.join(missing)}; delete it and run again")
    lock = RunnerLock.acquire(folder) if writable else None
    try:
        plan = plan_from_json(parts["plan.json"].read_text(encoding="utf-8"))
        engine = open_engine(parts["record.sqlite"], "rw" if writable else "ro")
        _check_version(engine, parts["record.sqlite"])
        if writable:
            Traces(folder).remove_partial()
    except (StoreError, OSError, UnicodeDecodeError) as error:
        if lock is not None:
            lock.release()
        raise StoreError(f"{folder}: {error}") from error
    return Run(folder, plan, engine, lock)


def _check_version(engine: sa.Engine, path: Path) -> None:
    try:
        with engine.begin() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            row = connection.execute(sa.select(t.schema_version)).first() if "schema_version" in tables else None
    except DatabaseError as error:
        engine.dispose()
        raise StoreError(f"{path.name} is corrupted, or no database at all: {error.orig}") from error
    problem = None
    if not tables:
        problem = "is half-written: it has no tables; delete the run and run again"
    elif row is None or row.made_by != t.MADE_BY:
        problem = f"is foreign: it holds {', '.join(sorted(tables)[:5])} and no record of ours"
    elif row.version > t.VERSION:
        problem = f"is newer than this program: version {row.version}, this program reads {t.VERSION}; update mutineer"
    elif tables < set(t.schema.tables):
        problem = f"is corrupted: it lacks {', '.join(sorted(set(t.schema.tables) - tables))}"
    if problem:
        engine.dispose()
        raise StoreError(f"{path.name} {problem}")
