"""Binaries that the user names: a folder, or PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from campaigns.assets.cache import Cache
from campaigns.assets.manifest import Project
from campaigns.assets.progress import Progress
from campaigns.assets.providers import Candidate, Refusal, version_problem
from injector.errors import AssetError

__all__ = ["ON_PATH", "Named"]

ON_PATH = "PATH"
"""The word that names the PATH instead of a folder."""


class Named:
    """`source` is a folder, or the word PATH. A folder is a statement ("use these"), so a wrong version in it ends
    the search; on PATH things lie about for other reasons, so a wrong version there is only passed over.
    A binary that is not there at all is left to the next provider in both cases. Files are copied: what the user
    does to the folder later does not reach the cache."""

    name = "named"

    def __init__(self, source: str, cache: Cache) -> None:
        self.source, self._cache = source, cache
        if source != ON_PATH and not Path(source).is_dir():
            raise AssetError(
                f"no such folder: {source!r}", remedy=f"name a folder that holds the binaries, or the word {ON_PATH}"
            )

    def find(self, name: str) -> Path | None:
        """The absolute path of the user's binary, if it is there."""
        where = os.environ.get("PATH", os.defpath) if self.source == ON_PATH else str(Path(self.source).absolute())
        found = shutil.which(name, path=where)
        return Path(found).absolute() if found else None

    def stamp(self, path: Path) -> str:
        """Changes when the user's file changes."""
        seen = path.stat()
        return f"{path} {seen.st_size} {seen.st_mtime_ns}"

    def fetch(
        self, project: Project, names: Sequence[str], *, arch: str, staging: Path, progress: Progress
    ) -> Iterator[Candidate | Refusal]:
        for name in names:
            path = self.find(name)
            if path is None:
                yield Refusal(f"{self.source} holds no executable {name}")
                continue
            if problem := version_problem(path, project.binary(name), project.version):
                if self.source == ON_PATH:
                    yield Refusal(problem)
                    continue
                raise AssetError(problem, remedy=f"put {name} {project.version} there, or take it out of the folder")
            self._cache.require_space(path.stat().st_size, name)
            stamp, copy = self.stamp(path), staging / name
            shutil.copyfile(path, copy)
            yield Candidate(name=name, path=copy, origin=str(path), stamp=stamp)
