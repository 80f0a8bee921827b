"""The queries of docs/runs.md are what a person can type."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from campaigns.judging.rejudging import rejudge
from campaigns.store import open_run
from tests.campaigns.store.recorded import VERSION_1, copy_of
from tests.campaigns.store.workout import work_out

DOCS = Path(__file__).parents[3] / "docs" / "runs.md"


def queries() -> list[str]:
    (block,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return [statement for statement in block.split(";\n") if statement.strip()]


def asked(folder: Path) -> list[list[tuple[object, ...]]]:
    connection = sqlite3.connect(folder / "record.sqlite")
    try:
        return [connection.execute(statement).fetchall() for statement in queries()]
    finally:
        connection.close()


def test_they_tell_what_show_tells(tmp_path: Path) -> None:
    folder = copy_of(VERSION_1, tmp_path / "r")
    with open_run(folder, writable=True) as run:
        rejudge(run)
        counted = {(c.orchestrator, c.client): c.experiments for c in run.counts() if not c.golden}
        stalled = [r for r in run.gravest() if r.verdict.orchestrator == "stall"]
    _, classes, fields, missing, *_ = asked(folder)
    assert {(o, c): n for o, c, n in classes} == counted
    assert [row[0] for row in fields] == [r.planned.id for r in stalled] != []
    assert missing == []


def test_sessions_failures_and_repeats_are_found_too(tmp_path: Path) -> None:
    work_out(tmp_path / "r")
    *_, sessions, failed, repeats = asked(tmp_path / "r")
    assert [(number, why, added) for number, _, _, why, added in sessions] == [(1, "finished", 5), (2, None, 1)]
    assert [error for _, _, error in failed] == ["etcd ended"]
    assert sorted(purpose for _, purpose, _, _ in repeats) == ["confirm", "replay"]
