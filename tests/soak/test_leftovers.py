"""What is left is seen, by each of the ways in which it can be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.soak.leftovers import Footprint


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """In a network of its own."""
    process = subprocess.Popen(["unshare", "--user", "--map-root-user", "--net", "sleep", "60"])
    ours = os.readlink("/proc/self/ns/net")
    network = Path(f"/proc/{process.pid}/ns/net")
    wait_until(
        lambda: os.readlink(network) != ours and command(process.pid).startswith("sleep"),
        within_s=5,
        what="the network",
    )
    yield process
    process.kill()
    process.wait(5)


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def test_nothing_is_left_of_what_has_ended(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    footprint = Footprint(tmp_path)
    footprint.look(child.pid)
    child.kill()
    child.wait(5)
    assert footprint.left() == []


def test_a_process_that_goes_on_and_its_namespaces_are_left(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    footprint = Footprint(tmp_path)
    footprint.look(child.pid)
    process, namespaces = footprint.left()
    assert process == f"process {child.pid}: sleep 60 "
    assert os.readlink(f"/proc/{child.pid}/ns/net") in namespaces
    assert f"held by process {child.pid}" in namespaces


def test_a_namespace_that_a_descriptor_holds_is_left(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    footprint = Footprint(tmp_path)
    network = f"/proc/{child.pid}/ns/net"
    footprint.look(child.pid)
    name, held = os.readlink(network), os.open(network, os.O_RDONLY)
    child.kill()
    child.wait(5)
    (left,) = footprint.left()
    assert left.startswith(f"namespaces {name} held by process {os.getpid()}")
    os.close(held)
    assert footprint.left() == []


def test_a_process_that_was_never_looked_at_is_known_by_the_folder_in_its_command(tmp_path: Path) -> None:
    footprint = Footprint(tmp_path)
    with subprocess.Popen(["tail", "-f", "/dev/null", "--pid", str(os.getpid()), str(tmp_path)]) as process:
        try:
            wait_until(lambda: "tail" in command(process.pid), within_s=5, what="the program")
            (left,) = footprint.left()
        finally:
            process.kill()
    assert left.startswith(f"process {process.pid}: tail")


def test_folders_and_files_of_a_sandbox_are_left(tmp_path: Path) -> None:
    footprint = Footprint(tmp_path)
    (tmp_path / "state/mutineer/sandboxes/s").mkdir(parents=True)
    (tmp_path / "tmp/x").mkdir(parents=True)
    outside = Path(f"/tmp/kubelet-{os.getpid()}")
    outside.touch()
    try:
        left = footprint.left()
    finally:
        outside.unlink()
    wanted = [tmp_path / "state/mutineer/sandboxes/s", tmp_path / "tmp/x"]
    assert left == [*(f"folder {path}" for path in wanted), f"file {outside}"]
    assert footprint.left(folders=False) == []
