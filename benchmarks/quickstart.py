"""How long `mutineer quickstart` takes, assets cached. One run, whatever `rounds` says: it takes minutes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks import Figure

__all__ = ["measure"]

MOST_S = 300.0
"""10 golden runs and at least 24 experiments on 2 cores (issue 3, "Figures")."""


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> list[Figure]:
    """The figures of one run in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mutineer-bench-") as folder:
        began = time.monotonic()
        _mutineer("quickstart", "--name", "bench", cwd=folder)
        took = time.monotonic() - began
        shown = json.loads(_mutineer("show", "bench", "--json", cwd=folder))
    say(f"quickstart: {shown['summary']}")
    goldens = sorted(golden["seconds"] for golden in shown["golden"])
    return [
        Figure(name="quickstart, whole", value=took, unit="s", goal=MOST_S),
        Figure(name="experiments with a fault in it", value=shown["summary"]["experiments"], unit=""),
        Figure(name="golden runs in it", value=len(goldens), unit=""),
        Figure(name="a golden run with its reset, median", value=goldens[len(goldens) // 2], unit="s"),
    ]


def _mutineer(*arguments: str, cwd: str) -> str:
    command = [sys.executable, "-m", "mutineer", *arguments]
    return subprocess.run(
        command, cwd=cwd, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout
