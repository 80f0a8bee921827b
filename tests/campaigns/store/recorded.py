"""Runs as earlier versions of this program left them, in tests/campaigns/recorded: eleven real experiments each."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

__all__ = ["VERSION_1", "copy_of", "rows"]

VERSION_1 = Path(__file__).parents[1] / "recorded" / "version-1"
"""Five golden runs and six faults of the quickstart, by the program of commit c68c8aa."""


def copy_of(recorded: Path, to: Path) -> Path:
    """A copy to work on, as a run's folder is."""
    shutil.copytree(recorded, to)
    to.chmod(0o700)
    return to


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """What the file says, asked without this project's code."""
    connection = sqlite3.connect(folder / "record.sqlite")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def verdicts(folder: Path) -> dict[object, object]:
    """Experiment → its latest verdict as the file has it."""
    asked = "SELECT experiment, json_extract(document, '$.verdict') FROM judgements ORDER BY seq"
    return {name: json.loads(str(verdict)) for name, verdict in rows(folder, asked)}
