"""A run's record at size: showing a hundred thousand experiments, adding, judging again, and what one takes on disk.

The records are those of tests/campaigns/recorded (real runs of the quickstart), varied by id. In the large store the
few observations are shared, as equal ones are: showing reads none of them. What is added and judged again has an
observation of its own each. Every figure of showing is the best of `rounds` and has the start of a new process in it.

    python -m benchmarks.store FOLDER      makes the large store alone, in a new folder
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import Figure
from campaigns.judging.rejudging import rejudge
from campaigns.planning.plan import Plan
from campaigns.record import ExperimentRecord
from campaigns.store import Run, create_run, open_run
from campaigns.store import tables as t
from campaigns.store.rows import record_row, write_observation
from injector.rules import Rule

__all__ = ["measure"]

_RECORDED = Path(__file__).parents[1] / "tests" / "campaigns" / "recorded" / "version-1"
_SHOWN = 100_000
_JUDGED = 600
_GOLDEN_EVERY = 20
_TRACE_BYTES = 200_000
"""Of a made-up trace: as large as etcd's history with values in a deployment of six pods, and as repetitive."""
_GOAL_BYTES = 200_000
"""An experiment with its trace: 300 MB for an hour's 1,500."""


def measure(rounds: int, seconds: float, say: Callable[[str], object]) -> list[Figure]:
    """`seconds`: how long is added."""
    with tempfile.TemporaryDirectory(prefix="mutineer-bench-store-") as folder:
        large = Path(folder) / "large"
        say(f"store: making a run of {_SHOWN:,} experiments")
        # in a process of its own: the most memory of a child is at least what its parent had when it was forked
        subprocess.run([sys.executable, "-m", "benchmarks.store", str(large)], check=True)
        shown = _showing(large, rounds, say)
        real = _real(Path(folder))
        say(f"store: adding for {seconds:g} s, then judging {_JUDGED} again")
        return [*shown, *_adding(Path(folder) / "added", real, seconds), *_judging(Path(folder) / "judged", real)]


def _real(folder: Path) -> list[ExperimentRecord]:
    shutil.copytree(_RECORDED, folder / "recorded")
    with open_run(folder / "recorded") as run:
        return list(run.records())


def _varied(real: Sequence[ExperimentRecord], count: int) -> Iterator[ExperimentRecord]:
    """`count` records under ids of their own, one in twenty golden."""
    golden = [record for record in real if record.planned.golden]
    faults = [record for record in real if not record.planned.golden]
    for number in range(count):
        chosen = golden if number % _GOLDEN_EVERY == 0 else faults
        record = chosen[number % len(chosen)]
        name = f"{record.planned.id[0]}{number * 2_654_435_761 % 2**48:012x}"
        rule: Rule | None = replace(record.planned.rule, id=name) if record.planned.rule else None
        yield replace(record, planned=replace(record.planned, id=name, rule=rule))


def _large(folder: Path, real: Sequence[ExperimentRecord]) -> None:
    """Written in bulk: one transaction instead of one an experiment."""
    records = list(_varied(real, _SHOWN))
    with create_run(folder, "name: large\n", _plan(records), {}) as run, run._engine.begin() as connection:
        hashes = {id(each.observation): write_observation(connection, each.observation) for each in real}
        for start in range(0, len(records), 5000):
            rows = [
                {
                    **record_row(record),
                    "id": record.planned.id,
                    "workload": record.planned.workload,
                    "golden": record.planned.golden,
                    "observation": hashes[id(record.observation)],
                }
                for record in records[start : start + 5000]
            ]
            connection.execute(t.experiments.insert(), rows)


def _plan(records: Sequence[ExperimentRecord]) -> Plan:
    return Plan("large", 1, tuple(record.planned for record in records))


def _showing(folder: Path, rounds: int, say: Callable[[str], object]) -> list[Figure]:
    asked = {"show RUN": [], "show RUN --json": ["--json"]}
    best = dict.fromkeys(asked, (float("inf"), 0.0, 0.0))
    for number in range(rounds):
        for name, options in asked.items():
            say(f"store: {name}, round {number + 1} of {rounds}")
            best[name] = min(best[name], _timed([sys.executable, "-m", "mutineer", "show", str(folder), *options]))
    figures = []
    for name, (wall, processor, mebibytes) in best.items():
        goal = 1.0 if name == "show RUN" else None
        figures.append(Figure(name=f"{name}, {_SHOWN:,} experiments", value=wall, unit="s", goal=goal))
        figures.append(Figure(name="    processor time of it", value=processor, unit="s"))
        figures.append(Figure(name="    most memory", value=mebibytes, unit="MiB", goal=150))
    return figures


def _timed(command: Sequence[str]) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of processor, most MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _adding(folder: Path, real: Sequence[ExperimentRecord], seconds: float) -> list[Figure]:
    """One after the other, each with a trace of its own, as a runner does."""
    records = list(_varied(real, 5000))
    with create_run(folder, "name: added\n", _plan(records), {}) as run:
        before, began = _processor(), time.perf_counter()
        done = 0
        while time.perf_counter() - began < seconds and done < len(records):
            run.add(_own(records[done], done), trace=_trace(done))
            done += 1
        wall, processor = time.perf_counter() - began, _processor() - before
    database = (folder / "record.sqlite").stat().st_size / done
    traces = sum(path.stat().st_size for path in (folder / "traces").rglob("*") if path.is_file()) / done
    return [
        Figure(name="adding one with its trace", value=wall / done * 1e3, unit="ms"),
        Figure(name="    processor time of it", value=processor / done * 1e3, unit="ms"),
        Figure(name="one in the database", value=database / 1e3, unit="kB"),
        Figure(name="one with its trace", value=(database + traces) / 1e3, unit="kB", goal=_GOAL_BYTES / 1e3),
    ]


def _processor() -> float:
    """Seconds that this process and the children that it waited for were busy."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _own(record: ExperimentRecord, number: int) -> ExperimentRecord:
    """With an observation that no other has."""
    seen = record.observation
    return record if seen is None else replace(record, observation=replace(seen, seconds=seen.seconds + number / 1e6))


def _trace(number: int) -> bytes:
    line = b'{"key":"/registry/pods/default/web-%d-%d","phase":"Running","node":"node-%d"}\n'
    one = b"".join(line % (number, place, place % 3) for place in range(40))
    return (one + os.urandom(200)) * (_TRACE_BYTES // (len(one) + 200))


def _judging(folder: Path, real: Sequence[ExperimentRecord]) -> list[Figure]:
    records = [_own(record, number) for number, record in enumerate(_varied(real, _JUDGED))]
    with create_run(folder, "name: judged\n", _plan(records), {}) as run:
        _add_all(run, records)
        began, processor = time.perf_counter(), _processor()
        judged = rejudge(run).judged
        each, busy = (time.perf_counter() - began) / judged, (_processor() - processor) / judged
    return [
        Figure(name="judging one again, on every core", value=each * 1e3, unit="ms"),
        Figure(name="    processor time of it", value=busy * 1e3, unit="ms"),
        Figure(name="    10,000 at that rate", value=each * 10_000 / 60, unit="min", goal=5),
    ]


def _add_all(run: Run, records: Sequence[ExperimentRecord]) -> None:
    for record in records:
        run.add(record)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mutineer-bench-store-") as made:
        _large(Path(sys.argv[1]), _real(Path(made)))
