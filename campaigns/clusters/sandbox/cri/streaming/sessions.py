"""What a client may ask of the runtime over its streams: run a command, attach to a container.

Behaviour, as of containerd 2 (internal/cri/server and internal/cri/io) and k8s.io/cri-streaming v0.36.3:

- The answer comes when the command has ended and all its output was read, also what its own children still hold open.
- A command that can't be started is an error in words (status 500), not an exit code: kubectl exits with 1.
- The client's end of stdin is the command's, except on a terminal, which has no such thing.
- Attaching shows what comes from now on. When the client's stdin ends and the container was not made with stdinOnce
  (or has a terminal), the client is detached and the container keeps its stdin.

One thing is ours: when the client vanishes, its command is killed. containerd leaves it running, and says so in a
comment; here it would outlive experiments.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import struct
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from campaigns.clusters.sandbox.cri.streaming.connections import Connection, Stream
from campaigns.clusters.sandbox.cri.streaming.copying import Signal, pump, write_all

__all__ = [
    "AttachRequest",
    "Attachment",
    "Backend",
    "Client",
    "ExecRequest",
    "Execution",
    "Wanted",
    "run_sync",
    "serve_attach",
    "serve_exec",
]

_SYNC_BYTES = 16 << 20
"""Of either output; containerd's ExecSync keeps as much and drops the rest."""
_BACKLOG_BYTES = 8 << 20
"""Output that an attached client has not taken yet; more than that and it is let go. Arbitrary. containerd blocks the
container instead; here one thread copies for all containers."""
_SIZE_BYTES = 1024
"""A terminal's size as JSON has less than 40."""


class Execution(Protocol):
    """A running command."""

    def wait(self) -> int:
        """Blocks; the exit code, 128 + its number for a signal."""

    def kill(self) -> None:
        """SIGKILL, from any thread. Does nothing once it has ended."""


class Attachment(Protocol):
    """A client's hold on a running container."""

    @property
    def stdin(self) -> int | None:
        """A duplicate of the write end of the container's stdin (of its terminal), this attachment's own; None if it
        has no stdin."""

    @property
    def tty(self) -> bool: ...

    @property
    def stdin_once(self) -> bool:
        """Whether the first client's end of stdin is the container's."""

    def resize(self, columns: int, rows: int) -> None: ...

    def end_stdin(self) -> None:
        """The container reads the end of its stdin: its own write end and this duplicate are closed."""

    def close(self) -> None:
        """The sink is not called any more when this returns; what is still open of `stdin` is closed."""


class Backend(Protocol):
    """The containers, as far as streaming needs them. KeyError for an unknown container or pod; OSError, in words for
    the client, for what can't be done, e.g. because the container is not running."""

    def execute(self, container_id: str, argv: Sequence[str], files: tuple[int, int, int], *, tty: bool) -> Execution:
        """Starts `argv` in the container. `files` are its stdin, stdout and stderr; if `tty`, three times a terminal
        that becomes its controlling one (and TERM=xterm goes into its environment, as in containerd). Duplicates them;
        the caller closes its own."""

    def attach(self, container_id: str, sink: Callable[[str, bytes], None]) -> Attachment:
        """From now on output also goes to sink('stdout' | 'stderr', data), with b'' when that output ends; of a
        terminal all is 'stdout'. The sink never blocks."""

    def pod_network(self, pod_id: str) -> Path | None:
        """Its network namespace's file; None: the node's own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The streams that the kubelet asked for. ValueError for what the CRI forbids."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    def __post_init__(self) -> None:
        if self.tty and self.stderr:
            raise ValueError("tty and stderr cannot both be true")
        if not (self.stdin or self.stdout or self.stderr):
            raise ValueError("one of stdin, stdout, or stderr must be set")

    def names(self, *, resize: bool) -> frozenset[str]:
        """The streams that a client opens, `error` and (if its protocol has it) `resize` among them."""
        asked = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "resize": self.tty and resize}
        return frozenset({"error", *(name for name, wanted in asked.items() if wanted)})


@dataclass(frozen=True, slots=True)
class ExecRequest:
    container_id: str
    argv: tuple[str, ...]
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class AttachRequest:
    container_id: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Client:
    """A client with its streams by name. `structured`: its protocol (v4) has the outcome as JSON on the error stream;
    older ones have only an error's text."""

    connection: Connection
    streams: Mapping[str, Stream]
    structured: bool

    def take(self, name: str, data: bytes) -> None:
        """Output `name` for the client, b'' its end; nothing if the client has no such stream."""
        if (stream := self.streams.get(name)) is None:
            return
        if data:
            stream.write(data)
        else:
            stream.finish()

    def report(self, status: Mapping[str, object]) -> None:
        """The outcome: a metav1.Status."""
        if self.structured:
            self.take("error", json.dumps(status).encode())
        elif status["status"] != "Success":
            self.take("error", str(status["message"]).encode())
        self.take("error", b"")


