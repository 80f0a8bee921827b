"""An open run: what can be added to it, and what can be read of it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from campaigns.plan import Plan, plan_from_json
from campaigns.record import ExperimentRecord
from campaigns.run_folder import RunnerLock
from campaigns.store import tables as t
from campaigns.store.database import file_error, transaction
from campaigns.store.rows import dump, judgement_row, load, read_observation, record_of, record_row, write_observation
from campaigns.store.traces import Traces
from campaigns.store.values import Repeat, Session
from injector.errors import StoreError
from injector.rules import JSONValue

__all__ = ["PURPOSES", "Run"]

PURPOSES = ("confirm", "replay")


class Run:
    """An open run. Nothing can be added where it was opened for reading; close it, or use it in a `with`.

    Everything that adds raises StoreError if the run was opened for reading or the disk refuses: then nothing of it was
    recorded, what was before is kept, and adding may go on once the cause is gone."""

    def __init__(self, folder: Path, plan: Plan | None, engine: sa.Engine, lock: RunnerLock | None) -> None:
        self.folder = folder
        self._plan, self._engine, self._lock = plan, engine, lock
        self._traces = Traces(folder)
        self._session: int | None = None

    # --- adding

    def add(self, record: ExperimentRecord, trace: bytes | None = None) -> None:
        """Adds one finished experiment, in one transaction; its trace before it. StoreError also if the id is not in
        the plan or was added before."""
        identifier = record.planned.id
        kept = self._keep(trace)
        with self._adding(f"experiment {identifier} is recorded already") as connection:
            self._require_planned(connection, identifier)
            row = {
                **self._row(connection, record, kept),
                "id": identifier,
                "workload": record.planned.workload,
                "golden": record.planned.golden,
            }
            connection.execute(t.experiments.insert().values(row))

    def add_repeat(self, record: ExperimentRecord, purpose: str, trace: bytes | None = None) -> None:
        """Adds a planned experiment that was done once more: beside the first, never in its place. ValueError if
        `purpose` is neither `confirm` nor `replay`."""
        if purpose not in PURPOSES:
            raise ValueError(f"purpose {purpose!r}; expected one of {', '.join(PURPOSES)}")
        identifier, kept = record.planned.id, self._keep(trace)
        with self._adding("two repeats were added at once") as connection:
            self._require_planned(connection, identifier)
            same = (t.repeats.c.experiment == identifier) & (t.repeats.c.purpose == purpose)
            before = connection.scalar(sa.select(sa.func.count()).select_from(t.repeats).where(same)) or 0
            row = {
                **self._row(connection, record, kept),
                "experiment": identifier,
                "purpose": purpose,
                "number": before + 1,
            }
            connection.execute(t.repeats.insert().values(row))

    def add_failed_attempt(self, identifier: str, error: str) -> None:
        """Notes that the harness broke while it did this experiment, which may be tried again. StoreError also if the
        id is not in the plan."""
        with self._adding() as connection:
            self._require_planned(connection, identifier)
            row = {"experiment": identifier, "at": _now(), "error": error, "session": self._session}
            connection.execute(t.failed_attempts.insert().values(row))

    def begin_session(self, document: Mapping[str, JSONValue]) -> None:
        """From here on what is added belongs to a new session. `document`: what is true of this session and need not be
        of the run (versions, host, sandboxes, why it began)."""
        with self._adding() as connection:
            row = {"began": _now(), "document": dump(dict(document))}
            self._session = connection.scalar(t.sessions.insert().values(row).returning(t.sessions.c.number))

    def end_session(self, why: str) -> None:
        """The session ends, in words. StoreError also if none was begun, or it was ended before."""
        if self._session is None:
            raise StoreError(f"{self.folder}: no session was begun that could end")
        with self._adding("the session was ended before") as connection:
            row = {"session": self._session, "ended": _now(), "why": why}
            connection.execute(t.session_ends.insert().values(row))

    def judge_again(self, judged: Callable[[ExperimentRecord], ExperimentRecord]) -> None:
        """Asks `judged` for each finished experiment with its observation, and keeps what it says anew: nothing is
        overwritten. All of it in one transaction."""
        self._require_writable()
        rows = [{**judgement_row(judged(r)), "experiment": r.planned.id} for r in list(self.records())]
        if rows:
            with self._adding() as connection:
                connection.execute(t.judgements.insert(), rows)

    def note(self, name: str, value: JSONValue) -> None:
        """Adds a metadata entry, such as when the run ended. A name is noted once."""
        with self._adding(f"metadata {name} is there already") as connection:
            connection.execute(t.metadata.insert().values(name=name, value=dump(value)))

    # --- reading

    @property
    def plan(self) -> Plan:
        """The plan, read when it is first asked for. StoreError if it is none, or not what the run began with."""
        if self._plan is None:
            with self._reading() as connection:
                digest = connection.scalar(sa.select(t.plan_file.c.sha256))
            try:
                text = (self.folder / "plan.json").read_bytes()
                self._plan = plan_from_json(text.decode())
            except (StoreError, OSError, UnicodeDecodeError) as error:
                raise StoreError(f"{self.folder}: {error}") from error
            if hashlib.sha256(text).hexdigest() != digest:
                raise StoreError(f"{self.folder}: plan.json is not the plan that this run began with")
        return self._plan

    def records(self, *, observations: bool = True) -> Iterator[ExperimentRecord]:
        """Finished experiments in the order they were added; without their observations (None) if not asked for."""
        yield from self._select(_experiments(observations).order_by(t.experiments.c.seq), observations)

    def record(self, identifier: str) -> ExperimentRecord | None:
        """One experiment with its observation; None if it is not finished."""
        query = _experiments(True).where(t.experiments.c.id == identifier)
        return next(self._select(query, True), None)

    def trace(self, identifier: str, *, purpose: str | None = None, number: int = 1) -> bytes | None:
        """The trace that was added with the experiment, or with the repeat of that purpose and number; None if none
        was, or it is not finished. StoreError if it is missing or corrupted; the record stands without it."""
        query, where = sa.select(t.experiments.c.trace).where(t.experiments.c.id == identifier), ""
        if purpose is not None:
            one = {"experiment": identifier, "purpose": purpose, "number": number}
            query, where = sa.select(t.repeats.c.trace).filter_by(**one), f"{purpose} {number} of "
        with self._reading() as connection:
            digest = connection.scalar(query)
        return None if digest is None else self._traces.read(digest, f"{where}experiment {identifier}")

    def repeats(self, identifier: str | None = None) -> Iterator[Repeat]:
        """Repeats with their observations, of one experiment or of all, in the order they were added."""
        query = _repeats().order_by(t.repeats.c.seq)
        if identifier is not None:
            query = query.where(t.repeats.c.experiment == identifier)
        with self._reading() as connection:
            for row in connection.execute(query):
                where = f"{row.purpose} {row.number} of experiment {row.experiment}"
                yield Repeat(row.purpose, row.number, _whole(row, where))

    def failed_attempts(self) -> Mapping[str, tuple[str, ...]]:
        """Experiment → what broke, each time that the harness failed to do it, first to last."""
        attempts = t.failed_attempts
        query = sa.select(attempts.c.experiment, attempts.c.error).order_by(attempts.c.seq)
        found: dict[str, tuple[str, ...]] = {}
        with self._reading() as connection:
            for row in connection.execute(query):
                found[row.experiment] = (*found.get(row.experiment, ()), row.error)
        return found

    def sessions(self) -> tuple[Session, ...]:
        """All sessions in the order they began."""
        added = (
            sa.select(t.experiments.c.session, sa.func.count().label("added"))
            .group_by(t.experiments.c.session)
            .subquery()
        )
        query = (
            sa.select(t.sessions, t.session_ends.c.ended, t.session_ends.c.why, added.c.added)
            .outerjoin(t.session_ends, t.session_ends.c.session == t.sessions.c.number)
            .outerjoin(added, added.c.session == t.sessions.c.number)
            .order_by(t.sessions.c.number)
        )
        with self._reading() as connection:
            return tuple(_session(row) for row in connection.execute(query))

    def finished_ids(self) -> frozenset[str]:
        with self._reading() as connection:
            return frozenset(connection.scalars(sa.select(t.experiments.c.id)))

    @property
    def metadata(self) -> Mapping[str, JSONValue]:
        """What create_run was given, and what was noted since."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(t.metadata).order_by(t.metadata.c.name)).all()
        return {row.name: load(row.value, f"metadata {row.name}") for row in rows}

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

    # --- below

    def _select(self, query: sa.Select[Any], observations: bool) -> Iterator[ExperimentRecord]:
        with self._reading() as connection:
            for row in connection.execute(query):
                where = f"experiment {row.id}"
                yield _whole(row, where) if observations else record_of(row.document, row.judgement, where)

    def _row(self, connection: sa.Connection, record: ExperimentRecord, trace: str | None) -> dict[str, object]:
        observation = write_observation(connection, record.observation)
        return {**record_row(record), "observation": observation, "trace": trace, "session": self._session}

    def _keep(self, trace: bytes | None) -> str | None:
        self._require_writable()
        if trace is None:
            return None
        try:
            return self._traces.keep(trace)
        except OSError as error:
            raise file_error(self.folder, error) from error

    def _require_writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.folder} was opened for reading")

    def _require_planned(self, connection: sa.Connection, identifier: str) -> None:
        if connection.scalar(sa.select(sa.literal(1)).where(t.planned.c.id == identifier)) is None:
            raise StoreError(f"experiment {identifier} is not in the plan of {self.folder}")

    @contextmanager
    def _adding(self, clash: str = "") -> Iterator[sa.Connection]:
        self._require_writable()
        with transaction(self._engine, self.folder, clash=clash) as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with transaction(self._engine, self.folder) as connection:
            yield connection


