"""Gets what the suite needs into the cache: upstream's e2e.test and the programs of its images, built with Go from the
go.mod and go.sum in `go/`, and two of Debian's packages, unpacked.

    CACHE/conformance/DIGEST/            DIGEST: of go.mod and go.sum (the first 16 characters)
      e2e.test, agnhost, nonewprivs, sample-apiserver
      sources/                           data files of upstream's images (`DATA`)
      debian/PACKAGE/                    busybox-static and nginx as `dpkg-deb -x` unpacks them
      debian/PACKAGE.version
      images/                            written by `images.py`

On 2 cores e2e.test takes 2.5 minutes where the sandbox's own binaries were built before and Go still has the packages,
6.5 when cold; the others take seconds more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from campaigns.assets.cache import Cache
from campaigns.assets.manifest import load_manifest
from campaigns.assets.progress import Progress
from campaigns.assets.toolchain import ensure_go, required_go
from campaigns.environment import install_command
from injector.errors import AssetError, EnvironmentFailure

__all__ = ["Built", "digest", "ensure_built", "missing_programs"]

GO = Path(__file__).parent / "go"
COMMANDS = {
    "agnhost": "k8s.io/kubernetes/test/images/agnhost",
    "nonewprivs": "k8s.io/kubernetes/test/images/nonewprivs",
    "sample-apiserver": "k8s.io/sample-apiserver",
}
"""Name → main package; Go names the file after the package's last part, which is the name."""
SUITE = "k8s.io/kubernetes/test/e2e"
DATA = (
    "agnhost/porter/localhost.crt", "agnhost/porter/localhost.key",
    "kitten/html/data.json", "kitten/html/kitten.jpg", "nautilus/html/data.json", "nautilus/html/nautilus.jpg",
)  # fmt: skip
"""Below test/images: what the Dockerfiles there put at the images' roots. The key is a public example."""
DEBIAN = ("busybox-static", "nginx")
PROGRAMS = {"dig": "bind9-dnsutils", "nc": "netcat-openbsd", "curl": "curl", "hexdump": "bsdextrautils"}
"""What cases call in agnhost's image beside agnhost → Debian's package. Containers see the host's /usr."""
BUILD_TIMEOUT_S = 3600.0
"""A cold build on one slow core; it is stopped then, and goes on from Go's cache the next time."""
SPACE_BYTES = 500_000_000
"""e2e.test 109 MB, agnhost 64 MB, sample-apiserver 60 MB, and the linker's copies."""


@dataclass(frozen=True, slots=True)
class Built:
    """The folder of one digest, complete."""

    folder: Path

    @property
    def suite(self) -> Path:
        return self.folder / "e2e.test"

    def data(self, path: str) -> Path:
        """One of `DATA`."""
        return self.folder / "sources" / path

    def package_version(self, package: str) -> str:
        """Debian's version of an unpacked package."""
        return (self.folder / "debian" / f"{package}.version").read_text().strip()


def digest(folder: Path = GO) -> str:
    """Of what the binaries are made from."""
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("go.mod", "go.sum"))).hexdigest()[:16]


def missing_programs(programs: Mapping[str, str] | None = None) -> list[str]:
    """Debian's packages that the host lacks."""
    wanted = PROGRAMS if programs is None else programs
    return sorted({package for program, package in wanted.items() if shutil.which(program) is None})


def ensure_built(progress: Progress, cache: Cache | None = None) -> Built:
    """What is there is kept. AssetError or EnvironmentFailure, with the remedy, where something can't be had."""
    cache = cache or Cache()
    folder = cache.root / "conformance" / digest()
    if packages := missing_programs():
        _install(packages, progress)
    with cache.lock("conformance", on_wait=lambda who: progress.note(f"{who} is building the suite; waiting")):
        folder.mkdir(parents=True, exist_ok=True)
        _build(folder, cache, progress)
        for package in DEBIAN:
            if not (folder / "debian" / f"{package}.version").exists():
                _unpack(package, folder, cache, progress)
    return Built(folder)


