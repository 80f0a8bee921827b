"""Namespaces and mounts by system call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import isolation
from tests.campaigns.clusters.sandbox.networks import say

pytestmark = pytest.mark.inside


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Path]:
    """A small tmpfs, gone afterwards."""
    isolation.mount_tmpfs(tmp_path, size="1m", mode="0700")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def mounted_below(path: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{path}/")]


def test_a_thread_enters_a_network_and_the_rest_stays(tmp_path: Path) -> None:
    path, ours = tmp_path / "ns", os.readlink("/proc/self/ns/net")
    isolation.make_network(path)
    theirs = isolation.in_network(path, lambda: os.readlink("/proc/thread-self/ns/net"))
    assert theirs != ours == os.readlink("/proc/thread-self/ns/net")
    assert isolation.in_network(path, lambda: os.readlink("/proc/thread-self/ns/net")) == theirs, "kept by its mount"
    assert [line.split()[1] for line in say("ip", "-o", "link", at=path).splitlines()] == ["lo:"]
    with pytest.raises(ZeroDivisionError):
        isolation.in_network(path, lambda: 1 // 0)
    isolation.remove_namespace(path)
    isolation.remove_namespace(path)
    assert not path.exists()


def test_removing_a_namespace_that_is_only_a_file_removes_the_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    isolation.remove_namespace(tmp_path / "plain")
    assert not (tmp_path / "plain").exists()


def test_several_namespaces_are_made_at_once_and_something_runs_in_them(tmp_path: Path) -> None:
    paths = {isolation.CLONE_NEWNET: tmp_path / "net", isolation.CLONE_NEWIPC: tmp_path / "ipc"}
    seen: list[int] = []
    isolation.make_namespaces(
        paths, lambda: seen.extend(Path(f"/proc/thread-self/ns/{n}").stat().st_ino for n in ("net", "ipc", "uts"))
    )
    assert seen[:2] == [path.stat().st_ino for path in paths.values()]
    assert seen[2] == Path("/proc/self/ns/uts").stat().st_ino
    for path in paths.values():
        isolation.remove_namespace(path)
    with pytest.raises(FileNotFoundError):
        isolation.make_namespaces({isolation.CLONE_NEWNET: tmp_path / "gone/net"})


def test_a_namespace_that_is_none_is_an_error_that_names_the_call(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(OSError, match=r"setns.*Invalid argument"):
        isolation.in_network(tmp_path / "plain", lambda: None)
    with pytest.raises(OSError, match=r"mount.*/nowhere"):
        isolation.mount_tmpfs("/nowhere", size="1m")


def test_a_tmpfs_has_its_size_and_mode(space: Path) -> None:
    assert (space.stat().st_mode & 0o777) == 0o700
    with pytest.raises(OSError, match="No space left"):
        (space / "big").write_bytes(bytes(2 << 20))


def test_a_bind_shows_what_is_mounted_below_and_is_read_only_where_it_says(space: Path) -> None:
    source, shown = space / "source", space / "shown"
    for folder in (source, source / "sub", shown):
        folder.mkdir()
    isolation.mount_tmpfs(source / "sub", size="1m")
    (source / "sub/file").write_text("x")
    isolation.bind(source, shown, writable=True)
    (shown / "new").touch()
    assert (source / "new").exists() and (shown / "sub/file").read_text() == "x"
    isolation.read_only(shown)
    with pytest.raises(OSError, match="Read-only"):
        (shown / "more").touch()
    (shown / "sub/more").touch()  # a mount of its own
    isolation.read_only(shown, recursive=True)
    with pytest.raises(OSError, match="Read-only"):
        (shown / "sub/still").touch()
    (source / "sub/still").touch()


def test_a_pivoted_root_shows_nothing_of_the_old_one(space: Path) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            isolation.unshare(isolation.CLONE_NEWNS)
            isolation.slave_mounts()
            (space / "root").mkdir()
            isolation.mount_tmpfs(space / "root", size="1m")
            (space / "root/mine").touch()
            isolation.pivot_root(space / "root")
            code = 0 if os.listdir("/") == ["mine"] and os.getcwd() == "/" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mounted_below(space) == [], "its mounts ended with it"


def test_the_launcher_enters_a_network_and_a_root_and_becomes_the_command(space: Path) -> None:
    from campaigns.clusters.sandbox.roots import make_node_root

    root, network = space / "root", space / "net"
    root.mkdir()
    make_node_root(root, files={}, etc={"hostname": "node-7\n"})
    isolation.make_network(network)
    command = [sys.executable, "-I", "-S", str(Path(isolation.__file__).with_name("launch.py"))]
    script = "readlink /proc/self/ns/net; cat /etc/hostname; pwd; echo $0 $KEPT"
    done = subprocess.run(
        [*command, "--net", str(network), "--root", str(root), "--", "/bin/sh", "-c", script, "argument"],
        env={"KEPT": "kept"}, capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    theirs = isolation.in_network(network, lambda: os.readlink("/proc/thread-self/ns/net"))
    assert done.stdout.splitlines() == [theirs, "node-7", "/", "argument kept"]
    # a command of the host that the root does not show
    tool = space / "tool"
    tool.write_bytes(Path("/bin/true").read_bytes())
    tool.chmod(0o755)
    subprocess.run([*command, "--root", str(root), "--", str(tool)], check=True, timeout=10)
    isolation.remove_namespace(network)
