"""A sandbox's folder and its lock, with a stand-in for what runs inside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import BINARIES, ImageConfig, SandboxConfig
from campaigns.clusters.sandbox.control import ask
from injector.errors import ClusterError, EnvironmentFailure, InputError
from tests.conftest import wait_until

ROOT = Path(__file__).parents[4]
BINARY_PATHS = {name: Path("/nowhere") / name for name in BINARIES}


@pytest.fixture(autouse=True)
def folders(state_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield outside.root()
    shutil.rmtree(state_home)


KEEPER = "tests.campaigns.clusters.sandbox.stand_in_keeper"


@pytest.fixture
def up(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., outside.Running]]:
    """Starts a sandbox in the background, with a stand-in for its cluster; ends those that are left."""

    def start(name: str = "a", *, differs: str = "", owner: int | None = None, port: int = 0) -> outside.Running:
        monkeypatch.setenv("STAND_IN", differs)
        config = outside.prepare(name, binaries=BINARY_PATHS, nodes=2)
        outside.up(config, owner=owner, port=port, keeper=KEEPER, within_s=20)
        return outside.find_running(name)

    yield start
    for name in outside.running():
        outside.down(name)
    outside.reap()


def asked(port: int) -> str:
    """What is answered behind a door: the network namespace of whoever answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(100).decode()


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
    with pytest.raises(InputError, match="the sandbox 'a' belongs to a running campaign"):
        outside.find("a")  # it has no state.json
    outside.down("a")
    assert not (folders / "a").exists()
    wait_until(lambda: not Path(f"/proc/{first}").exists(), within_s=2, what="its end")
    launched.end()
    with pytest.raises(InputError, match=r"no sandbox named 'a' is running \(running: none; "):
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


