"""The record of a run: a folder with the spec, the plan and a database to which experiments are only ever added.

    runs/NAME/spec.yaml       the user's text, as it was
              plan.json       campaigns.plan
              record.sqlite   below
              runner.lock     held (flock) by the one process that may add; released by the kernel when that one dies

Tables of record.sqlite, version 1 (the first):
    schema_version  version, made_by                  one row; written with the tables in one transaction
    metadata        name, value (JSON)                versions, host, seed, … as the caller gives them
    experiments     seq, id, workload, golden, state, orchestrator, client, activation, seconds, document (JSON: the
                    ExperimentRecord without its observation), observation (content hash, null for an error)
    judgements      seq, experiment (id), state, orchestrator, client, activation, document (JSON: verdict, incidents,
                    error): a later one stands for the earlier and for the experiment's own
    observations    hash (SHA-256 of the JSON text), body (that text, zlib)

One transaction an experiment, synchronous=FULL: a crash at any moment loses the experiment in flight and nothing else.
SQLite is in WAL mode, so that readers see all finished experiments while the runner adds. Nothing here that PostgreSQL
could not do but the pragmas. Verdicts can be judged again from the observations alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError

from campaigns.plan import Plan, plan_from_json, plan_to_json
from campaigns.record import ExperimentRecord
from campaigns.run_folder import RunnerLock, new_folder, write_new
from classifiers.observation import Observation
from classifiers.record import from_json, observation_from_json, observation_to_json, to_json
from injector.errors import StoreError
from injector.rules import JSONValue

__all__ = ["VERSION", "Run", "create_run", "open_run"]

VERSION = 1

_MADE_BY = "mutineer"

_tables = sa.MetaData()
_version = sa.Table("schema_version", _tables, sa.Column("version", sa.Integer), sa.Column("made_by", sa.Text))
_metadata = sa.Table(
    "metadata", _tables, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
_observations = sa.Table(
    "observations",
    _tables,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_experiments = sa.Table(
    "experiments",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("golden", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("orchestrator", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("activation", sa.Text),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("observation", sa.Text, sa.ForeignKey("observations.hash")),
)


_judgements = sa.Table(
    "judgements",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("orchestrator", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("activation", sa.Text),
    sa.Column("document", sa.Text, nullable=False),
)


class Run:
    """An open run. `add` only where it was opened for writing; close it, or use it in a `with`."""

    def __init__(self, folder: Path, plan: Plan, engine: sa.Engine, lock: RunnerLock | None) -> None:
        self.folder, self.plan = folder, plan
        self._engine, self._lock = engine, lock

    def add(self, record: ExperimentRecord) -> None:
        """Adds one finished experiment, in one transaction. StoreError if the run was opened for reading, the id is not
        in the plan or was added before, or the disk refuses."""
        if self._lock is None:
            raise StoreError(f"{self.folder} was opened for reading")
        if record.planned.id not in {e.id for e in self.plan.experiments}:
            raise StoreError(f"experiment {record.planned.id} is not in the plan of {self.folder}")
        body, digest = None, None
        if record.observation is not None:
            text = _dump(observation_to_json(record.observation)).encode()
            body, digest = zlib.compress(text, 6), hashlib.sha256(text).hexdigest()
        with self._using(add=record.planned.id) as connection:
            if body is not None and not connection.scalar(
                sa.select(sa.func.count()).select_from(_observations).where(_observations.c.hash == digest)
            ):
                connection.execute(_observations.insert().values(hash=digest, body=body))
            connection.execute(_experiments.insert().values(**_columns(record), observation=digest))

    def records(self, *, observations: bool = True) -> Iterator[ExperimentRecord]:
        """Finished experiments in the order they were added; without their observations (None) if not asked for."""
        yield from self._select(sa.select(_experiments).order_by(_experiments.c.seq), observations)

    def record(self, identifier: str) -> ExperimentRecord | None:
        """One experiment with its observation; None if it is not finished."""
        query = sa.select(_experiments).where(_experiments.c.id == identifier)
        return next(self._select(query, True), None)

    def judge_again(self, judged: Callable[[ExperimentRecord], ExperimentRecord]) -> None:
        """Asks `judged` for each finished experiment with its observation, and keeps what it says anew: nothing is
        overwritten. All of it in one transaction. StoreError as for `add`."""
        if self._lock is None:
            raise StoreError(f"{self.folder} was opened for reading")
        rows = [_judgement(judged(record)) for record in list(self.records())]
        if rows:
            with self._using() as connection:
                connection.execute(_judgements.insert(), rows)

    def note(self, name: str, value: JSONValue) -> None:
        """Adds a metadata entry, such as when the run ended. A name is noted once."""
        if self._lock is None:
            raise StoreError(f"{self.folder} was opened for reading")
        with self._using() as connection:
            connection.execute(_metadata.insert().values(name=name, value=_dump(value)))

    def finished_ids(self) -> frozenset[str]:
        with self._using() as connection:
            return frozenset(connection.scalars(sa.select(_experiments.c.id)))

    @property
    def metadata(self) -> Mapping[str, JSONValue]:
        """What create_run was given."""
        with self._using() as connection:
            rows = connection.execute(sa.select(_metadata).order_by(_metadata.c.name)).all()
        return {row.name: _load(row.value, f"metadata {row.name}") for row in rows}

    @property
    def spec_text(self) -> str:
        return (self.folder / "spec.yaml").read_text(encoding="utf-8")

    def close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _select(self, query: sa.Select[tuple[object, ...]], observations: bool) -> Iterator[ExperimentRecord]:
        with self._using() as connection:
            for row in connection.execute(query):
                where = f"experiment {row.id}"
                document = _load(row.document, where)
                record = _judged(connection, from_json(ExperimentRecord, document, where=where), where)
                if observations and row.observation is not None:
                    record = replace(record, observation=_observation(connection, row.observation, where))
                yield record

    @contextmanager
    def _using(self, *, add: str | None = None) -> Iterator[sa.Connection]:
        """A transaction; the database's errors in our words."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise StoreError(f"{self.folder}: experiment {add} is recorded already") from error
        except DatabaseError as error:
            raise StoreError(f"{self.folder / 'record.sqlite'}: {error.orig}") from error


