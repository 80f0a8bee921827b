"""The pinned manifest as values: which binaries, which versions, where from, how Go builds them.

The data stands in `manifest.yaml` beside this file (its header describes the format). The file is ours and ships in
the package, so a mistake in it is a programming error and shows as KeyError or TypeError, not as a user's problem.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from injector.errors import AssetError

__all__ = ["Binary", "DownloadSource", "GoSource", "Manifest", "Project", "load_manifest", "machine_arch"]

HERE = Path(__file__).parent

GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
"""What Linux calls a machine → what Go and the download sites call it. Kubernetes publishes servers for these four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One executable. `built_as` is the file name that `go build -o DIR/` gives it."""

    name: str
    package: str
    version_arguments: tuple[str, ...]
    built_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSource:
    """Templates over version, arch and binary; `member` is None where the url is the binary itself."""

    url: str
    checksum: str
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoSource:
    """`folder` holds go.mod and go.sum; `disk_bytes` is what a cold build writes to Go's caches."""

    folder: Path
    module: str
    ldflags: str
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Binaries of one module and version, which are downloaded or built together."""

    name: str
    version: str
    download: DownloadSource
    go: GoSource
    binaries: tuple[Binary, ...]

    def binary(self, name: str) -> Binary:
        return next(binary for binary in self.binaries if binary.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All projects. `digest` is the SHA-256 (hex) of the text they were read from."""

    projects: tuple[Project, ...]
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(binary.name for project in self.projects for binary in project.binaries)

    def select(self, names: Iterable[str] | None) -> Mapping[Project, tuple[str, ...]]:
        """Group names by project, in the manifest's order; None means all. AssetError on a name not in it."""
        wanted = set(self.names if names is None else names)
        if unknown := sorted(wanted - set(self.names)):
            raise AssetError(
                f"no such asset: {', '.join(map(repr, unknown))}", remedy=f"choose from {', '.join(self.names)}"
            )
        grouped = {p: tuple(b.name for b in p.binaries if b.name in wanted) for p in self.projects}
        return {project: chosen for project, chosen in grouped.items() if chosen}


def _project(entry: Mapping[str, Any]) -> Project:
    go = entry["go"]
    return Project(
        name=entry["name"],
        version=entry["version"],
        download=DownloadSource(**entry["download"]),
        go=GoSource(**{**go, "folder": HERE / "go" / go["folder"], "disk_bytes": int(go["disk_bytes"])}),
        binaries=tuple(
            Binary(
                name=binary["name"],
                package=binary["package"],
                version_arguments=tuple(binary["version_arguments"]),
                built_as=binary.get("built_as", binary["name"]),
            )
            for binary in entry["binaries"]
        ),
    )


@cache
def load_manifest() -> Manifest:
    """The manifest that ships with this package."""
    text = (HERE / "manifest.yaml").read_bytes()
    data = yaml.safe_load(text)
    if data["schema"] != 1:
        raise ValueError(f"manifest.yaml: schema 1 expected, got {data['schema']!r}")
    return Manifest(projects=tuple(_project(p) for p in data["projects"]), digest=hashlib.sha256(text).hexdigest())


def machine_arch(machine: str | None = None) -> str:
    """Go's name of this machine's architecture; AssetError where Kubernetes publishes no server for it."""
    machine = machine or platform.machine()
    if machine not in GO_ARCH:
        raise AssetError(
            f"Kubernetes has no server binaries for the architecture {machine!r}",
            remedy=f"use a machine with one of {', '.join(GO_ARCH)}",
        )
    return GO_ARCH[machine]
