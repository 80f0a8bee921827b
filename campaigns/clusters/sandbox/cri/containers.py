"""One container: a local process in its pod's network namespace, its output in the CRI's log format.

All pipes and all exits of all containers are waited for by one thread (`Watcher`): a pod costs no thread.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["CREATED", "EXITED", "RUNNING", "Container", "Watcher"]

CREATED, RUNNING, EXITED = 0, 1, 2
"""runtime.v1.ContainerState."""
_PARTIAL_BYTES = 16_384
"""A longer line is cut in parts marked P, as containerd does (pkg/cri/io/logger.go)."""


@dataclass(slots=True)
class Container:
    """Its request as the kubelet sent it, and what became of it. Times are Unix nanoseconds, 0 where not yet."""

    id: str
    pod_id: str
    config: Any
    image_id: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_path: Path
    network: Path | None
    cwd: str = "/"
    created_at: int = field(default_factory=time.time_ns)
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    child: subprocess.Popen[bytes] | None = None
    exited: threading.Event = field(default_factory=threading.Event)

    @property
    def state(self) -> int:
        return EXITED if self.finished_at else RUNNING if self.started_at else CREATED

    def start(self, watcher: Watcher) -> None:
        """OSError where the log file can't be made; FileNotFoundError where the command does not exist, as runc would
        say."""
        if shutil.which(self.argv[0], path=self.env.get("PATH")) is None:
            raise FileNotFoundError(f'exec: "{self.argv[0]}": executable file not found in $PATH')
        # by its own path: Popen looks a bare name up in the container's PATH
        enter: Sequence[str] = [_nsenter(), f"--net={self.network}", "--"] if self.network else []
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        log = self.log_path.open("ab")
        try:
            self.child = subprocess.Popen(
                [*enter, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(self.env),
                cwd=self.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            log.close()
            raise OSError(f"{self.argv[0]!r} can't be started: {error}") from error
        self.started_at = time.time_ns()
        watcher.add(self, log)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, SIGKILL after `grace_s`; returns when it has been reaped. Idempotent."""
        if self.state == CREATED:
            self.finished_at = time.time_ns()
            self.exited.set()
        if self.state != RUNNING:
            return
        if grace_s > 0:
            self._signal(signal.SIGTERM)
            if self.exited.wait(grace_s):
                return
        self._signal(signal.SIGKILL)
        self.exited.wait(10)

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None and not self.exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)

    def ended(self, code: int) -> None:
        """Told by the watcher. A signal's exit code is 128 + its number, as every runtime has it."""
        self.exit_code = 128 - code if code < 0 else code
        self.reason = "Completed" if code == 0 else "Error"
        self.finished_at = time.time_ns()
        self._signal(signal.SIGKILL)  # what it left behind in its session
        self.exited.set()


def _nsenter() -> str:
    return shutil.which("nsenter") or "nsenter"


class _Log:
    """Writes one stream's lines as `TIME stdout F line`. What the disk refuses is lost: one thread copies for all
    containers, and a full disk must not end it."""

    def __init__(self, file: BinaryIO, stream: str) -> None:
        self._file, self._stream, self._rest = file, stream.encode(), b""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        with contextlib.suppress(OSError):
            for line in lines:
                self._line(self._cut(line), b"F")
            self._rest = self._cut(self._rest)
            self._file.flush()

    def close(self) -> None:
        """Writes what came after the last newline. Idempotent."""
        rest, self._rest = self._rest, b""
        with contextlib.suppress(OSError):
            if rest:
                self._line(rest, b"F")
            self._file.flush()

    def _cut(self, line: bytes) -> bytes:
        """Writes all of a too long line but its last part, which it returns."""
        while len(line) > _PARTIAL_BYTES:
            self._line(line[:_PARTIAL_BYTES], b"P")
            line = line[_PARTIAL_BYTES:]
        return line

    def _line(self, line: bytes, tag: bytes) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        self._file.write(b"%s %s %s %s\n" % (now, self._stream, tag, line))


class Watcher:
    """One thread that copies every container's output to its log and notes every exit."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        self._new: list[tuple[Container, BinaryIO]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="containers", daemon=True).start()

    def add(self, container: Container, log: BinaryIO) -> None:
        """From now on; `log` is closed when the container has ended."""
        with self._lock:
            self._new.append((container, log))
        os.write(self._wake_write, b"x")

    def _woken(self) -> None:
        os.read(self._wake_read, 4096)
        with self._lock:
            new, self._new = self._new, []
        for container, log in new:
            self._watch(container, log)

    def _watch(self, container: Container, file: BinaryIO) -> None:
        child = container.child
        assert child is not None and child.stdout is not None and child.stderr is not None
        copies: list[Callable[[], bool]] = []
        for pipe, stream in ((child.stdout, "stdout"), (child.stderr, "stderr")):
            os.set_blocking(pipe.fileno(), False)
            copy = self._copier(pipe.fileno(), _Log(file, stream))
            copies.append(copy)
            self._selector.register(pipe, selectors.EVENT_READ, copy)
        descriptor = os.pidfd_open(child.pid)

        def exited() -> None:
            code = child.wait()
            self._selector.unregister(descriptor)
            os.close(descriptor)
            for pipe, copy in zip((child.stdout, child.stderr), copies, strict=True):
                copy()
                assert pipe is not None
                with contextlib.suppress(KeyError):
                    self._selector.unregister(pipe)
                pipe.close()
            with contextlib.suppress(OSError):
                file.close()
            container.ended(code)

        self._selector.register(descriptor, selectors.EVENT_READ, exited)

    def _copier(self, descriptor: int, log: _Log) -> Callable[[], bool]:
        def copy() -> bool:
            """Everything that is there now; False at the end of the pipe."""
            while True:
                try:
                    data = os.read(descriptor, 65536)
                except BlockingIOError:
                    return True
                if not data:
                    log.close()
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(descriptor)
                    return False
                log.write(data)

        return copy

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                # an earlier callback of this round may have closed it, and its number may be another file's now
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
