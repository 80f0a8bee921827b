"""A sandbox's folder and its lock, with a stand-in for what runs inside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES, SandboxConfig
from injector.errors import ClusterError, InputError
from tests.conftest import wait_until

ROOT = Path(__file__).parents[4]
BINARY_PATHS = {name: Path("/nowhere") / name for name in BINARIES}


@pytest.fixture(autouse=True)
def folders(state_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield outside.root()
    shutil.rmtree(state_home)


def sleeping(config: SandboxConfig) -> outside.Launched:
    """A sandbox whose first process does nothing."""
    return outside.launch(config, "tests.campaigns.stand_in_worker", pipes=True, dies_with_us=True)


def inner(launched: outside.Launched) -> int:
    assert launched.process.stdout is not None and launched.process.stdout.readline(), "it has started"
    assert launched.init_pid is not None
    return launched.init_pid


def test_folders_are_below_the_state_home_and_private(folders: Path, state_home: Path) -> None:
    assert folders == state_home / "mutineer" / "sandboxes"
    config = outside.prepare("a", binaries=BINARY_PATHS, nodes=2)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folders, config.logs)] == [0o700, 0o700]
    assert SandboxConfig.from_json((config.folder / "config.json").read_text()) == config
    assert config.nodes == 2 and config.work == folders / "a" / "work"


def test_no_socket_of_the_longest_name_exceeds_what_the_kernel_takes(
    state_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback = Path(f"/tmp/mutineer-{os.getuid()}")
    lengths = []
    for length in range(1, 40):
        monkeypatch.setenv("XDG_STATE_HOME", str(state_home / ("x" * length)))
        socket = outside.root() / ("n" * 32) / "work" / "run" / "cri-node-10.sock"
        assert len(str(socket)) <= 107
        lengths.append(len(str(socket)) if state_home in socket.parents else 0)
    assert max(lengths) == 107 and lengths[-1] == 0, "up to the limit, and elsewhere beyond it"
    for folder in (fallback / "sandboxes", fallback):
        with contextlib.suppress(OSError):  # not empty: somebody uses it
            folder.rmdir()


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "-a", "a-", "a" * 33, "a.b"])
def test_a_name_that_is_none_is_refused(name: str, folders: Path) -> None:
    with pytest.raises(InputError, match="expected lower-case letters"):
        outside.prepare(name, binaries=BINARY_PATHS)
    assert list(folders.iterdir()) == []


def test_a_running_sandbox_is_listed_its_name_taken_and_it_is_not_reaped(folders: Path) -> None:
    launched = sleeping(outside.prepare("a", binaries=BINARY_PATHS))
    try:
        assert outside.running() == ["a"]
        os.utime(folders / "a", (0, 0))
        assert outside.reap() == []
        with pytest.raises(InputError, match="a sandbox named 'a' is running"):
            outside.prepare("a", binaries=BINARY_PATHS)
    finally:
        launched.end()
    assert outside.running() == [] and not (folders / "a").exists()
    launched.end()


def test_a_proxy_of_the_hosts_is_not_told_inside(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    config = outside.prepare("a", binaries=BINARY_PATHS)
    launched = sleeping(config)
    try:
        assert b"proxy.invalid" not in Path(f"/proc/{inner(launched)}/environ").read_bytes()
        assert "proxy.invalid" not in str(outside.enter_command(config, 1, ["true"]))
    finally:
        launched.end()


def test_ending_takes_every_process_of_the_namespace(folders: Path) -> None:
    launched = sleeping(outside.prepare("a", binaries=BINARY_PATHS))
    first = inner(launched)
    launched.end(grace_s=0)
    wait_until(lambda: not Path(f"/proc/{first}").exists(), within_s=2, what="its end")


def test_what_a_killed_process_left_is_removed_at_the_next_start(folders: Path) -> None:
    launched = sleeping(outside.prepare("a", binaries=BINARY_PATHS))
    os.kill(inner(launched), signal.SIGKILL)
    launched.process.wait(5)
    assert outside.running() == [] and (folders / "a").exists()
    assert outside.reap() == ["a"] and not (folders / "a").exists()
    launched.end()


def test_a_folder_that_another_process_is_just_preparing_is_not_reaped(folders: Path) -> None:
    config = outside.prepare("a", binaries=BINARY_PATHS)
    assert outside.reap() == [] and config.folder.exists()
    os.utime(config.folder, (0, 0))
    assert outside.reap() == ["a"]


def test_a_sandbox_dies_with_the_process_that_launched_it(folders: Path) -> None:
    code = (
        "import time; from campaigns.clusters.sandbox import outside as o; from collections import defaultdict\n"
        "config = o.prepare('a', binaries=defaultdict(str))\n"
        "launched = o.launch(config, 'tests.campaigns.stand_in_worker', pipes=True, dies_with_us=True)\n"
        "launched.process.stdout.readline(); print(launched.init_pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        first = int(runner.stdout.readline())
        assert Path(f"/proc/{first}").exists()
        runner.kill()
    wait_until(lambda: not Path(f"/proc/{first}").exists(), within_s=5, what="the end of what it launched")
    wait_until(lambda: outside.running() == [], within_s=5, what="the lock to be free")
    assert outside.reap() == ["a"]


def test_a_sandbox_whose_starter_was_killed_before_it_was_ready_can_be_ended(folders: Path) -> None:
    launched = sleeping(outside.prepare("a", binaries=BINARY_PATHS))
    first = inner(launched)
    with pytest.raises(InputError, match=r"no sandbox named 'a' is running \(running: 'a'\)"):
        outside.find("a")  # it has no state.json
    outside.down("a")
    assert not (folders / "a").exists()
    wait_until(lambda: not Path(f"/proc/{first}").exists(), within_s=2, what="its end")
    launched.end()
    with pytest.raises(InputError, match=r"no sandbox named 'a' is running \(running: none\)"):
        outside.down("a")


def test_a_start_that_fails_says_why_and_leaves_only_its_logs(folders: Path) -> None:
    config = outside.prepare("a", binaries=BINARY_PATHS)  # etcd is /nowhere/etcd
    with pytest.raises(ClusterError, match=r"the sandbox 'a' did not start:(.|\n)*/nowhere/etcd"):
        outside.up(config, lambda _: None, within_s=20)
    assert list(folders.iterdir()) == []
    assert (folders.parent / "failed" / "a" / "sandbox.log").exists()


def test_two_launches_in_one_folder_are_refused(folders: Path) -> None:
    config = outside.prepare("a", binaries=BINARY_PATHS)
    launched = sleeping(config)
    try:
        with pytest.raises(ClusterError, match="the sandbox 'a' was launched already"):
            sleeping(config)
        assert outside.running() == ["a"]
    finally:
        launched.end()
