"""Runs cases: one e2e.test process a case (it costs 1.5 CPU-seconds), several side by side, on sandboxes that are
replaced every `FRESH_AFTER` cases and whenever one dies.

A case whose sandbox died is run again, alone, on a fresh one; if that dies too, the case has failed.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar

from tests.conformance.cases import Case
from tests.conformance.cluster import Cluster
from tests.conformance.report import Outcome, read_report
from tests.conformance.state import Result, State, Status

__all__ = [
    "FRESH_AFTER",
    "CaseRunner",
    "Progress",
    "Runner",
    "Target",
    "batches",
    "log_name",
    "run_cases",
    "suite_arguments",
]

FRESH_AFTER = 60
"""Cases a sandbox: etcd keeps the whole history in memory (512 MiB at most), and a case may leave things behind."""
_GRACE_S = 60
"""ginkgo's own limit comes first, so that the case can tidy up; this much later the process is killed."""


def suite_arguments(case: Case, *, kubeconfig: Path, kubectl: Path, reports: Path) -> list[str]:
    """e2e.test's arguments for one case."""
    return [
        "--provider=skeleton", f"--kubeconfig={kubeconfig}", f"--kubectl-path={kubectl}",
        f"--ginkgo.focus={case.focus}", "--ginkgo.fail-on-empty", "--ginkgo.v", "--ginkgo.no-color",
        "--ginkgo.silence-skips", f"--ginkgo.timeout={case.limit_s}s", "--ginkgo.grace-period=30s",
        f"--report-dir={reports}", "--disable-log-dump",
        # the waits before the case, of minutes by default, in vain where the sandbox is broken
        "--system-pods-startup-timeout=60s", "--system-daemonsets-startup-timeout=60s",
        "--node-schedulable-timeout=60s",
    ]  # fmt: skip


class Target(Protocol):
    """What cases run against; `cluster.Cluster` in earnest."""

    def healthy(self) -> bool:
        """Whether a failure on it means anything."""


T = TypeVar("T", bound=Target)
T_contra = TypeVar("T_contra", bound=Target, contravariant=True)


class Runner(Protocol[T_contra]):
    """Runs one case; called by several threads at once."""

    def __call__(self, target: T_contra, case: Case, /) -> Outcome:
        """Returns when the case has ended."""

    def abort(self) -> None:
        """Ends what runs; the calls return soon, with a bad outcome."""


