"""A Go build from the go.mod and go.sum that ship beside this file: every source is pinned by its hash.

One `go build` makes all missing binaries of a project: six Kubernetes commands share nearly all of their packages
(5 min 10 s for the six together on 2 cores; each alone would type-check and link the same again). A killed build
goes on from Go's own build cache. Modules are fetched with the user's own Go settings (GOPROXY, GOFLAGS, ...).
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from campaigns.assets.cache import Cache, out_of_space
from campaigns.assets.manifest import Project
from campaigns.assets.progress import Progress, Task
from campaigns.assets.providers import Candidate, Refusal
from campaigns.assets.toolchain import ensure_go, required_go
from campaigns.uninterrupted import uninterrupted
from injector.errors import AssetError

__all__ = ["GoBuild"]

TICK_S = 1.0
"""How often the elapsed time is shown while the compiler is silent (linking)."""
STOP_WAIT_S = 10.0
"""Go and its compilers stop on SIGTERM within a fraction of a second; after this they are killed."""
OUTPUT_BYTES_PER_BINARY = 150_000_000
"""The largest, kube-apiserver 1.36.3, has 105 MB."""


class GoBuild:
    """See the module's text."""

    name = "go"

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def fetch(
        self, project: Project, names: Sequence[str], *, arch: str, staging: Path, progress: Progress
    ) -> Iterator[Candidate | Refusal]:
        minimum = required_go(project.go.folder / "go.mod")
        self._cache.require_space(OUTPUT_BYTES_PER_BINARY * len(names), f"building {project.name}")
        try:
            go = ensure_go(minimum, self._cache, progress)
        except AssetError as error:
            yield Refusal(error.what)
            return
        environment = self._environment(go, staging)
        self._require_build_space(go, environment, project)
        output = staging / "out"
        output.mkdir()
        problem = _build(go, project, names, output, environment, progress)
        if problem is not None:
            yield Refusal(problem)
            return
        for name in names:
            built = (output / project.binary(name).built_as).rename(staging / name)
            yield Candidate(name=name, path=built, origin=f"{project.go.module} v{project.version}")

    def _environment(self, go: Path, staging: Path) -> Mapping[str, str]:
        """The user's own, made reproducible. GOTMPDIR lies in staging, so that a killed build's work is removed."""
        work = staging / "tmp"
        work.mkdir()
        fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOTMPDIR": str(work)}
        dropped = {"GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT"}
        environment = {k: v for k, v in os.environ.items() if k not in dropped} | fixed
        if "HOME" not in environment:  # then Go has no place for its caches
            environment |= {"GOCACHE": str(self._cache.tools() / "go-build"), "GOPATH": str(self._cache.tools() / "go")}
        return environment

    def _require_build_space(self, go: Path, environment: Mapping[str, str], project: Project) -> None:
        """A cold build's needs, less what Go's build cache holds already (it may hold other things: then the disk
        fills up later, and the build says so)."""
        result = subprocess.run(
            [go, "env", "GOCACHE"], cwd=project.go.folder, env=environment, capture_output=True, text=True,
            timeout=30, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        place = Path(result.stdout.strip() or "/")
        held = sum(file.stat().st_size for file in place.glob("??/*-d")) if place.is_dir() else 0
        self._cache.require_space(max(0, project.go.disk_bytes - held), f"building {project.name} with Go", at=place)


def _build(
    go: Path, project: Project, names: Sequence[str], output: Path, environment: Mapping[str, str], progress: Progress
) -> str | None:
    """Run `go build`; None when it succeeded, else a sentence. The build is stopped if we are interrupted."""
    # The kernel ends Go if we are killed outright: it would hold on to a staging folder that the next process empties.
    setpriv = shutil.which("setpriv")
    command = [
        *([setpriv, "--pdeathsig", "TERM"] if setpriv else []),
        *(str(go), "build", "-v", "-mod=readonly", "-trimpath", "-ldflags", project.go.ldflags),
        *("-o", f"{output}/", *(project.binary(name).package for name in names)),
    ]
    process, said = None, deque[str](maxlen=20)
    try:
        with uninterrupted():
            process = subprocess.Popen(
                command, cwd=project.go.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, process_group=0,
            )  # fmt: skip
        with progress.task(f"building {', '.join(names)} {project.version} with Go (minutes when new)") as task:
            _follow(process, said, task)
        code = process.wait()
    finally:
        if process is not None:
            _stop(process)
            assert process.stderr is not None
            process.stderr.close()
    if code == 0:
        return None
    if any("no space left on device" in line for line in said):
        raise out_of_space(f"building {project.name} with Go", project.go.folder)
    return f"`go build` of {project.name} failed: {' | '.join(list(said)[-5:]) or f'exit code {code}'}"


def _follow(process: subprocess.Popen[bytes], said: deque[str], task: Task) -> None:
    """Read what Go says (-v: one package per line as it is compiled) until it closes its end."""
    assert process.stderr is not None
    descriptor, rest, count = process.stderr.fileno(), b"", 0
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if selector.select(TICK_S):
                data = os.read(descriptor, 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                count += len(lines)
                said.extend(line.decode(errors="replace") for line in lines)
            task.tick(f"{count} packages, {said[-1]}" if said else "loading")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End Go and the compilers it started; nothing if they have ended."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
