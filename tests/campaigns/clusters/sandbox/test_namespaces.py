"""Pods' networks, mounts and the launcher, in user, network and mount namespaces of their own (see inside.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns.clusters.sandbox.inside import SCENARIOS

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which every scenario has left how it went."""
    folder = tmp_path_factory.mktemp("inside")
    enter = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    command = [*enter, sys.executable, "-m", "tests.campaigns.clusters.sandbox.inside", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_inside(scenario: str, outcomes: Path) -> None:
    failure = outcomes / f"{scenario}.failed"
    assert (outcomes / f"{scenario}.passed").exists(), failure.read_text() if failure.exists() else "it was killed"
