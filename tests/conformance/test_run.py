from __future__ import annotations

import contextlib
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conformance import run as run_module
from tests.conformance.cases import Case
from tests.conformance.report import Outcome
from tests.conformance.run import CaseRunner, Progress, batches, log_name, run_cases, suite_arguments
from tests.conformance.state import State, Status
from tests.conftest import wait_until

CASES = [Case(f"[sig-x] case {n} [Conformance]", "x.go") for n in range(5)]
SERIAL = [Case(f"[sig-x] serial {n} [Serial] [Conformance]", "x.go") for n in range(2)]
PASS, FAIL = Outcome(Status.PASSED, 1.0), Outcome(Status.FAILED, 2.0, "broke")


@dataclass
class Target:
    """A cluster that is ill once a case has made it so."""

    number: int
    ill: bool = False

    def healthy(self) -> bool:
        return not self.ill


@dataclass
class Runner:
    """Outcomes by case name; `deadly` cases make their target ill, as often as said."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    deadly: dict[str, int] = field(default_factory=dict)
    interrupting: str = ""
    ran: list[tuple[int, str]] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    aborted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, target: Target, case: Case, /) -> Outcome:
        with self.lock:
            self.ran.append((target.number, case.name))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        if case.name == self.interrupting:
            raise KeyboardInterrupt
        if self.deadly.get(case.name, 0):
            self.deadly[case.name] -= 1
            target.ill = True
            self.at_once -= 1
            return FAIL
        with self.lock:
            self.at_once -= 1
        return self.outcomes.get(case.name, PASS)

    def abort(self) -> None:
        self.aborted += 1


@dataclass
class Sandboxes:
    started: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    @contextlib.contextmanager
    def __call__(self, number: int) -> Iterator[Target]:
        self.started.append(number)
        try:
            yield Target(number)
        finally:
            self.ended.append(number)


def go(
    tmp_path: Path, cases: list[Case], runner: Runner, *, workers: int = 1, size: int = 60
) -> tuple[State, Sandboxes]:
    state, sandboxes = State.load(tmp_path / "state.json"), Sandboxes()
    progress = Progress(len(cases), lambda _: None)
    run_cases(
        cases, state=state, run=runner, sandbox=sandboxes, workers=workers, commit="abc", progress=progress, size=size
    )
    return state, sandboxes


def test_every_result_is_kept_with_its_circumstances(tmp_path: Path) -> None:
    state, sandboxes = go(tmp_path, CASES, Runner({CASES[1].name: FAIL}), workers=2)
    assert {name: each.status for name, each in State.load(tmp_path / "state.json").results.items()} == {
        case.name: Status.FAILED if case is CASES[1] else Status.PASSED for case in CASES
    }
    bad = state.results[CASES[1].name]
    assert (bad.message, bad.seconds, bad.commit, bad.beside) == ("broke", 2.0, "abc", 1)
    assert bad.log == log_name(CASES[1].name)
    assert state.results[CASES[0].name].log == ""
    assert sandboxes.started == sandboxes.ended == [1]


def test_sandboxes_are_replaced_and_serial_cases_run_alone(tmp_path: Path) -> None:
    runner = Runner()
    state, sandboxes = go(tmp_path, [*CASES, *SERIAL], runner, workers=4, size=3)
    assert [number for number, _ in sorted(runner.ran)] == [1, 1, 1, 2, 2, 3, 3]
    assert sandboxes.ended == [1, 2, 3]
    assert {name for number, name in runner.ran if number == 3} == {case.name for case in SERIAL}
    assert all(state.results[case.name].beside == 0 for case in SERIAL)
    assert state.results[CASES[0].name].beside == 2


def test_a_case_whose_sandbox_died_gets_a_second_one_and_the_others_still_run(tmp_path: Path) -> None:
    runner = Runner(deadly={CASES[1].name: 1})
    state, sandboxes = go(tmp_path, CASES, runner)
    assert runner.ran == [
        (1, CASES[0].name), (1, CASES[1].name), (2, CASES[1].name), *((3, case.name) for case in CASES[2:]),
    ]  # fmt: skip
    assert {each.status for each in state.results.values()} == {Status.PASSED}
    assert sandboxes.ended == [1, 2, 3]
    assert runner.aborted == 1


def test_a_case_that_kills_its_second_sandbox_too_has_failed(tmp_path: Path) -> None:
    runner = Runner(deadly={CASES[1].name: 2})
    state, _ = go(tmp_path, CASES, runner)
    assert state.bad() == {CASES[1].name}
    assert len(state.results) == 5


def test_an_interrupt_ends_what_runs_and_the_sandbox_and_keeps_what_was_done(tmp_path: Path) -> None:
    runner, sandboxes = Runner(interrupting=CASES[2].name), Sandboxes()
    state = State.load(tmp_path / "state.json")
    with pytest.raises(KeyboardInterrupt):
        run_cases(
            CASES, state=state, run=runner, sandbox=sandboxes, workers=1, commit="abc",
            progress=Progress(5, lambda _: None),
        )  # fmt: skip
    assert runner.aborted == 1
    assert sandboxes.ended == [1]
    assert {*State.load(tmp_path / "state.json").results} == {CASES[0].name, CASES[1].name}


def test_batches_keep_the_order_and_never_mix_serial_cases_with_others() -> None:
    assert list(batches([SERIAL[0], *CASES, SERIAL[1]], 2)) == [CASES[:2], CASES[2:4], CASES[4:], SERIAL]


def test_progress_tells_rate_and_time_left() -> None:
    lines, now = list[str](), iter([0.0, *(60.0 * n for n in range(1, 21))])
    progress = Progress(20, lines.append, clock=lambda: next(now))
    for number in range(10):
        progress.done(CASES[0], FAIL if number == 3 else PASS)
    assert lines[3] == f"[4/20] failed     2.0 s  {CASES[0].name}: broke"
    assert lines[-1] == "    1 failed, 9 passed; 1.0 a minute, about 10 min left"


def test_log_names_are_readable_short_and_differ() -> None:
    names = [log_name(f"[sig-x] Should {'very ' * 50}{end} [Conformance]") for end in ("a", "b")]
    assert names[0] != names[1]
    assert all(name.startswith("sig-x-should-very-") and len(name) < 100 for name in names)


def test_the_suite_is_told_the_case_its_limit_and_where_the_report_goes() -> None:
    arguments = suite_arguments(CASES[0], kubeconfig=Path("/k"), kubectl=Path("/b/kubectl"), reports=Path("/r"))
    for wanted in (
        f"--ginkgo.focus={CASES[0].focus}", "--ginkgo.fail-on-empty", f"--ginkgo.timeout={CASES[0].limit_s}s",
        "--report-dir=/r", "--kubeconfig=/k", "--kubectl-path=/b/kubectl",
    ):  # fmt: skip
        assert wanted in arguments


# a real process in the place of e2e.test

WRITES = """
import os, sys
folder = next(a for a in sys.argv if a.startswith('--report-dir=')).split('=', 1)[1]
os.makedirs(folder)
name = '[It] [sig-x] case 0 [Conformance]'
with open(folder + '/junit_01.xml', 'w') as file:
    file.write(f'<x><testcase name="{name}" status="STATUS" time="7"><failure message="words"/></testcase></x>')
