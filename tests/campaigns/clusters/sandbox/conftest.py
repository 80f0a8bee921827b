"""Tests marked `inside` run in namespaces of their own, as root there: ordinary tests with ordinary fixtures.

When the first of them is due, one pytest is started in new namespaces (see namespaces.py) with all that were chosen; it
writes a report a line, and they are told here as if they had run here (as pytest-xdist does it). So a module marked
`pytestmark = pytest.mark.inside` may mount, make networks and change users.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.clusters.sandbox import namespaces

_REPORTS = "MUTINEER_TESTS_INSIDE"
"""Environment variable: the file that the pytest inside writes its reports to."""
_ROOT = Path(__file__).parents[4]
_WITHIN_S = 110
_outcomes = pytest.StashKey[Mapping[str, list[dict[str, Any]]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "inside: runs in namespaces of its own, as root there")


def _is_inside(item: pytest.Item) -> bool:
    return item.get_closest_marker("inside") is not None


def _run_inside(session: pytest.Session) -> Mapping[str, list[dict[str, Any]]]:
    """Node id → its reports, of all chosen tests that are marked."""
    chosen = [item.nodeid for item in session.items if _is_inside(item)]
    folder = session.config._tmp_path_factory.mktemp("inside")  # type: ignore[attr-defined]  # a fixture is no hook's
    reports = folder / "reports"
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 't'}", "--timeout=30"]
    command = [sys.executable, "-m", namespaces.__name__, *options, *chosen]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, env={**os.environ, _REPORTS: str(reports)}, capture_output=True, text=True,
            timeout=_WITHIN_S, check=False,
        )  # fmt: skip
        said = f"pytest inside ended with {done.returncode}:\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    except subprocess.TimeoutExpired as error:
        said = f"pytest inside took longer than {_WITHIN_S} s:\n{(error.stdout or b'')[-8000:]!r}"
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in reports.read_text().splitlines() if reports.exists() else ():
        report = json.loads(line)
        found[report["nodeid"]].append(report)
    for item in session.items:
        if _is_inside(item) and not any(r["when"] == "teardown" for r in found[item.nodeid]):
            lost = pytest.TestReport(item.nodeid, item.location, {}, "failed", said, "call")
            found[item.nodeid].append(_serialized(session.config, lost))
    return found


def _serialized(config: pytest.Config, report: pytest.TestReport) -> dict[str, Any]:
    data: dict[str, Any] = config.hook.pytest_report_to_serializable(config=config, report=report)
    return data


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _is_inside(item) or _REPORTS in os.environ:
        return None
    stash = item.session.stash
    if _outcomes not in stash:
        stash[_outcomes] = _run_inside(item.session)
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
    if _is_inside(item) and (path := os.environ.get(_REPORTS)):
        with Path(path).open("a") as file:
            file.write(json.dumps(_serialized(item.config, outcome.get_result())) + "\n")
