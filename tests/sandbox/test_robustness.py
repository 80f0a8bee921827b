"""Small versions of `python -m tests.soak`: one kill of each process, of a real campaign and of a real sandbox; one
Ctrl-C; some churn; a Deployment of a million replicas; two ordinary users at once; what listens and who may read."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox.components import MAX_PODS_PER_NODE
from tests.conftest import wait_until
from tests.soak.churn import cycle, rest
from tests.soak.growth import more
from tests.soak.kept import Kept, raised
from tests.soak.leftovers import descendants
from tests.soak.million import MOST_BYTES, Seen, flip, look, over
from tests.soak.resuming import resumed
from tests.soak.rounds import GOLDENS, healed, interrupt, kill, kill_each, kill_kept
from tests.soak.victims import Victim

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
CYCLES = 2
USERS = (61001, 61002)
"""Of nobody: numbers that no distribution gives away."""
LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
COMPONENTS = [Victim.ETCD, Victim.KUBELET, Victim.RUNTIME, Victim.SPAWNER]


@pytest.fixture(scope="module")
def kept(binaries: Assets) -> Iterator[Kept]:
    """A sandbox in the background with a workload in it; the last test of this module that uses it ends it."""
    with raised() as sandbox:
        yield sandbox


def test_a_runner_killed_in_mid_campaign_leaves_only_folders_and_the_next_start_removes_them(binaries: Assets) -> None:
    seen = kill(Victim.RUNNER, 1, after_first=True)
    assert seen.wrong == []
    assert seen.exit_code == -9 and 1 <= seen.finished < GOLDENS, "in the middle, and what was finished is kept"


def test_a_campaign_killed_at_random_moments_does_all_of_its_plan_once_by_resuming(binaries: Assets) -> None:
    seen = resumed(2, 1, experiments=GOLDENS, moment_s=25)
    assert seen.wrong == []
    assert seen.finished == GOLDENS


def test_ctrl_c_in_mid_campaign_exits_130_keeps_what_is_finished_and_leaves_nothing(binaries: Assets) -> None:
    seen = interrupt(1, after_first=True)
    assert seen.wrong == []
    assert seen.exit_code == 130 and 1 <= seen.finished < GOLDENS


def test_a_campaign_goes_on_when_one_process_after_another_is_killed_and_leaves_nothing(binaries: Assets) -> None:
    seen = kill_each([Victim.FIRST_PROCESS, *COMPONENTS], experiments=12)
    assert seen.wrong == []
    assert seen.finished == 12


@pytest.mark.parametrize("victim", COMPONENTS)
def test_a_sandbox_is_well_again_when_a_process_is_killed(kept: Kept, victim: Victim) -> None:
    assert healed(kept, victim) == []


@pytest.mark.parametrize("victim", [Victim.RUNNER, Victim.FIRST_PROCESS])
def test_a_sandbox_whose_up_or_first_process_is_killed_leaves_nothing(binaries: Assets, victim: Victim) -> None:
    assert kill_kept(victim, 1).wrong == []


def test_churn_leaves_no_more_processes_mounts_namespaces_links_and_files_than_before(kept: Kept) -> None:
    random, began = Random(1), time.monotonic()
    cycle(kept, 0, random)
    before = rest(kept, None, began)
    for number in range(1, CYCLES + 1):
        cycle(kept, number, random)
    after = rest(kept, before, began)
    assert more(before, after) == []
    assert sum(after.descriptors.values()) <= 1.1 * sum(before.descriptors.values())


def sockets_of(pids: list[int]) -> set[str]:
    found = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(descriptor)
            except OSError:  # it has just been closed
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def in_our_network(sockets: set[str]) -> list[tuple[str, str, str]]:
    """(kind, local address in hexadecimal, state) of those that are in the network that this test runs in."""
    found = []
    for kind, column in (("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("raw", 9), ("raw6", 9), ("packet", 8)):
        table = Path("/proc/net", kind)
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            words = line.split()
            if words[column] in sockets:
                found.append((kind, words[1], words[3]))
    return found


def test_nothing_listens_outside_the_namespace_but_the_door_on_loopback(kept: Kept) -> None:
    first = kept.find(Victim.FIRST_PROCESS)
    assert first is not None
    port = json.loads((kept.folder / "state.json").read_text())["port"]
    door = f"{socket.htonl(0x7F000001):08X}:{port:04X}"
    seen = in_our_network(sockets_of([first, *descendants(first)]))
    assert [each for each in seen if each[0] != "tcp" or each[2] == LISTENS] == [("tcp", door, LISTENS)]
    assert {address for _, address, _ in seen} <= {door}, "what is connected came through the door"


def test_the_door_lets_nobody_in_without_a_certificate_of_the_cluster(kept: Kept, tmp_path: Path) -> None:
    port = json.loads((kept.folder / "state.json").read_text())["port"]
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subject = ["-subj", "/O=system:masters/CN=admin", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject,
         "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    stranger, forger = (ssl.create_default_context() for _ in range(2))
    forger.check_hostname = stranger.check_hostname = False
    forger.verify_mode = stranger.verify_mode = ssl.CERT_NONE
    forger.load_cert_chain(certificate, key)
    for context, codes in ((stranger, (401, 403)), (forger, (401,))):
        for path in ("/api/v1/namespaces/kube-system/secrets", "/api/v1/nodes", "/metrics"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", timeout=10, context=context)
            refused.value.close()
            assert refused.value.code in codes, path


def test_every_file_that_holds_a_private_key_is_0600_and_so_is_each_socket_in_a_folder_of_0700(kept: Kept) -> None:
    with kept.found() as inside:
        # each file system of its own: a node shows /proc and the host's /usr
        nodes = [str(inside.work / "nodes" / name) for name in inside.config.node_names]
        places = [str(inside.config.folder), str(inside.work), *nodes]
        small = ["-xdev", "-type", "f", "-size", "-256k"]
        keys = ["-exec", "grep", "-qIE", "PRIVATE KEY|client-key-data", "{}", ";", "-printf", "%m %U %p\n"]
        found = [line.split(" ", 2) for line in inside.run("find", *places, *small, *keys).splitlines()]
    assert {Path(path).name for _, _, path in found} >= {"kubeconfig", "sa.key", "ca.key", "kubelet.conf"}
    assert {(mode, user) for mode, user, _ in found} == {("600", "0")}, found
    for folder in (kept.folder, kept.folder.parent, kept.folder / "logs"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in kept.folder.iterdir() if path.is_socket()] == ["control.sock"]
    assert (kept.folder / "control.sock").stat().st_mode & 0o777 == 0o600


def test_a_deployment_of_a_million_by_one_flipped_bit_stays_within_the_guards_caps(kept: Kept) -> None:
    """Last of those that use this sandbox: it is of no use afterwards."""
    flip(kept)
    seen = Seen()
    full = 3 * MAX_PODS_PER_NODE
    wait_until(lambda: look(kept, seen).containers >= full - 1 and seen.pods > full, within_s=60, what="full nodes")
    until = time.monotonic() + 5
    wait_until(lambda: bool(over(look(kept, seen))) or time.monotonic() > until, within_s=30, what="a while")
    assert over(seen) == []
    assert seen.pss_bytes < MOST_BYTES / 2, "it has only begun"
    assert kept.asked("get", "--raw", "/readyz") == "ok"
    kept.down()
    assert kept.left(within_s=10) == []


def users_can() -> str:
    """Why this can't be tried here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can become somebody else (as an ordinary user all other tests show it)"
    allowed = subprocess.run(["unshare", "--user", "--map-root-user", "true"], user=USERS[0], capture_output=True)
    return (
        f"this machine lets no ordinary user make namespaces: {allowed.stderr.decode()}" if allowed.returncode else ""
    )


