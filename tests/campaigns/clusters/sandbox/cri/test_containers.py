"""Containers: streams, ends, stops; with real processes from a real spawner, most of them without a root of their
own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.containers import CREATED, EXITED, RUNNING, Container, Usage
from campaigns.clusters.sandbox.cri.images import Image
from campaigns.clusters.sandbox.cri.logs import Watcher
from campaigns.clusters.sandbox.cri.protocol import new
from campaigns.clusters.sandbox.cri.spawning import Spawner
from campaigns.clusters.sandbox.cri.spec import ProcessSpec
from tests.campaigns.clusters.sandbox.cri.test_logs import lines
from tests.conftest import wait_until

pytestmark = pytest.mark.inside

ENV = {"PATH": "/usr/bin:/bin", "WHO": "me"}


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()  # its thread is a daemon, as in the runtime


Start = Callable[..., Container]


@pytest.fixture
def start(tmp_path: Path, watcher: Watcher, spawner: Spawner) -> Iterator[Start]:
    made: list[Container] = []

    def started(*argv: str, log_path: Path | None = None, **config: Any) -> Container:
        path = log_path or tmp_path / "pod" / f"{len(made)}.log"
        made.append(Container(f"c{len(made)}", "p", new("ContainerConfig", **config), Image("i"), path))
        spec = ProcessSpec(argv=argv, env=ENV, tty=bool(config.get("tty")))
        made[-1].start(lambda: spec, spawner, watcher)
        return made[-1]

    yield started
    for container in made:
        container.stop(0)


def ended(container: Container) -> Container:
    assert container.exited.wait(10)
    return container


def up(container: Container) -> None:
    wait_until(lambda: container.log_path.exists() and b"up" in container.log_path.read_bytes(), within_s=5, what="up")


def test_output_goes_to_the_log(start: Start) -> None:
    container = ended(start("sh", "-c", "echo one; echo; echo $WHO >&2; printf rest"))
    written = lines(container.log_path)
    assert [each[1:] for each in written if each[0] == "stdout"] == [("F", b"one"), ("F", b""), ("P", b"rest")]
    assert [each[1:] for each in written if each[0] == "stderr"] == [("F", b"me")]
    assert (container.state, container.exit_code, container.reason) == (EXITED, 0, "Completed")


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 0", 0, "Completed"),
        ("exit 3", 3, "Error"),
        ("kill -KILL $$", 137, "Error"),  # never OOMKilled: nothing limits memory
        ("kill -TERM $$", 143, "Error"),
    ],
)
def test_exit_codes_are_those_of_every_runtime(start: Start, script: str, code: int, reason: str) -> None:
    container = ended(start("sh", "-c", script))
    assert (container.exit_code, container.reason) == (code, reason)
    assert 0 < container.created_at <= container.started_at <= container.finished_at


def test_what_can_not_be_started_has_failed_in_words(start: Start, spawner: Spawner, watcher: Watcher) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r'exec: "no-such": executable file not found in \$PATH'):
        start("no-such")
    with pytest.raises(OSError, match="Is a directory"):
        start("true", log_path=Path("/tmp"), stdin=True)
    with pytest.raises(OSError, match="no such thing"):
        _refuse(spawner, watcher)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before, within_s=5, what="all files to be closed")


def _refuse(spawner: Spawner, watcher: Watcher) -> None:
    container = Container("c", "p", new("ContainerConfig", tty=True, stdin=True), Image("i"), Path("/dev/null"))

    def spec() -> ProcessSpec:
        raise OSError("no such thing")

    try:
        container.start(spec, spawner, watcher)
    finally:
        assert (container.state, container.exit_code, container.reason) == (EXITED, 128, "StartError")
        assert container.message == "no such thing" and container.exited.is_set()


def test_a_container_is_started_once(start: Start, spawner: Spawner, watcher: Watcher) -> None:
    container = start("sleep", "60")
    for _ in range(2):
        with pytest.raises(OSError, match="the container is running or has ended"):
            container.start(lambda: ProcessSpec(argv=("true",)), spawner, watcher)
        container.stop(0)
    assert container.exit_code == 137


def test_stopping_gives_it_time_to_end(start: Start) -> None:
    container = start("sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.02; done")
    up(container)
    assert container.state == RUNNING
    container.stop(10)
    assert (container.exit_code, lines(container.log_path)[-1][2]) == (5, b"bye")


def test_stopping_one_that_resists_kills_it_after_the_grace(start: Start) -> None:
    container = start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done")
    up(container)
    began = time.monotonic()
    container.stop(0.2)
    assert 0.2 <= time.monotonic() - began < 3
    assert container.exit_code == 128 + signal.SIGKILL
    container.stop(0.2)  # again: nothing happens


def test_one_that_was_never_started_can_be_stopped_and_is_not_started_then(
    tmp_path: Path, spawner: Spawner, watcher: Watcher
) -> None:
    container = Container("c", "p", new("ContainerConfig"), Image("i"), tmp_path / "log")
    assert container.state == CREATED
    container.stop(5)
    assert container.state == EXITED and container.exited.is_set()
    with pytest.raises(OSError, match="has ended"):
        container.start(lambda: ProcessSpec(argv=("sleep", "60")), spawner, watcher)


def test_stopping_one_that_is_just_being_started_leaves_no_process(
    tmp_path: Path, spawner: Spawner, watcher: Watcher
) -> None:
    container = Container("c", "p", new("ContainerConfig"), Image("i"), tmp_path / "log")
    asked, go = threading.Event(), threading.Event()

    def spec() -> ProcessSpec:
        asked.set()
        assert go.wait(10)
        return ProcessSpec(argv=("sleep", "60"), env=ENV)

    starting = threading.Thread(target=container.start, args=(spec, spawner, watcher))
    stopping = threading.Thread(target=container.stop, args=(0,))
    starting.start()
    assert asked.wait(5)
    stopping.start()
    stopping.join(0.05)
    go.set()
    for thread in (starting, stopping):
        thread.join(10)
    assert (container.state, container.exit_code) == (EXITED, 137)


def test_many_that_end_at_once_are_all_noted_and_leave_no_descriptor(start: Start, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    many = [start("sh", "-c", f"echo {n}; exit {n}") for n in range(30)]
    assert [ended(container).exit_code for container in many] == list(range(30))
    assert [lines(container.log_path) for container in many] == [[("stdout", "F", b"%d" % n)] for n in range(30)]
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, within_s=5, what="their files to be closed")


def test_stdin_is_empty_unless_asked_for(start: Start) -> None:
    container = ended(start("sh", "-c", "cat; readlink /proc/self/fd/0"))
    assert lines(container.log_path) == [("stdout", "F", b"/dev/null")] and container.duplicate_stdin() is None


def test_stdin_is_open_until_it_is_closed_and_never_blocks_who_writes(start: Start) -> None:
    container = start("sh", "-c", "echo up; read first; echo got $first; cat > /dev/null; echo end", stdin=True)
    up(container)
    mine = container.duplicate_stdin()
    assert mine is not None and not os.get_blocking(mine)
    os.write(mine, b"line\n")
    wait_until(lambda: b"got line" in container.log_path.read_bytes(), within_s=5, what="the answer")
    os.close(mine)
    assert container.state == RUNNING, "the container's own end is open"
    container.close_stdin()
    assert lines(ended(container).log_path)[-1] == ("stdout", "F", b"end")
    assert container.duplicate_stdin() is None
    container.close_stdin()


def test_a_terminal_is_one_with_a_size_and_signals(start: Start) -> None:
    container = start(
        "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo up; read x; stty size; read x", tty=True, stdin=True
    )
    up(container)
    container.resize(132, 43)
    terminal = container.duplicate_stdin()
    assert terminal is not None
    os.write(terminal, b"\n")
    wait_until(lambda: b"43 132" in container.log_path.read_bytes(), within_s=5, what="the size")
    os.write(terminal, b"\x03")  # ^C: its foreground group gets SIGINT
    os.close(terminal)
    assert ended(container).exit_code == 130
    container.resize(1, 1)  # too late: nothing happens
    assert {stream for stream, _, _ in lines(container.log_path)} == {"stdout"}


def test_usage_of_what_does_not_run_is_zero(start: Start) -> None:
    assert ended(start("true")).usage() == Usage(0.0, 0)