_SUCCESS = {"status": "Success"}


def _failure(message: str) -> Mapping[str, object]:
    message = f"Internal error occurred: {message}"
    return {"status": "Failure", "message": message, "reason": "InternalError", "code": 500}


def _exit(argv: Sequence[str], code: int) -> Mapping[str, object]:
    if code == 0:
        return _SUCCESS
    words = f"error executing command [{' '.join(argv)}], exit code {code}"
    return {
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {words}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _words(error: KeyError | OSError, container_id: str) -> str:
    if isinstance(error, KeyError):
        return f"failed to find container {container_id!r}: not found"
    return str(error)


@dataclass(slots=True)
class _Pipes:
    """A command's files and our ends of them."""

    theirs: tuple[int, int, int]
    stdin: int | None
    outputs: dict[int, str]
    terminal: int | None = None
    _open: set[int] = field(default_factory=set)

    @classmethod
    def make(cls, wanted: Wanted) -> _Pipes:
        """What is not wanted is /dev/null, as in containerd."""
        if wanted.tty:
            ours, slave = os.openpty()
            os.set_blocking(ours, False)
            return cls((slave,) * 3, ours if wanted.stdin else None, {ours: "stdout"}, ours, {ours, slave})
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        theirs, opened, stdin, outputs = [null] * 3, {null}, None, {}
        if wanted.stdin:
            theirs[0], stdin = os.pipe()
            os.set_blocking(stdin, False)
            opened |= {theirs[0], stdin}
        for index, name in ((1, "stdout"), (2, "stderr")):
            if getattr(wanted, name):
                ours, theirs[index] = os.pipe()
                outputs[ours] = name
                opened |= {ours, theirs[index]}
        return cls((theirs[0], theirs[1], theirs[2]), stdin, outputs, None, opened)

    def close_theirs(self) -> None:
        self._close(set(self.theirs))

    def end_stdin(self) -> None:
        if self.stdin is not None and self.terminal is None:
            self._close({self.stdin})

    def close(self) -> None:
        self._close(set(self._open))

    def _close(self, descriptors: set[int]) -> None:
        for descriptor in descriptors & self._open:
            self._open.remove(descriptor)
            os.close(descriptor)


def serve_exec(backend: Backend, request: ExecRequest, client: Client) -> None:
    """Runs the command and tells the client how it ended. Returns when nothing of it is left."""
    with Signal() as over, contextlib.closing(_Pipes.make(request.wanted)) as pipes:
        try:
            running = backend.execute(request.container_id, request.argv, pipes.theirs, tty=request.wanted.tty)
        except (KeyError, OSError) as error:
            words = _words(error, request.container_id)
            client.report(_failure(f"error executing command in container: failed to exec in container: {words}"))
            return
        pipes.close_theirs()

        def feed() -> None:
            _feed(client.streams["stdin"], pipes.stdin, over)
            pipes.end_stdin()

        def resize(columns: int, rows: int) -> None:
            if pipes.terminal is not None:
                fcntl.ioctl(pipes.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

        with (
            client.connection.on_gone(running.kill),
            client.connection.on_gone(over.set),
            _listening(client, over, feed, resize),
        ):
            pump({ours: _taker(client, name) for ours, name in pipes.outputs.items()}, over)
            code = running.wait()
    client.report(_exit(request.argv, code))


def _taker(client: Client, name: str) -> Callable[[bytes], None]:
    return lambda data: client.take(name, data)


def _feed(stream: Stream, descriptor: int | None, over: Signal) -> None:
    """The client's stdin until its end, or until nobody reads it; then the rest is thrown away."""
    while descriptor is not None and (data := stream.read()):
        if not write_all(descriptor, data, over):
            break
    stream.drop()


@contextlib.contextmanager
def _listening(
    client: Client, over: Signal, feed: Callable[[], None], resize: Callable[[int, int], None]
) -> Iterator[None]:
    """Inside the block one thread each for stdin and the terminal's size, if the client has such streams; both end
    with it, and `over` is set."""
    work: dict[str, Callable[[], None]] = {}
    if "stdin" in client.streams:
        work["stdin"] = feed
    if (sizes := client.streams.get("resize")) is not None:
        work["resize"] = lambda: _resize(sizes, resize)
    threads = [threading.Thread(target=target, name=f"streaming-{name}", daemon=True) for name, target in work.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for name in work:
            client.streams[name].drop()
        for thread in threads:
            thread.join()


def _resize(stream: Stream, resize: Callable[[int, int], None]) -> None:
    """Sizes are JSON objects one after the other, cut anywhere. Those without room are skipped, as containerd does."""
    decoder, text = json.JSONDecoder(), ""
    while len(text) < _SIZE_BYTES and (data := stream.read()):
        text += data.decode(errors="replace")
        with contextlib.suppress(ValueError):  # not whole yet
            while text := text.lstrip():
                size, end = decoder.raw_decode(text)
                text = text[end:]
                match size:
                    case {"Width": int(columns), "Height": int(rows)} if 0 < columns < 1 << 16 and 0 < rows < 1 << 16:
                        resize(columns, rows)
    stream.drop()


class _Backlog:
    """What a container said and its attached client has not been given yet."""

    def __init__(self) -> None:
        self._parts: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._held_bytes = 0
        self.overrun = False

    def put(self, name: str, data: bytes) -> None:
        """Never blocks: more than `_BACKLOG_BYTES` is the end."""
        with self._lock:
            self._held_bytes += len(data)
            if self._held_bytes > _BACKLOG_BYTES:
                self.overrun = True
        self._parts.put(None if self.overrun else (name, data))

    def end(self) -> None:
        self._parts.put(None)

    def get(self) -> tuple[str, bytes] | None:
        """The next output; None at the end."""
        part = self._parts.get()
        if part is None or self.overrun:
            return None
        with self._lock:
            self._held_bytes -= len(part[1])
        return part


def serve_attach(backend: Backend, request: AttachRequest, client: Client) -> None:
    """Connects the client to the container until one of them leaves."""
    backlog = _Backlog()
    try:
        attachment = backend.attach(request.container_id, backlog.put)
    except (KeyError, OSError) as error:
        client.report(_failure(f"error attaching to container: {_words(error, request.container_id)}"))
        return

    def feed() -> None:
        if (stdin := attachment.stdin) is not None:
            os.set_blocking(stdin, False)
        _feed(client.streams["stdin"], stdin, over)
        if stdin is None:
            return
        if attachment.stdin_once and not attachment.tty:
            attachment.end_stdin()
        else:
            backlog.end()

    with (
        Signal() as over,
        contextlib.closing(attachment),
        client.connection.on_gone(backlog.end),
        _listening(client, over, feed, attachment.resize),
    ):
        _show(backlog, {"stdout"} if attachment.tty else {"stdout", "stderr"}, client)
    if backlog.overrun:
        client.report(_failure("error attaching to container: the client takes its output too slowly"))
    else:
        client.report(_SUCCESS)


def _show(backlog: _Backlog, open_: set[str], client: Client) -> None:
    """Until all of the container's outputs have ended."""
    while open_ and (part := backlog.get()) is not None:
        name, data = part
        client.take(name, data)
        if not data:
            open_.discard(name)


def run_sync(
    backend: Backend, container_id: str, argv: Sequence[str], timeout_s: float | None = None
) -> tuple[int, bytes, bytes]:
    """The CRI's ExecSync: exit code, stdout, stderr (of each the first 16 MiB). After `timeout_s` (None or 0: never)
    the command is killed and TimeoutError raised; also when it ended but its children hold its output. KeyError and
    OSError as `Backend.execute`."""
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    expired = threading.Event()
    with (
        Signal() as over,
        contextlib.closing(_Pipes.make(Wanted(stdin=False, stdout=True, stderr=True, tty=False))) as pipes,
    ):
        running = backend.execute(container_id, argv, pipes.theirs, tty=False)
        pipes.close_theirs()

        def expire() -> None:
            expired.set()
            running.kill()
            over.set()

        def keep(name: str) -> Callable[[bytes], None]:
            return lambda data: kept[name].extend(data[: _SYNC_BYTES - len(kept[name])])

        timer = threading.Timer(timeout_s, expire) if timeout_s else None
        if timer is not None:
            timer.start()
        pump({ours: keep(name) for ours, name in pipes.outputs.items()}, over)
        code = running.wait()
        if timer is not None:
            timer.cancel()
            timer.join()
    if expired.is_set():
        raise TimeoutError(f"{argv[0]!r} took longer than {timeout_s:g} s")
    return code, bytes(kept["stdout"]), bytes(kept["stderr"])
