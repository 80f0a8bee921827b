"""One of the places for a sandbox that the runner has: what runs there, how far it is, until when it may take.

A slot outlives its sandboxes. Its stages follow each other so:

    EMPTY → STARTING → IDLE ⇄ BUSY
      ↑         ↓        ↓      ↓
      └──────────── ENDING ─────┘

All times are monotonic seconds. Nothing here decides: campaigns.running.runner does.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from campaigns.clusters.sandbox import outside
from campaigns.record import Result
from campaigns.running.executor import Task
from campaigns.running.timing import Stopwatch

__all__ = ["Patience", "Slot", "Stage"]

_LAST_WORDS = 15
"""Lines of its log that are told of a sandbox that was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the runner waits for a sandbox, in seconds.

    start_s    from its launch until it is ready; 8 s on two idle cores, 40 s were seen beside a build
    silence_s  without a word of its worker, which says `alive` once a second: it is stopped, or hangs in the kernel
    starts     a sandbox that failed to start so often in a row counts as one that never will; if all do, it is the end
    again_s    after the first failed start; twice as long after each further one, up to longest_s
    apart_s    between two launches: a start keeps a core busy
    """

    start_s: float = 120.0
    silence_s: float = 30.0
    starts: int = 3
    again_s: float = 2.0
    longest_s: float = 60.0
    apart_s: float = 3.0

    def back_off_s(self, failed: int) -> float:
        """Before the next start, after so many that failed in a row."""
        return min(self.again_s * float(2 ** (failed - 1)), self.longest_s)


class Stage(StrEnum):
    """What is going on in a slot."""

    EMPTY = "empty"
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"


@dataclass(slots=True)
class Slot:
    """A place for a sandbox.

    not_before     EMPTY: no launch earlier than this
    failed_starts  in a row
    lives          how many sandboxes there were, the one that is there among them
    retired        nothing more is to run on this sandbox
    used           something has run on this sandbox
    pending        a result that waits for the fresh sandbox that its reset is
    heard          when the worker last said something
    """

    name: str
    stage: Stage = Stage.EMPTY
    lives: int = 0
    retired: bool = False
    launched: outside.Launched | None = None
    not_before: float = 0.0
    failed_starts: int = 0
    used: bool = False
    deadline: float = float("inf")
    heard: float = 0.0
    began: float = 0.0
    task: Task | None = None
    pending: Result | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    says: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    _buffer: bytearray = field(default_factory=bytearray)

    def launch(
        self, binaries: Mapping[str, Path], settings: outside.Settings, worker: str, *, patience: Patience
    ) -> int:
        """Starts a sandbox; returns the descriptor on which its worker speaks. MutineerError or OSError if it can't
        be; nothing is left then."""
        config = outside.prepare(self.name, binaries=binaries, **settings)
        try:
            self.launched = outside.launch(config, worker, pipes=True, dies_with_us=True)
        except BaseException:
            shutil.rmtree(config.folder, ignore_errors=True)
            raise
        assert self.launched.process.stdout is not None
        descriptor = self.launched.process.stdout.fileno()
        os.set_blocking(descriptor, False)
        now = time.monotonic()
        self.lives, self.retired = self.lives + 1, False
        self.stage, self.used, self.heard, self.deadline = Stage.STARTING, False, now, now + patience.start_s
        self._buffer.clear()
        self.says.clear()
        if self.pending is None:
            self.watch.enter("boot", now)
        return descriptor

    @property
    def sandbox(self) -> str:
        """A name for the sandbox that is there, which none before it had."""
        return f"{self.name}.{self.lives}"

    def lines(self) -> list[bytes] | None:
        """What the worker has said since, in whole lines; None once it has ended."""
        assert self.launched is not None and self.launched.process.stdout is not None
        data = os.read(self.launched.process.stdout.fileno(), 1 << 20)
        if not data:
            return None
        self.heard = time.monotonic()
        self._buffer += data
        if b"\n" not in data:
            return []
        *whole, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        return whole

    def tell(self, line: bytes) -> None:
        """To the worker. BrokenPipeError if it has just ended."""
        assert self.launched is not None and self.launched.process.stdin is not None
        self.launched.process.stdin.write(line + b"\n")
        self.launched.process.stdin.flush()

    def overdue(self, now: float, silence_s: float) -> str | None:
        """Why it is to be given up, in words."""
        if self.stage not in (Stage.STARTING, Stage.IDLE, Stage.BUSY):
            return None
        if now > self.deadline:
            what = "the sandbox's start" if self.stage is Stage.STARTING else "the experiment"
            return f"{what} did not end in time; last seen: {' → '.join(self.says)}"
        if now > self.heard + silence_s:
            return f"the sandbox has said nothing for {silence_s:g} s; last seen: {' → '.join(self.says)}"
        return None

    def allow(self, seconds: float) -> None:
        """Nobody has looked at it for so long: that was not its fault."""
        self.deadline += seconds
        self.heard += seconds

    def last_words(self) -> str:
        """The end of its log."""
        if self.launched is None:
            return ""
        log = self.launched.config.logs / "sandbox.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_WORDS:]) if log.exists() else ""

    def kill(self) -> None:
        """Begins its end; `gone` tells when that has come."""
        if self.launched is not None and self.launched.process.poll() is None:
            self.launched.process.kill()  # which takes the namespace with it
        self.stage, self.deadline = Stage.ENDING, float("inf")

    def gone(self) -> bool:
        """Whether all of it has ended: the sandbox's first process holds the folder's lock for as long as it is there,
        and that is the one that may hang in the kernel."""
        launched = self.launched
        return launched is None or (launched.process.poll() is not None and outside.is_free(launched.config.folder))

    def abandon(self) -> None:
        """It can't be ended: another one takes its place, under another name."""
        self.launched, self.stage, self.name = None, Stage.EMPTY, f"{self.name}b"

    def end(self) -> None:
        """Ends it if need be, and waits for that. ClusterError if it resists."""
        launched, self.launched, self.stage = self.launched, None, Stage.EMPTY
        if launched is not None:
            launched.end()
