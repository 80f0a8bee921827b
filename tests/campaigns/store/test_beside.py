"""What a run keeps beside its experiments: traces, repeats, failed attempts, sessions."""

from __future__ import annotations

import lzma
import os
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.record import Purpose
from campaigns.store import Repeat, Run, create_run, open_run
from classifiers.verdict import OrchestratorFailure
from injector.errors import StoreError
from tests.campaigns.builders import SPEC, record, small_plan

PLAN = small_plan()
FIRST, SECOND, *_ = PLAN.experiments
FAULT = next(e for e in PLAN.experiments if not e.golden)
TRACE = b'{"key": "/registry/pods/default/web"}\n' * 1000


def new(folder: Path) -> Run:
    return create_run(folder, SPEC, PLAN, {})


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in (folder / "traces").rglob("*") if p.is_file())


def test_a_trace_comes_back_as_it_was_and_is_small_on_disk(tmp_path: Path) -> None:
    with new(tmp_path / "r") as run:
        run.add(record(FIRST), trace=TRACE)
        run.add(record(SECOND))
        assert (run.trace(FIRST.id), run.trace(SECOND.id), run.trace(FAULT.id)) == (TRACE, None, None)
    (kept,) = files(tmp_path / "r")
    folder, name = Path(kept).parts[1:]
    assert name.startswith(folder) and name.endswith(".xz") and len(name) == 64 + 3
    path = tmp_path / "r" / kept
    assert path.stat().st_size < len(TRACE) / 20
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_same_trace_is_kept_once_and_a_compressed_one_as_it_came(tmp_path: Path) -> None:
    packed = lzma.compress(TRACE)
    with new(tmp_path / "r") as run:
        run.add(record(FIRST), trace=TRACE)
        run.add(record(SECOND), trace=TRACE)
        run.add(record(FAULT), trace=packed)
        assert (run.trace(SECOND.id), run.trace(FAULT.id)) == (TRACE, packed)
    assert sorted(Path(name).suffix for name in files(tmp_path / "r")) == [".bin", ".xz"]


def test_a_trace_without_any_redundancy_costs_no_more_than_itself(tmp_path: Path) -> None:
    noise = os.urandom(5000)
    with new(tmp_path / "r") as run:
        run.add(record(FIRST), trace=noise)
        assert run.trace(FIRST.id) == noise
    (kept,) = files(tmp_path / "r")
    assert (tmp_path / "r" / kept).stat().st_size == 5000


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "its trace is missing: traces/"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "its trace can't be read"),
        (lambda path: path.write_bytes(b"garbage"), "its trace can't be read"),
        (lambda path: path.write_bytes(lzma.compress(b"another")), "its trace is corrupted"),
    ],
)
def test_a_trace_that_is_lost_is_told_and_the_record_stands(tmp_path: Path, harm: object, words: str) -> None:
    with new(tmp_path / "r") as run:
        run.add(record(FIRST), trace=TRACE)
    harm(tmp_path / "r" / files(tmp_path / "r")[0])  # type: ignore[operator]
    with open_run(tmp_path / "r") as run:
        with pytest.raises(StoreError, match=words) as raised:
            run.trace(FIRST.id)
        assert f"experiment {FIRST.id}" in str(raised.value)
        assert run.record(FIRST.id) == record(FIRST)


def test_a_trace_that_rotted_is_mended_when_it_comes_again(tmp_path: Path) -> None:
    with new(tmp_path / "r") as run:
        run.add(record(FIRST), trace=TRACE)
        (tmp_path / "r" / files(tmp_path / "r")[0]).write_bytes(b"garbage")
        run.add(record(SECOND), trace=TRACE)
        assert run.trace(FIRST.id) == TRACE


def test_what_a_kill_left_half_written_goes_when_the_run_is_opened_for_writing(tmp_path: Path) -> None:
    with new(tmp_path / "r") as run:
        run.add(record(FIRST), trace=TRACE)
    half = tmp_path / "r" / "traces" / "ab" / ".abc.xz.partial"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"half")
    open_run(tmp_path / "r").close()
    assert half.exists(), "a reader removes nothing"
    open_run(tmp_path / "r", writable=True).close()
    assert not half.exists() and len(files(tmp_path / "r")) == 1


def test_repeats_stand_beside_the_first_and_are_numbered_by_purpose(tmp_path: Path) -> None:
    first = record(FAULT)
    worse = replace(first, verdict=replace(first.verdict, orchestrator=OrchestratorFailure.STALL), sandbox="s2")
    with new(tmp_path / "r") as run:
        run.add(first)
        for purpose, done in ((Purpose.CONFIRM, first), (Purpose.REPLAY, worse), (Purpose.CONFIRM, worse)):
            run.add_repeat(done, purpose, trace=TRACE)
        run.add_repeat(record(FIRST), Purpose.REPLAY)
        assert tuple(run.records()) == (first,)
        assert tuple(run.repeats(FAULT.id)) == (
            Repeat(Purpose.CONFIRM, 1, first),
            Repeat(Purpose.REPLAY, 1, worse),
            Repeat(Purpose.CONFIRM, 2, worse),
        )
        assert [(r.purpose, r.number, r.record.planned.id) for r in run.repeats()][-1] == ("replay", 1, FIRST.id)
        assert run.finished_ids() == {FAULT.id}
        assert run.trace(FAULT.id, purpose=Purpose.REPLAY) == TRACE
        assert run.trace(FAULT.id, purpose=Purpose.CONFIRM, number=3) is None
        with pytest.raises(ValueError, match="was planned: it is no repeat"):
            run.add_repeat(first, Purpose.PLANNED)
        with pytest.raises(StoreError, match="is not in the plan"):
            run.add_repeat(record(), Purpose.REPLAY)


def test_failed_attempts_are_kept_in_order_and_finish_nothing(tmp_path: Path) -> None:
    with new(tmp_path / "r") as run:
        assert run.failed_attempts() == {}
        run.add_failed_attempt(FAULT.id, "the sandbox did not get ready")
        run.add_failed_attempt(FIRST.id, "etcd ended")
        run.add_failed_attempt(FAULT.id, "the watchdog ended it")
        with pytest.raises(StoreError, match="e0 is not in the plan"):
            run.add_failed_attempt("e0", "x")
    with open_run(tmp_path / "r") as run:
        assert run.failed_attempts() == {
            FAULT.id: ("the sandbox did not get ready", "the watchdog ended it"),
            FIRST.id: ("etcd ended",),
        }
        assert run.finished_ids() == frozenset()


def test_each_process_that_added_is_a_session_and_a_killed_one_has_no_end(tmp_path: Path) -> None:
    with new(tmp_path / "r") as run:
        with pytest.raises(StoreError, match="no session was begun"):
            run.end_session("finished")
        run.begin_session({"sandboxes": 2})
        run.add(record(FIRST))
    with open_run(tmp_path / "r", writable=True) as run:
        run.begin_session({"sandboxes": 1})
        run.add(record(SECOND))
        run.add(record(FAULT))
        run.end_session("interrupted")
        with pytest.raises(StoreError, match="ended before"):
            run.end_session("finished")
    with open_run(tmp_path / "r") as run:
        killed, whole = run.sessions()
    assert (killed.number, killed.document, killed.added, killed.ended, killed.why) == (
        1,
        {"sandboxes": 2},
        1,
        None,
        None,
    )
    assert (whole.number, whole.document, whole.added, whole.why) == (2, {"sandboxes": 1}, 2, "interrupted")
    assert killed.began <= whole.began <= (whole.ended or "")


def test_a_run_opened_for_reading_takes_none_of_it(tmp_path: Path) -> None:
    new(tmp_path / "r").close()
    with open_run(tmp_path / "r") as run:
        for add in (
            lambda: run.add(record(FIRST), trace=TRACE),
            lambda: run.add_repeat(record(FIRST), Purpose.REPLAY, trace=TRACE),
            lambda: run.add_failed_attempt(FIRST.id, "x"),
            lambda: run.begin_session({}),
            lambda: run.note("a", 1),
        ):
            with pytest.raises(StoreError, match="opened for reading"):
                add()
    assert not (tmp_path / "r" / "traces").exists()
