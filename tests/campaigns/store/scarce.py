"""A run on a disk that fills up, and on one that goes read-only. Needs a user and a mount namespace of its own.

    unshare --user --map-root-user --mount python -m tests.campaigns.store.scarce SCENARIO FOLDER

Says what happened as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from campaigns.clusters.sandbox import isolation
from campaigns.planning.plan import Plan
from campaigns.store import Run, create_run, open_run
from injector.errors import StoreError
from tests.builders import faulty, rule
from tests.campaigns.builders import SPEC, record, small_plan
from tests.campaigns.store.recorded import rows

_EXPERIMENTS = 400
_MS_REMOUNT = 32


def many() -> Plan:
    """Experiments enough to fill any disk of this test."""
    fault = next(e for e in small_plan().experiments if e.rule is not None)
    named = (replace(fault, id=f"e{n:012}", rule=rule(id=f"e{n:012}")) for n in range(_EXPERIMENTS))
    return Plan("many", 1, tuple(named))


def full(folder: Path, *, traces: bool) -> dict[str, object]:
    """Adds until there is no room, makes room, goes on: in this process, and in the next."""
    isolation.mount_tmpfs(folder, size="1500k")
    plan = many()
    rest = iter(plan.experiments)

    def add(run: Run) -> None:
        planned = next(rest)
        seen = faulty(user_errors=(os.urandom(20_000).hex(),))
        run.add(record(planned, observation=seen), trace=os.urandom(60_000) if traces else None)

    with create_run(folder / "r", SPEC, plan, {}) as run:
        run.begin_session({})
        words = _until_refused(lambda: add(run))
        finished = len(run.finished_ids())
        readable = _read(folder / "r")
        again = _until_refused(lambda: add(run))
    closed = _read(folder / "r")
    isolation.mount("none", folder, "tmpfs", flags=_MS_REMOUNT, options="size=16m")
    half = [str(path) for path in (folder / "r").rglob("*.partial")]
    with open_run(folder / "r", writable=True) as run:
        for _ in range(5):
            add(run)
        went_on = len(run.finished_ids())
        whole = all(r.observation is not None for r in run.records())
        traced = all(run.trace(name) is not None for name in run.finished_ids()) if traces else True
    return {
        "words": words,
        "again": again,
        "finished": finished,
        "readable": readable,
        "closed": closed,
        "half": half,
        "went_on": went_on,
        "whole": whole and traced,
        "observations": rows(folder / "r", "SELECT count(*) FROM observations")[0][0],
    }


def read_only(folder: Path) -> dict[str, object]:
    """The folder goes read-only while the run is open. (What the kernel does to a disk with errors can't be had here:
    the connection is opened anew instead of meeting the change in the middle.)"""
    plan = many()
    with create_run(folder / "r", SPEC, plan, {}) as run:
        for planned in plan.experiments[:3]:
            run.add(record(planned), trace=b"a trace of it")
        isolation.bind(folder / "r", folder / "r", writable=False)
        words = [_until_refused(lambda: run.add(record(plan.experiments[3]), trace=b"another"))]
        run._engine.dispose()
        words.append(_until_refused(lambda: run.add(record(plan.experiments[3]))))
        words.append(_until_refused(lambda: run.end_session("x") if run._session else run.begin_session({})))
    words.append(_until_refused(lambda: open_run(folder / "r", writable=True)))
    return {"words": words, "readable": _read(folder / "r")}


def _until_refused(act: Callable[[], object]) -> str:
    for _ in range(_EXPERIMENTS):
        try:
            act()
        except StoreError as error:
            return str(error)
    return "never refused"


def _read(folder: Path) -> object:
    try:
        with open_run(folder) as reader:
            return len([r for r in reader.records() if r.observation is not None])
    except StoreError as error:
        return str(error)


if __name__ == "__main__":
    scenario, where = sys.argv[1], Path(sys.argv[2])
    if scenario == "read-only":
        print(json.dumps(read_only(where)))
    else:
        print(json.dumps(full(where, traces=scenario == "full-of-traces")))
