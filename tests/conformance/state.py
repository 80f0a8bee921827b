"""What is known of each case so far: runs/conformance/state.json.

The file: {"schema": 1, "results": {CASE: {status, seconds, message, log, commit, at, beside, failed_before}}}. It is
written whole, by rename, after every case: a run that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["Result", "State", "Status"]

SCHEMA = 1


class Status(StrEnum):
    """How a case ended. skipped: by upstream's own condition. timeout: its limit passed."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    TIMEOUT = "timeout"

    @property
    def bad(self) -> bool:
        return self in (Status.FAILED, Status.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case's last run.

    seconds        of the case itself, setup and clean-up included
    message        the failure's (or skip's) first line, "" for a pass
    log            file name below runs/conformance/logs, "" for a pass
    at             when it ended, ISO 8601, UTC
    beside         how many other cases ran at the same time, at most
    failed_before  how many earlier runs at the same commit were bad
    """

    status: Status
    seconds: float
    message: str
    log: str
    commit: str
    at: str
    beside: int
    failed_before: int = 0


@dataclass(slots=True)
class State:
    """Results by case name."""

    path: Path
    results: dict[str, Result]

    @classmethod
    def load(cls, path: Path) -> State:
        """What is there, nothing if there is no file. SystemExit in words if it is of another schema."""
        if not path.exists():
            return cls(path, {})
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise SystemExit(f"{path} is of schema {document['schema']}, expected {SCHEMA}; remove it")
        results = document["results"].items()
        return cls(path, {name: Result(**{**each, "status": Status(each["status"])}) for name, each in results})

    def add(self, name: str, result: Result) -> Result:
        """Keeps it as the case's last one; returns it with `failed_before` filled in."""
        before = self.results.get(name)
        failed = before.failed_before + before.status.bad if before and before.commit == result.commit else 0
        self.results[name] = dataclasses.replace(result, failed_before=failed)
        self._write()
        return self.results[name]

    def bad(self) -> set[str]:
        """Names of the cases that failed or ran out of time."""
        return {name for name, result in self.results.items() if result.status.bad}

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        results = {name: dataclasses.asdict(self.results[name]) for name in sorted(self.results)}
        partial.write_text(json.dumps({"schema": SCHEMA, "results": results}, indent=1))
        partial.replace(self.path)
