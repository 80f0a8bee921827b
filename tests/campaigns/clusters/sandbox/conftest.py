"""Tests marked `inside` run in namespaces of their own, as root there: ordinary tests with ordinary fixtures.

One pytest is started in new namespaces (see namespaces.py) with all that were chosen, beside the others, which go
first; it writes a report a line, and they are told here as if they had run here (as pytest-xdist does it, whose first
worker starts it and whose every worker tells what it is asked for). So a module with `pytestmark = pytest.mark.inside`
may mount, make networks and change users.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.clusters.sandbox import namespaces

_REPORTS = "MUTINEER_TESTS_INSIDE"
"""Environment variable: the file that the pytest inside writes its reports to."""
_ROOT = Path(__file__).parents[4]
_WITHIN_S = 110
_outcomes = pytest.StashKey[Mapping[str, list[dict[str, Any]]]]()
_started = pytest.StashKey["subprocess.Popen[bytes]"]()


@dataclass(frozen=True, slots=True)
class _Folder:
    """What the pytest inside leaves, in a folder that all workers of pytest-xdist share."""

    path: Path

    @property
    def reports(self) -> Path:
        return self.path / "reports"

    @property
    def said(self) -> Path:
        return self.path / "said"

    @property
    def running(self) -> Path:
        """Locked for as long as it runs."""
        return self.path / "running"


def _folder(config: pytest.Config) -> _Folder:
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # a fixture is no hook's
    return _Folder((base.parent if hasattr(config, "workerinput") else base) / "inside")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "inside: runs in namespaces of its own, as root there")


def _is_inside(item: pytest.Item) -> bool:
    return item.get_closest_marker("inside") is not None and _REPORTS not in os.environ


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_is_inside)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts them, once."""
    chosen = [item.nodeid for item in session.items if _is_inside(item)]
    first = getattr(session.config, "workerinput", {}).get("workerid", "gw0") == "gw0"
    if not chosen or not first or session.config.option.collectonly:
        return
    folder = _folder(session.config)
    folder.path.mkdir()
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={folder.path / 't'}", "--timeout=30"]
    command = [sys.executable, "-m", namespaces.__name__, *options, *chosen]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    with folder.running.open("wb") as running, folder.said.open("wb") as said:
        fcntl.flock(running, fcntl.LOCK_EX)
        session.stash[_started] = subprocess.Popen(
            command, cwd=_ROOT, env={**outside, _REPORTS: str(folder.reports)}, stdin=subprocess.DEVNULL,
            stdout=said, stderr=said, pass_fds=[running.fileno()],
        )  # fmt: skip


def pytest_sessionfinish(session: pytest.Session) -> None:
    if process := session.stash.get(_started, None):
        if not _ended(_folder(session.config), within_s=0 if session.shouldstop else _WITHIN_S):
            process.send_signal(signal.SIGKILL)
        process.wait()


def _ended(folder: _Folder, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    with folder.running.open("rb") as running:
        while True:
            try:
                fcntl.flock(running, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.05)


def _outcome(session: pytest.Session) -> Mapping[str, list[dict[str, Any]]]:
    """Node id → its reports, of all chosen tests that are marked."""
    folder = _folder(session.config)
    ended = _ended(folder, _WITHIN_S)
    end = "ended" if ended else f"took longer than {_WITHIN_S} s"
    said = f"pytest inside {end}:\n{folder.said.read_text()[-8000:]}"
    found: dict[str, list[dict[str, Any]]] = {item.nodeid: [] for item in session.items if _is_inside(item)}
    for line in folder.reports.read_text().splitlines() if folder.reports.exists() else ():
        report = json.loads(line)
        found[report["nodeid"]].append(report)
    for item in session.items:
        if item.nodeid in found and not any(r["when"] == "teardown" for r in found[item.nodeid]):
            lost = pytest.TestReport(item.nodeid, item.location, {}, "failed", said, "call")
            found[item.nodeid].append(_serialized(session.config, lost))
    return found


def _serialized(config: pytest.Config, report: pytest.TestReport) -> dict[str, Any]:
    data: dict[str, Any] = config.hook.pytest_report_to_serializable(config=config, report=report)
    return data


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _is_inside(item):
        return None
    stash = item.session.stash
    if _outcomes not in stash:
        stash[_outcomes] = _outcome(item.session)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in stash[_outcomes][item.nodeid]:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        if isinstance(report.longrepr, list):  # of a skipped test; JSON has no tuples
            report.longrepr = tuple(report.longrepr)
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    # the test before this one left standing what this one shares with it; no public call takes that down
    item.session._setupstate.teardown_exact(nextitem)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    outcome = yield
    if item.get_closest_marker("inside") and (path := os.environ.get(_REPORTS)):
        with Path(path).open("a") as file:
            file.write(json.dumps(_serialized(item.config, outcome.get_result())) + "\n")
