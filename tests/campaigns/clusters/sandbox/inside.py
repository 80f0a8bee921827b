"""Run inside namespaces by test_namespaces.py: `python -m tests.campaigns.clusters.sandbox.inside FOLDER`.

Each scenario is a function that raises AssertionError where what it tells of does not hold. Each runs in a child with
network and mount namespaces of its own (they share what importing takes); what went wrong is in FOLDER/NAME.failed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from campaigns.clusters.sandbox import isolation, network
from campaigns.clusters.sandbox.cri.pods import NodePods
from campaigns.clusters.sandbox.cri.protocol import new


def say(*argv: str, at: Path | None = None) -> str:
    enter = ["nsenter", f"--net={at}", "--"] if at else []
    return subprocess.run([*enter, *argv], capture_output=True, text=True, check=True, timeout=10).stdout


def cluster(folder: Path, count: int) -> list[NodePods]:
    network.make_root()
    nodes = network.make_nodes(folder, [f"node-{i}" for i in range(1, count + 1)])
    pods = [NodePods(node, nodes, folder) for node in nodes]
    for number, each in enumerate(pods):
        each.set_cidr(f"10.244.{number}.0/24")
    return pods


def config() -> object:
    return new("PodSandboxConfig")


def connects(source: Path, target: tuple[str, int]) -> str:
    """The address that the peer sees, connecting from inside the namespace at `source`."""

    def ask() -> str:
        with socket.create_connection(target, 3) as connection:
            return connection.recv(64).decode()

    return isolation.in_network(source, ask)


def serving(at: Path, address: str) -> tuple[str, int]:
    """A server in the namespace at `at` that tells everybody their address."""
    listener = isolation.in_network(at, lambda: socket.create_server((address, 0)))

    def serve() -> None:
        while True:
            connection, peer = listener.accept()
            connection.sendall(peer[0].encode())
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return address, listener.getsockname()[1]


def pods_reach_each_other(folder: Path) -> None:
    first, second = cluster(folder, 2)
    a, b, c = first.run("a" * 64, config()), second.run("b" * 64, config()), first.run("c" * 64, config())
    assert (a.address, c.address, b.address) == ("10.244.0.2", "10.244.0.3", "10.244.1.2")
    assert a.network and b.network and c.network
    server = serving(b.network, b.address)
    assert connects(a.network, server) == a.address, "across nodes, with the pod's own address"
    assert connects(first.node.path, server) == first.node.address, "from another node"
    assert connects(second.node.path, server), "from its own node"
    assert connects(Path("/proc/self/ns/net"), server) == network.CONTROL_PLANE_ADDRESS, "from the control plane"
    same = serving(c.network, c.address)
    assert connects(a.network, same) == a.address, "on one node"
    assert connects(b.network, (network.CONTROL_PLANE_ADDRESS, _root_server())) == b.address, "to the control plane"


def _root_server() -> int:
    return serving(Path("/proc/self/ns/net"), network.CONTROL_PLANE_ADDRESS)[1]


def stopping_a_pod_leaves_nothing(folder: Path) -> None:
    (pods,) = cluster(folder, 1)
    before = say("ip", "-o", "link", at=pods.node.path), say("ip", "route", at=pods.node.path)
    pod = pods.run("a" * 64, config())
    assert pod.network and pod.network.exists() and say("ip", "-o", "link", at=pods.node.path) != before[0]
    pods.stop(pod)
    pods.stop(pod)
    assert (say("ip", "-o", "link", at=pods.node.path), say("ip", "route", at=pods.node.path)) == before
    assert not pod.network.exists() and str(pod.network) not in Path("/proc/self/mountinfo").read_text()
    pods.remove(pod)
    assert pods.pods == {}


def addresses_are_given_out_again_only_at_the_end(folder: Path) -> None:
    (pods,) = cluster(folder, 1)
    pods.set_cidr("10.244.7.0/29")  # .2 to .6
    made = [pods.run(letter * 64, config()) for letter in "abcde"]
    assert [pod.address for pod in made] == [f"10.244.7.{n}" for n in range(2, 7)]
    try:
        pods.run("f" * 64, config())
    except RuntimeError as error:
        assert str(error) == "no free address in 10.244.7.0/29"
    else:
        raise AssertionError("a sixth address")
    pods.stop(made[2])
    assert pods.run("1" * 64, config()).address == "10.244.7.4"


def an_enormous_pod_cidr_costs_nothing(folder: Path) -> None:
    import resource

    (pods,) = cluster(folder, 1)
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))  # a list of all of them would need far more
    pods.set_cidr("16.0.0.0/4")
    assert pods.run("a" * 64, config()).address == "16.0.0.2"


def routes_follow_the_pod_cidr(folder: Path) -> None:
    first, second = cluster(folder, 2)

    def route(node: NodePods) -> list[str]:
        return [
            line.split()[0] for line in say("ip", "route", at=node.node.path).splitlines() if " via 172.30.0.1" in line
        ]

    assert route(second) == ["default", "10.244.0.0/24"] and route(first) == ["default", "10.244.1.0/24"]
    old = first.run("a" * 64, config())
    first.set_cidr("10.244.9.0/24")
    new_pod = first.run("b" * 64, config())
    assert (old.address, new_pod.address) == ("10.244.0.2", "10.244.9.2"), "pods keep their addresses"
    assert route(second) == ["default", "10.244.9.0/24"]
    assert "10.244.9.0/24 via 172.30.0.11" in say("ip", "route") and "10.244.0.0/24" not in say("ip", "route")
    assert new_pod.network and old.network
    assert connects(second.node.path, serving(new_pod.network, new_pod.address)) == "172.30.0.12"
    # the other node's podCIDR, as after a corruption: the later one wins, and the mending puts both right
    first.set_cidr("10.244.1.0/24")
    assert "10.244.1.0/24 via 172.30.0.11" in say("ip", "route")
    first.set_cidr("10.244.0.0/24")
    second.set_cidr("10.244.5.0/24")
    second.set_cidr("10.244.1.0/24")
    assert route(second) == ["default", "10.244.0.0/24"] and route(first) == ["default", "10.244.1.0/24"]
    assert "10.244.1.0/24 via 172.30.0.12" in say("ip", "route")


def two_pods_with_one_address_are_possible(folder: Path) -> None:
    first, second = cluster(folder, 2)
    pod = first.run("a" * 64, config())
    second.set_cidr("10.244.0.0/24")
    twin = second.run("b" * 64, config())
    assert pod.address == twin.address and twin.network
    assert connects(second.node.path, serving(twin.network, twin.address)), "on its own node the twin answers"
    second.stop(twin)
    first.stop(pod)


def a_pod_on_the_nodes_network_has_no_network_of_its_own(folder: Path) -> None:
    (pods,) = cluster(folder, 1)
    options = new("NamespaceOption", network=2)
    context = new("LinuxSandboxSecurityContext", namespace_options=options)
    pod = pods.run("a" * 64, new("PodSandboxConfig", linux=new("LinuxPodSandboxConfig", security_context=context)))
    assert (pod.network, pod.address) == (None, pods.node.address)
    pods.remove(pod)


def a_failed_attachment_leaves_nothing(folder: Path) -> None:
    (pods,) = cluster(folder, 1)
    before = sorted(folder.iterdir()), say("ip", "-o", "link", at=pods.node.path)
    for path, address in ((folder / "pod", "not an address"), (folder / "gone" / "pod", "10.244.0.9")):
        try:
            network.attach_pod(pods.node, path, address)
        except Exception as error:  # noqa: BLE001 - whichever it is
            assert not isinstance(error, AssertionError)
        else:
            raise AssertionError("attached")
    assert (sorted(folder.iterdir()), say("ip", "-o", "link", at=pods.node.path)) == before


def a_thread_enters_a_network_and_the_rest_stays(folder: Path) -> None:
    path, ours = folder / "ns", os.readlink("/proc/self/ns/net")
    isolation.make_network(path)
    theirs = isolation.in_network(path, lambda: os.readlink("/proc/thread-self/ns/net"))
    assert theirs != ours and os.readlink("/proc/thread-self/ns/net") == ours
    assert isolation.in_network(path, lambda: os.readlink("/proc/thread-self/ns/net")) == theirs, "kept by its mount"
    assert [line.split()[1] for line in say("ip", "-o", "link", at=path).splitlines()] == ["lo:"]
    try:
        isolation.in_network(path, lambda: 1 // 0)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("the error was lost")
    isolation.remove_network(path)
    isolation.remove_network(path)
    assert not path.exists()
    (folder / "plain").touch()
    isolation.remove_network(folder / "plain")
    assert not (folder / "plain").exists()


def mounts_are_limited_and_shared(folder: Path) -> None:
    isolation.mount_tmpfs(folder, size="1m", mode="0700")
    isolation.share_mount(folder)
    assert (folder.stat().st_mode & 0o777) == 0o700
    try:
        (folder / "big").write_bytes(bytes(2 << 20))
    except OSError as error:
        assert error.errno == 28, error  # ENOSPC
    else:
        raise AssertionError("more than its size")
    (folder / "big").unlink()
    (folder / "sub").mkdir()
    # as the kubelet: a mount namespace of its own; its mounts below are seen here
    child = os.fork()
    if child == 0:
        isolation.private_mounts()
        isolation.mount_tmpfs(folder / "sub", size="1m")
        (folder / "sub" / "seen").touch()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (folder / "sub" / "seen").exists()


def the_launcher_enters_and_hides_var_lib(folder: Path) -> None:
    path = folder / "ns"
    isolation.make_network(path)
    launcher = Path(isolation.__file__).with_name("launch.py")
    command = [sys.executable, "-I", "-S", str(launcher), "--net", str(path), "--own-var-lib", "--"]
    listed = say(*command, "sh", "-c", "readlink /proc/self/ns/net; ls -A /var/lib; echo end").splitlines()
    theirs = isolation.in_network(path, lambda: os.readlink("/proc/thread-self/ns/net"))
    assert listed == [theirs, "end"]
    assert os.listdir("/var/lib"), "ours is as it was"


SCENARIOS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        pods_reach_each_other,
        stopping_a_pod_leaves_nothing,
        addresses_are_given_out_again_only_at_the_end,
        an_enormous_pod_cidr_costs_nothing,
        routes_follow_the_pod_cidr,
        two_pods_with_one_address_are_possible,
        a_pod_on_the_nodes_network_has_no_network_of_its_own,
        a_failed_attachment_leaves_nothing,
        a_thread_enters_a_network_and_the_rest_stays,
        mounts_are_limited_and_shared,
        the_launcher_enters_and_hides_var_lib,
    )
}


def run(folder: Path) -> None:
    """All scenarios, one after another."""
    for name, scenario in SCENARIOS.items():
        if (child := os.fork()) == 0:
            code = 1
            try:
                isolation._call("unshare", isolation.CLONE_NEWNET | isolation.CLONE_NEWNS)
                (folder / name).mkdir()
                scenario(folder / name)
                code = 0
            except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
                (folder / f"{name}.failed").write_text(traceback.format_exc())
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1] == 0:
            (folder / f"{name}.passed").touch()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
