"""Campaigns that are killed, starved of disk, confused in their clocks, interrupted, and begun twice: with real
processes and a real record, and the stand-in worker instead of a cluster."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from campaigns.store import open_run
from classifiers.record import observation_to_json
from tests.builders import observation
from tests.campaigns.campaign_child import spec
from tests.conftest import wait_until
from tests.soak.leftovers import Footprint

ROOT = Path(__file__).parents[3]
KILLS = 15
EXPERIMENTS = 100


class Process:
    """A campaign that a server forked; the same as a Popen as far as it is needed here."""

    def __init__(self, server: subprocess.Popen[str], pid: int) -> None:
        self._server, self.pid, self._code = server, pid, None  # type: int | None

    def wait(self, within_s: float) -> int:
        assert self._server.stdout is not None
        if self._code is None:
            readable, _, _ = select.select([self._server.stdout], [], [], within_s)
            assert readable, "the campaign does not end"
            self._code = int(self._server.stdout.readline())
        return self._code

    def poll(self) -> int | None:
        assert self._server.stdout is not None
        if self._code is None and select.select([self._server.stdout], [], [], 0)[0]:
            self.wait(0)
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """Has everything loaded: a start takes a moment instead of seconds."""
    command = [sys.executable, "-m", "tests.campaigns.campaign_child", "serve"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate(timeout=20)


class Child:
    """Campaigns in processes of their own, one after another, on one run."""

    def __init__(self, root: Path, state: Path, server: subprocess.Popen[str]) -> None:
        self.root, self.run, self.footprint = root, root / "runs" / "child", Footprint(root)
        (root / "runs").mkdir()
        (root / "observation.json").write_text(json.dumps(observation_to_json(observation())))
        self.environment = {
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(state),
            "STAND_IN_OBSERVATION": str(root / "observation.json"),
            "STAND_IN_HOLD": str(root / "hold"),
            "CHILD_SPEC": str(root / "spec.yaml"),
        }
        self.server, self.state, self.output, self.hold = server, state, root / "output", root / "hold"

    def plan(self, text: str) -> None:
        (self.root / "spec.yaml").write_text(text)

    def start(self, what: str, **environment: str) -> Process:
        asked = {
            "argv": [what, str(self.run)],
            "environment": {**self.environment, **environment},
            "output": str(self.output),
        }
        assert self.server.stdin is not None and self.server.stdout is not None
        self.output.write_text("")
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return Process(self.server, int(self.server.stdout.readline()))

    def do(self, what: str, **environment: str) -> int:
        process = self.start(what, **environment)
        try:
            return process.wait(60)
        finally:
            process.kill()
            process.wait(10)

    def do_apart(self, *command: str, **environment: str) -> tuple[int, str]:
        """Beside one that runs, or in namespaces of its own."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment, **environment}, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout

    @property
    def said(self) -> list[str]:
        return self.output.read_text(errors="replace").splitlines()

    def recorded(self) -> list[str]:
        with open_run(self.run) as run:
            return [record.planned.id for record in run.records(observations=False)]

    def planned(self) -> list[str]:
        with open_run(self.run) as run:
            return [planned.id for planned in run.plan.experiments]

    def done(self) -> list[str]:
        """Ids that the process said it has finished."""
        return [line.split()[1] for line in self.said if line.startswith("done ")]

    def left(self) -> list[str]:
        """Processes of a killed campaign that are still there; they have a moment to go."""
        deadline = time.monotonic() + 10
        while (found := self.footprint.left(folders=False)) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        return found


