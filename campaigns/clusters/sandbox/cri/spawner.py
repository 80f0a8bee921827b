"""The fork server that every container comes from: forks a child, confines it, lets it become its program.

    python -m campaigns.clusters.sandbox.cri.spawner SOCKET_FD SCRATCH      (by cri.spawning, in the runtime)

Built-in programs are modules that are loaded here once, so a container of theirs costs a fork (a few ms, pages shared)
instead of an interpreter. It is nevertheless a process of its own: pid, signals, exit code, memory and CPU are its own.
Single-threaded, since only such a process may fork and go on in Python.

Messages are JSON datagrams. In: {"id"} with descriptors [spec (ProcessSpec as JSON in a memory file), stdin, stdout,
stderr]. Out: {"id", "pid"} once the program runs, {"id", "error"} if it can't; {"pid", "status"} (waitpid's) at its
end, never before its start was told. When the socket closes everything ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.cri import programs
from campaigns.clusters.sandbox.cri.confine import confine, open_join
from campaigns.clusters.sandbox.cri.spec import ProcessSpec

__all__ = ["main"]

_MOST_DESCRIPTORS = 4
_PR_SET_NAME = 15
_OF_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by the interpreter, which programs of ours go on with."""
_GONE = (errno.ENOENT, errno.ESRCH, errno.ENOMEM)
"""A process that has ended but is not yet reaped has no namespaces (ENOENT), and nobody is born any more in a pid
namespace whose first process has ended (ENOMEM; pid_namespaces(7))."""


@dataclass(slots=True)
class _Starting:
    """A child that has not yet become its program. `report` ends with that, or brings the reason why not."""

    id: int
    pid: int
    report: int
    said: bytes = b""


