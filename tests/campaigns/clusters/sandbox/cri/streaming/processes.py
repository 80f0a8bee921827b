"""A backend whose containers are this machine's processes, in no namespace of their own."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Running:
    """An executed process in a process group of its own."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.ended = threading.Event()

    def wait(self) -> int:
        code = self.child.wait()
        self.ended.set()
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        if self.child.returncode is None:
            os.killpg(self.child.pid, signal.SIGKILL)


class Attached:
    """A hold on a `Container`."""

    def __init__(self, container: Container, sink: Callable[[str, bytes], None]) -> None:
        self.container, self.sink = container, sink
        self.tty, self.stdin_once = container.tty, container.stdin_once
        self.stdin = None if container.stdin is None else os.dup(container.stdin)
        container.sinks.append(sink)

    def resize(self, columns: int, rows: int) -> None:
        assert self.container.stdin is not None
        self.container.sizes.append((columns, rows))
        fcntl.ioctl(self.container.stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end_stdin(self) -> None:
        self._close_stdin()
        assert self.container.stdin is not None
        os.close(self.container.stdin)
        self.container.stdin = None

    def close(self) -> None:
        if self.sink in self.container.sinks:
            self.container.sinks.remove(self.sink)
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None


class Container:
    """What attaching sees of a container: the test says what it writes."""

    def __init__(self, *, tty: bool = False, stdin_once: bool = False, with_stdin: bool = True) -> None:
        self.tty, self.stdin_once = tty, stdin_once
        self.sinks: list[Callable[[str, bytes], None]] = []
        self.sizes: list[tuple[int, int]] = []
        self.reads: int = -1
        self.stdin: int | None = None
        if tty:
            self.stdin, self.reads = os.openpty()
        elif with_stdin:
            self.reads, self.stdin = os.pipe()

    def says(self, name: str, data: bytes) -> None:
        for sink in list(self.sinks):
            sink(name, data)

    def ends(self) -> None:
        for name in ("stdout",) if self.tty else ("stdout", "stderr"):
            self.says(name, b"")

    def remove(self) -> None:
        for descriptor in (self.reads, self.stdin):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)


class Processes:
    """Backend with one container `c` to execute in and whatever `containers` to attach to."""

    def __init__(self, network: Path | None = None) -> None:
        self.running: list[Running] = []
        self.containers: dict[str, Container] = {}
        self.network = network

    def execute(self, container_id: str, argv: Sequence[str], files: tuple[int, int, int], *, tty: bool) -> Running:
        if container_id != "c":
            raise KeyError(container_id)
        command = [sys.executable, "-c", TERMINAL, *argv] if tty else list(argv)
        try:
            child = subprocess.Popen(
                command, stdin=files[0], stdout=files[1], stderr=files[2], process_group=None if tty else 0
            )
        except FileNotFoundError:
            raise OSError(f'exec: "{argv[0]}": executable file not found in $PATH') from None
        running = Running(child)
        self.running.append(running)
        return running

    def attach(self, container_id: str, sink: Callable[[str, bytes], None]) -> Attached:
        return Attached(self.containers[container_id], sink)

    def pod_network(self, pod_id: str) -> Path | None:
        if pod_id != "p":
            raise KeyError(pod_id)
        return self.network
