"""What the forwarders' processes have in common: how they listen, are told to end, and answer on their control socket.

A forwarder ends on SIGTERM and SIGINT, and when its parent process dies. It is ready when the control socket answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path

import uvloop

from injector.channels.controlling import Controlled, answer_line
from injector.errors import EnvironmentFailure, InputError, MutineerError
from injector.wire.inspection import Gate

__all__ = ["answer_until", "listen", "run", "told_to_end", "when_open"]

MAX_CONTROL_LINE_BYTES = 256 << 20
"""A baseline is the whole key space in base64; etcd's own default quota is 2 GiB, a sandbox's key space a few MiB."""

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def run(serve: Callable[[], Coroutine[None, None, None]]) -> int:
    """A forwarder's whole life; errors in words on stderr. Returns the exit code: 0, 2 (usage), 3 (environment)."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        uvloop.run(serve())
    except MutineerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 3
    return 0


def told_to_end() -> asyncio.Event:
    """Set once this process is to end."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    _die_with_parent(loop, over)
    return over


async def listen(
    protocol: Callable[[], asyncio.BaseProtocol], address: tuple[str, int], tls: ssl.SSLContext | None
) -> asyncio.Server:
    """EnvironmentFailure where the address can't be had."""
    try:
        return await asyncio.get_running_loop().create_server(protocol, *address, ssl=tls)
    except OSError as error:
        host, port = address
        raise EnvironmentFailure(
            f"can't listen on {host}:{port}: {error.strerror or error}", remedy="choose a free port"
        ) from error


async def answer_until(over: asyncio.Event, control: Path, forwarder: Controlled) -> None:
    """Serves the control socket at `control` until then. EnvironmentFailure where it can't be made."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while line := await reader.readline():
                writer.write(answer_line(forwarder, line))
                await writer.drain()

    with _control_socket(control) as unix:
        controls = await asyncio.start_unix_server(answer, sock=unix, limit=MAX_CONTROL_LINE_BYTES)
        gc.freeze()
        await over.wait()
        controls.close()


def when_open(gates: Iterable[Gate], go_on: Callable[[], None]) -> None:
    """`go_on` is called after any of them opened: by the clock where a gate says when. Never from within the handling
    of other bytes, which may be what opens a gate."""
    loop = asyncio.get_running_loop()

    def soon() -> None:
        loop.call_soon(go_on)

    for gate in gates:
        gate.when_open(soon)
        if gate.after_s is not None:
            loop.call_later(gate.after_s, gate.open)


@contextlib.contextmanager
def _control_socket(path: Path) -> Iterator[socket.socket]:
    """A listening Unix socket at `path`, mode 0600, removed afterwards. A dead one's file is replaced."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(str(path)) != 0:
                    path.unlink()
        before = os.umask(0o177)
        try:
            unix.bind(str(path))
        except OSError as error:
            remedy = "stop the forwarder that uses it, or name another path (at most 107 bytes)"
            raise EnvironmentFailure(f"can't make the control socket {path}: {error}", remedy=remedy) from error
        finally:
            os.umask(before)
        try:
            unix.listen()
            yield unix
        finally:
            path.unlink(missing_ok=True)


def _die_with_parent(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    """The kernel sends the signal when the *thread* that started us ends; only a new parent tells that the process
    is gone, so SIGTERM itself would not do."""
    parent = os.getppid()

    def orphaned() -> None:
        if os.getppid() != parent:
            over.set()

    loop.add_signal_handler(signal.SIGUSR1, orphaned)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGUSR1), 0, 0, 0) != 0:
        raise EnvironmentFailure("prctl(PR_SET_PDEATHSIG) failed", remedy="run on Linux")