def _install(packages: Iterable[str], progress: Progress) -> None:
    """As bootstrap does: root installs and says so, anybody else is told the line."""
    command = install_command(packages)
    if os.getuid() != 0:
        raise EnvironmentFailure(f"the suite's images need {', '.join(packages)}", remedy=command)
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    with progress.task(f"installing {', '.join(packages)}"):
        for step in (["apt-get", "update", "--quiet"], install):
            result = _run(step, Path("/"), {**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
            if result.returncode != 0:
                raise EnvironmentFailure(f"{' '.join(step)}: {_last(result)}", remedy=command)


def _build(folder: Path, cache: Cache, progress: Progress) -> None:
    wanted = [name for name in COMMANDS if not (folder / name).exists()]
    suite = not (folder / "e2e.test").exists()
    if not wanted and not suite and (folder / "sources").exists():
        return
    cache.require_space(SPACE_BYTES, "the conformance suite")
    go = ensure_go(required_go(GO / "go.mod"), cache, progress)
    with cache.staging("conformance") as staging:
        (staging / "tmp").mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOROOT")},
            "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOTMPDIR": str(staging / "tmp"),
        }  # fmt: skip
        flags = ["-mod=readonly", "-trimpath", "-ldflags", _linker_flags()]
        if wanted:
            packages = [COMMANDS[name] for name in wanted]
            command = [str(go), "build", *flags, "-o", f"{staging}/", *packages]
            _go(command, f"building {', '.join(wanted)} with Go", environment, progress)
        if suite:
            command = [str(go), "test", "-c", *flags, "-o", str(staging / "e2e.test"), SUITE]
            _go(command, "building e2e.test with Go (6 minutes when new)", environment, progress)
        if "nonewprivs" in wanted:
            # it tells whether a pod that forbids it gains root by this bit (test/images/nonewprivs/Dockerfile)
            (staging / "nonewprivs").chmod(0o4755)
        _copy_data(go, environment, staging / "sources")
        shutil.rmtree(folder / "sources", ignore_errors=True)
        for name in (*wanted, *(["e2e.test"] if suite else []), "sources"):
            (staging / name).replace(folder / name)


def _linker_flags() -> str:
    """As the sandbox's own Kubernetes is linked: the suite compares versions."""
    return next(project for project in load_manifest().projects if project.name == "kubernetes").go.ldflags


def _go(command: list[str], what: str, environment: Mapping[str, str], progress: Progress) -> None:
    with progress.task(what):
        result = _run(command, GO, environment)
    if result.returncode != 0:
        raise AssetError(f"{what} failed: {_last(result)}", remedy="reach a Go module proxy, and try again")


def _copy_data(go: Path, environment: Mapping[str, str], place: Path) -> None:
    where = [str(go), "list", "-mod=readonly", "-f", "{{.Dir}}", COMMANDS["agnhost"]]
    result = _run(where, GO, environment)
    if result.returncode != 0:
        raise AssetError(f"agnhost's sources were not found: {_last(result)}", remedy="reach a Go module proxy")
    for path in DATA:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(result.stdout.strip()).parent / path, place / path)


def _unpack(package: str, folder: Path, cache: Cache, progress: Progress) -> None:
    remedy = "apt-get update (this needs Debian or Ubuntu)"
    with progress.task(f"getting Debian's {package}"), cache.staging("conformance") as staging:
        result = _run(["apt-get", "download", "--quiet", package], staging, os.environ)
        archives = list(staging.glob("*.deb"))
        if result.returncode != 0 or len(archives) != 1:
            raise AssetError(f"Debian's {package} can't be downloaded: {_last(result)}", remedy=remedy)
        for step in (["dpkg-deb", "-x", str(archives[0]), "root"], ["dpkg-deb", "-f", str(archives[0]), "Version"]):
            result = _run(step, staging, os.environ)
            if result.returncode != 0:
                raise AssetError(f"Debian's {package} can't be unpacked: {_last(result)}", remedy=remedy)
        place = folder / "debian" / package
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        (staging / "root").replace(place)
        place.with_name(f"{package}.version").write_text(result.stdout)  # last: it tells that the rest is there


def _run(command: list[str], where: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise AssetError(f"{command[0]} is not on this machine", remedy="use Debian or Ubuntu") from error
    except subprocess.TimeoutExpired as error:
        remedy = "try again: it goes on where it was"
        raise AssetError(f"{command[0]} took over {BUILD_TIMEOUT_S:.0f} s", remedy=remedy) from error


def _last(result: subprocess.CompletedProcess[str]) -> str:
    return " | ".join((result.stderr or result.stdout).strip().splitlines()[-3:]) or f"exit code {result.returncode}"
