"""The route agent on a node of its own, the client in a pod's network: in namespaces (see inside.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns.clusters.sandbox.cri.programs.inside import SCENARIOS

ROOT = Path(__file__).parents[6]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which every scenario has left how it went."""
    folder = tmp_path_factory.mktemp("inside")
    # the pid namespace ends whatever a failed scenario leaves running
    names = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    command = ["unshare", *names, sys.executable, "-m", "tests.campaigns.clusters.sandbox.cri.programs.inside"]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_inside(scenario: str, outcomes: Path) -> None:
    failure = outcomes / f"{scenario}.failed"
    assert (outcomes / f"{scenario}.passed").exists(), failure.read_text() if failure.exists() else "it was killed"
