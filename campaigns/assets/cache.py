"""The content-addressed store of binaries, shared by all processes of one user.

    $XDG_CACHE_HOME/mutineer/                       (default ~/.cache/mutineer)
      blobs/sha256/DIGEST                           the binaries, mode 0555, named by their SHA-256
      index/NAME-VERSION-ARCH-PROVIDER.json         which blob is what: an Entry (schema 1)
      bin/MANIFEST/PROVIDER/NAME                    hard links to blobs, so that argv[0] is readable
      partial/DIGEST.part                           downloads under way, named by the digest they shall have
      staging/NAME/                                 one provider's work, emptied before and after, under the lock
      locks/NAME.lock                               flock: one process at a time makes one set of binaries
      tools/                                        a private Go, where the machine has none

A file becomes a blob by rename after its digest was taken from the bytes on disk, so a half file never has a blob's
name. An entry is written last. On use an entry's size and mtime are compared with the blob's: if they differ the
whole digest is taken again, and a blob that is not its name is removed. `verify` always takes the whole digest.
Old manifests' files are not collected; `rm -r` of the folder is always safe while nothing runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from injector.errors import AssetError

__all__ = ["Cache", "Entry", "cache_root", "existing_parent", "free_bytes", "out_of_space", "sha256_of"]

SCHEMA = 1
EXECUTABLE = 0o555
"""Nobody writes to a blob, not even its owner: a changed blob would be somebody else's binary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One binary in the cache. `origin` tells a reader where it came from (path, URL, Go module); `stamp` tells a
    provider whether its source changed since. `digest` is SHA-256 in hex; `mtime_ns` the blob's."""

    name: str
    version: str
    arch: str
    provider: str
    origin: str
    stamp: str
    digest: str
    size_bytes: int
    mtime_ns: int


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/mutineer`; a relative XDG_CACHE_HOME is ignored, as the XDG specification says."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "mutineer"


def existing_parent(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def free_bytes(path: Path) -> int:
    """Bytes an ordinary user may still write where `path` is or will be."""
    return shutil.disk_usage(existing_parent(path)).free


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex (about 1 GB/s)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def out_of_space(what: str, place: Path, *, needed_bytes: int | None = None, free: int | None = None) -> AssetError:
    """The one error for a full disk, foreseen or met."""
    figures = (
        f": {needed_bytes / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free" if needed_bytes and free is not None else ""
    )
    return AssetError(
        f"no space for {what} in {place}{figures}",
        remedy="free some disk space there, or set XDG_CACHE_HOME to a folder on a larger disk",
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Cache:
    """See the module's text. `free` is asked for the bytes left at a path (tests inject it)."""

    def __init__(self, root: Path | None = None, *, free: Callable[[Path], int] = free_bytes) -> None:
        self.root = root or cache_root()
        self._free = free

    # Folders and space

    def _folder(self, *parts: str) -> Path:
        folder = self.root.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AssetError(
                f"cannot write the cache folder {folder}: {error.strerror}",
                remedy="set XDG_CACHE_HOME to a folder that you may write",
            ) from error
        return folder

    def partial(self, digest: str) -> Path:
        """Where a download with this digest is collected; it outlives the process."""
        return self._folder("partial") / f"{digest}.part"

    def tools(self) -> Path:
        return self._folder("tools")

    def require_space(self, needed_bytes: int, what: str, *, at: Path | None = None) -> None:
        """AssetError unless `needed_bytes` are free in the cache (or at `at`)."""
        place = at or self.root
        free = self._free(place)
        if free < needed_bytes:
            raise out_of_space(what, place, needed_bytes=needed_bytes, free=free)

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """An empty folder for one set's work; the caller holds the set's lock. A killed process's is emptied."""
        folder = self._folder("staging") / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, name: str, *, on_wait: Callable[[str], None]) -> Iterator[None]:
        """One process at a time. `on_wait` is told who has the lock (`process 123`) before this one waits for it.
        The kernel gives a dead holder's lock back."""
        path = self._folder("locks") / f"{name}.lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                on_wait(f"process {file.read().strip() or 'unknown'}")
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    # Entries and blobs

    def _index(self, name: str, version: str, arch: str, provider: str) -> Path:
        return self.root / "index" / f"{name}-{version}-{arch}-{provider}.json"

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / "sha256" / digest

    def entry(self, name: str, *, version: str, arch: str, provider: str) -> Entry | None:
        """The entry if it is there and its blob is what it says, else None."""
        path = self._index(name, version, arch, provider)
        try:
            data = json.loads(path.read_bytes())
            if data.pop("schema") != SCHEMA:
                return None
            entry = Entry(**data)
            seen = self.blob(entry.digest).stat()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if (seen.st_size, seen.st_mtime_ns) == (entry.size_bytes, entry.mtime_ns):
            return entry
        return self.recheck(entry)

    def recheck(self, entry: Entry) -> Entry | None:
        """Take the whole digest. A blob that is not its name is removed with its entry, and None is returned."""
        blob, index = self.blob(entry.digest), self._index(entry.name, entry.version, entry.arch, entry.provider)
        if not blob.exists() or sha256_of(blob) != entry.digest:
            blob.unlink(missing_ok=True)
            index.unlink(missing_ok=True)
            return None
        return self._write(entry)

    def entries(self) -> tuple[Entry, ...]:
        """Every entry that can be read, sound or not."""
        found: list[Entry] = []
        for path in sorted((self.root / "index").glob("*.json")):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                data = json.loads(path.read_bytes())
                if data.pop("schema") == SCHEMA:
                    found.append(Entry(**data))
        return tuple(found)

    def add(
        self, file: Path, *, name: str, version: str, arch: str, provider: str, origin: str, stamp: str = ""
    ) -> Entry:
        """Take `file` (on the cache's own disk; it is moved) in as a blob and write its entry."""
        file.chmod(EXECUTABLE)
        digest = sha256_of(file)
        blob = self._folder("blobs", "sha256") / digest
        if not blob.exists() or sha256_of(blob) != digest:
            _sync(file)
            file.replace(blob)
            _sync(blob.parent)
        return self._write(
            Entry(name=name, version=version, arch=arch, provider=provider, origin=origin, stamp=stamp,
                  digest=digest, size_bytes=0, mtime_ns=0)
        )  # fmt: skip

    def _write(self, entry: Entry) -> Entry:
        seen = self.blob(entry.digest).stat()
        data = {**asdict(entry), "size_bytes": seen.st_size, "mtime_ns": seen.st_mtime_ns}
        folder = self._folder("index")
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False) as file:
            json.dump({"schema": SCHEMA, **data}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self._index(entry.name, entry.version, entry.arch, entry.provider))
        _sync(folder)
        return Entry(**data)

    def executable(self, entry: Entry, *, manifest_digest: str) -> Path:
        """The blob under its readable name: a hard link, or a symbolic one where the disk has no hard links."""
        blob = self.blob(entry.digest)
        path = self._folder("bin", manifest_digest[:16], entry.provider) / entry.name
        with suppress(FileNotFoundError):
            if path.samefile(blob):
                return path
        fresh = path.with_name(f".{entry.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        try:
            fresh.hardlink_to(blob)
        except OSError:
            fresh.symlink_to(blob)
        fresh.replace(path)
        return path