print('said', os.environ['TMPDIR'])
"""
HANGS = "import time\nprint('began', flush=True)\ntime.sleep(600)\n"
CRASHES = "print('oh')\nprint('no')\nraise SystemExit(2)\n"


def suite(tmp_path: Path, body: str) -> tuple[CaseRunner, Any]:
    program = tmp_path / "e2e.test"
    program.write_text(f"#!{sys.executable}\n{body}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    cluster = SimpleNamespace(
        config=SimpleNamespace(binaries={"kubectl": Path("/kubectl")}), kubeconfig=Path("/kubeconfig"),
        command=lambda argv: (argv, {"PATH": "/usr/bin:/bin"}),
    )  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return CaseRunner(suite=program, scratch=scratch, logs=tmp_path / "logs"), cluster


def test_the_output_of_a_pass_is_not_kept(tmp_path: Path) -> None:
    runner, cluster = suite(tmp_path, WRITES.replace("STATUS", "passed"))
    assert runner(cluster, CASES[0]) == Outcome(Status.PASSED, 7.0)
    assert list((tmp_path / "logs").iterdir()) == []


def test_the_output_of_a_failure_is_kept(tmp_path: Path) -> None:
    runner, cluster = suite(tmp_path, WRITES.replace("STATUS", "failed"))
    outcome = runner(cluster, CASES[0])
    assert (outcome.status, outcome.message) == (Status.FAILED, "words")
    assert (tmp_path / "logs" / log_name(CASES[0].name)).read_text() == f"said {tmp_path / 'scratch'}\n"


def test_a_suite_that_ends_without_a_report_has_failed_and_its_last_words_are_told(tmp_path: Path) -> None:
    runner, cluster = suite(tmp_path, CRASHES)
    outcome = runner(cluster, CASES[0])
    assert outcome.status is Status.FAILED
    assert outcome.message == "e2e.test left no report, exit code 2; it said: no"


def test_a_suite_that_does_not_end_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.conformance.cases.LIMIT_S", 0)
    monkeypatch.setattr(run_module, "_GRACE_S", 0.3)
    runner, cluster = suite(tmp_path, HANGS)
    outcome = runner(cluster, CASES[0])
    assert (outcome.status, outcome.message) == (Status.TIMEOUT, "did not end when told to")


def test_an_abort_ends_what_runs_at_once(tmp_path: Path) -> None:
    runner, cluster = suite(tmp_path, HANGS)
    log = tmp_path / "logs" / log_name(CASES[0].name)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner, cluster, CASES[0])
        wait_until(lambda: log.exists() and log.read_text() == "began\n", within_s=10, what="the suite to begin")
        runner.abort()
        assert running.result(10).status is Status.FAILED
