"""Namespaces and credentials of a container's processes, as they read them themselves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.cri.spawning import Spawner
from campaigns.clusters.sandbox.cri.spec import CAPABILITIES, DEFAULT_CAPABILITIES, ContainerRoot, Credentials
from tests.campaigns.clusters.sandbox.cri.conftest import Done, Started
from tests.conftest import wait_until

pytestmark = pytest.mark.inside

Run = Callable[..., Done]
ALL = frozenset(CAPABILITIES)


@pytest.fixture
def other_users() -> None:
    if int(Path("/proc/self/uid_map").read_text().split()[2]) == 1:
        pytest.skip("an ordinary user has no others (user_namespaces(7))")


def capabilities(done: Done) -> dict[str, frozenset[str]]:
    """Of /proc/self/status: Inh, Prm, Eff, Bnd, Amb."""
    found = {}
    for line in done.lines:
        if line.startswith("Cap"):
            name, bits = line.removeprefix("Cap").split(":")
            number = int(bits, 16)
            found[name] = frozenset(CAPABILITIES[i] for i in range(number.bit_length()) if number >> i & 1)
    return found


STATUS = ("cat", "/proc/self/status")


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, ALL),
        (("ALL",), ALL),
        ((), frozenset[str]()),
        (tuple(DEFAULT_CAPABILITIES), DEFAULT_CAPABILITIES),
        (("NET_ADMIN", "CAP_SYS_TIME", "NO_SUCH"), {"NET_ADMIN", "SYS_TIME"}),  # runc ignores what it does not know
    ],
)
def test_capabilities_of_root_are_those_asked_for(
    run: Run, asked: tuple[str, ...] | None, kept: frozenset[str]
) -> None:
    found = capabilities(run(*STATUS, credentials=Credentials(capabilities=asked)))
    assert (found["Eff"], found["Prm"], found["Bnd"]) == (kept, kept, kept)
    assert (found["Inh"], found["Amb"]) == (frozenset(), frozenset())


@pytest.mark.usefixtures("other_users")
def test_another_user_has_no_capabilities_but_what_it_could_get_is_bounded(run: Run) -> None:
    asked = Credentials(uid=1000, capabilities=("NET_ADMIN", "KILL"))
    found = capabilities(run(*STATUS, credentials=asked))
    assert found["Eff"] == found["Prm"] == frozenset() and found["Bnd"] == {"NET_ADMIN", "KILL"}


def test_dropped_capabilities_are_really_gone(run: Run) -> None:
    script = "touch /x && chown 1 /x; mount -t tmpfs none /mnt; true"
    done = run("sh", "-c", script, credentials=Credentials(capabilities=()))
    assert "chown" in done.err and "mount" in done.err
    assert run("mount", "-t", "tmpfs", "none", "/mnt", credentials=Credentials()).code == 0


@pytest.mark.usefixtures("other_users")
def test_user_group_and_supplementary_groups_are_those_asked_for(run: Run) -> None:
    asked = Credentials(uid=1000, gid=2000, groups=(3000, 4000), capabilities=tuple(DEFAULT_CAPABILITIES))
    fields = [
        line.split()[1:] for line in run(*STATUS, credentials=asked).lines if line.startswith(("Uid", "Gid", "Gr"))
    ]
    assert fields == [["1000"] * 4, ["2000"] * 4, ["3000", "4000"]]
    done = run("sh", "-c", "cat /etc/passwd | wc -l; touch /etc/mine; touch /tmp/mine && echo yes", credentials=asked)
    assert done.out.split() == ["3", "yes"] and "Permission denied" in done.err
    (groups,) = [line for line in run(*STATUS).lines if line.startswith("Groups")]
    assert groups.split() == ["Groups:"], "none of the spawner's own"


def test_users_and_groups_that_the_sandbox_lacks_are_said_in_words(run: Run) -> None:
    with pytest.raises(OSError, match="uid 70000: this sandbox has no such user"):
        run("true", credentials=Credentials(uid=70000, capabilities=()))
    with pytest.raises(OSError, match="gid 70000: this sandbox has no such user"):
        run("true", credentials=Credentials(gid=70000, capabilities=()))
    with pytest.raises(OSError, match="groups 70000, 70001: this sandbox has no such groups"):
        run("true", credentials=Credentials(groups=(70000, 70001), capabilities=()))


@pytest.mark.parametrize("asked", [True, False])
def test_no_new_privileges_is_as_asked(run: Run, asked: bool) -> None:
    lines = run(*STATUS, credentials=Credentials(no_new_privileges=asked)).lines
    assert f"NoNewPrivs:\t{int(asked)}" in lines


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[dict[str, str]]:
    paths = {isolation.CLONE_NEWNET: tmp_path / "net", isolation.CLONE_NEWIPC: tmp_path / "ipc"}
    isolation.make_namespaces(paths)
    yield {"network": str(tmp_path / "net"), "ipc": str(tmp_path / "ipc")}
    for path in paths.values():
        isolation.remove_namespace(path)


NAMES = ("net", "ipc", "uts", "mnt", "pid", "user", "cgroup")


def namespaces(done: Done) -> dict[str, int]:
    return {name: int(text.strip("]").split("[")[1]) for name, text in zip(NAMES, done.lines, strict=True)}


def ours() -> dict[str, int]:
    return {name: Path(f"/proc/self/ns/{name}").stat().st_ino for name in NAMES}


LIST = ("sh", "-c", "; ".join(f"readlink /proc/self/ns/{name}" for name in NAMES))


def test_network_and_ipc_are_the_pods_and_the_rest_is_its_own(run: Run, pod: dict[str, str]) -> None:
    first, second = (namespaces(run(*LIST, hostname="h", **pod)) for _ in range(2))
    for name in ("net", "ipc"):
        file = Path(pod["network" if name == "net" else "ipc"])
        assert first[name] == second[name] == file.stat().st_ino != ours()[name]
    assert all(first[name] != ours()[name] for name in ("uts", "mnt", "pid"))
    assert all(first[name] == ours()[name] for name in ("user", "cgroup"))


def test_without_namespaces_of_a_pod_it_is_in_the_sandboxs(run: Run) -> None:
    found = namespaces(run(*LIST, own_pids=False))
    assert {name for name in NAMES if found[name] != ours()[name]} == {"mnt"}


def test_its_hostname_is_its_pods_and_nobody_elses(run: Run) -> None:
    assert run("hostname", hostname="web-0").lines == ["web-0"]
    assert os.uname().nodename != "web-0"


def test_a_network_that_is_gone_is_said_in_words(run: Run, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"/gone: No such file or directory"):
        run("true", network=str(tmp_path / "gone"))


def test_a_shared_pid_namespace_shows_the_pods_processes(begin: Callable[..., Started], run: Run) -> None:
    first = begin("sh", "-c", "echo up; read x")
    assert first.read_line() == "up"
    inside = namespaces(run(*LIST, own_pids=False, pids_of=first.child.pid))
    assert inside["pid"] == Path(f"/proc/{first.child.pid}/ns/pid").stat().st_ino
    lines = run(
        "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; test $$ != 1", own_pids=False, pids_of=first.child.pid
    ).lines
    assert lines == ["sh -c echo up; read x "]


def test_a_pid_namespace_whose_first_process_has_ended_is_said_in_words(
    begin: Callable[..., Started], run: Run
) -> None:
    first = begin("true")
    first.child.wait()
    for changes in ({"pids_of": first.child.pid, "own_pids": False}, {"join": first.child.pid, "root": None}):
        with pytest.raises(OSError, match=r"^the container has ended$"):
            run("true", **changes)
    with pytest.raises(OSError, match=r"^the container has ended$"):
        run("true", pids_of=os.getpid(), own_pids=False)  # no process of the spawner's


def test_a_container_that_has_ended_but_is_not_yet_reaped_can_not_be_entered(
    begin: Callable[..., Started], run: Run, spawner: Spawner
) -> None:
    target = begin("sh", "-c", "echo up; read x")
    assert target.read_line() == "up"
    status = Path(f"/proc/{target.child.pid}/status")
    failures: list[str] = []

    def ask() -> None:
        try:
            run("true", join=target.child.pid, root=None, own_pids=False)
        except OSError as error:
            failures.append(str(error))

    asking = threading.Thread(target=ask)
    os.kill(spawner.pid, signal.SIGSTOP)  # so that it learns of the request and of the end at once
    try:
        asking.start()
        target.child.kill()
        wait_until(lambda: "State:\tZ" in status.read_text(), within_s=5, what="the end")
    finally:
        os.kill(spawner.pid, signal.SIGCONT)
        asking.join()
    assert failures == ["the container has ended"]


def test_exec_joins_everything_of_its_target_and_has_its_credentials(
    begin: Callable[..., Started], run: Run, pod: dict[str, str], tmp_path: Path
) -> None:
    asked = Credentials(capabilities=("KILL",), no_new_privileges=True)
    root = ContainerRoot(etc={"own": "only here\n"})
    target = begin("sh", "-c", "echo $$; read x", hostname="target", credentials=asked, root=root, **pod)
    assert target.read_line() == "1"
    joined = {"join": target.child.pid, "root": None, "own_pids": False, "credentials": asked}
    script = LIST[2] + "; hostname; cat /etc/own; ls -d /proc/1 /proc/[0-9]*/cwd | wc -l"
    lines = run("sh", "-c", script, **joined).lines
    theirs = {name: Path(f"/proc/{target.child.pid}/ns/{name}").stat().st_ino for name in NAMES}
    assert namespaces(Done(0, "\n".join(lines[: len(NAMES)]), "")) == theirs
    assert lines[len(NAMES) : len(NAMES) + 2] == ["target", "only here"]
    status = run(*STATUS, **joined)
    assert capabilities(status)["Bnd"] == {"KILL"} and "NoNewPrivs:\t1" in status.lines
    working = begin("sh", "-c", "echo up; read x", **joined)
    assert working.read_line() == "up"
    target.child.kill()
    assert working.child.wait() == 137, "its pid namespace has ended, and so has it"


def test_a_folder_to_work_in_is_made_but_not_in_a_read_only_root(run: Run) -> None:
    assert run("pwd", cwd="/deep/down/here").lines == ["/deep/down/here"]
    with pytest.raises(OSError, match="/deep: No such file"):
        run("pwd", cwd="/deep", root=ContainerRoot(read_only=True))
    with pytest.raises(OSError, match="/etc/passwd"):
        run("pwd", cwd="/etc/passwd")
