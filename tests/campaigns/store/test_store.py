from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.run_folder import find_run
from campaigns.store import VERSION, Run, create_run, open_run
from classifiers.verdict import State, Verdict
from injector.errors import InputError, StoreError
from tests.builders import faulty
from tests.campaigns.builders import SPEC, record, small_plan
from tests.campaigns.store.adding import ADDED

PLAN = small_plan()
RECORDS = tuple(record(planned) for planned in PLAN.experiments)


def made(folder: Path, *, add: int = len(RECORDS)) -> Path:
    with create_run(folder, SPEC, PLAN, {"seed": 1, "versions": {"mutineer": "0.1.0"}}) as run:
        for finished in RECORDS[:add]:
            run.add(finished)
    return folder


def sql(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "record.sqlite")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    with open_run(made(tmp_path / "r")) as run:
        assert tuple(run.records()) == RECORDS
        assert run.plan == PLAN
        assert run.spec_text == SPEC
        assert run.metadata == {"seed": 1, "versions": {"mutineer": "0.1.0"}}
        assert run.finished_ids() == {e.id for e in PLAN.experiments}
        assert run.record(RECORDS[-1].planned.id) == RECORDS[-1]
        assert run.record("e0") is None


def test_records_are_quick_to_read_without_their_observations(tmp_path: Path) -> None:
    with open_run(made(tmp_path / "r")) as run:
        assert tuple(run.records(observations=False)) == tuple(replace(r, observation=None) for r in RECORDS)


def test_an_error_has_no_observation(tmp_path: Path) -> None:
    failed = record(
        PLAN.experiments[-1],
        verdict=Verdict(state=State.ERROR, reasons=("kube-apiserver did not start",)),
        observation=None,
        error="Traceback …",
    )
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        run.add(failed)
        assert list(run.records()) == [failed]


