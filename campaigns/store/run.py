"""An open run: what can be added to it, and what can be read of it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from campaigns.record import ExperimentRecord, Purpose
from campaigns.run_folder import RunnerLock
from campaigns.store import queries
from campaigns.store import tables as t
from campaigns.store.database import file_error, transaction
from campaigns.store.rows import (
    document_of,
    dump,
    judgement_row,
    load,
    read_observation,
    record_of,
    record_row,
    write_observation,
)
from campaigns.store.traces import Traces
from campaigns.store.values import Count, Judgement, Repeat, Session
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State
from injector.errors import InputError, StoreError
from injector.rules import JSONValue

if TYPE_CHECKING:  # reading a run hardly ever needs its plan, and the planner takes a while to load
    from campaigns.planning.plan import Plan

__all__ = ["Run", "Spoiled"]

T = TypeVar("T")

Spoiled = Callable[[str, str], object]
"""Told an experiment's id, and what is wrong with what is stored of it."""

_BATCH = 200
"""Judgements written at once: some hundred kilobytes."""


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

    def add_repeat(self, record: ExperimentRecord, purpose: Purpose, trace: bytes | None = None) -> None:
        """Adds a planned experiment that was done once more: beside the first, never in its place. ValueError if it
        was planned."""
        if purpose is Purpose.PLANNED:
            raise ValueError(f"{record.planned.id} was planned: it is no repeat")
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

    def add_judgements(self, judgements: Iterable[Judgement]) -> None:
        """Keeps judgements, which from then on stand for the earlier ones; nothing is overwritten. All in one
        transaction, however long `judgements` takes to come; it may read this run meanwhile. StoreError also if
        something is judged that is not finished."""
        with self._adding("something is judged that is not finished") as connection:
            for batch in batches(judgements, _BATCH):
                rows = [judgement_row(each) | {"experiment": each.experiment} for each in batch if not each.purpose]
                if rows:
                    connection.execute(t.judgements.insert(), rows)
                for each in batch:
                    if each.purpose:
                        row = judgement_row(each) | {"repeat": self._repeat(connection, each)}
                        connection.execute(t.repeat_judgements.insert().values(row))

    def note(self, name: str, value: JSONValue) -> None:
        """Adds a metadata entry, such as when the run ended. A name is noted once."""
        with self._adding(f"metadata {name} is there already") as connection:
            connection.execute(t.metadata.insert().values(name=name, value=dump(value)))

    # --- reading

    @property
    def plan(self) -> Plan:
        """The plan, read when it is first asked for. StoreError if it is none, or not what the run began with."""
        from campaigns.planning.plan import plan_from_json

        if self._plan is None:
            digest = self._scalar(sa.select(t.plan_file.c.sha256))
            try:
                text = (self.folder / "plan.json").read_bytes()
                self._plan = plan_from_json(text.decode())
            except (StoreError, OSError, UnicodeDecodeError) as error:
                raise StoreError(f"{self.folder}: {error}") from error
            if hashlib.sha256(text).hexdigest() != digest:
                raise StoreError(f"{self.folder}: plan.json is not the plan that this run began with")
        return self._plan

    @property
    def name(self) -> str:
        """The campaign's name, as the plan has it; without reading the plan."""
        return str(self._scalar(sa.select(t.plan_file.c.name)))

    def planned_count(self, *, golden: bool) -> int:
        """How many golden runs, or experiments with a fault, the plan has; without reading the plan."""
        query = sa.select(sa.func.count()).select_from(t.planned).where(t.planned.c.golden.is_(golden))
        with self._reading() as connection:
            return connection.execute(query).scalar_one()

    def planned_ids(self, beginning: str = "") -> tuple[str, ...]:
        """Ids of the plan that begin so, in its order."""
        query = sa.select(t.planned.c.id).where(t.planned.c.id.startswith(beginning, autoescape=True))
        with self._reading() as connection:
            return tuple(connection.scalars(query.order_by(t.planned.c.seq)))

    def one_planned_id(self, beginning: str) -> str:
        """The one id that begins so. InputError if none does, or several do."""
        matching = self.planned_ids(beginning)
        if len(matching) != 1:
            more = ", …" if len(matching) > 5 else ""
            what = f"{len(matching)} begin so: {', '.join(matching[:5])}{more}" if matching else "none begins so"
            raise InputError(f"no one experiment {beginning!r} in {self.folder}: {what}")
        return matching[0]

    def counts(self) -> tuple[Count, ...]:
        """How many experiments have which classes by their latest judgement: one question, whatever their number."""
        with self._reading() as connection:
            return tuple(_count(row) for row in connection.execute(queries.counts()))

    def records(
        self, *, observations: bool = True, in_plan_order: bool = False, spoiled: Spoiled | None = None
    ) -> Iterator[ExperimentRecord]:
        """Finished experiments one by one, in the order they were added or in the plan's; without their observations
        (None) if not asked for. `spoiled` is told of each whose observation can't be read any more, which is then left
        out; without it, StoreError."""
        query = queries.experiments(bodies=observations)
        query = queries.in_plan_order(query) if in_plan_order else query.order_by(t.experiments.c.seq)
        yield from self._select(query, observations, spoiled)

    def goldens(self, workload: str | None = None, *, spoiled: Spoiled | None = None) -> Iterator[ExperimentRecord]:
        """Finished golden runs with their observations, of one workload or of all, in the order they were added.
        `spoiled`: as for `records`."""
        query = queries.experiments(bodies=True).where(t.experiments.c.golden.is_(True))
        if workload is not None:
            query = query.where(t.experiments.c.workload == workload)
        yield from self._select(query.order_by(t.experiments.c.seq), True, spoiled)

    def gravest(self, limit: int | None = None) -> Iterator[ExperimentRecord]:
        """Experiments with a fault without their observations: the gravest class first, what was not judged last."""
        yield from self._select(queries.gravest_first(queries.experiments(bodies=False), limit=limit), False)

    def documents(self, *, golden: bool) -> Iterator[dict[str, JSONValue]]:
        """Records as their stored JSON (classifiers.record's form of ExperimentRecord, observation null) in the plan's
        order: three times as fast as building them, for who passes them on."""
        query = queries.in_plan_order(queries.experiments(bodies=False)).where(t.experiments.c.golden.is_(golden))
        with self._reading() as connection:
            for row in connection.execute(query):
                yield document_of(row.document, row.judgement, f"experiment {row.id}")

    def record(self, identifier: str) -> ExperimentRecord | None:
        """One experiment with its observation; None if it is not finished."""
        query = queries.experiments(bodies=True).where(t.experiments.c.id == identifier)
        return next(self._select(query, True), None)

    def trace(self, identifier: str, *, purpose: Purpose | None = None, number: int = 1) -> bytes | None:
        """The trace that was added with the experiment, or with the repeat of that purpose and number; None if none
        was, or it is not finished. StoreError if it is missing or corrupted; the record stands without it."""
        query, where = sa.select(t.experiments.c.trace).where(t.experiments.c.id == identifier), ""
        if purpose is not None:
            one = {"experiment": identifier, "purpose": purpose, "number": number}
            query, where = sa.select(t.repeats.c.trace).filter_by(**one), f"{purpose} {number} of "
        digest = self._scalar(query)
        return None if digest is None else self._traces.read(str(digest), f"{where}experiment {identifier}")

    def repeats(
        self,
        identifier: str | None = None,
        purpose: Purpose | None = None,
        *,
        golden: bool | None = None,
        observations: bool = True,
        spoiled: Spoiled | None = None,
    ) -> Iterator[Repeat]:
        """Repeats of one experiment or of all, of one purpose or of each, of golden runs, of others or of both, in the
        order they were added; without their observations (None) if not asked for. `spoiled`: as for `records`."""
        query = queries.repeats(bodies=observations)
        if identifier is not None:
            query = query.where(t.repeats.c.experiment == identifier)
        if purpose is not None:
            query = query.where(t.repeats.c.purpose == purpose.value)
        if golden is not None:
            ids = sa.select(t.planned.c.id).where(t.planned.c.golden.is_(golden))
            query = query.where(t.repeats.c.experiment.in_(ids))
        with self._reading() as connection:
            for row in connection.execute(query):
                where = f"{row.purpose} {row.number} of experiment {row.experiment}"
                if (record := _record(row, observations, where, spoiled)) is not None:
                    yield Repeat(Purpose(row.purpose), row.number, record)

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
        with self._reading() as connection:
            return tuple(_session(row) for row in connection.execute(queries.sessions()))

    def sandboxes(self, identifier: str) -> int:
        """How many sandboxes the session had that did an experiment of the plan (this one, if it is not finished); the
        run, where that is not known; 1 where nothing is."""
        number = self._scalar(sa.select(t.experiments.c.session).where(t.experiments.c.id == identifier))
        number = self._session if number is None else number
        text = self._scalar(sa.select(t.sessions.c.document).where(t.sessions.c.number == number))
        document = self.metadata if text is None else load(str(text), f"session {number}")
        host = document.get("host") if isinstance(document, Mapping) else None
        known = host.get("sandboxes") if isinstance(host, dict) else None
        return known if isinstance(known, int) else 1

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

    def _select(
        self, query: sa.Select[Any], observations: bool, spoiled: Spoiled | None = None
    ) -> Iterator[ExperimentRecord]:
        with self._reading() as connection:
            for row in connection.execute(query):
                if (record := _record(row, observations, f"experiment {row.id}", spoiled)) is not None:
                    yield record

    def _scalar(self, query: sa.Select[Any]) -> object:
        with self._reading() as connection:
            return connection.scalar(query)

    def _repeat(self, connection: sa.Connection, judged: Judgement) -> int:
        one = {"experiment": judged.experiment, "purpose": judged.purpose, "number": judged.number}
        found = connection.scalar(sa.select(t.repeats.c.seq).filter_by(**one))
        if found is None:
            raise StoreError(f"{self.folder}: there is no {judged.purpose} {judged.number} of {judged.experiment}")
        return int(found)

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


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`, as they come."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _record(
    row: sa.Row[Any], observations: bool, where: str, spoiled: Spoiled | None = None
) -> ExperimentRecord | None:
    record = record_of(row.document, row.judgement, where)
    if not observations or row.observation is None:
        return record
    try:
        return replace(record, observation=read_observation(row.body, row.observation, where))
    except StoreError as error:
        if spoiled is None:
            raise
        spoiled(record.planned.id, str(error))
        return None


def _count(row: sa.Row[Any]) -> Count:
    return Count(
        workload=row.workload,
        golden=row.golden,
        state=State(row.state),
        orchestrator=OrchestratorFailure(row.orchestrator) if row.orchestrator else None,
        client=ClientFailure(row.client) if row.client else None,
        activation=Activation(row.activation) if row.activation else None,
        experiments=row.experiments,
    )


def _session(row: sa.Row[Any]) -> Session:
    document = load(row.document, f"session {row.number}")
    if not isinstance(document, dict):
        raise StoreError(f"session {row.number} is corrupted: its document is no object")
    return Session(
        number=row.number, began=row.began, document=document, ended=row.ended, why=row.why, added=row.added or 0
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
