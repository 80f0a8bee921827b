"""Reads the JUnit file that e2e.test writes for one case (k8s.io/kubernetes/test/e2e/framework/internal/junit, 1.36).

It names all 7,579 specs, nearly all as skipped (2.7 MB), so it is read as a stream. What is looked for: the case's own
entry, and entries of the suite's set-up that failed. Ginkgo's states: passed, skipped, pending, failed, aborted,
panicked, interrupted, timedout.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.state import Status

__all__ = ["Outcome", "read_report"]

MESSAGE_LENGTH = 300
"""Characters of a failure's first line that are kept; arbitrary: two lines of a page."""
_SETUP = "[SynchronizedBeforeSuite]"
_NOT_RUN = "skipped"
"""What is said of specs outside the focus; of those that skip themselves it is `skipped - REASON`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """seconds: of the case. detail: the whole failure text, "" for a pass."""

    status: Status
    seconds: float
    message: str = ""
    detail: str = ""


def read_report(path: Path, name: str) -> Outcome | None:
    """The outcome of the case `name`; None where the file is missing, broken off or does not name it as run: then
    e2e.test itself ended too early."""
    setup: Outcome | None = None
    try:
        for _, element in ElementTree.iterparse(path):
            if element.tag != "testcase":
                continue
            if element.get("name") == f"[It] {name}":
                outcome = _outcome(element)
                return setup if outcome.message == _NOT_RUN else outcome
            if element.get("name", "").startswith(_SETUP) and element.get("status") != "passed":
                setup = _outcome(element)
            element.clear()
    except (FileNotFoundError, ElementTree.ParseError):
        return None
    return setup


def _outcome(element: ElementTree.Element) -> Outcome:
    state, seconds = element.get("status", ""), float(element.get("time", "0"))
    if state == "passed":
        return Outcome(Status.PASSED, seconds)
    if state in ("skipped", "pending"):
        found = element.find("skipped")
        return Outcome(Status.SKIPPED, seconds, _first_line(found.get("message", "") if found is not None else ""))
    failure = next((child for child in element if child.tag in ("failure", "error")), None)
    message, detail = ("", "") if failure is None else (failure.get("message", ""), failure.text or "")
    if state in ("timedout", "interrupted"):
        return Outcome(Status.TIMEOUT, seconds, _where_it_waited(detail), f"{message}\n{detail}")
    return Outcome(Status.FAILED, seconds, _first_line(message or detail) or state, f"{message}\n{detail}")


def _first_line(text: str) -> str:
    """Up to two lines: upstream's first one often only says that an error was unexpected."""
    lines = [line.strip() for line in text.removeprefix("[FAILED] ").splitlines() if line.strip()]
    shown = lines[:1] if lines and not lines[0].endswith(":") else lines[:2]
    return " ".join(shown)[:MESSAGE_LENGTH]


def _where_it_waited(detail: str) -> str:
    """The step that the case was at, from ginkgo's progress report."""
    found = re.search(r"At \[By Step\] (.*?)(?: \(Step Runtime: .*\))?$", detail, re.MULTILINE)
    return f"ran out of time at: {found[1]}"[:MESSAGE_LENGTH] if found else "ran out of time"