@pytest.mark.skipif(bool(users_can()), reason=users_can())
def test_two_ordinary_users_have_sandboxes_of_one_name_at_once_and_can_not_read_each_others(
    binaries: Assets, state_home: Path
) -> None:
    visible = [ROOT, Path(sys.prefix), Path(sys.base_prefix), *{path.parent for path in binaries.values()}]
    state_home.chmod(0o755)
    homes = {user: state_home / f"{'long-' * 18}{user}" for user in USERS}  # too long for a socket: below /tmp then
    started = []
    of_sandbox = ["tests.sandbox.up_and_down", "t", json.dumps({name: str(path) for name, path in binaries.items()})]
    for user, home in homes.items():
        home.mkdir(mode=0o700)
        os.chown(home, user, user)
        as_user = ["tests.sandbox.as_user", str(user), *map(str, visible), "--", sys.executable, "-m", *of_sandbox]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", *as_user],
                env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        said = [json.loads(process.stdout.readline() or "{}") for process in started]  # type: ignore[union-attr]
        assert [each.get("user") for each in said] == list(USERS), [p.communicate()[1] for p in started]
        assert [each["folder"] for each in said] == [f"/tmp/mutineer-{user}/sandboxes/t" for user in USERS]
        assert said[0]["port"] != said[1]["port"]
        for user, other in (USERS, USERS[::-1]):
            peek = ["cat", f"/tmp/mutineer-{other}/sandboxes/t/kubeconfig"]
            assert subprocess.run(peek, user=user, capture_output=True).returncode != 0
        ended = [process.communicate(timeout=60) for process in started]
        assert [(process.returncode, out, error) for process, (out, error) in zip(started, ended, strict=True)] == [
            (0, json.dumps({"left": []}) + "\n", "")
        ] * 2
        assert not [each for each in said if Path(f"/proc/{each['pid']}").exists()]
    finally:
        for process in started:
            process.kill()
            process.wait(10)
        for user in USERS:
            shutil.rmtree(f"/tmp/mutineer-{user}", ignore_errors=True)
        shutil.rmtree(state_home)
