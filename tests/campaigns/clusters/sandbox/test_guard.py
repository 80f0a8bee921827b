"""The host guard's cap on memory: what stands still, when, and what is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import guard
from campaigns.clusters.sandbox.cluster import Sandbox
from campaigns.clusters.sandbox.config import BINARIES, SandboxConfig
from campaigns.clusters.sandbox.guard import standing_still
from campaigns.clusters.sandbox.processes import Process
from tests.conftest import wait_until

GIB = 1 << 30


@pytest.mark.parametrize(
    ("apiserver", "stands_still"),
    [
        (GIB, []),
        (2 * GIB - 1, []),
        (2 * GIB, ["kube-controller-manager"]),
        (3 * GIB, ["kube-controller-manager", "kube-apiserver"]),
    ],
)
def test_controllers_stand_still_first_and_the_api_if_somebody_else_goes_on(
    apiserver: int, stands_still: list[str]
) -> None:
    assert list(standing_still({"kube-apiserver": apiserver - 100, "etcd": 100})) == stands_still


def test_the_reason_tells_how_much_there_is_and_how_much_there_may_be() -> None:
    (why,) = standing_still({"kube-apiserver": 2 * GIB}).values()
    assert why == "kube-controller-manager stands still: the components have 2.1 GB, the cap is 2.1 GB"


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """With two components that are any program, and caps that the first of them reaches."""
    monkeypatch.setattr(guard, "_CAPS", {"kube-controller-manager": 1, "kube-apiserver": GIB})
    found = Sandbox(SandboxConfig(name="g", folder=tmp_path, binaries={name: Path("/bin/true") for name in BINARIES}))
    for name in ("kube-apiserver", "kube-controller-manager"):
        process = Process(name, ["sleep", "60"], tmp_path / f"{name}.log")
        process.start()
        found.processes[name] = process
    yield found
    for process in found.processes.values():
        process.kill()


def states(sandbox: Sandbox) -> dict[str, str]:
    paths = {name: Path(f"/proc/{pid}/stat") for name, pid in sandbox.pids.items()}
    return {name: path.read_text().rsplit(")", 1)[1].split()[0] for name, path in paths.items()}


def test_a_cap_that_is_reached_is_acted_on_told_and_not_enforced_again(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not sandbox.caps
    sandbox.tend()
    wait_until(lambda: states(sandbox)["kube-controller-manager"] == "T", within_s=5, what="it to stand still")
    assert states(sandbox)["kube-apiserver"] != "T"
    (why,) = sandbox.caps
    assert why.startswith("kube-controller-manager stands still")
    assert capsys.readouterr().err == f"host guard: {why}\n"
    sandbox.processes["kube-controller-manager"].resume()
    sandbox._guarded_at = 0.0
    sandbox.tend()
    assert states(sandbox)["kube-controller-manager"] != "T", "whoever resumed it knows why"
    assert sandbox.caps == (why,)
