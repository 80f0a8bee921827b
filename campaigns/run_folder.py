"""A run's folder: made once, private, written by one process at a time. Also finds a run by name, or the newest."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from injector.errors import InputError, Problem, StoreError

__all__ = ["RUNS", "RunnerLock", "find_run", "named_folder", "new_folder", "write_new"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")

RUNS = Path("runs")
"""Where runs are, below the current folder (design.md, "Interfaces that stay")."""


class RunnerLock:
    """The right to add to a run. flock: the kernel takes it back when its holder dies, however it dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, folder: Path) -> RunnerLock:
        """StoreError if another process has it; the message names the process."""
        path = folder / "runner.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreError(f"{folder} is locked: process {holder} is adding to it") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two processes lock two files of the same name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def new_folder(folder: Path) -> None:
    """Makes the folder, for its owner only. InputError if it is there and not empty, or can't be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise InputError([Problem(str(folder), "", f"can't be made: {error.strerror}")]) from error
    if occupied:
        words = "is there and not empty: expected a new folder (choose another name, or delete it)"
        raise InputError([Problem(str(folder), "", words)])
    try:
        folder.chmod(0o700)  # one that was there may be anybody's to read
    except OSError as error:
        raise InputError([Problem(str(folder), "", f"can't be made private: {error.strerror}")]) from error


def named_folder(name: str, *, runs: Path = RUNS) -> Path:
    """The folder of a new run of that name. InputError for what is no name of a folder directly below `runs`."""
    if not _NAME.fullmatch(name):
        words = f"expected letters, digits, '.', '_' and '-', 64 of them at most, got {name!r}"
        raise InputError([Problem("command line", "--name", words)])
    return runs / name


def write_new(path: Path, text: str) -> None:
    """Writes a whole file or none: under another name, synced, then renamed. OSError as it comes."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def find_run(name: str | None, *, runs: Path = RUNS) -> Path:
    """The folder of a run: a path, or a name below `runs`; the newest run below `runs` for None.
    InputError if there is none."""
    if name is None:
        made = sorted((p.stat().st_mtime_ns, p.parent) for p in runs.glob("*/record.sqlite"))
        if not made:
            raise InputError(f"there is no run below {runs}/ yet; `mutineer quickstart` makes one")
        return made[-1][1]
    for folder in (Path(name), runs / name):
        if folder.is_dir():
            return folder
    known = ", ".join(sorted(p.parent.name for p in runs.glob("*/record.sqlite"))) or "none"
    raise InputError(f"no run {name!r}: neither a folder nor a name below {runs}/ (there are: {known})")
