"""The sandbox that the suite runs against, and how a program gets into it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import ImageConfig, SandboxConfig
from injector.errors import InputError

__all__ = ["NAME", "Cluster", "Settings", "started"]

NAME = "conformance"
_HEALTHY_WITHIN_S = 60.0
"""For components and nodes to come back after a case; the keeper restarts what has crashed within 1 s, then 10 s."""
_ASK_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a sandbox is made with."""

    binaries: Mapping[str, Path]
    images: Mapping[str, ImageConfig]
    profile: Profile
    nodes: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running sandbox. `pid`: its first process."""

    config: SandboxConfig
    pid: int

    @property
    def kubeconfig(self) -> Path:
        """Only there inside."""
        return self.config.work / "admin.kubeconfig"

    def command(self, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Command and environment that run `argv` inside."""
        return outside.enter_command(self.config, self.pid, argv)

    def healthy(self) -> bool:
        """Whether kube-apiserver and every node are ready, now or soon."""
        deadline = time.monotonic() + _HEALTHY_WITHIN_S
        while not (self._ready() and self._nodes_ready()):
            if time.monotonic() > deadline or NAME not in outside.running():
                return False
            time.sleep(1)
        return True

    def _ready(self) -> bool:
        return self._kubectl("get", "--raw", "/readyz") == "ok"

    def _nodes_ready(self) -> bool:
        status = "{range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {end}"
        return (self._kubectl("get", "nodes", "-o", f"jsonpath={status}") or "").split() == ["True"] * self.config.nodes

    def _kubectl(self, *arguments: str) -> str | None:
        argv, environment = self.command([str(self.config.binaries["kubectl"]), *arguments])
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                argv, env=environment, capture_output=True, text=True, timeout=_ASK_S, stdin=subprocess.DEVNULL
            )
            return done.stdout.strip() if done.returncode == 0 else None
        return None


@contextlib.contextmanager
def started(settings: Settings, say: Callable[[str], None], *, keep_logs: Path) -> Iterator[Cluster]:
    """A fresh sandbox (one of the same name that a killed run left is ended first). Afterwards its components' logs are
    in `keep_logs`, and nothing else of it is left."""
    _end()
    outside.reap()
    config = outside.prepare(
        NAME, binaries=dict(settings.binaries), images=settings.images, nodes=settings.nodes, profile=settings.profile
    )
    took = outside.up(config, lambda _: None)
    say(f"a fresh sandbox is up after {took:.1f} s")
    try:
        yield Cluster(*outside.find(NAME))
    finally:
        shutil.rmtree(keep_logs, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError, shutil.Error):  # it died, and somebody has reaped it
            shutil.copytree(config.logs, keep_logs)
        _end()


def _end() -> None:
    with contextlib.suppress(InputError):  # none is running
        outside.down(NAME)
