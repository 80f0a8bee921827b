"""Containers: real local processes, without a network namespace (the host's network, in the CRI's terms)."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.cri.containers import CREATED, EXITED, RUNNING, Container, Watcher
from tests.conftest import wait_until

ENV = {"PATH": "/usr/bin:/bin", "WHO": "me"}
LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)")
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()  # its thread is a daemon, as in the runtime


@pytest.fixture
def start(tmp_path: Path, watcher: Watcher) -> Iterator[Callable[..., Container]]:
    made: list[Container] = []

    def started(*argv: str, **changes: object) -> Container:
        settings: dict[str, object] = {"argv": argv, "env": ENV, "log_path": tmp_path / "pod" / "c" / "0.log"}
        container = Container(
            id=f"c{len(made)}",
            pod_id="p",
            config=None,
            image_id="i",
            network=None,
            **{**settings, **changes},  # type: ignore[arg-type]
        )
        made.append(container)
        container.start(watcher)
        return container

    yield started
    for container in made:
        container.stop(0)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


def lines(container: Container) -> list[tuple[str, str, bytes]]:
    """Stream, tag and text of every line of the log; fails where a line is not in the CRI's format."""
    found = []
    for line in container.log_path.read_bytes().split(b"\n")[:-1]:
        matched = LINE.fullmatch(line)
        assert matched, line[:80]
        found.append((matched[2].decode(), matched[3].decode(), matched[4]))
    return found


def ended(container: Container) -> Container:
    assert container.exited.wait(10)
    return container


def test_output_goes_to_the_log_in_the_cris_format(start: Callable[..., Container]) -> None:
    container = ended(start("sh", "-c", "echo one; echo; echo $WHO >&2; printf rest"))
    written = lines(container)
    assert [each[1:] for each in written if each[0] == "stdout"] == [("F", b"one"), ("F", b""), ("F", b"rest")]
    assert [each[1:] for each in written if each[0] == "stderr"] == [("F", b"me")]
    assert (container.state, container.exit_code, container.reason) == (EXITED, 0, "Completed")


def test_the_rest_of_a_line_is_written_once_whichever_end_is_seen_first(start: Callable[..., Container]) -> None:
    for _ in range(20):
        container = ended(start("printf", "rest"))
    assert lines(container) == [("stdout", "F", b"rest")] * 20, "every start appends one line"


@pytest.mark.parametrize("size", [16_384, 16_385, 40_000, 200_000])
@pytest.mark.parametrize("newline", [True, False])
def test_a_long_line_is_cut_in_parts_that_make_it_up(start: Callable[..., Container], size: int, newline: bool) -> None:
    code = f"import sys; sys.stdout.write('ab' * {size // 2} + 'c' * {size % 2} + ('\\n' if {newline} else ''))"
    written = lines(ended(start(*python(code))))
    assert b"".join(text for _, _, text in written) == b"ab" * (size // 2) + b"c" * (size % 2)
    assert [tag for _, tag, _ in written] == ["P"] * (len(written) - 1) + ["F"]
    assert all(len(text) <= 16_384 for _, _, text in written) and len(written) == -(-size // 16_384)


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 0", 0, "Completed"),
        ("exit 3", 3, "Error"),
        ("kill -KILL $$", 137, "Error"),
        ("kill -TERM $$", 143, "Error"),
        ("kill -SEGV $$", 139, "Error"),
    ],
)
def test_exit_codes_are_those_of_every_runtime(
    start: Callable[..., Container], script: str, code: int, reason: str
) -> None:
    container = ended(start("sh", "-c", script))
    assert (container.exit_code, container.reason) == (code, reason)
    assert 0 < container.created_at <= container.started_at <= container.finished_at


def test_a_command_that_does_not_exist_is_said_as_runc_says_it(start: Callable[..., Container]) -> None:
    with pytest.raises(FileNotFoundError, match=r'exec: "no-such": executable file not found in \$PATH'):
        start("no-such")
    with pytest.raises(FileNotFoundError):
        start("sh", env={"PATH": "/nowhere"})


def test_what_can_not_be_started_is_an_os_error_and_no_container(
    start: Callable[..., Container], tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="nowhere"):
        start("sh", cwd="/nowhere")
    with pytest.raises(OSError, match="null byte"):
        start("sh", "a\0b")
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        start("sh", log_path=tmp_path / "taken")


def test_stopping_gives_it_time_to_end(start: Callable[..., Container]) -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(5)))\n"
        "print('up', flush=True); time.sleep(60)"
    )
    container = start(*python(code))
    wait_until(lambda: container.log_path.exists() and b"up" in container.log_path.read_bytes(), within_s=5, what="up")
    assert container.state == RUNNING
    container.stop(10)
    assert (container.exit_code, lines(container)[-1][2]) == (5, b"bye")


def test_stopping_one_that_resists_kills_it_after_the_grace(start: Callable[..., Container]) -> None:
    container = start(*python(STUBBORN))
    wait_until(lambda: container.log_path.exists() and b"up" in container.log_path.read_bytes(), within_s=5, what="up")
    began = time.monotonic()
    container.stop(0.2)
    assert 0.2 <= time.monotonic() - began < 3
    assert container.exit_code == 128 + signal.SIGKILL
    container.stop(0.2)  # again: nothing happens


def test_a_container_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    container = Container("c", "p", None, "i", ("sh",), ENV, tmp_path / "log", None)
    assert container.state == CREATED
    container.stop(5)
    assert container.state == EXITED and container.exited.is_set()


def test_what_a_container_leaves_in_its_session_ends_with_it(start: Callable[..., Container]) -> None:
    container = ended(start("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"))
    child = int(lines(container)[0][2])
    wait_until(lambda: not Path(f"/proc/{child}").exists() or _zombie(child), within_s=5, what="the child's end")


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_many_containers_that_end_at_once_are_all_noted_and_leave_no_descriptor(
    start: Callable[..., Container], tmp_path: Path
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    many = [start("sh", "-c", f"echo {n}; exit {n}", log_path=tmp_path / f"{n}.log") for n in range(40)]
    assert [ended(container).exit_code for container in many] == list(range(40))
    assert [lines(container) for container in many] == [[("stdout", "F", b"%d" % n)] for n in range(40)]
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, within_s=5, what="their files to be closed")


def test_a_log_that_the_disk_refuses_does_not_stop_the_others(start: Callable[..., Container], tmp_path: Path) -> None:
    full = start("sh", "-c", "echo lost; echo lost; exit 4", log_path=Path("/dev/full"))
    assert ended(full).exit_code == 4
    assert lines(ended(start("echo", "kept"))) == [("stdout", "F", b"kept")]