def log_name(name: str) -> str:
    """A file name for a case's output, readable and unique."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower().removesuffix("[conformance]")).strip("-")
    return f"{words[:80].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}.log"


@dataclass(slots=True)
class CaseRunner:
    """Runs e2e.test in a sandbox. `scratch`: a folder of ours; `logs`: where the output of what did not pass stays."""

    suite: Path
    scratch: Path
    logs: Path
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    def __call__(self, cluster: Cluster, case: Case) -> Outcome:
        reports = self.scratch / log_name(case.name).removesuffix(".log")
        log = self.logs / log_name(case.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        kubectl = cluster.config.binaries["kubectl"]
        arguments = suite_arguments(case, kubeconfig=cluster.kubeconfig, kubectl=kubectl, reports=reports)
        argv, environment = cluster.command([str(self.suite), *arguments])
        began = time.monotonic()
        with log.open("wb") as output:
            code = self._finish(argv, {**environment, "TMPDIR": str(self.scratch)}, output, case.limit_s + _GRACE_S)
        outcome = read_report(reports / "junit_01.xml", case.name)
        (reports / "junit_01.xml").unlink(missing_ok=True)
        if outcome is None:
            last = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
            said = f"e2e.test left no report, exit code {code}; it said: {last}"
            status, said = (Status.TIMEOUT, "did not end when told to") if code is None else (Status.FAILED, said)
            outcome = Outcome(status, time.monotonic() - began, said)
        if outcome.status is Status.PASSED:
            log.unlink()
        return outcome

    def _finish(self, argv: list[str], environment: dict[str, str], output: BinaryIO, within_s: float) -> int | None:
        """The exit code; None if it had to be killed."""
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", process_group=0
        )
        self._running.add(process)
        try:
            return process.wait(within_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            return None
        finally:
            self._running.discard(process)

    def abort(self) -> None:
        for process in list(self._running):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def batches(cases: Sequence[Case], size: int = FRESH_AFTER) -> Iterator[list[Case]]:
    """At most `size` each, those that must run alone apart from the others; the order is kept."""
    for alone in (False, True):
        kind = [case for case in cases if case.alone is alone]
        yield from (kind[start : start + size] for start in range(0, len(kind), size))


@dataclass(slots=True)
class Progress:
    """A line a case, with rate and time left."""

    total: int
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    counts: Counter[Status] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def done(self, case: Case, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        finished = self.counts.total()
        minutes = max(self.clock() - self.began, 1e-3) / 60
        left = (self.total - finished) * minutes / finished
        tally = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        head = f"[{finished}/{self.total}] {outcome.status:<7} {outcome.seconds:6.1f} s  {case.name}"
        self.say(f"{head}{f': {outcome.message}' if outcome.message else ''}")
        if finished % 10 == 0 or finished == self.total:
            self.say(f"    {tally}; {finished / minutes:.1f} a minute, about {left:.0f} min left")


def run_cases(
    cases: Sequence[Case],
    *,
    state: State,
    run: Runner[T],
    sandbox: Callable[[int], AbstractContextManager[T]],
    workers: int,
    commit: str,
    progress: Progress,
    size: int = FRESH_AFTER,
) -> None:
    """Runs all of `cases` and keeps each result in `state` at once. `sandbox` starts the n-th one."""
    session = _Session(state, run, commit, progress)
    todo, number = deque(batches(cases, size)), 0
    while todo:
        batch = todo.popleft()
        number += 1
        with sandbox(number) as target:
            suspects, left = session.run(target, batch, 1 if batch[0].alone else workers)
        if left:
            todo.appendleft(left)
        for case in suspects:
            todo.appendleft([case])  # alone on a fresh one: whose fault was it?


@dataclass(slots=True)
class _Session(Generic[T]):
    state: State
    run_one: Runner[T]
    commit: str
    progress: Progress
    suspected: set[str] = field(default_factory=set)

    def run(self, target: T, batch: list[Case], workers: int) -> tuple[list[Case], list[Case]]:
        """(those to run again since the sandbox died, those not begun)"""
        todo, suspects = deque(batch), list[Case]()
        running: dict[Future[Outcome], Case] = {}
        workers = min(workers, len(batch))
        dead = False
        with ThreadPoolExecutor(workers) as pool:
            try:
                while running or (todo and not dead):
                    while todo and not dead and len(running) < workers:
                        case = todo.popleft()
                        running[pool.submit(self.run_one, target, case)] = case
                    for finished in wait(running, return_when=FIRST_COMPLETED).done:
                        case, outcome = running.pop(finished), finished.result()
                        if not dead and outcome.status.bad and not target.healthy():
                            dead = True
                            self.run_one.abort()
                        if not (dead and self._suspect(case, outcome, suspects)):
                            self._keep(case, outcome, workers - 1)
            except BaseException:  # Ctrl-C, too: the pool waits for its threads
                self.run_one.abort()
                raise
        return suspects, list(todo)

    def _suspect(self, case: Case, outcome: Outcome, suspects: list[Case]) -> bool:
        """Whether a case that ended on a dead sandbox is run again instead of being kept."""
        if not outcome.status.bad or case.name in self.suspected:
            return False
        self.suspected.add(case.name)
        suspects.append(case)
        return True

    def _keep(self, case: Case, outcome: Outcome, beside: int) -> None:
        self.state.add(
            case.name,
            Result(
                status=outcome.status,
                seconds=round(outcome.seconds, 1),
                message=outcome.message,
                log="" if outcome.status is Status.PASSED else log_name(case.name),
                commit=self.commit,
                at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                beside=beside,
            ),
        )
        self.progress.done(case, outcome)