@pytest.fixture
def child(tmp_path: Path, state_home: Path, server: subprocess.Popen[str]) -> Iterator[Child]:
    made = Child(tmp_path, state_home, server)
    yield made
    assert made.left() == []
    shutil.rmtree(state_home)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_runner_killed_again_and_again_does_all_of_the_plan_once_and_leaves_no_process(child: Child) -> None:
    child.plan(spec(EXPERIMENTS, parallel=2))
    random, said = Random(6), list[str]()
    for number in range(KILLS):
        made = (child.run / "record.sqlite").exists()
        process = child.start("resume" if made else "run")
        # some while it starts; most so that in the end there is something left to be done
        results = random.randrange(-2, 2 * EXPERIMENTS // KILLS)
        wait_until(lambda: done_by(child, process, results), within_s=60, what="results")  # noqa: B023 - at once
        later = time.monotonic() + random.uniform(0, 0.3)
        wait_until(lambda: looked(child, process) and time.monotonic() > later, within_s=5, what="a moment")  # noqa: B023
        process.kill()
        process.wait(10)
        assert child.left() == [], f"after kill {number}"
        said += child.done()
        if child.run.exists() and not (child.run / "record.sqlite").exists():  # before the run was whole
            shutil.rmtree(child.run)
    code = child.do("resume")
    said += child.done()
    planned, recorded = child.planned(), child.recorded()
    assert (code, len(planned)) in ((0, EXPERIMENTS), (2, EXPERIMENTS)), child.said
    assert sorted(recorded) == sorted(planned) and len(set(recorded)) == EXPERIMENTS
    assert set(said) <= set(recorded), "what was said to be finished is recorded"
    assert child.do("resume") == 2 and child.said == [
        f"input nothing is missing in {child.run}: all {EXPERIMENTS} experiments are done"
    ]
    with open_run(child.run) as run:
        assert [session.why for session in run.sessions()].count("done") <= 1


def looked(child: Child, process: Process) -> bool:
    child.footprint.look(process.pid)
    return True


def done_by(child: Child, process: Process, results: int) -> bool:
    return looked(child, process) and (len(child.done()) >= results or process.poll() is not None)


def test_a_full_disk_ends_the_campaign_in_words_and_a_resume_does_the_rest(child: Child) -> None:
    child.plan(spec(20))
    assert child.do("run", CHILD_FILE_LIMIT=str(150_000)) == 3
    assert any(line.startswith("error ") and "record.sqlite" in line for line in child.said), child.said
    before = child.recorded()
    assert 0 < len(before) < 20 and set(child.done()) <= set(before)
    assert child.do("resume") == 0
    assert sorted(child.recorded()) == sorted(child.planned())
    assert not set(child.done()) & set(before), "what was recorded is not done again"


def can_mount() -> bool:
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "mount", "--bind", "/tmp", "/tmp"], capture_output=True
    )
    return tried.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this machine allows no mount namespaces")
def test_a_record_that_is_read_only_is_named_as_such_and_a_resume_does_the_rest_later(child: Child) -> None:
    child.plan(spec(8))
    interrupted(child, signal.SIGTERM)
    before = child.recorded()
    command = ("unshare", "--user", "--map-root-user", "--mount", *resume(child))
    code, said = child.do_apart(*command, CHILD_READ_ONLY="1")
    assert code == 3 and "error " in said and "readonly" in said, said
    assert child.recorded() == before
    assert child.do("resume") == 0
    assert sorted(child.recorded()) == sorted(child.planned())


def test_a_wall_clock_that_jumps_by_years_changes_nothing_but_the_stamps(child: Child) -> None:
    child.plan(spec(12) + "stop: {after: 1h}\n")
    assert child.do("run", CHILD_CLOCK="jumps") == 0
    with open_run(child.run) as run:
        records = list(run.records(observations=False))
        assert len(records) == 12 and all(0 <= record.seconds < 60 for record in records)
        assert all(0 <= seconds < 60 for record in records for seconds in record.times.values())
        stamps = {str(run.metadata[name])[:10] for name in ("started", "ended")}
        stamps |= {session.began[:10] for session in run.sessions()}  # by the store, whose clock is left alone
    assert len(stamps) >= 2, "the clock did jump"


def resume(child: Child) -> tuple[str, ...]:
    return sys.executable, "-m", "tests.campaigns.campaign_child", "resume", str(child.run)