def test_the_door_leads_from_the_hosts_loopback_into_the_sandboxs_network(
    up: Callable[..., outside.Running],
) -> None:
    found = up()
    assert found.port and found.pid
    inside = asked(found.port)
    assert inside == os.readlink(f"/proc/{found.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    document = yaml.safe_load(found.kubeconfig.read_text())
    assert document["clusters"][0]["cluster"]["server"] == f"https://127.0.0.1:{found.port}"
    modes = [stat.S_IMODE((found.config.folder / name).stat().st_mode) for name in ("kubeconfig", "control.sock")]
    assert modes == [0o600, 0o600]


def test_a_sandbox_of_a_runner_listens_nowhere(folders: Path) -> None:
    launched = sleeping(outside.prepare("a", binaries=BINARY_PATHS))
    try:
        first = inner(launched)
        (found,) = outside.survey()
        assert (found.stage, found.port, found.owner) == (outside.Stage.CAMPAIGN, None, None)
        assert found.pid == first
        with pytest.raises(InputError, match="belongs to a running campaign"):
            outside.find_running("a")
    finally:
        launched.end()


def test_two_sandboxes_run_side_by_side_each_behind_its_own_door(up: Callable[..., outside.Running]) -> None:
    first, second = up("a"), up("b")
    assert [each.config.name for each in outside.survey()] == ["a", "b"]
    assert first.port and second.port and asked(first.port) != asked(second.port)


def test_a_port_that_is_asked_for_is_had_or_refused_before_anything_is_left(
    up: Callable[..., outside.Running], folders: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port: 127.0.0.1:{port} can't be listened on: Address already in use"):
            up(port=port)
        assert list(folders.iterdir()) == []
    assert up(port=port).port == port


@pytest.mark.usefixtures("up")
def test_a_sandbox_in_the_background_has_no_terminal_and_outlives_whoever_started_it(folders: Path) -> None:
    code = (
        "from collections import defaultdict; from campaigns.clusters.sandbox import outside as o\n"
        f"o.up(o.prepare('a', binaries=defaultdict(str)), keeper={KEEPER!r})\n"
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # tests may run under nohup
        "os.killpg(0, signal.SIGHUP)"  # as a terminal that is closed does
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True) as starter:
        assert starter.wait(30) == -signal.SIGHUP
    found = outside.find_running("a")
    status = Path(f"/proc/{found.pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert status[4] == "0", "it has no controlling terminal"
    assert found.port and asked(found.port)
    outside.down("a")
    with pytest.raises(ConnectionRefusedError):
        asked(found.port)


def test_a_sandbox_ends_with_its_owner_and_its_folder_goes_at_the_next_look(
    up: Callable[..., outside.Running], folders: Path
) -> None:
    with subprocess.Popen(["sleep", "60"]) as owner:
        found = up(owner=owner.pid)
        up("b")
        assert found.owner == owner.pid
        owner.kill()
        owner.wait(5)
        wait_until(lambda: outside.running() == ["b"], within_s=5, what="its end")
        assert outside.reap() == ["a"] and [path.name for path in folders.iterdir()] == ["b"]


def test_an_owner_that_ends_during_the_start_ends_it_too(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "stuck")
    config = outside.prepare("a", binaries=BINARY_PATHS)
    with (
        subprocess.Popen(["sleep", "60"]) as owner,
        pytest.raises(ClusterError, match="did not start:\nthe owner of this sandbox has ended"),
    ):
        outside.up(config, lambda line: owner.kill(), owner=owner.pid, keeper=KEEPER, within_s=20)
    assert list(folders.iterdir()) == []


def test_an_owner_that_is_none_is_refused_before_anything_is_left(
    up: Callable[..., outside.Running], folders: Path
) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    with pytest.raises(InputError, match=f"--owner: expected a running process, got {gone.pid}: No such process"):
        up(owner=gone.pid)
    assert list(folders.iterdir()) == []


def test_a_sandbox_that_is_still_starting_is_listed_so_and_can_be_ended_at_once(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "stuck")
    config = outside.prepare("a", binaries=BINARY_PATHS)
    code = (
        "from pathlib import Path; from campaigns.clusters.sandbox import outside as o\n"
        f"o.up(o.SandboxConfig.from_json(Path({str(config.folder / 'config.json')!r}).read_text()), keeper={KEEPER!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as starter:
        wait_until(lambda: (config.folder / "progress").exists(), within_s=20, what="the start")
        (found,) = outside.survey()
        assert (found.stage, found.pid is not None) == (outside.Stage.STARTING, True)
        with pytest.raises(InputError, match="the sandbox 'a' is still starting"):
            outside.find_running("a")
        starter.kill()  # nobody else knows of it any more
    began = time.monotonic()
    outside.down("a")
    assert time.monotonic() - began < 5, "it did not wait for the start to be over"
    assert list(folders.iterdir()) == []


def test_a_sandbox_whose_starter_was_killed_is_of_use_once_it_is_up(up: Callable[..., outside.Running]) -> None:
    found = up()
    state = found.config.folder / "state.json"
    state.write_text(json.dumps({"port": found.port, "owner": None}))  # it never came to write the rest
    assert outside.find("a") == (found.config, found.pid)


def test_a_start_that_fails_tells_the_steps_and_keeps_the_logs(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "unborn")
    said: list[str] = []
    with pytest.raises(ClusterError, match="the sandbox 'a' did not start:\nno cluster today"):
        outside.up(outside.prepare("a", binaries=BINARY_PATHS), said.append, keeper=KEEPER, within_s=20)
    assert said in ([], ["starting nothing"]) and list(folders.iterdir()) == []
    assert (outside.logs_of("a", previous=True) / "sandbox.log").read_text() == "no cluster today\n"
    with pytest.raises(InputError, match="no sandbox named 'b' has failed to start"):
        outside.logs_of("b", previous=True)


def test_down_ends_a_sandbox_in_order(up: Callable[..., outside.Running], folders: Path) -> None:
    found = up()
    kept = folders.parent / "kept.log"
    (found.config.logs / "shutdown.log").symlink_to(kept)
    outside.down("a")
    assert kept.exists(), "the cluster was shut down, not only killed"
    assert list(folders.iterdir()) == [] and not Path(f"/proc/{found.pid}").exists()


def test_a_recreated_sandbox_is_another_one_with_the_same_name_settings_owner_and_port(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ImageConfig(command=("/op",), files={"/op": "/nowhere/op"})
    config = outside.prepare(
        "a", binaries=BINARY_PATHS, nodes=4, profile=Profile.KUBEADM, images={"a:1": image}, audit=True
    )
    outside.up(config, owner=os.getpid(), keeper=KEEPER)
    before = outside.find_running("a")
    try:
        outside.recreate("a", keeper=KEEPER)
        after = outside.find_running("a")
        assert after.config == before.config == config
        assert (after.port, after.owner) == (before.port, os.getpid()) and after.pid != before.pid
        assert (outside.logs_of("a", previous=True) / "etcd.log").read_text() == "etcd one\netcd two\n"
    finally:
        outside.down("a")


def test_requests_reach_the_keeper_from_outside(up: Callable[..., outside.Running]) -> None:
    folder = up(differs="dirty").config.folder
    ask(folder, {"do": "component", "name": "etcd", "action": "stop"}, within_s=5)
    health = ask(folder, {"do": "health"}, within_s=5)
    assert isinstance(health, list) and health[0]["alive"] is False  # type: ignore[index, call-overload]
    with pytest.raises(ClusterError, match="differed last: /registry/x"):
        ask(folder, {"do": "reset"}, within_s=5)


def test_two_starts_of_one_name_at_once_do_not_take_each_others_folder(folders: Path) -> None:
    outside.prepare("a", binaries=BINARY_PATHS)
    with pytest.raises(InputError, match="a sandbox named 'a' is running"):
        outside.prepare("a", binaries=BINARY_PATHS)  # as long as the first may just be about to launch
    os.utime(folders / "a", (0, 0))
    outside.prepare("a", binaries=BINARY_PATHS)


def test_a_user_without_a_home_is_told_what_to_do(state_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state_home / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(state_home / "file"))
    with pytest.raises(EnvironmentFailure, match=r"can't be made: Not a directory\n  remedy: set XDG_STATE_HOME to "):
        outside.root()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_two_users_on_one_machine_have_sandboxes_of_the_same_name(folders: Path, tmp_path: Path) -> None:
    """In a child, since the interpreter may lie where the other user can't read it."""
    nobody, said = 65534, tmp_path / "said"
    said.touch()
    said.chmod(0o666)
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", nobody, nobody)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and folder != Path("/tmp") and Path("/tmp") in folder.parents:
            folder.chmod(folder.stat().st_mode | 0o011)
    launched = sleeping(outside.prepare("a", binaries=BINARY_PATHS))
    descriptor = os.open(said, os.O_WRONLY)

    def as_nobody() -> None:
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
        with pytest.raises(EnvironmentFailure, match="can't be made: Permission denied"):
            outside.root()  # root's
        os.environ["XDG_STATE_HOME"] = "/" + "too-long" * 20
        theirs = outside.root()
        assert theirs == Path(f"/tmp/mutineer-{nobody}/sandboxes") and stat.S_IMODE(theirs.stat().st_mode) == 0o700
        shutil.rmtree(theirs.parent)
        os.environ["XDG_STATE_HOME"] = str(tmp_path / "home")
        assert outside.running() == [] and outside.reap() == []
        outside.prepare("a", binaries=BINARY_PATHS)  # the name is not taken
        with pytest.raises(PermissionError):
            list(folders.iterdir())

    try:
        if (child := os.fork()) == 0:
            try:
                as_nobody()
                os.write(descriptor, b"fine")
            except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
                os.write(descriptor, traceback.format_exc().encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert said.read_text() == "fine"
        assert outside.running() == ["a"]
    finally:
        os.close(descriptor)
        launched.end()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_a_folder_that_somebody_else_has_planted_is_refused(state_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = state_home / "mutineer"
    planted.mkdir(exist_ok=True)
    os.chown(planted, 65534, 65534)
    with pytest.raises(EnvironmentFailure, match="mutineer belongs to somebody else\n  remedy: set XDG_STATE_HOME"):
        outside.root()
