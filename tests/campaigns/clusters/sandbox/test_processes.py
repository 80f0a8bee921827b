"""One process: ready, paused, stopped, killed; with real ones."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.processes import Process, Usage, wait_for
from injector.errors import ClusterError
from tests.conftest import wait_until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
BUSY = "print('up', flush=True)\nwhile True: pass"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.resume()
        process.kill()


def python(run: list[Process], folder: Path, code: str, **settings: object) -> Process:
    process = Process("part", [sys.executable, "-I", "-S", "-c", code], folder / "part.log", **settings)  # type: ignore[arg-type]
    process.start()
    run.append(process)
    return process


def up(process: Process) -> bool:
    return b"up" in process.log.read_bytes()


def state(process: Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_process_that_ends_before_it_is_ready_fails_with_the_end_of_its_log(
    run: list[Process], tmp_path: Path
) -> None:
    process = python(run, tmp_path, "for i in range(30): print('line', i)\nraise SystemExit(7)")
    with pytest.raises(ClusterError) as raised:
        process.wait_ready(lambda: False, within_s=10)
    first, *lines = str(raised.value).splitlines()
    assert first == "part ended with exit code 7 before it was ready; its log ends:"
    assert lines == [f"line {i}" for i in range(18, 30)]


def test_a_process_that_does_not_become_ready_in_time_fails_with_the_end_of_its_log(
    run: list[Process], tmp_path: Path
) -> None:
    process = python(run, tmp_path, STUBBORN)
    wait_until(lambda: up(process), within_s=5, what="its first line")
    with pytest.raises(ClusterError, match=r"waited 0.1 s for part to be ready; its log ends:\nup"):
        process.wait_ready(lambda: False, within_s=0.1)
    process.wait_ready(lambda: True, within_s=0.1)


def test_the_log_is_appended_to_and_its_absence_is_said(run: list[Process], tmp_path: Path) -> None:
    assert Process("part", ["x"], tmp_path / "none.log").last_lines() == "(no log)"
    process = python(run, tmp_path, "pass")
    wait_until(lambda: not process.alive, within_s=5, what="its end")
    assert process.last_lines() == "(empty log)"
    process.argv = [sys.executable, "-I", "-S", "-c", "import sys; print('out'); print('err', file=sys.stderr)"]
    for _ in range(2):
        process.restart()
        wait_until(lambda: not process.alive, within_s=5, what="its end")
    assert sorted(process.last_lines().splitlines()) == ["err", "err", "out", "out"]
    assert process.restarts == 2


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(run: list[Process], tmp_path: Path) -> None:
    process = python(run, tmp_path, STUBBORN)
    wait_until(lambda: up(process), within_s=5, what="its first line")
    began = time.monotonic()
    process.stop(grace_s=0.2)
    assert 0.2 <= time.monotonic() - began < 3
    assert process.exit_code == -signal.SIGKILL


def test_a_process_that_obeys_sigterm_ends_by_it(run: list[Process], tmp_path: Path) -> None:
    process = python(run, tmp_path, BUSY)
    wait_until(lambda: up(process), within_s=5, what="its first line")
    process.stop(grace_s=10)
    assert (process.alive, process.exit_code) == (False, -signal.SIGTERM)
    process.stop()  # again: nothing happens
    process.kill()


def test_a_killed_process_takes_its_children_with_it(run: list[Process], tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); print('up', flush=True)\n"
    process = python(run, tmp_path, code + "while True: pass")
    wait_until(lambda: up(process), within_s=5, what="its child")
    child = int(process.log.read_text().split()[0])
    assert process.children() == [child]
    process.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists(), within_s=5, what="the child's end")


def test_children_of_every_thread_are_found(run: list[Process], tmp_path: Path) -> None:
    code = (
        "import subprocess, threading\n"
        "thread = threading.Thread(target=lambda: (subprocess.Popen(['sleep', '60']), "
        "print('up', flush=True), threading.Event().wait()))\n"
        "thread.start()"
    )
    process = python(run, tmp_path, code)
    wait_until(lambda: up(process), within_s=5, what="its child")
    assert len(process.children()) == 1


def test_a_paused_process_uses_no_cpu_until_it_is_resumed(run: list[Process], tmp_path: Path) -> None:
    process = python(run, tmp_path, BUSY)
    wait_until(lambda: process.usage().cpu_s > 0.05, within_s=10, what="some CPU time")
    process.pause()
    wait_until(lambda: state(process) == "T", within_s=5, what="the stop")
    stopped = process.usage()
    assert stopped.cpu_s > 0 and stopped.rss_bytes > 1 << 20
    assert process.alive
    process.resume()
    wait_until(lambda: process.usage().cpu_s > stopped.cpu_s, within_s=10, what="more CPU time")
    process.kill()
    assert process.usage() == Usage(0.0, 0)


def test_the_environment_is_ours_with_additions(run: list[Process], tmp_path: Path) -> None:
    code = "import os; print('PATH' in os.environ, os.environ['EXTRA'])"
    process = python(run, tmp_path, code, env={"EXTRA": "yes"})
    wait_until(lambda: not process.alive, within_s=5, what="its end")
    assert process.last_lines() == "True yes"


def test_waiting_says_for_what_and_how_long() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0.05 s for the moon"):
        wait_for(lambda: False, within_s=0.05, what="the moon")
