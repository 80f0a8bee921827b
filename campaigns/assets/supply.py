"""Gets binaries: from the cache, or from the first provider that has them, and puts them in the cache.

Order: what the user names (`source`, or the environment variable MUTINEER_ASSETS), the official download, a Go build.
One lock a project: a second process waits, then finds the work done.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from campaigns.assets.cache import Cache, Entry, out_of_space
from campaigns.assets.download import Download
from campaigns.assets.gobuild import GoBuild
from campaigns.assets.manifest import Manifest, Project, load_manifest, machine_arch
from campaigns.assets.named import Named
from campaigns.assets.progress import Progress, Silent
from campaigns.assets.providers import Candidate, Provider, Refusal, version_problem
from injector.errors import AssetError

__all__ = ["SOURCE_VARIABLE", "AssetState", "AssetStatus", "Assets", "Supply", "ensure"]

SOURCE_VARIABLE = "MUTINEER_ASSETS"
"""Environment variable: a folder with the binaries, or the word PATH."""

PROVIDERS = ("named", "download", "go")
"""In the order in which cached entries of one binary are preferred."""


class Assets(Mapping[str, Path]):
    """Name → path of an executable. `origins` tells where each came from, for reports."""

    def __init__(self, paths: Mapping[str, Path], entries: Mapping[str, Entry]) -> None:
        self._paths, self.entries = dict(paths), dict(entries)

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def origins(self) -> Mapping[str, str]:
        """Name → `VERSION from PROVIDER (ORIGIN), sha256 DIGEST`."""
        return {
            name: f"{entry.version} from {entry.provider} ({entry.origin}), sha256 {entry.digest}"
            for name, entry in self.entries.items()
        }


class AssetState(StrEnum):
    """Of one binary. `broken` was in the cache, was not what it should be, and has been removed."""

    CACHED = "cached"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStatus:
    """One line of `mutineer assets list`."""

    name: str
    version: str
    state: AssetState
    provider: str | None = None
    origin: str | None = None
    size_bytes: int | None = None
    digest: str | None = None
    path: Path | None = None


class Supply:
    """The cache and the providers, put together. `providers` (download, Go) are tried after the user's `source`."""

    def __init__(
        self,
        *,
        cache: Cache | None = None,
        manifest: Manifest | None = None,
        providers: Sequence[Provider] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.cache = cache or Cache()
        self.manifest = manifest or load_manifest()
        self._providers = (Download(self.cache), GoBuild(self.cache)) if providers is None else tuple(providers)
        self._progress = progress or Silent()
        self._arch = machine_arch()

    def ensure(self, names: Iterable[str] | None = None, *, source: str | None = None) -> Assets:
        """Executables for `names` (None: all). AssetError, with every provider's reason, if one can't be had."""
        source = source or os.environ.get(SOURCE_VARIABLE) or None
        named = Named(source, self.cache) if source else None
        entries: dict[str, Entry] = {}
        for project, wanted in self.manifest.select(names).items():
            found = self._known(project, wanted, named)
            if len(found) < len(wanted):
                found = self._get(project, wanted, named)
            entries |= found
        return Assets({name: self._executable(entry) for name, entry in entries.items()}, entries)

    def status(self, names: Iterable[str] | None = None) -> tuple[AssetStatus, ...]:
        """What is in the cache, in the manifest's order. Gets nothing; not even the cache folder is made."""
        return tuple(
            self._status(project, name, self._entry(project, name))
            for project, wanted in self.manifest.select(names).items()
            for name in wanted
        )

    def verify(self) -> tuple[AssetStatus, ...]:
        """As `status`, with every digest taken anew; what is broken is removed."""
        broken = {(e.name, e.version, e.arch) for e in self.cache.entries() if self.cache.recheck(e) is None}
        return tuple(
            AssetStatus(name=one.name, version=one.version, state=AssetState.BROKEN)
            if one.state is AssetState.MISSING and (one.name, one.version, self._arch) in broken
            else one
            for one in self.status()
        )

    def _status(self, project: Project, name: str, entry: Entry | None) -> AssetStatus:
        if entry is None:
            return AssetStatus(name=name, version=project.version, state=AssetState.MISSING)
        return AssetStatus(
            name=name, version=entry.version, state=AssetState.CACHED, provider=entry.provider, origin=entry.origin,
            size_bytes=entry.size_bytes, digest=entry.digest, path=self._executable(entry),
        )  # fmt: skip

    def _executable(self, entry: Entry) -> Path:
        return self.cache.executable(entry, manifest_digest=self.manifest.digest)

    def _entry(self, project: Project, name: str, *, providers: Sequence[str] = PROVIDERS) -> Entry | None:
        for provider in providers:
            entry = self.cache.entry(name, version=project.version, arch=self._arch, provider=provider)
            if entry is not None:
                return entry
        return None

    def _known(self, project: Project, names: Sequence[str], named: Named | None) -> dict[str, Entry]:
        """What the cache answers without any provider. What the user names goes before all else, so a binary that is
        there counts as known only if the cache's copy is of that very file."""
        known: dict[str, Entry] = {}
        for name in names:
            path = named.find(name) if named else None
            if named is None or path is None:
                entry = self._entry(project, name)
            else:
                entry = self._entry(project, name, providers=("named",))
                entry = entry if entry is not None and entry.stamp == named.stamp(path) else None
            if entry is not None:
                known[name] = entry
        return known

    def _get(self, project: Project, names: Sequence[str], named: Named | None) -> dict[str, Entry]:
        def waits(who: str) -> None:
            self._progress.note(f"{who} is getting {project.name}; waiting for it")

        with self.cache.lock(project.name, on_wait=waits), self.cache.staging(project.name) as staging:
            found = self._known(project, names, named)
            refusals: list[str] = []
            if named is not None:
                self._ask(named, project, names, staging / "named", found, refusals)
                others = {name: self._entry(project, name, providers=PROVIDERS[1:]) for name in names}
                found |= {name: entry for name, entry in others.items() if entry is not None and name not in found}
            for provider in self._providers:
                self._ask(provider, project, names, staging / provider.name, found, refusals)
        if missing := [name for name in names if name not in found]:
            raise AssetError(
                f"can't get {', '.join(missing)} {project.version}: {'; '.join(refusals)}",
                remedy=f"reach the project's downloads or a Go module proxy, or name a folder: {SOURCE_VARIABLE}=DIR",
            )
        return found

    def _ask(
        self, provider: Provider, project: Project, names: Sequence[str], staging: Path,
        found: dict[str, Entry], refusals: list[str],
    ) -> None:  # fmt: skip
        """Ask one provider for what is missing; take in what it has, note why it hasn't the rest."""
        missing = [name for name in names if name not in found]
        if not missing:
            return
        staging.mkdir()
        try:
            for answer in provider.fetch(project, missing, arch=self._arch, staging=staging, progress=self._progress):
                problem = answer.why if isinstance(answer, Refusal) else self._take(provider, project, answer, found)
                if problem is not None and f"{provider.name}: {problem}" not in refusals:
                    refusals.append(f"{provider.name}: {problem}")
                    self._progress.note(refusals[-1])
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise out_of_space(", ".join(missing), self.cache.root) from error
            raise

    def _take(self, provider: Provider, project: Project, one: Candidate, found: dict[str, Entry]) -> str | None:
        one.path.chmod(0o755)
        if problem := version_problem(one.path, project.binary(one.name), project.version):
            return problem
        found[one.name] = self.cache.add(
            one.path, name=one.name, version=project.version, arch=self._arch, provider=provider.name,
            origin=one.origin, stamp=one.stamp,
        )  # fmt: skip
        return None


def ensure(
    names: Iterable[str] | None = None, *, source: str | None = None, progress: Progress | None = None
) -> Assets:
    """Executables for `names` (None: all of the manifest) from the user's cache, got first if need be.

    source: a folder with the binaries, or "PATH" (default: the environment variable MUTINEER_ASSETS)
    Raises AssetError with a remedy. Safe under several processes at once.
    """
    return Supply(progress=progress).ensure(names, source=source)
