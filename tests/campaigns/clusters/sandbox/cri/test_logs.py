"""Log files in the CRI's format, and the one thread that writes them: with real pipes, without containers."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.cri.logs import Output, Watcher
from tests.conftest import wait_until

LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)")


def lines(path: Path) -> list[tuple[str, str, bytes]]:
    """Stream, tag and text of every line of the log; fails where a line is not in the CRI's format."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        matched = LINE.fullmatch(line)
        assert matched, line[:80]
        found.append((matched[2].decode(), matched[3].decode(), matched[4]))
    return found


class Piped:
    """An output with our ends of its pipes."""

    def __init__(self, path: Path, *names: str) -> None:
        pipes = {name: os.pipe() for name in names}
        self.writes = {name: write for name, (_, write) in pipes.items()}
        self.path, self.output = path, Output(path, [(name, read) for name, (read, _) in pipes.items()])

    def write(self, data: bytes, name: str = "stdout") -> None:
        os.write(self.writes[name], data)

    def close(self) -> None:
        writes, self.writes = self.writes, {}
        for descriptor in writes.values():
            os.close(descriptor)


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()  # its thread is a daemon, as in the runtime


@pytest.fixture
def piped(tmp_path: Path) -> Iterator[Callable[..., Piped]]:
    made: list[Piped] = []

    def make(*names: str, path: Path | None = None) -> Piped:
        made.append(Piped(path or tmp_path / "pod" / f"{len(made)}.log", *(names or ("stdout", "stderr"))))
        return made[-1]

    yield make
    for each in made:
        each.close()
        each.output.close()


def end(watcher: Watcher, piped: Piped) -> None:
    ended = threading.Event()
    watcher.end(piped.output, ended.set)
    assert ended.wait(10)


def test_streams_and_lines_are_told_apart(piped: Callable[..., Piped], watcher: Watcher) -> None:
    each = piped()
    watcher.add(each.output)
    each.write(b"one\r\n\ntwo ")
    each.write(b"error\nre", "stderr")
    wait_until(lambda: each.path.read_bytes().count(b"\n") == 3, within_s=5, what="three lines")
    each.write(b"parts\nrest")
    each.close()
    end(watcher, each)
    found = lines(each.path)
    assert [line for line in found if line[0] == "stdout"] == [
        ("stdout", "F", b"one"), ("stdout", "F", b""), ("stdout", "F", b"two parts"), ("stdout", "P", b"rest"),
    ]  # fmt: skip
    assert [line for line in found if line[0] == "stderr"] == [("stderr", "F", b"error"), ("stderr", "P", b"re")]


@pytest.mark.parametrize("size", [16_384, 16_385, 40_000, 200_000])
@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_a_long_line_is_cut_in_parts_that_make_it_up(
    piped: Callable[..., Piped], watcher: Watcher, size: int, newline: bytes
) -> None:
    each, text = piped("stdout"), (b"abc" * size)[:size]
    watcher.add(each.output)
    each.write(text + newline)
    each.close()
    end(watcher, each)
    found = lines(each.path)
    assert b"".join(part for _, _, part in found) == text
    last = "F" if newline else "P"  # a reader of the log adds no newline that was not written
    assert [tag for _, tag, _ in found] == ["P"] * (len(found) - 1) + [last] and len(found) == -(-size // 16_384)


def test_after_a_rotation_it_goes_on_in_a_new_file_and_loses_nothing(
    piped: Callable[..., Piped], watcher: Watcher
) -> None:
    each = piped()
    watcher.add(each.output)
    rotated = []
    for number in range(20):
        each.write(b"%d-" % number)
        each.write(b"%d\n" % number)
        if number % 5 == 4:
            rotated.append(each.path.with_suffix(f".{number}"))
            each.path.rename(rotated[-1])
            each.output.reopen()
    each.close()
    end(watcher, each)
    each.output.reopen()  # too late: nothing happens
    files = [*rotated, each.path]
    assert [line[2] for file in files for line in lines(file)] == [b"%d-%d" % (n, n) for n in range(20)]
    assert all(file.exists() for file in files)


def test_one_that_writes_without_end_does_not_keep_the_others_waiting(
    piped: Callable[..., Piped], watcher: Watcher
) -> None:
    flood = piped("stdout", path=Path("/dev/null"))
    writer = subprocess.Popen(["yes"], stdout=flood.writes["stdout"])
    watcher.add(flood.output)
    try:
        for _ in range(5):
            other = piped()
            watcher.add(other.output)
            other.write(b"heard\n")
            end(watcher, other)
            assert lines(other.path) == [("stdout", "F", b"heard")]
    finally:
        writer.kill()
        writer.wait(10)
        flood.close()
        end(watcher, flood)


@pytest.mark.timeout(10)
def test_what_never_ends_is_read_a_piece_at_a_time_and_can_be_closed() -> None:
    endless = os.open("/dev/zero", os.O_RDONLY)
    output = Output(Path("/dev/null"), [("stdout", endless)])
    told: list[int] = []
    output.attach(lambda _, data: told.append(len(data)))
    assert output.copy(endless) is True and told == [1 << 16]
    output.close()
    assert sum(told) == 17 << 16, "at most what a pipe can hold"


def test_those_attached_get_everything_from_now_on_and_the_end(piped: Callable[..., Piped], watcher: Watcher) -> None:
    each, seen, left = piped(), [], []
    watcher.add(each.output)
    each.write(b"before\n")
    wait_until(lambda: each.path.read_bytes().endswith(b"before\n"), within_s=5, what="it to be copied")
    each.output.attach(lambda *said: seen.append(said))
    detach = each.output.attach(lambda *said: left.append(said))
    each.write(b"out", "stdout")
    wait_until(lambda: left == [("stdout", b"out")], within_s=5, what="it to be told")
    detach()
    detach()
    each.write(b"err", "stderr")
    wait_until(lambda: len(seen) == 2, within_s=5, what="it to be told")
    each.close()
    end(watcher, each)
    assert seen == [("stdout", b"out"), ("stderr", b"err"), ("stdout", b""), ("stderr", b"")]
    assert left == [("stdout", b"out")]


def test_attaching_to_what_has_ended_brings_the_end_at_once(piped: Callable[..., Piped], watcher: Watcher) -> None:
    each, seen = piped(), []
    watcher.add(each.output)
    end(watcher, each)
    each.output.attach(lambda *said: seen.append(said))()
    assert seen == [("stdout", b""), ("stderr", b"")]


def test_ending_copies_what_is_there_closes_everything_and_twice_is_no_error(
    piped: Callable[..., Piped], watcher: Watcher
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    each = piped()
    each.write(b"x" * 60_000 + b"\n")
    each.write(b"y\n", "stderr")
    watcher.add(each.output)
    end(watcher, each)  # although somebody still holds the other ends
    end(watcher, each)
    each.close()
    assert sum(len(text) for _, _, text in lines(each.path)) == 60_001
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_log_that_the_disk_refuses_does_not_stop_the_others(piped: Callable[..., Piped], watcher: Watcher) -> None:
    full, other = piped(path=Path("/dev/full")), piped()
    for each in (full, other):
        watcher.add(each.output)
        each.write(b"line\n")
        each.close()
    end(watcher, full)
    end(watcher, other)
    assert lines(other.path) == [("stdout", "F", b"line")]


def test_a_log_file_that_can_not_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        Output(tmp_path / "taken", [])
