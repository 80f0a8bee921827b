"""Commands inside a running sandbox, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import SandboxConfig

__all__ = ["Inside"]

_REPOSITORY = Path(__file__).parents[2]


class Inside:
    """The sandbox called `name`."""

    def __init__(self, name: str, running: tuple[SandboxConfig, int] | None = None) -> None:
        """`running`: the configuration and first process of one that has no name for others (a campaign's)."""
        self.config, self.pid = running or outside.find(name)
        self.work = self.config.work

    def _done(self, *argv: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        command, env = outside.enter_command(self.config, self.pid, argv)
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        env["PYTHONPATH"] = str(_REPOSITORY)
        return subprocess.run(
            command, env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s
        )

    def run(self, *argv: str, timeout_s: float = 90) -> str:
        """Its stdout; the test fails, with its stderr, if it does."""
        done = self._done(*argv, timeout_s=timeout_s)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def succeeds(self, *argv: str) -> bool:
        return self._done(*argv).returncode == 0

    def kubectl(self, *arguments: str) -> str:
        return self.run("kubectl", *arguments).strip()

    def mutineer(self, *arguments: str) -> str:
        """From outside, as a person does."""
        done = subprocess.run(
            [sys.executable, "-m", "mutineer", *arguments], capture_output=True, text=True, timeout=90,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout
