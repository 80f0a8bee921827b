"""What a provider of binaries is, and how a binary proves that it is the pinned one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from campaigns.assets.manifest import Binary, Project
from campaigns.assets.progress import Progress

__all__ = ["Candidate", "Provider", "Refusal", "version_problem"]

VERSION_TIMEOUT_S = 30.0
"""A 100 MB binary is read from a slow disk well within this; a program that hangs is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finished file in the staging folder. `origin` and `stamp` as in `cache.Entry`."""

    name: str
    path: Path
    origin: str
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why this provider can't supply something; the next provider is tried. `why` is one sentence."""

    why: str


class Provider(Protocol):
    """One way to get binaries. Yields what it has as soon as it has it, so that an interruption loses little.
    Raises AssetError only for what no other provider could mend (a full disk, a user's folder with wrong versions)."""

    @property
    def name(self) -> str:
        """`named`, `download` or `go`: part of the cache's file names and of reports."""

    def fetch(
        self, project: Project, names: Sequence[str], *, arch: str, staging: Path, progress: Progress
    ) -> Iterator[Candidate | Refusal]:
        """Get `names` of `project` into `staging`."""


def version_problem(path: Path, binary: Binary, version: str) -> str | None:
    """None if running `path` prints exactly the pinned version (v1.36.3, not v1.36.3-rc.0 or v1.36.30), else what is
    wrong, in words. The environment is empty, so that no ETCD_… or KUBECONFIG of the user's is read."""
    command = [str(path), *binary.version_arguments]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"},
        )
    except OSError as error:
        return f"{path} cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{path} did not print its version within {VERSION_TIMEOUT_S:.0f} s"
    said = (result.stdout + result.stderr).strip()
    if re.search(rf"(?<![\w.]){re.escape(version)}(?![\w.+-])", said.replace(f"v{version}", version)) is None:
        first = said.splitlines()[0] if said else "nothing"
        return f"{path} is not {binary.name} {version}: `{' '.join(command[1:])}` prints {first!r}"
    return None
