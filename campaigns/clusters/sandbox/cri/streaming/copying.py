"""Copying between descriptors and whatever takes bytes, so that it can be stopped at any moment.

Descriptors and poll rather than blocking reads: a process that its command left behind may hold a pipe open for years,
and nothing else would wake who reads it.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

__all__ = ["Signal", "pump", "write_all"]

_CHUNK_BYTES = 1 << 16
"""A pipe's capacity on Linux."""


class Signal:
    """An event that poll(2) can wait for. To be used as a context; `set` does nothing after it."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Signal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            os.close(self._descriptor)

    def fileno(self) -> int:
        """Readable once set."""
        return self._descriptor

    def set(self) -> None:
        """From any thread, any number of times."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._descriptor, 1)


def pump(sources: Mapping[int, Callable[[bytes], object]], over: Signal) -> bool:
    """Gives what each descriptor has to its taker, b'' at its end. True when all have ended, False if `over` came
    first. Takers may block."""
    poll = select.poll()
    poll.register(over, select.POLLIN)
    for descriptor in sources:
        poll.register(descriptor, select.POLLIN)
    left = set(sources)
    while left:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if over.fileno() in ready:
            return False
        for descriptor in ready:
            data = _read(descriptor)
            sources[descriptor](data)
            if not data:
                poll.unregister(descriptor)
                left.remove(descriptor)
    return True


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:  # a terminal whose last user has gone
            return b""
        raise


def write_all(descriptor: int, data: bytes, over: Signal) -> bool:
    """Writes to a non-blocking pipe, terminal or socket, waiting where need be. False: nobody reads it any more, or
    `over` came first."""
    poll = select.poll()
    poll.register(over, select.POLLIN)
    poll.register(descriptor, select.POLLOUT)
    rest = memoryview(data)
    while rest:
        if any(ready == over.fileno() for ready, _ in poll.poll()):
            return False
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            continue
        except OSError:
            return False
    return True