def test_a_second_runner_on_the_same_run_is_refused_in_words(child: Child) -> None:
    child.plan(spec(8))
    child.hold.touch()
    process = child.start("run")
    try:
        wait_until(lambda: (child.run / "runner.lock").exists(), within_s=20, what="the run")
        wait_until(lambda: (child.run / "record.sqlite").exists(), within_s=20, what="the run")
        code, said = child.do_apart(*resume(child))
        assert (code, said) == (3, f"error {child.run} is locked: process {process.pid} is adding to it\n")
        child.hold.unlink()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(10)
    assert child.do("run") == 2 and "not empty" in child.said[0], "nor is it begun anew"
    assert sorted(child.recorded()) == sorted(child.planned())


def interrupted(child: Child, *signals: signal.Signals) -> int:
    """Exit code of a campaign that gets those signals once three golden runs are finished and others under way. After
    the last of them what is under way may come to its end."""
    child.hold.touch()  # the first golden runs come to their end, experiments with a fault do not
    process = child.start("run")
    try:
        wait_until(lambda: len(child.done()) >= 3, within_s=30, what="three results")
        for number in signals:
            process.send_signal(number)
            if signals[0] == signal.SIGINT and number is signals[0]:
                wait_until(lambda: any("finishing" in line for line in child.said), within_s=9, what="the note")
        if len(signals) == 1 and signals[0] == signal.SIGINT:
            child.hold.unlink()
        return process.wait(30)
    finally:
        process.kill()
        process.wait(10)
        child.hold.unlink(missing_ok=True)


def test_ctrl_c_once_finishes_what_is_under_way(child: Child) -> None:
    child.plan(spec(16))
    assert interrupted(child, signal.SIGINT) == 130
    note = next(index for index, line in enumerate(child.said) if line.startswith("note finishing"))
    count = int(child.said[note].split(": ")[1].split()[0])
    assert child.said[note] == f"note finishing what is under way: {count} experiment{'s' * (count > 1)}, 120 s at most"
    after = [line for line in child.said[note:] if line.startswith("done ")]
    assert 1 <= count <= len(after) <= 2, "those that were under way, and what had just been read"
    assert sorted(child.done()) == sorted(child.recorded())
    with open_run(child.run) as run:
        assert run.sessions()[-1].why == "Ctrl-C"
    assert child.do("resume") == 0 and sorted(child.recorded()) == sorted(child.planned())


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,), (signal.SIGHUP,)])
def test_ctrl_c_twice_sigterm_and_the_terminals_end_stop_at_once_and_leave_a_run_that_resumes(
    child: Child, signals: tuple[signal.Signals, ...]
) -> None:
    child.plan(spec(16))
    assert interrupted(child, *signals) == 130
    assert sorted(child.done()) == sorted(child.recorded())
    with open_run(child.run) as run:
        assert run.sessions()[-1].why == "interrupted"
    assert child.do("resume") == 0 and sorted(child.recorded()) == sorted(child.planned())


def test_other_binaries_than_the_run_began_with_are_refused(child: Child) -> None:
    child.plan(spec(8))
    interrupted(child, signal.SIGTERM)
    assert child.do("resume", CHILD_VERSION="2") == 2
    assert "was begun with other versions" in child.said[0] and "etcd 1 then, 2 now" in child.said[0]


def test_what_broke_the_harness_before_a_kill_has_one_more_attempt_and_then_is_an_error(child: Child) -> None:
    child.plan(spec(6))
    assert child.do("run", STAND_IN_DIES="Pod/default/web#2") == 0
    with open_run(child.run) as run:
        (broken,) = [r for r in run.records() if r.error]
        assert broken.planned.why == "number 2" and broken.observation is None
        assert broken.error is not None and "attempt 1: " in broken.error and "attempt 2: " in broken.error
        assert {name: len(errors) for name, errors in run.failed_attempts().items()} == {broken.planned.id: 1}
