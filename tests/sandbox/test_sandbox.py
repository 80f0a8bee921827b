"""The sandbox as a person uses it: up, exec, down; and what is left when it is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES
from injector.errors import InputError
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

MUTINEER = [sys.executable, "-m", "mutineer"]


@pytest.fixture
def up(state_home: Path, binaries: Assets) -> Iterator[str]:
    """A running sandbox's name; ended afterwards whatever the test did."""
    config = outside.prepare("t", binaries={name: binaries[name] for name in BINARIES})
    try:
        outside.up(config, lambda _: None)
        yield "t"
    finally:
        if "t" in outside.running():
            outside.down("t")
        shutil.rmtree(state_home, ignore_errors=True)


def inside(name: str, *argv: str, timeout_s: float = 60) -> str:
    config, pid = outside.find(name)
    command, env = outside.enter_command(config, pid, argv)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def processes_of(pid: int) -> list[int]:
    """Every process in the pid namespace of `pid`, as seen from here."""
    namespace = os.readlink(f"/proc/{pid}/ns/pid_for_children")
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if os.readlink(path) == namespace:
                found.append(int(path.parts[2]))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def network_of(pid: int) -> str | None:
    """Its network namespace; None if it has ended meanwhile, as probes' helpers do all the time."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_a_service_answers_from_every_node_and_an_unknown_image_can_not_be_pulled(up: str) -> None:
    inside(up, "kubectl", "create", "deployment", "web", "--image=mutineer/web:1", "--replicas=6")
    inside(up, "kubectl", "expose", "deployment", "web", "--port=80", "--target-port=8080")
    inside(up, "kubectl", "rollout", "status", "deployment/web", "--timeout=60s")
    address = inside(up, "kubectl", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    config, _ = outside.find(up)
    for node in config.node_names:
        probe = f"import urllib.request as u; print(u.urlopen('http://{address}/', timeout=2).status)"
        command = ["nsenter", f"--net={config.work / 'run/nodes' / node}", sys.executable, "-c", probe]
        wait_until(lambda c=command: _succeeds(up, c), within_s=20, what=f"an answer on {node}")  # type: ignore[misc]

    pods = inside(up, "kubectl", "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert set(pods) == set(config.node_names), "pods run on every node"

    inside(up, "kubectl", "create", "deployment", "nosuch", "--image=example.com/nosuch:1")
    reason = "{.items[*].status.containerStatuses[*].state.waiting.reason}"
    query = ("kubectl", "get", "pods", "-l", "app=nosuch", "-o", f"jsonpath={reason}")
    wait_until(lambda: "Pull" in inside(up, *query), within_s=30, what="ErrImagePull")


def _succeeds(name: str, command: list[str]) -> bool:
    try:
        return inside(name, *command).strip() == "200"
    except AssertionError:
        return False


def test_the_api_server_reaches_etcd_only_through_the_forwarder(up: str) -> None:
    peers = inside(up, "ss", "-Htnp", "state", "established", "dport", "=", ":2379").splitlines()
    assert any('"python"' in line for line in peers), "the forwarder is connected to etcd"
    assert not [line for line in peers if "kube-" in line]
    through = inside(up, "ss", "-Htnp", "state", "established", "dport", "=", ":2381")
    assert "kube-apiserver" in through


def test_nothing_listens_outside_and_keys_are_private(up: str) -> None:
    config, pid = outside.find(up)
    ours = os.readlink("/proc/self/ns/net")
    assert ours not in [network_of(p) for p in processes_of(pid)], "no process in the host's network"
    names = ("-name", "*.key", "-o", "-name", "*kubeconfig", "-o", "-name", "kubelet.conf")
    host = ("(", "-name", "usr", "-o", "-name", "proc", "-o", "-name", "sys", "-o", "-name", "dev", ")", "-prune", "-o")
    keys = inside(up, "find", str(config.work), *host, "(", *names, ")", "-print").split()
    modes = {inside(up, "stat", "-c", "%a", key).strip() for key in keys}
    assert keys and modes == {"600"}


def test_down_leaves_nothing(up: str) -> None:
    config, pid = outside.find(up)
    before = processes_of(pid)
    assert len(before) > 10
    outside.down(up)
    assert not config.folder.exists()
    assert not [p for p in before if Path(f"/proc/{p}").exists()]
    with pytest.raises(InputError, match="no sandbox named 't' is running"):
        outside.find(up)


@pytest.mark.parametrize("victim", ["first process", "etcd", "kube-apiserver"])
def test_a_killed_process_leaves_nothing_that_the_end_or_the_next_start_does_not_remove(up: str, victim: str) -> None:
    config, pid = outside.find(up)
    processes = processes_of(pid)
    if victim == "first process":
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not outside.running(), within_s=10, what="the lock to be free")
        os.utime(config.folder, (0, 0))
        assert outside.reap() == ["t"]
    else:
        chosen = next(p for p in processes if victim in Path(f"/proc/{p}/cmdline").read_text().split("\0")[0])
        os.kill(chosen, signal.SIGKILL)
        outside.down(up)
    assert not config.folder.exists()
    wait_until(lambda: not [p for p in processes if Path(f"/proc/{p}").exists()], within_s=5, what="the processes' end")


def test_a_name_that_is_taken_is_refused_in_words(up: str, binaries: Assets) -> None:
    with pytest.raises(InputError, match="a sandbox named 't' is running"):
        outside.prepare("t", binaries={name: binaries[name] for name in BINARIES})