def test_equal_observations_are_stored_once(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    connection = sqlite3.connect(folder / "record.sqlite")
    (count,) = connection.execute("SELECT count(*) FROM observations").fetchone()
    connection.close()
    assert count == len({id(type(r)) for r in RECORDS}) + 1  # one golden, one with a fault
    assert count < len(RECORDS)


def test_readers_see_what_is_finished_while_the_runner_adds(tmp_path: Path) -> None:
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        for done, finished in enumerate(RECORDS, start=1):
            run.add(finished)
            with open_run(tmp_path / "r") as reader:
                assert len(reader.finished_ids()) == done


def test_readers_in_another_process_are_never_in_the_runners_way_nor_it_in_theirs(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    command = [sys.executable, "-m", "tests.campaigns.store.adding", str(folder)]
    seen = []
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as runner:
        while runner.poll() is None:
            if not (folder / "runner.lock").exists() or not (folder / "record.sqlite").exists():
                continue
            try:
                reader = open_run(folder)
            except StoreError as error:
                assert re.search("half-written|is no run", str(error)) and not seen, "only before its first transaction"
                continue
            with reader:
                found = list(reader.records())
                assert all(r.observation is not None for r in found)
                assert not found or reader.trace(found[-1].planned.id)
                assert sum(count.experiments for count in reader.counts()) >= len(found)
                assert len({r.verdict.reasons == ("again",) for r in found}) <= 1, "judged again all at once"
                seen.append(len(found))
    assert runner.returncode == 0
    assert seen == sorted(seen) and len(set(seen)) > 2, "it was watched while it added"
    with open_run(folder) as reader:
        assert len(reader.finished_ids()) == ADDED


def test_a_run_goes_on_where_it_was_left(tmp_path: Path) -> None:
    with open_run(made(tmp_path / "r", add=2), writable=True) as run:
        for finished in RECORDS[2:]:
            run.add(finished)
        assert tuple(run.records()) == RECORDS


def test_what_is_recorded_is_never_recorded_again_nor_what_was_not_planned(tmp_path: Path) -> None:
    with open_run(made(tmp_path / "r"), writable=True) as run:
        with pytest.raises(StoreError, match=f"experiment {RECORDS[0].planned.id} is recorded already"):
            run.add(RECORDS[0])
        with pytest.raises(StoreError, match="e0123456789 is not in the plan"):
            run.add(record())
        assert tuple(run.records()) == RECORDS


def test_an_experiment_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = made(tmp_path / "r", add=1)
    sql(folder, "CREATE TRIGGER full BEFORE INSERT ON experiments BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with open_run(folder, writable=True) as run:
        with pytest.raises(StoreError):
            run.add(record(PLAN.experiments[1], observation=faulty(seconds=77.0)))
        assert len(run.finished_ids()) == 1
    connection = sqlite3.connect(folder / "record.sqlite")
    assert connection.execute("SELECT count(*) FROM observations").fetchone() == (1,)
    connection.close()


def test_a_run_opened_for_reading_takes_nothing(tmp_path: Path) -> None:
    with open_run(made(tmp_path / "r", add=1)) as run, pytest.raises(StoreError, match="opened for reading"):
        run.add(RECORDS[1])


def test_a_second_runner_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = made(tmp_path / "r", add=1)
    with open_run(folder, writable=True):
        with pytest.raises(StoreError, match=f"is locked: process {os.getpid()} is adding to it"):
            open_run(folder, writable=True)
        open_run(folder).close()
    open_run(folder, writable=True).close()


def test_a_runner_in_another_process_that_is_killed_lets_go_and_leaves_what_it_finished(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from campaigns.store import create_run\n"
        "from tests.campaigns.store.test_store import PLAN, RECORDS, SPEC\n"
        "run = create_run(pathlib.Path(sys.argv[1]), SPEC, PLAN, {})\n"
        "run.add(RECORDS[0]); run.add(RECORDS[1])\n"
        "print('added', flush=True)\n"
        "sys.stdin.read()\n"
    )
    folder = tmp_path / "r"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"added\n"
        with pytest.raises(StoreError, match=f"process {runner.pid} is adding"):
            open_run(folder, writable=True)
        runner.send_signal(signal.SIGKILL)
        runner.wait(10)
    with open_run(folder, writable=True) as run:
        assert tuple(run.records()) == RECORDS[:2]
        run.add(RECORDS[2])


def test_a_new_run_does_not_go_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there and not empty"):
        create_run(tmp_path, SPEC, PLAN, {})
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="can't be made"):
        create_run(tmp_path / "notes.txt" / "r", SPEC, PLAN, {})


def test_a_run_is_its_owners_alone(tmp_path: Path) -> None:
    assert made(tmp_path / "r").stat().st_mode & 0o777 == 0o700


def refused(folder: Path) -> str:
    with pytest.raises(StoreError) as raised:
        open_run(folder)
    return str(raised.value)


def test_no_run_and_half_a_run_are_told_apart(tmp_path: Path) -> None:
    assert "is no run: it has no spec.yaml, plan.json, record.sqlite" in refused(tmp_path)
    folder = made(tmp_path / "r")
    for suffix in ("", "-wal", "-shm"):
        folder.joinpath(f"record.sqlite{suffix}").unlink(missing_ok=True)
    assert "is no run: it has no record.sqlite" in refused(folder)
    (folder / "record.sqlite").touch()
    assert "is half-written: it has no tables" in refused(folder)


def test_a_foreign_a_newer_and_a_broken_record_are_named_as_such(tmp_path: Path) -> None:
    newer = made(tmp_path / "newer")
    sql(newer, f"UPDATE schema_version SET version = {VERSION + 1}")
    assert f"is newer than this program: version {VERSION + 1}" in refused(newer)

    foreign = made(tmp_path / "foreign")
    sql(foreign, "DROP TABLE schema_version", "CREATE TABLE alembic_version (version_num TEXT)")
    assert "is foreign: it holds alembic_version" in refused(foreign)

    other = made(tmp_path / "other")
    sql(other, "UPDATE schema_version SET made_by = 'someone else'")
    assert "is foreign" in refused(other)

    lacking = made(tmp_path / "lacking")
    sql(lacking, "DROP TABLE experiments")
    assert "is corrupted: it lacks experiments" in refused(lacking)

    garbage = made(tmp_path / "garbage")
    for suffix in ("-wal", "-shm"):
        garbage.joinpath(f"record.sqlite{suffix}").unlink(missing_ok=True)
    (garbage / "record.sqlite").write_bytes(b"not a database" * 1000)
    assert "is corrupted, or no database at all" in refused(garbage)

    planless = made(tmp_path / "planless")
    (planless / "plan.json").write_text("{")
    assert "the plan is not JSON" in refused(planless)


def pages(folder: Path) -> Path:
    """The database alone, all of it in one file, large enough to be harmed in the middle."""
    with create_run(folder, SPEC, PLAN, {}) as run:
        for planned in PLAN.experiments:
            run.add(record(planned, observation=faulty(user_errors=(os.urandom(8000).hex(), planned.id))))
    return folder / "record.sqlite"


def test_a_record_that_lost_its_end_is_named_before_anything_is_added(tmp_path: Path) -> None:
    path = pages(tmp_path / "r")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(StoreError, match=r"record\.sqlite is corrupted, .*recover"):
        open_run(tmp_path / "r", writable=True)
    with pytest.raises(StoreError, match="is corrupted"), open_run(tmp_path / "r") as run:
        read_all(run)


def test_a_record_with_a_broken_page_is_named_before_anything_is_added(tmp_path: Path) -> None:
    path = pages(tmp_path / "r")
    size = path.stat().st_size
    with path.open("r+b") as file:
        for place in range(size // 2, size, 4096):
            file.seek(place - place % 4096)
            file.write(os.urandom(64))
    with pytest.raises(StoreError, match=r"is corrupted: .*copy the folder"):
        open_run(tmp_path / "r", writable=True)


def test_another_plan_than_the_one_it_began_with_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    text = (folder / "plan.json").read_text()
    (folder / "plan.json").write_text(text.replace("a lost pod", "a lost pod, or two"))
    assert "plan.json is not the plan that this run began with" in refused(folder)
    (folder / "plan.json").write_text(text.replace("a lost pod", "a lost cod"))
    with open_run(folder) as run, pytest.raises(StoreError, match="is not the plan that this run began with"):
        assert run.plan


def read_all(run: Run) -> None:
    list(run.records())


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE observations SET body = x'00'", "its observation is corrupted"),
        ("UPDATE observations SET body = x'789c030000000001'", "the content does not have its hash"),
        ("UPDATE experiments SET document = '{'", "is corrupted"),
        ("UPDATE experiments SET document = '{}'", "ExperimentRecord without planned, verdict, observation"),
    ],
)
def test_a_record_that_rotted_is_named_with_its_experiment(tmp_path: Path, statement: str, words: str) -> None:
    folder = made(tmp_path / "r", add=1)
    sql(folder, statement)
    with open_run(folder) as run, pytest.raises(StoreError, match=words) as raised:
        read_all(run)
    assert PLAN.experiments[0].id in str(raised.value)


def test_a_run_is_found_by_path_by_name_and_as_the_newest(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(InputError, match="there is no run below"):
        find_run(None, runs=runs)
    older, newer = made(runs / "older", add=0), made(runs / "newer", add=0)
    os.utime(older / "plan.json", ns=(1, 1))
    assert find_run(None, runs=runs) == newer
    assert find_run("older", runs=runs) == older
    assert find_run(str(older), runs=tmp_path) == older
    with pytest.raises(InputError, match=r"no run 'odler': .*there are: newer, older"):
        find_run("odler", runs=runs)
