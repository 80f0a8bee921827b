from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.state import Result, State, Status


def result(status: Status = Status.PASSED, *, commit: str = "abc") -> Result:
    return Result(status=status, seconds=1.5, message="", log="", commit=commit, at="2026-01-01T00:00:00", beside=3)


def test_what_was_added_is_there_after_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "state.json"
    State.load(path).add("a", result())
    State.load(path).add("b", result(Status.TIMEOUT))
    loaded = State.load(path)
    assert loaded.results == {"a": result(), "b": result(Status.TIMEOUT)}
    assert loaded.results["b"].status is Status.TIMEOUT
    assert loaded.bad() == {"b"}
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_a_later_result_replaces_the_earlier_one_and_remembers_failures_at_the_same_commit(tmp_path: Path) -> None:
    state = State.load(tmp_path / "state.json")
    state.add("a", result(Status.FAILED))
    state.add("a", result(Status.TIMEOUT))
    assert state.add("a", result()).failed_before == 2
    assert state.bad() == set()
    assert state.add("a", result()).failed_before == 2
    assert state.add("a", result(commit="new")).failed_before == 0


def test_a_file_of_another_schema_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"schema": 9, "results": {}}))
    with pytest.raises(SystemExit, match="of schema 9, expected 1"):
        State.load(path)


@pytest.mark.parametrize(
    ("status", "bad"),
    [(Status.PASSED, False), (Status.SKIPPED, False), (Status.FAILED, True), (Status.TIMEOUT, True)],
)
def test_a_skipped_case_is_not_bad(status: Status, bad: bool) -> None:
    assert status.bad is bad