def create_run(folder: Path, spec_text: str, plan: Plan, metadata: Mapping[str, JSONValue]) -> Run:
    """A new run, opened for writing. InputError if `folder` is there and not empty; StoreError if it is unwritable."""
    new_folder(folder)
    lock = RunnerLock.acquire(folder)
    try:
        write_new(folder / "spec.yaml", spec_text)
        write_new(folder / "plan.json", plan_to_json(plan))
        engine = _engine(folder / "record.sqlite", "rwc")
        with engine.begin() as connection:
            _tables.create_all(connection)
            connection.execute(_version.insert().values(version=VERSION, made_by=_MADE_BY))
            for name, value in metadata.items():
                connection.execute(_metadata.insert().values(name=name, value=_dump(value)))
    except (OSError, DatabaseError) as error:
        lock.release()
        raise StoreError(f"{folder} can't be written: {error}") from error
    return Run(folder, plan, engine, lock)


def open_run(folder: Path, *, writable: bool = False) -> Run:
    """A run as it stands, for reading, or for adding to it.

    StoreError, in words: no run there, half-written (its maker was killed before it was whole), foreign (a database of
    something else), newer than this program, corrupted; with `writable`, also where another process is adding.
    """
    parts = {name: folder / name for name in ("spec.yaml", "plan.json", "record.sqlite")}
    missing = [name for name, path in parts.items() if not path.is_file()]
    if len(missing) == len(parts):
        raise StoreError(f"{folder} is no run: it has no {', '.join(missing)}")
    if missing:
        raise StoreError(f"{folder} is half-written: it has no {', '.join(missing)}; delete it and run again")
    lock = RunnerLock.acquire(folder) if writable else None
    try:
        plan = plan_from_json(parts["plan.json"].read_text(encoding="utf-8"))
        engine = _engine(parts["record.sqlite"], "rw" if writable else "ro")
        _check_version(engine, parts["record.sqlite"])
    except (StoreError, OSError, UnicodeDecodeError) as error:
        if lock is not None:
            lock.release()
        raise StoreError(f"{folder}: {error}") from error
    return Run(folder, plan, engine, lock)


