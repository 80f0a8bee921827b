"""No room, and no right to write: what was recorded stays, what is not is told, and the run goes on afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ENTER = ["unshare", "--user", "--map-root-user", "--mount"]


def no_namespaces() -> str:
    tried = subprocess.run([*ENTER, "true"], capture_output=True, text=True)
    return f"no mount namespace to be had here: {tried.stderr}" if tried.returncode else ""


pytestmark = pytest.mark.skipif(bool(no_namespaces()), reason=no_namespaces())


def told(scenario: str, folder: Path) -> dict[str, Any]:
    command = [*ENTER, sys.executable, "-m", "tests.campaigns.store.scarce", scenario, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("scenario", ["full-of-traces", "full-of-records"])
def test_a_full_disk_is_told_loses_nothing_and_the_run_goes_on_once_there_is_room(
    tmp_path: Path, scenario: str
) -> None:
    found = told(scenario, tmp_path)
    for words in (found["words"], found["again"]):
        assert "the disk is full (" in words and "all that was recorded before is kept" in words
        assert words.endswith("Make space, then go on with `mutineer resume r`")
    assert found["finished"] > 5
    assert (found["readable"], found["closed"]) == (found["finished"], found["finished"])
    assert found["half"] == []
    assert found["went_on"] == found["finished"] + 5 == found["observations"], "nothing half-recorded"
    assert found["whole"]


def test_a_run_that_goes_read_only_is_told_and_stays_readable(tmp_path: Path) -> None:
    found = told("read-only", tmp_path)
    trace, record, session, opening = found["words"]
    for words in (trace, record, session):
        assert "can't be written any more: " in words and "Make it writable, then go on with `mutineer" in words
    assert "can't be written: Read-only file system; make it writable to add to the run" in opening
    assert found["readable"] == 3
