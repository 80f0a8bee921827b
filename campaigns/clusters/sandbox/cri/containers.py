"""One container: a process that the spawner forks, its streams, its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.cri.images import Image
from campaigns.clusters.sandbox.cri.logs import Output, Watcher
from campaigns.clusters.sandbox.cri.spawning import Child, Spawner
from campaigns.clusters.sandbox.cri.spec import ProcessSpec
from campaigns.clusters.sandbox.processes import children_of

__all__ = ["CREATED", "EXITED", "RUNNING", "Container", "Usage", "processes_below"]

CREATED, RUNNING, EXITED = 0, 1, 2
"""runtime.v1.ContainerState."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and resident bytes of all processes of a container."""

    cpu_s: float
    rss_bytes: int


@dataclass(slots=True)
class Container:
    """Its request as the kubelet sent it, and what became of it. Times are Unix nanoseconds, 0 where not yet."""

    id: str
    pod_id: str
    config: Any
    image: Image
    log_path: Path
    created_at: int = field(default_factory=time.time_ns)
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    child: Child | None = None
    output: Output | None = None
    stdin: int | None = None
    """Our end of its stdin, where the pod asked for one."""
    terminal: int | None = None
    exited: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    starting: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is being started: who stops it meanwhile waits, so that no process is forgotten."""

    @property
    def state(self) -> int:
        return EXITED if self.finished_at else RUNNING if self.started_at else CREATED

    def start(self, spec: Callable[[], ProcessSpec], spawner: Spawner, watcher: Watcher) -> None:
        """OSError in words where there is no `spec`, its log file can't be made, or it can't be started: then it has
        failed, unless it was not to be started any more."""
        with self.starting:
            if self.state != CREATED:
                raise OSError("the container is running or has ended")
            try:
                self._start(spec(), spawner, watcher)
            except (OSError, ValueError) as error:  # ValueError: a NUL in a path
                self._fail(str(error))
                raise OSError(str(error)) from error

    def _start(self, spec: ProcessSpec, spawner: Spawner, watcher: Watcher) -> None:
        ours, theirs = self._open_streams()
        try:
            self.output = output = Output(self.log_path, ours)
        except OSError:
            _close(*theirs, *(descriptor for _, descriptor in ours))
            raise
        watcher.add(output)
        started_at = time.time_ns()  # before it can have ended
        try:
            self.child = spawner.start(spec, theirs, lambda child: watcher.end(output, lambda: self._ended(child)))
        except OSError:
            watcher.end(output, lambda: None)
            raise
        finally:
            _close(*theirs)
        self.started_at = started_at

    def _open_streams(self) -> tuple[list[tuple[str, int]], tuple[int, int, int]]:
        """Our ends, by the stream's name, and the process's three."""
        if self.config.tty:
            self.terminal, slave = pty.openpty()
            self.stdin = os.dup(self.terminal) if self.config.stdin else None
            return [("stdout", os.dup(self.terminal))], (slave, os.dup(slave), os.dup(slave))
        out, theirs_out = os.pipe2(os.O_CLOEXEC)
        error, theirs_error = os.pipe2(os.O_CLOEXEC)
        if self.config.stdin:
            theirs_in, self.stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.stdin, False)  # who is attached waits so that it can be woken
        else:
            theirs_in = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return [("stdout", out), ("stderr", error)], (theirs_in, theirs_out, theirs_error)

    def _fail(self, why: str) -> None:
        """It never ran. Exit code and reason are containerd's."""
        self.exit_code, self.reason, self.message = 128, "StartError", why
        self._finish()

    def _finish(self) -> None:
        self.finished_at = time.time_ns()
        self.close_stdin()
        if (terminal := self.terminal) is not None:
            self.terminal = None
            os.close(terminal)
        self.exited.set()

    def close_stdin(self) -> None:
        with self.lock:
            stdin, self.stdin = self.stdin, None
            if stdin is not None:
                os.close(stdin)

    def duplicate_stdin(self) -> int | None:
        """Another write end of its stdin, the caller's; None if it has none, or not any more."""
        with self.lock:
            return None if self.stdin is None else os.dup(self.stdin)

    def resize(self, columns: int, rows: int) -> None:
        """Of its terminal, if it has one."""
        if self.terminal is not None:
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def stop(self, grace_s: float) -> None:
        """SIGTERM, SIGKILL after `grace_s`; returns when it has been reaped. Idempotent."""
        with self.starting:
            if self.state == CREATED:
                self._finish()
        if self.state != RUNNING or self.child is None:
            return
        if grace_s > 0:
            self.child.signal(signal.SIGTERM)
            if self.exited.wait(grace_s):
                return
        below = processes_below(self.child.pid)
        self.child.kill()
        self.exited.wait(10)
        _kill_all(below[1:])

    def _ended(self, child: Child) -> None:
        """Told by the watcher, when all its output is written."""
        self.exit_code = child.wait()
        self.reason = "Completed" if self.exit_code == 0 else "Error"
        with contextlib.suppress(ProcessLookupError):  # as a rule nobody: its pid namespace has ended with it
            os.killpg(child.pid, signal.SIGKILL)
        self._finish()

    def usage(self) -> Usage:
        """Read from /proc; zeros when it has ended."""
        if self.state != RUNNING or self.child is None:
            return Usage(0.0, 0)
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        cpu, pages = 0, 0
        for pid in processes_below(self.child.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                cpu += sum(map(int, fields[11:15]))  # its own and its reaped children's
                pages += int(fields[21])
        return Usage(cpu / ticks, pages * page)


def _kill_all(pids: Sequence[int]) -> None:
    """What a container without a pid namespace of its own has left; else they are gone already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_below(pid: int) -> list[int]:
    """`pid` and all its descendants: in a pid namespace of its own that is every process of a container."""
    found = [pid]
    for parent in found:
        found += children_of(parent)
    return found


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
