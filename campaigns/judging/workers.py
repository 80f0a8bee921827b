"""Busy reading of a stored run by a process for each core. Only the parent writes.

    python -m MODULE FOLDER
    <- {"e0123…": "", …}                 a line for each chunk of ids; with each a word about it
    -> {"id": …, …}                      a line for each id: what was made of it
    -> {"id": …, "spoiled": "…"}         instead: what is stored of it can't be read, in words
    -> {"failed": "…"}                   the record can't be read, in words; it ends

A process ends when its input does, so that none outlives its parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from campaigns.store import Run, Spoiled, open_run
from injector.errors import HarnessError, StoreError

__all__ = ["Workers", "serve"]

_CHUNK = 20
"""Ids that a process is given at once: a second's work at most, so that all of them end together."""

Said = dict[str, Any]


class Workers:
    """The parent's side: as many ids under way as keep all of them busy."""

    def __init__(self, module: str, folder: Path) -> None:
        self._command = [sys.executable, "-m", module, str(folder)]
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workers:
        for _ in os.sched_getaffinity(0):
            process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._processes.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            with process:  # closes its pipes and waits for it
                pass

    def answers(self, ids: Mapping[str, str], spoiled: Spoiled) -> Iterator[Said]:
        """In the ids' order; `spoiled` is told of those that can't be read. Each process has two chunks under way, so
        that it never waits for the other's answers. HarnessError if one ends early or can't read the run."""
        items = list(ids.items())
        chunks = [dict(items[start : start + _CHUNK]) for start in range(0, len(items), _CHUNK)]
        given = [(chunk, self._processes[i % len(self._processes)]) for i, chunk in enumerate(chunks)]
        ahead = 2 * len(self._processes)
        for chunk, process in given[:ahead]:
            _tell(process, chunk)
        for place, (chunk, process) in enumerate(given):
            for identifier in chunk:
                if (said := self._answer(process, identifier, spoiled)) is not None:
                    yield said
            if place + ahead < len(given):
                later, its = given[place + ahead]
                _tell(its, later)

    def _answer(self, process: subprocess.Popen[str], identifier: str, spoiled: Spoiled) -> Said | None:
        line = _pipe(process.stdout).readline()
        if not line:
            raise HarnessError(f"the process that read {identifier} ended; its exit code is {process.wait()}")
        said: Said = json.loads(line)
        if (error := said.get("failed")) is not None:
            raise HarnessError(error)
        if (why := said.get("spoiled")) is not None:
            spoiled(identifier, why)
            return None
        return said


Work = Callable[[Mapping[str, str], Spoiled], Iterable[Said]]
"""What a process does with a chunk."""


def serve(folder: str, begin: Callable[[Run], Work]) -> None:
    """A process's side: opens the run for reading, and prints what `begin(run)` makes of each chunk that it is told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's, which ends it
    try:
        with open_run(Path(folder)) as run:
            work = begin(run)
            for line in sys.stdin:
                for said in work(json.loads(line), _spoiled):
                    print(json.dumps(said))
                sys.stdout.flush()
    except StoreError as error:
        print(json.dumps({"failed": str(error)}), flush=True)


def _spoiled(identifier: str, why: str) -> None:
    print(json.dumps({"id": identifier, "spoiled": why}))


def _tell(process: subprocess.Popen[str], chunk: Mapping[str, str]) -> None:
    pipe = _pipe(process.stdin)
    try:
        pipe.write(json.dumps(chunk) + "\n")
        pipe.flush()
    except BrokenPipeError:
        return  # it ended: the next answer says so


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
