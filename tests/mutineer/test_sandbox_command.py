"""`mutineer sandbox` on sandboxes with a stand-in for their cluster; on real ones it is tests/sandbox/test_cli.py."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from campaigns.clusters.protocol import Action
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES
from injector.errors import InputError
from mutineer.commands import sandbox
from tests.campaigns.clusters.sandbox.test_outside import KEEPER

ROOT = Path(__file__).parents[2]
KUBECTL = """#!/bin/sh
echo "$KUBECONFIG $PWD $*"
exit 9
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[outside.Running]:
    """One sandbox named default for all tests that leave it as it is."""
    state = Path(f"/tmp/mt-{os.getpid()}-cli")  # short: sockets in it may have 107 characters
    state.mkdir(mode=0o700)
    binaries = tmp_path_factory.mktemp("bin")
    (binaries / "kubectl").write_text(KUBECTL)
    (binaries / "kubectl").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("PYTHONPATH", str(ROOT))
        config = outside.prepare("default", binaries={name: binaries / name for name in BINARIES}, nodes=2)
        outside.up(config, keeper=KEEPER)
        yield outside.find_running("default")
        for name in outside.running():
            outside.down(name)
    shutil.rmtree(state)


@pytest.fixture
def home(running: outside.Running, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = running.config.folder.parents[2]
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return state


def invoke(*argv: str) -> str:
    result = CliRunner().invoke(sandbox.command, argv, catch_exceptions=False, standalone_mode=False)
    return result.output


def mutineer(*argv: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As a person calls it: for what becomes another program, and for exit codes."""
    command = [sys.executable, "-m", "mutineer", "sandbox", *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=30, check=False)


def completed(*words: str) -> list[str]:
    """What the shell is offered after these words."""
    env = {
        **os.environ,
        "_MUTINEER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("mutineer", *words)),
        "COMP_CWORD": str(len(words)),
    }
    code = "import sys; sys.argv[0] = 'mutineer'; from mutineer.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


def test_the_actions_are_those_of_the_cluster() -> None:
    assert tuple(sandbox._ACTIONS) == tuple(action.value for action in Action)


def test_a_piped_list_is_a_line_each_with_tabs(home: Path, running: outside.Running) -> None:
    fields = invoke("list").splitlines()[0].split("\t")
    assert fields[:3] == ["default", "2", "fast"] and fields[3].endswith("s")
    assert fields[4:] == [str(running.port), str(running.pid), "ready"]


def test_a_list_as_json_says_where_the_kubeconfig_is(home: Path, running: outside.Running) -> None:
    (found,) = json.loads(invoke("list", "--json"))["sandboxes"]
    assert found.pop("age_s") > 0
    assert found == {
        "name": "default", "nodes": 2, "profile": "fast", "port": running.port, "pid": running.pid, "state": "ready",
        "owner": None, "kubeconfig": str(running.kubeconfig),
    }  # fmt: skip


def test_on_a_terminal_the_list_has_a_head(home: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mutineer", "sandbox", "list"]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, cwd=ROOT) as shown:
        os.close(theirs)
        output = b""
        try:
            while data := os.read(ours, 4096):
                output += data
        except OSError:  # EIO: the other end is closed
            pass
        finally:
            os.close(ours)
    assert shown.returncode == 0
    head, row = output.decode().splitlines()[:2]
    assert "profile" in head and "default" in row and "\t" not in row


def test_nothing_running_is_an_empty_list(state_home: Path) -> None:
    assert invoke("list") == ""
    assert json.loads(invoke("list", "--json")) == {"schema": 1, "sandboxes": []}
    shutil.rmtree(state_home)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (172800, "2d")]
)
def test_an_age_is_one_number(seconds: float, shown: str) -> None:
    assert sandbox._age(seconds) == shown


def test_kubectl_runs_here_in_this_folder_with_the_outer_kubeconfig_and_its_own_exit_code(
    home: Path, running: outside.Running, tmp_path: Path
) -> None:
    done = mutineer("kubectl", "apply", "-f", "./x.yaml", "--name", "pod", cwd=tmp_path)
    assert done.stdout == f"{running.kubeconfig} {tmp_path} apply -f ./x.yaml --name pod\n"
    assert done.returncode == 9


def test_exec_runs_inside_in_this_folder_with_its_own_exit_code(
    home: Path, running: outside.Running, tmp_path: Path
) -> None:
    done = mutineer("exec", "--", "sh", "-c", "readlink /proc/self/ns/net; pwd; exit 7", cwd=tmp_path)
    assert done.stdout.splitlines() == [os.readlink(f"/proc/{running.pid}/ns/net"), str(tmp_path)]
    assert done.returncode == 7
    assert mutineer("exec", "--", "no-such-command").returncode == 127
    killed = mutineer("exec", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode in (-9, 137)


def test_exec_keeps_pipes_ordinary(home: Path) -> None:
    done = mutineer("exec", "--", "sh", "-c", "yes | head -n 1")
    assert (done.stdout, done.stderr) == ("y\n", ""), "SIGPIPE is not ignored inside"


def test_logs_are_printed_whole_or_their_end(home: Path) -> None:
    assert mutineer("logs", "etcd").stdout == "etcd one\netcd two\n"
    assert mutineer("logs", "etcd", "--tail", "1").stdout == "etcd two\n"
    assert mutineer("logs", "etcd", "--tail", "0").stdout == ""


def test_followed_logs_go_on_with_what_is_written_and_end_with_the_sandbox(home: Path) -> None:
    config = outside.prepare("followed", binaries={name: Path("/nowhere") for name in BINARIES})
    outside.up(config, keeper=KEEPER)
    command = [sys.executable, "-m", "mutineer", "sandbox", "logs", "--name", "followed", "etcd", "-f", "--tail", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "etcd two\n"
        with (config.logs / "etcd.log").open("a") as log:
            log.write("etcd three\n")
        assert following.stdout.readline() == "etcd three\n"
        outside.down("followed")
        assert following.wait(10) == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("logs", "etdc"), "COMPONENT: there is no 'etdc'; did you mean 'etcd'? There are: etcd, kube-apiserver, "),
        (("logs",), "COMPONENT: it is missing; There are: etcd, "),
        (("component", "kube-schedular", "stop"), "NAME: there is no 'kube-schedular'; did you mean 'kube-scheduler'?"),
        (("component", "sandbox", "stop"), "NAME: there is no 'sandbox'; There are: etcd, kube-apiserver, kube-sch"),
        (("node", "node-3", "stop"), "NAME: there is no 'node-3'; did you mean 'node-2'? There are: node-1, node-2"),
        (("status", "--name", "x"), "no sandbox named 'x' is running (running: 'default')"),
        (("kubectl", "--name", "../x"), "no sandbox named '../x' is running"),
        (("logs", "--name", "../x", "etcd"), "no sandbox named '../x' is running"),
        (("logs", "--previous", "etcd"), "no sandbox named 'default' has failed to start, or had to be replaced"),
        (("up",), "a sandbox named 'default' is running (`mutineer sandbox down --name default` ends it)"),
        (("up", "--name", "A"), "--name: expected lower-case letters"),
    ],
)
def test_wrong_names_are_refused_with_those_that_there_are(home: Path, argv: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as raised:
        invoke(*argv)
    assert said in str(raised.value)


def test_wrong_input_is_exit_code_2(home: Path) -> None:
    done = mutineer("logs", "etdc")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: command line: COMPONENT: ")


def test_every_problem_of_a_config_file_is_told_before_anything_starts(home: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("nodes: 0\nimages: {'a:1': [./missing]}\n")
    with pytest.raises(InputError) as raised:
        invoke("up", "--name", "new", "--config", str(tmp_path / "c.yaml"))
    assert [problem.path for problem in raised.value.problems] == ["nodes", "images[a:1].command"]
    assert outside.running() == ["default"]


def test_the_command_line_stands_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("nodes: 5\nprofile: kubeadm\naudit: true\n")
    file = sandbox._settings(tmp_path / "c.yaml", None, None)
    assert (file["nodes"], file["profile"], file["audit"]) == (5, "kubeadm", True)
    said = sandbox._settings(tmp_path / "c.yaml", 1, "fast")
    assert (said["nodes"], said["profile"], said["audit"]) == (1, "fast", True)
    default = sandbox._settings(None, None, None)
    assert (default["nodes"], default["profile"], default["audit"]) == (3, "fast", False)


def test_pulling_the_plug_shows_in_the_status_and_a_reset_puts_it_back(home: Path) -> None:
    assert invoke("component", "etcd", "stop") == ("etcd: stop done (back: mutineer sandbox component etcd start)\n")
    assert invoke("node", "node-1", "kill") == "node-1: kill done (back: mutineer sandbox node node-1 start)\n"
    assert invoke("component", "kube-apiserver", "kill") == "kube-apiserver: kill done\n"
    states = [line.split("\t")[:2] for line in invoke("status").splitlines()]
    assert states[:3] == [["etcd", "ended"], ["kube-apiserver", "ended"], ["kube-scheduler", "ready"]]
    assert invoke("reset") == "sandbox 'default' is as it was: 7 keys equal (0.1 s)\n"
    document = json.loads(invoke("status", "--json"))
    assert [each["ready"] for each in document["components"]] == [True, True, True, True]
    assert document["sandbox"]["name"] == "default"


def test_a_sandbox_that_can_not_be_rolled_back_is_recreated(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "dirty")
    monkeypatch.setitem(outside.recreate.__kwdefaults__, "keeper", KEEPER)
    outside.up(outside.prepare("dirty", binaries={name: Path("/nowhere") for name in BINARIES}), keeper=KEEPER)
    before = outside.find_running("dirty")
    output = invoke("reset", "--name", "dirty")
    after = outside.find_running("dirty")
    assert "can not be proven to be as it was: differed last: /registry/x\n" in output
    assert "sandbox 'dirty' is new, after " in output
    assert after.pid != before.pid and after.port == before.port
    assert invoke("down", "--name", "dirty") == "sandbox 'dirty' is gone\n"
    assert outside.running() == ["default"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sandbox", "down", "--name", "d"), ["default"]),
        (("sandbox", "logs", "kube"), ["kube-apiserver", "kube-scheduler"]),
        (("sandbox", "logs", "--name", "default", "e"), ["etcd"]),
        (("sandbox", "logs", "--name", "none", "e"), []),
        (("sandbox", "component", "s"), []),
        (("sandbox", "node", "node-1", "re"), ["resume", "restart"]),
        (("sandbox", "node", ""), ["node-1", "node-2"]),
        (("sandbox", "st"), ["status"]),
    ],
)
def test_the_shell_completes_names(home: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_mutineer_itself(shell: str) -> None:
    from mutineer.commands import completion

    script = CliRunner().invoke(completion.command, [shell], catch_exceptions=False).output
    assert f"_MUTINEER_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize("name", sorted(sandbox.command.commands))  # type: ignore[attr-defined]
def test_every_command_has_an_example(name: str) -> None:
    shown = CliRunner().invoke(sandbox.command, [name, "--help"], prog_name="mutineer sandbox").output
    assert (
        f"      mutineer sandbox {name}" in shown.replace("\n  ", "\n      ") or f"  mutineer sandbox {name}" in shown
    )


def test_what_only_looks_loads_no_cluster() -> None:
    """Completion runs at every press of the key."""
    code = "import sys, mutineer.commands.sandbox; print([m for m in sys.modules if m.startswith('campaigns')])"
    env: dict[str, str] = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