class _Spawner:
    def __init__(self, control: socket.socket, scratch: Path) -> None:
        self._control, self._scratch = control, scratch
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._starting: dict[int, _Starting] = {}
        self._alive: set[int] = set()
        """Not yet reaped, so that their numbers are nobody else's."""
        self._poll = selectors.DefaultSelector()
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poll.register(control, selectors.EVENT_READ)
        self._poll.register(self._woken, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            for key, _ in self._poll.select():
                if key.fileobj is self._control:
                    if not self._asked():
                        return
                elif key.fd == self._woken:
                    os.read(self._woken, 65536)
                    self._reap()
                elif (starting := self._starting.get(key.data)) is not None:
                    self._reported(starting)

    def _tell(self, **message: object) -> None:
        self._control.send(json.dumps(message).encode())

    def _asked(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, 4096, _MOST_DESCRIPTORS)
        if not data:
            return False
        number = json.loads(data)["id"]
        try:
            with os.fdopen(descriptors[0], "rb") as file:
                spec = ProcessSpec.from_json(file.read())
            self._start(number, spec, descriptors[1:])
        except (OSError, ValueError) as error:
            self._tell(id=number, error=_words(error))
        finally:
            for descriptor in descriptors[1:]:
                os.close(descriptor)
        return True

    def _start(self, number: int, spec: ProcessSpec, files: list[int]) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        join: list[int] = []
        try:
            self._choose_pids(spec)
            try:
                join += open_join(spec.join) if spec.join is not None else []
                if (pid := os.fork()) == 0:
                    self._become(spec, files, join, write)
            finally:
                isolation.enter("/proc/self/fd/" + str(self._own_pids), isolation.CLONE_NEWPID)
        except OSError as error:
            os.close(read)
            if (spec.join or spec.pids_of) and error.errno in _GONE:
                raise OSError("the container has ended") from None
            raise
        finally:
            os.close(write)
            for descriptor in join:
                os.close(descriptor)
        starting = _Starting(number, pid, read)
        self._starting[pid] = starting
        self._alive.add(pid)
        self._poll.register(read, selectors.EVENT_READ, pid)

    def _choose_pids(self, spec: ProcessSpec) -> None:
        """The pid namespace that the next child is born in; a process can't change its own."""
        of = spec.join if spec.join is not None else spec.pids_of
        if of is not None:
            if of not in self._alive:
                raise OSError("the container has ended")
            isolation.enter(f"/proc/{of}/ns/pid", isolation.CLONE_NEWPID)
        elif spec.own_pids:
            isolation.unshare(isolation.CLONE_NEWPID)

    def _become(self, spec: ProcessSpec, files: list[int], join: list[int], report: int) -> NoReturn:
        """In the child. Never returns, whatever happens."""
        code = 1
        try:
            try:
                _prepare(spec, files, join, report, self._scratch)
                if spec.program is None:
                    _exec(spec)
            except (OSError, ValueError) as error:  # ValueError: a NUL in what the kernel takes as C strings
                os.write(report, _words(error).encode(errors="replace"))
            else:
                # the kernel keeps a signal that has no handler from a first process: until the program has its own
                signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
                os.close(report)
                code = _call(spec)
        except BaseException:  # noqa: BLE001 - the end of a process: told on its stderr, as the interpreter would
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reported(self, starting: _Starting) -> None:
        data = os.read(starting.report, 65536)
        starting.said += data
        if data:
            return
        self._poll.unregister(starting.report)
        os.close(starting.report)
        del self._starting[starting.pid]
        if starting.said:
            os.waitpid(starting.pid, 0)
            self._alive.discard(starting.pid)
            self._tell(id=starting.id, error=starting.said.decode(errors="replace"))
        else:
            self._tell(id=starting.id, pid=starting.pid)

    def _reap(self) -> None:
        while True:
            try:
                # not yet reaped, so that the pid is nobody else's while its start is being told
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            pid = info.si_pid
            failed = False
            while (starting := self._starting.get(pid)) is not None:  # its report is complete: it has ended
                self._reported(starting)
                failed = bool(starting.said)
            if not failed:
                _, status = os.waitpid(pid, 0)
                self._alive.discard(pid)
                self._tell(pid=pid, status=status)


def _words(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _prepare(spec: ProcessSpec, files: list[int], join: list[int], report: int, scratch: Path) -> None:
    """Makes the child what the container's process is to be, but for the program."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, *_OF_PYTHON}:
        with contextlib.suppress(OSError):  # two that the C library keeps for itself
            signal.signal(number, signal.SIG_DFL)  # ours, and what a shell's background job inherits ignored
    for target, descriptor in enumerate(files):
        os.dup2(descriptor, target)
    kept = {report, *join}
    for descriptor in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(descriptor)
    confine(spec, join, scratch)
    os.environ.clear()
    os.environ.update(spec.env)


def _call(spec: ProcessSpec) -> int:
    """Calls the built-in program; returns its exit code."""
    assert spec.program is not None
    module = sys.modules[f"{programs.__name__}.{spec.program}"]
    ctypes.CDLL(None).prctl(_PR_SET_NAME, spec.program.encode()[:15], 0, 0, 0)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), line_buffering=True, errors="replace")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), line_buffering=True, errors="replace")
    sys.argv = [spec.program, *spec.argv]
    try:
        module.main(list(spec.argv))
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _exec(spec: ProcessSpec) -> NoReturn:
    for number in _OF_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    if not spec.argv:
        raise OSError("no command specified")
    try:
        os.execvpe(spec.argv[0], spec.argv, dict(spec.env))  # noqa: S606 - becoming a container's command is the point
    except (FileNotFoundError, NotADirectoryError) as error:
        there = "/" in spec.argv[0]
        words = (error.strerror or "").lower() if there else "executable file not found in $PATH"
        raise OSError(f'exec: "{spec.argv[0]}": {words}') from None
    except OSError as error:
        raise OSError(f'exec: "{spec.argv[0]}": {(error.strerror or str(error)).lower()}') from None


def main(descriptor: int, scratch: Path) -> None:
    for found in pkgutil.iter_modules(programs.__path__):
        importlib.import_module(f"{programs.__name__}.{found.name}")
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    for number in (signal.SIGTERM, signal.SIGINT):  # the runtime's end is ours, not a signal to its group
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # objects that no collector touches stay shared with all children
    _Spawner(control, scratch).serve()
    # PDEATHSIG ends every child


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
