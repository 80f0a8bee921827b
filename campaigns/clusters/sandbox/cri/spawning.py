"""The runtime's end of the spawner: starts processes in containers and learns of their ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from campaigns.clusters.sandbox.cri.spec import ProcessSpec

__all__ = ["Child", "Spawner"]

_ENVIRONMENT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL")
_START_WITHIN_S = 30.0
"""A start takes some ms; a machine that is that slow has other troubles."""
_OVER = "the spawner, which all containers come from, has ended"


class Child:
    """A process that the spawner started. Signals reach it and no other, whatever became of its number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        """128 + its number for a signal, as every runtime has it."""
        self.ended = threading.Event()
        self._lock = threading.Lock()  # a closed descriptor's number may be another child's at once
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it was quick; its end is on the way
            self._descriptor = None

    def wait(self) -> int:
        """Its exit code."""
        self.ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    def signal(self, number: int) -> None:
        """Nothing if it has ended."""
        with self._lock:
            if self._descriptor is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def note_end(self, status: int) -> None:
        """Told by the Spawner, once."""
        code = os.waitstatus_to_exitcode(status)
        self.exit_code = 128 - code if code < 0 else code
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)
        self.ended.set()


class Spawner:
    """The spawner's process and the thread that reads what it tells.

    scratch  an empty folder of ours
    over     called in that thread when the spawner has ended, with all that it started: there will be no other
    """

    def __init__(self, scratch: Path, over: Callable[[], None] = lambda: None) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        scratch.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "campaigns.clusters.sandbox.cri.spawner", str(theirs.fileno()), str(scratch)],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            # a container can read what its first process was started with: that must not be the user's
            env={name: value for name, value in os.environ.items() if name in _ENVIRONMENT},
        )
        theirs.close()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._asked: dict[int, tuple[Future[Child], Callable[[Child], None]]] = {}
        self._children: dict[int, tuple[Child, Callable[[Child], None]]] = {}
        self._over, self._tell_over = False, over
        self._thread = threading.Thread(target=self._listen, name="spawner", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(
        self, spec: ProcessSpec, files: tuple[int, int, int], ended: Callable[[Child], None] = lambda _: None
    ) -> Child:
        """Starts a process with those descriptors as stdin, stdout and stderr (the caller closes its own). `ended` is
        called in the spawner's thread, once. OSError in words if it can't be started."""
        future: Future[Child] = Future()
        document = os.memfd_create("spec", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(document), "wb") as file:
                file.write(spec.to_json())
            os.lseek(document, 0, os.SEEK_SET)
            with self._lock:
                if self._over:
                    raise OSError(_OVER)
                number = next(self._numbers)
                try:
                    socket.send_fds(self._control, [json.dumps({"id": number}).encode()], [document, *files])
                except (BrokenPipeError, ConnectionResetError):
                    raise OSError(_OVER) from None
                self._asked[number] = (future, ended)
        finally:
            os.close(document)
        try:
            return future.result(_START_WITHIN_S)
        except TimeoutError:
            if future.cancel():
                raise OSError(f"the spawner has not answered within {_START_WITHIN_S:g} s") from None
            return future.result()  # it has, just now

    def close(self) -> None:
        """Ends the spawner and, with it, every process that it started."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._thread.join(10)
        self._control.close()

    def _listen(self) -> None:
        try:
            self._hear()
        finally:  # whatever happened: nothing can be started any more, and that must be known
            self._end()

    def _hear(self) -> None:
        while data := self._receive():
            message = json.loads(data)
            if "status" in message:
                self._note_end(message["pid"], message["status"])
                continue
            with self._lock:
                future, ended = self._asked.pop(message["id"])
            wanted = future.set_running_or_notify_cancel()
            if "error" in message:
                if wanted:
                    future.set_exception(OSError(message["error"]))
                continue
            child = Child(message["pid"])
            self._children[child.pid] = (child, ended)
            if wanted:
                future.set_result(child)
            else:  # nobody waits for it any more
                child.kill()

    def _note_end(self, pid: int, status: int) -> None:
        child, ended = self._children.pop(pid)
        child.note_end(status)
        ended(child)

    def _end(self) -> None:
        """The kernel kills what the spawner started when that ends (PR_SET_PDEATHSIG)."""
        self._tell_over()
        with self._lock:
            self._over = True
            asked, self._asked = self._asked, {}
        for future, _ in asked.values():
            if future.set_running_or_notify_cancel():
                future.set_exception(OSError(_OVER))
        for pid in list(self._children):
            self._note_end(pid, signal.SIGKILL)

    def _receive(self) -> bytes:
        try:
            return self._control.recv(1 << 17)
        except OSError:
            return b""
