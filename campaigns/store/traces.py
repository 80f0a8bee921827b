"""Large traces beside the database, by content: `traces/ab/abcdef….xz`, the SHA-256 of the content (before compression)
as the name, its first two digits as the folder. What does not get smaller (it came compressed) is kept as `….bin`.

A file is whole or not there: written under another name, synced, renamed, its folder synced, all before the row that
names it. The same content is kept once. What a kill left half-written is removed when the run is next opened for
writing; a trace whose row never came stays and does no harm.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import zlib
from pathlib import Path

from injector.errors import StoreError

__all__ = ["Traces"]

_PRESET = 1
"""xz's second fastest; see docs/runs.md for what was measured."""

_WORTH = 0.95
"""Compressed is kept if it is smaller than this share of the content: below, reading it is not worth the time."""

_SAMPLE_BYTES = 16384
"""From the middle of the content: what does not get smaller there is taken for compressed."""


class Traces:
    """The folder `traces` of a run."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "traces"

    def keep(self, content: bytes) -> str:
        """Keeps the content; returns its hash. OSError as it comes; then nothing half-written is left."""
        digest = hashlib.sha256(content).hexdigest()
        if self._intact(digest):
            return digest
        packed = content if _looks_compressed(content) else lzma.compress(content, preset=_PRESET)
        smaller = len(packed) < _WORTH * len(content)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(digest, "xz" if smaller else "bin")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write_whole(path, packed if smaller else content)
        for folder in (path.parent, self.folder, self.folder.parent):
            _sync_folder(folder)
        return digest

    def read(self, digest: str, where: str) -> bytes:
        """The content that has this hash. StoreError names `where` if it is missing or not what it was."""
        path = self._found(digest)
        if path is None:
            missing = self._path(digest, "xz").relative_to(self.folder.parent)
            raise StoreError(f"{where}: its trace is missing: {missing} is not there. {_STANDS}")
        try:
            stored = path.read_bytes()
            content = lzma.decompress(stored) if path.suffix == ".xz" else stored
        except (OSError, lzma.LZMAError, EOFError) as error:
            raise StoreError(f"{where}: its trace can't be read: {path}: {error}. {_STANDS}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"{where}: its trace is corrupted: {path} does not have its hash. {_STANDS}")
        return content

    def remove_partial(self) -> None:
        """Removes what a killed writer left half-written. Only for the one process that may write."""
        for partial in self.folder.glob("*/.*.partial"):
            partial.unlink(missing_ok=True)

    def _intact(self, digest: str) -> bool:
        try:
            return self._found(digest) is not None and self.read(digest, "") is not None
        except StoreError:
            return False

    def _found(self, digest: str) -> Path | None:
        return next((p for form in ("xz", "bin") if (p := self._path(digest, form)).is_file()), None)

    def _path(self, digest: str, form: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.{form}"


_STANDS = "The verdict and the observation stand without it"


def _looks_compressed(content: bytes) -> bool:
    start = max(0, (len(content) - _SAMPLE_BYTES) // 2)
    sample = content[start : start + _SAMPLE_BYTES]
    return len(zlib.compress(sample, 1)) >= _WORTH * len(sample)


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
