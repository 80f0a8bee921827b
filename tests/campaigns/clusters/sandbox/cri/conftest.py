"""Processes from a real spawner, for tests that run `inside` (see ../conftest.py)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from campaigns.clusters.sandbox.cri.spawning import Child, Spawner
from campaigns.clusters.sandbox.cri.spec import ContainerRoot, ProcessSpec
from tests.conftest import wait_until

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Of what it wrote, when it succeeded."""
        assert (self.code, self.err) == (0, ""), self
        return self.out.splitlines()


@dataclass(slots=True)
class Started:
    """A process and our ends of its pipes."""

    child: Child
    stdin: int
    outputs: tuple[int, int]

    def write(self, data: bytes) -> None:
        os.write(self.stdin, data)

    def read_line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            line += (part := os.read(self.outputs[0], 1))
            assert part, f"it ended after {line!r}, with {self.child.wait()}"
        return line.decode().rstrip("\n")

    def finish(self) -> Done:
        """Ends its stdin, reads all it writes, waits for its end."""
        self.end_stdin()
        read: dict[int, bytes] = {}
        threads = [threading.Thread(target=lambda o=o: read.update({o: _read(o)})) for o in self.outputs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        code = self.child.wait()
        out, err = (read[output].decode(errors="surrogateescape") for output in self.outputs)
        return Done(code, out, err)

    def end_stdin(self) -> None:
        stdin, self.stdin = self.stdin, -1
        if stdin >= 0:
            os.close(stdin)


def _read(descriptor: int) -> bytes:
    data = b""
    while part := os.read(descriptor, 65536):
        data += part
    return data


@pytest.fixture(scope="session")
def spawner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawner]:
    spawner = Spawner(tmp_path_factory.mktemp("scratch"))
    yield spawner
    spawner.close()


@pytest.fixture
def begin(spawner: Spawner) -> Iterator[Callable[..., Started]]:
    """Starts a command as a container is started: with a root and a pid namespace of its own, unless told otherwise."""
    made: list[Started] = []

    def started(*argv: str, **changes: object) -> Started:
        settings: dict[str, object] = {"root": ContainerRoot(), "own_pids": True, "env": {"PATH": PATH}, **changes}
        pipes = [os.pipe() for _ in range(3)]
        (theirs_in, stdin), (out, theirs_out), (error, theirs_error) = pipes
        files = theirs_in, theirs_out, theirs_error
        try:
            child = spawner.start(ProcessSpec(argv=argv, **settings), files)  # type: ignore[arg-type]
        except OSError:
            for descriptor in (stdin, out, error):
                os.close(descriptor)
            raise
        finally:
            for descriptor in files:
                os.close(descriptor)
        made.append(Started(child, stdin, (out, error)))
        return made[-1]

    yield started
    for each in made:
        each.child.kill()
        wait_until(each.child.ended.is_set, within_s=10, what="the process's end")
        each.end_stdin()
        for descriptor in each.outputs:
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def run(begin: Callable[..., Started]) -> Callable[..., Done]:
    """Starts a command, as `begin`, and waits for its end."""
    return lambda *argv, **changes: begin(*argv, **changes).finish()
