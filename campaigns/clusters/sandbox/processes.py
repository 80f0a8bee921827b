"""One process of the cluster: start, wait until it is ready, pause, resume, kill, stop, and its last log lines.

Threads, not asyncio: a component is waited for, not talked to. Every wait has a deadline and, when it passes, raises
with the end of the log, since that is what a person would open next.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from injector.errors import ClusterError

__all__ = ["Process", "Usage", "children_of", "wait_for"]

_POLL_S = 0.02
"""Arbitrary: short against the 100 ms steps of a start, long against the cost of one check."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the process started, and resident memory in bytes (0 when it is gone)."""

    cpu_s: float
    rss_bytes: int


@dataclass(slots=True)
class Process:
    """A named child process. `restarts` counts every start after the first."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0
    _child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it in a session of its own, its output appended to `log`."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                start_new_session=True,
            )

    def restart(self) -> None:
        """Stops it if it runs, and starts it again."""
        self.stop()
        self.restarts += 1
        self.start()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal, as subprocess has it."""
        return self._child.poll() if self._child else None

    def children(self) -> list[int]:
        """See `children_of`; none if it has ended."""
        return children_of(self.pid) if self.pid is not None else []

    def signal(self, number: signal.Signals) -> None:
        """To the process and its group; nothing if it has ended."""
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.killpg(self._child.pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self, *, grace_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL after `grace_s`. Returns when it has been reaped."""
        if self._child is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self._child.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait(10)

    def last_lines(self, count: int = 12) -> str:
        """The end of the log, for an error message."""
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_bytes()[-16_384:].decode(errors="replace")
        return "\n".join(text.splitlines()[-count:]) or "(empty log)"

    def wait_ready(self, ready: Callable[[], bool], *, within_s: float) -> None:
        """Waits until `ready()` is true. ClusterError with the log's end if it ends first, or not in time."""

        def check() -> bool:
            if not self.alive:
                raise ClusterError(
                    f"{self.name} ended with exit code {self.exit_code} before it was ready; its log ends:\n"
                    f"{self.last_lines()}"
                )
            return ready()

        try:
            wait_for(check, within_s=within_s, what=f"{self.name} to be ready")
        except TimeoutError as error:
            raise ClusterError(f"{error}; its log ends:\n{self.last_lines()}") from None

    def usage(self) -> Usage:
        """Read from /proc; zeros when it is gone."""
        if not self.alive:
            return Usage(0.0, 0)
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            return Usage(0.0, 0)
        ticks = os.sysconf("SC_CLK_TCK")
        return Usage((int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def children_of(pid: int) -> list[int]:
    """Process ids of its children, zombies among them, whichever of its threads started them."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is gone
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread ended meanwhile
                found += map(int, (task / "children").read_text().split())
    return found


def wait_for(condition: Callable[[], bool], *, within_s: float, what: str, poll_s: float = _POLL_S) -> None:
    """Waits until `condition()` is true; TimeoutError that says for what and how long."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:g} s for {what}")
        time.sleep(poll_s)