def _experiments(observations: bool) -> sa.Select[Any]:
    """Experiments with their latest judgement, and the stored observation if asked for."""
    chosen = _with_latest(t.experiments, t.judgements, t.judgements.c.experiment == t.experiments.c.id)
    return _with_body(chosen, t.experiments) if observations else chosen


def _repeats() -> sa.Select[Any]:
    chosen = _with_latest(t.repeats, t.repeat_judgements, t.repeat_judgements.c.repeat == t.repeats.c.seq)
    return _with_body(chosen, t.repeats)


def _with_latest(whole: sa.Table, judged: sa.Table, of_it: sa.ColumnElement[bool]) -> sa.Select[Any]:
    latest = sa.select(sa.func.max(judged.c.seq)).where(of_it).correlate(whole).scalar_subquery()
    return sa.select(whole, judged.c.document.label("judgement")).outerjoin(judged, judged.c.seq == latest)


def _with_body(chosen: sa.Select[Any], whole: sa.Table) -> sa.Select[Any]:
    return chosen.add_columns(t.observations.c.body).outerjoin(
        t.observations, t.observations.c.hash == whole.c.observation
    )


def _whole(row: sa.Row[Any], where: str) -> ExperimentRecord:
    record = record_of(row.document, row.judgement, where)
    if row.observation is None:
        return record
    return replace(record, observation=read_observation(row.body, row.observation, where))


def _session(row: sa.Row[Any]) -> Session:
    document = load(row.document, f"session {row.number}")
    if not isinstance(document, dict):
        raise StoreError(f"session {row.number} is corrupted: its document is no object")
    return Session(
        number=row.number, began=row.began, document=document, ended=row.ended, why=row.why, added=row.added or 0
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
