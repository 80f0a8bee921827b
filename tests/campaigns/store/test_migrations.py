"""Records of earlier versions open, and what SQLite holds PostgreSQL could."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

import campaigns.store.migrations
from campaigns.record import Purpose
from campaigns.store import VERSION, create_run, open_run
from campaigns.store.database import open_engine
from campaigns.store.rows import planned_rows
from campaigns.store.tables import TABLES, schema
from injector.errors import StoreError
from tests.campaigns.builders import SPEC, small_plan
from tests.campaigns.store.recorded import VERSION_1, copy_of, rows, verdicts
from tests.campaigns.store.workout import work_out

SCRIPTS = ScriptDirectory(str(Path(campaigns.store.migrations.__file__).parent))


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "record.sqlite").read_bytes()).hexdigest()


def test_a_record_of_version_1_is_read_as_it_is_and_not_touched(tmp_path: Path) -> None:
    old = copy_of(VERSION_1, tmp_path / "r")
    before = digest(old)
    with open_run(old) as run:
        found = {r.planned.id: r for r in run.records()}
        assert list(found) == [name for (name,) in rows(old, "SELECT id FROM experiments ORDER BY seq")]
        assert {name: r.verdict.state.value for name, r in found.items()} == dict.fromkeys(found, "judged")
        assert {n: list(r.verdict.reasons) for n, r in found.items()} == {
            n: v["reasons"]  # type: ignore[index]
            for n, v in verdicts(old).items()
        }
        assert all(r.observation is not None and r.observation.writes for r in found.values())
        assert [e.id for e in run.plan.experiments if e.id in found] and len(run.plan.experiments) == len(found)
        assert (run.sessions(), list(run.repeats()), run.failed_attempts()) == ((), [], {})
        assert run.metadata["spec"] == "quickstart" and run.trace(next(iter(found))) is None
    assert digest(old) == before and rows(old, "SELECT version FROM schema_version") == [(1,)]


def test_opened_for_writing_it_becomes_this_version_and_goes_on(tmp_path: Path) -> None:
    old = copy_of(VERSION_1, tmp_path / "r")
    with open_run(old) as run:
        before = tuple(run.records())
    with open_run(old, writable=True) as run:
        run.begin_session({})
        run.add_repeat(before[-1], Purpose.REPLAY, trace=b"a trace")
        assert run.plan.experiments
    assert rows(old, "SELECT version FROM schema_version") == [(VERSION,)]
    with open_run(old) as run:
        assert tuple(run.records()) == before
        assert [r.record for r in run.repeats()] == [before[-1]]
        assert [r["id"] for r in planned_rows(run.plan)] == [
            name for (name,) in rows(old, "SELECT id FROM planned ORDER BY seq")
        ]


def test_a_migrated_record_has_the_schema_of_a_new_one(tmp_path: Path) -> None:
    old = copy_of(VERSION_1, tmp_path / "old")
    open_run(old, writable=True).close()
    create_run(tmp_path / "new", SPEC, small_plan(), {}).close()
    engine = open_engine(old / "record.sqlite", "ro")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema) == []
    engine.dispose()
    for table in schema.tables:
        for pragma, columns in {
            "table_info": 'name, type, "notnull", dflt_value, pk',
            "foreign_key_list": '"table", "from", "to"',
            "index_list": 'name, "unique", origin',
        }.items():
            asked = f"SELECT {columns} FROM pragma_{pragma}('{table}') ORDER BY 1, 2"
            assert rows(old, asked) == rows(tmp_path / "new", asked), f"{pragma} of {table}"


def test_every_version_but_the_first_is_led_to_and_its_recorded_predecessor_is_there() -> None:
    chain = [revision.revision for revision in SCRIPTS.walk_revisions()]
    assert chain == [str(version) for version in range(VERSION, 0, -1)]
    assert VERSION_1.parent.joinpath(f"version-{VERSION - 1}", "record.sqlite").is_file()


def test_a_kill_at_any_moment_of_a_migration_leaves_the_old_record_or_the_new(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.campaigns.store.dying", str(VERSION_1), str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3], timeout=100)
    copies = sorted(tmp_path.iterdir(), key=lambda p: int(p.name))
    assert len(copies) > 10, "a death at every other statement"
    with open_run(copy_of(VERSION_1, tmp_path / "intact")) as run:
        intact = tuple(run.records(observations=False))
    seen = []
    for copy in copies:
        with open_run(copy) as run:
            assert tuple(run.records(observations=False)) == intact
        seen += rows(copy, "SELECT version FROM schema_version")
        with open_run(copy, writable=True) as run:
            assert tuple(run.records(observations=False)) == intact
    assert seen == sorted(seen) and set(seen) == {(1,), (VERSION,)}, "old up to the commit, new from then on"


def test_a_migration_that_fails_changes_nothing_and_says_why(tmp_path: Path) -> None:
    old = copy_of(VERSION_1, tmp_path / "r")
    before = digest(old)
    (old / "plan.json").write_text('{"schema": 1}')
    for writable in (False, True):
        with pytest.raises(StoreError, match="the plan lacks its name, seed or experiments"):
            open_run(old, writable=writable)
    assert digest(old) == before
    (old / "plan.json").write_bytes((VERSION_1 / "plan.json").read_bytes())
    open_run(old, writable=True).close()


def test_all_tables_and_indexes_could_be_made_in_postgresql() -> None:
    for table in schema.sorted_tables:
        assert str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect()))
        for index in table.indexes:
            assert str(sa.schema.CreateIndex(index).compile(dialect=postgresql.dialect()))
    output = io.StringIO()
    given = {
        "as_sql": True,
        "output_buffer": output,
        "planned": planned_rows(small_plan()),
        "plan_file": {"name": "small", "seed": 1, "bytes": 2, "sha256": "ab"},
    }
    context = MigrationContext.configure(dialect_name="postgresql", opts=given)
    with Operations.context(context):
        for revision in reversed(list(SCRIPTS.iterate_revisions(str(VERSION), "1"))):
            revision.module.upgrade()
    assert output.getvalue().count("CREATE TABLE") == len(schema.tables) - len(TABLES[1])


def test_every_statement_is_one_that_postgresql_could_be_asked_and_none_changes_a_row(tmp_path: Path) -> None:
    asked: list[str] = []
    sent: list[str] = []

    def compiled(connection: object, clause: sa.ClauseElement, *_: object) -> None:
        asked.append(str(clause.compile(dialect=postgresql.dialect())))

    def as_sent(connection: object, cursor: object, statement: str, *_: object) -> None:
        sent.append(" ".join(statement.split()))

    sa.event.listen(sa.Engine, "before_execute", compiled)
    sa.event.listen(sa.Engine, "before_cursor_execute", as_sent)
    try:
        work_out(tmp_path / "r")
    finally:
        sa.event.remove(sa.Engine, "before_execute", compiled)
        sa.event.remove(sa.Engine, "before_cursor_execute", as_sent)
    beginnings = {statement.split()[0] for statement in sent}
    assert beginnings == {"BEGIN", "CREATE", "INSERT", "PRAGMA", "SELECT"}, "rows are only ever added"
    assert not [s for s in sent if s.startswith("INSERT OR")]
    written = {word for s in sent if s.startswith("INSERT INTO") for word in [s.split()[2]]}
    assert written == set(schema.tables) - {"repeat_judgements"}, "the workout leaves no table out"
    of_sqlite = {s for s in sent if s.split()[0] == "PRAGMA" and "quick_check" not in s}
    assert all("table_" in s or "main" in s for s in of_sqlite), "SQLAlchemy's own, by which it lists tables"
    assert len(asked) > 30