def _check_version(engine: sa.Engine, path: Path) -> None:
    try:
        with engine.begin() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            row = connection.execute(sa.select(_version)).first() if _version.name in tables else None
    except DatabaseError as error:
        engine.dispose()
        raise StoreError(f"{path.name} is corrupted, or no database at all: {error.orig}") from error
    problem = None
    if not tables:
        problem = "is half-written: it has no tables; delete the run and run again"
    elif row is None or row.made_by != _MADE_BY:
        problem = f"is foreign: it holds {', '.join(sorted(tables)[:5])} and no record of ours"
    elif row.version > VERSION:
        problem = f"is newer than this program: version {row.version}, this program reads {VERSION}; update mutineer"
    elif tables < set(_tables.tables):
        problem = f"is corrupted: it lacks {', '.join(sorted(set(_tables.tables) - tables))}"
    if problem:
        engine.dispose()
        raise StoreError(f"{path.name} {problem}")


def _engine(path: Path, mode: str) -> sa.Engine:
    """SQLite with transactions that begin where SQLAlchemy says so (the driver's own rules would leave the tables'
    creation outside of any: docs.sqlalchemy.org, "Enabling Non-Legacy SQLite Transactional Modes")."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        uri += "&immutable=1"  # SQLite reads WAL only where it can make its index, or is told that none is needed

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
        if mode != "ro":
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


_BUSY_S = 10.0
"""Seconds to wait for another connection's lock. Readers never block the one writer in WAL mode; a checkpoint may, for
milliseconds. Far above that, far below a person's patience."""


def _columns(record: ExperimentRecord) -> dict[str, object]:
    verdict, planned = record.verdict, record.planned
    return {
        "id": planned.id,
        "workload": planned.workload,
        "golden": planned.golden,
        "state": verdict.state.value,
        "orchestrator": verdict.orchestrator.value if verdict.orchestrator else None,
        "client": verdict.client.value if verdict.client else None,
        "activation": verdict.activation.value if verdict.activation else None,
        "seconds": record.seconds,
        "document": _dump(to_json(replace(record, observation=None))),
    }


_JUDGED = ("verdict", "incidents", "error")
"""Fields of an ExperimentRecord that judging sets."""


def _judgement(record: ExperimentRecord) -> dict[str, object]:
    columns = {name: value for name, value in _columns(record).items() if name in _judgements.c}
    document = to_json(replace(record, observation=None))
    assert isinstance(document, dict)
    kept = {name: document[name] for name in _JUDGED}
    return {**columns, "experiment": record.planned.id, "document": _dump(kept)}


def _judged(connection: sa.Connection, record: ExperimentRecord, where: str) -> ExperimentRecord:
    """The record with its latest judgement in place of its first."""
    latest = (
        sa.select(_judgements.c.document)
        .where(_judgements.c.experiment == record.planned.id)
        .order_by(_judgements.c.seq.desc())
        .limit(1)
    )
    if (text := connection.scalar(latest)) is None:
        return record
    document, kept = to_json(record), _load(text, f"{where}, its judgement")
    if not isinstance(document, dict) or not isinstance(kept, dict):
        raise StoreError(f"{where}: its judgement is corrupted")
    return from_json(ExperimentRecord, {**document, **kept}, where=where)


def _observation(connection: sa.Connection, digest: str, where: str) -> Observation:
    body = connection.scalar(sa.select(_observations.c.body).where(_observations.c.hash == digest))
    try:
        text = zlib.decompress(body or b"")
    except zlib.error as error:
        raise StoreError(f"{where}: its observation is corrupted: {error}") from error
    if hashlib.sha256(text).hexdigest() != digest:
        raise StoreError(f"{where}: its observation is corrupted: the content does not have its hash")
    return observation_from_json(_load(text.decode(), where))


def _dump(value: JSONValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _load(text: str, where: str) -> JSONValue:
    try:
        value: JSONValue = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"{where} is corrupted: {error}") from error
    return value
