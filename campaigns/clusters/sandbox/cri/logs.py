"""A container's log file in the CRI's format, and the thread that copies all containers' output to theirs."""

from __future__ import annotations

import contextlib
import datetime
import os
import selectors
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Output", "Watcher"]

_PARTIAL_BYTES = 16_384
"""A longer line is cut in parts marked P, as containerd does (pkg/cri/io/logger.go)."""

_LAST_READS = 16
"""Of 64 KiB: a pipe at its greatest (fs.pipe-max-size, 1 MiB) is emptied, and one that is still written to by others
does not keep us for ever."""

Sink = Callable[[str, bytes], None]


class _Lines:
    """Writes one stream's lines as `TIME stdout F line`. What the disk refuses is lost: one thread copies for all
    containers, and a full disk must not end it."""

    def __init__(self, file: BinaryIO, stream: str) -> None:
        self._file, self._stream, self._rest = file, stream.encode(), b""

    def write(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        head = self._head()
        written: list[bytes] = []
        for line in lines:
            cut = self._cut(line, head, written) if len(line) > _PARTIAL_BYTES else line
            written.append(b"%sF %s\n" % (head, cut.removesuffix(b"\r")))  # as containerd
        self._rest = self._cut(rest, head, written)
        self._put(written)

    def go_on_in(self, file: BinaryIO) -> None:
        self._file = file

    def close(self) -> None:
        """Writes what came after the last newline, as a part of a line. Idempotent."""
        rest, self._rest = self._rest, b""
        self._put([b"%sP %s\n" % (self._head(), rest)] if rest else [])

    def _head(self) -> bytes:
        """What a line starts with: made once for all that was read at once."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        return b"%s %s " % (now.encode(), self._stream)

    def _cut(self, line: bytes, head: bytes, written: list[bytes]) -> bytes:
        """All of a too long line but its last part, which it returns, goes to `written`."""
        while len(line) > _PARTIAL_BYTES:
            written.append(b"%sP %s\n" % (head, line[:_PARTIAL_BYTES]))
            line = line[_PARTIAL_BYTES:]
        return line

    def _put(self, written: Sequence[bytes]) -> None:
        with contextlib.suppress(OSError):
            self._file.write(b"".join(written))
            self._file.flush()


@dataclass(frozen=True, slots=True)
class _Stream:
    name: str
    descriptor: int
    lines: _Lines


class Output:
    """Everything that one container writes: to its log file, and to those who are attached."""

    def __init__(self, path: Path, streams: Sequence[tuple[str, int]]) -> None:
        """`streams`: name and our end of its pipe or terminal. OSError where the log file can't be made."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._streams = [_Stream(name, descriptor, _Lines(self._file, name)) for name, descriptor in streams]
        self._sinks: list[Sink] = []
        self._lock = threading.Lock()
        for stream in self._streams:
            os.set_blocking(stream.descriptor, False)
        self._closed = False

    @property
    def descriptors(self) -> list[int]:
        return [stream.descriptor for stream in self._streams]

    def attach(self, sink: Sink) -> Callable[[], None]:
        """From now on `sink(stream, data)` is called with all that is written, and with b"" at the end. Returns what
        undoes it."""
        with self._lock:
            if self._closed:
                for stream in self._streams:
                    sink(stream.name, b"")
            else:
                self._sinks.append(sink)

        def detach() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._sinks.remove(sink)

        return detach

    def copy(self, descriptor: int, *, reads: int = 1) -> bool:
        """What is there now, but so much at most that others get their turn; False at the end of the stream."""
        stream = next(s for s in self._streams if s.descriptor == descriptor)
        for _ in range(reads):
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                return True
            except OSError:  # a terminal whose other end is closed
                data = b""
            if not data:
                stream.lines.close()
                return False
            with self._lock:
                stream.lines.write(data)
                for sink in self._sinks:
                    sink(stream.name, data)
        return True

    def reopen(self) -> None:
        """The kubelet has moved the file away (rotation): goes on in a new one. Nothing after `close`."""
        with self._lock:
            if self._closed:
                return
            file = self._path.open("ab")
            old, self._file = self._file, file
            for stream in self._streams:
                stream.lines.go_on_in(file)
            old.close()

    def close(self) -> None:
        """Copies the rest and closes everything. Idempotent."""
        if self._closed:
            return
        for stream in self._streams:
            self.copy(stream.descriptor, reads=_LAST_READS)
            os.close(stream.descriptor)
        with self._lock:
            self._closed = True
            for stream in self._streams:
                stream.lines.close()
                for sink in self._sinks:
                    sink(stream.name, b"")
            self._sinks.clear()
            with contextlib.suppress(OSError):
                self._file.close()


class Watcher:
    """One thread that copies every container's output: a pod costs no thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._todo: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="containers", daemon=True).start()

    def add(self, output: Output) -> None:
        """From now on."""
        self._later(lambda: self._watch(output))

    def end(self, output: Output, then: Callable[[], None]) -> None:
        """Copies what is left, closes it, and calls `then`, in this thread."""
        self._later(lambda: self._end(output, then))

    def _later(self, act: Callable[[], None]) -> None:
        with self._lock:
            self._todo.append(act)
        with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            os.write(self._wake_write, b"x")

    def _watch(self, output: Output) -> None:
        for descriptor in output.descriptors:
            self._selector.register(descriptor, selectors.EVENT_READ, output)

    def _end(self, output: Output, then: Callable[[], None]) -> None:
        for descriptor in output.descriptors:
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
        output.close()
        then()

    def _run(self) -> None:
        try:
            self._copy_all()
        finally:  # a runtime whose containers never end would look like a cluster that hangs
            os._exit(1)

    def _copy_all(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_read, 4096)
                    continue
                if not key.data.copy(key.fd):
                    self._selector.unregister(key.fd)
            with self._lock:
                todo, self._todo = self._todo, []
            for act in todo:
                act()
