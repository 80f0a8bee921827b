"""The CRI's calls as a kubelet makes them: over gRPC on a Unix socket, to a node with a network and real containers."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.cri.containers import CREATED, EXITED, RUNNING
from campaigns.clusters.sandbox.cri.pods import NODE, NOT_READY, POD, READY, TARGET, NodePods
from campaigns.clusters.sandbox.cri.protocol import new
from campaigns.clusters.sandbox.cri.spawning import Spawner
from campaigns.clusters.sandbox.network import make_nodes, make_root
from campaigns.clusters.sandbox.nodes import Node, Runtime, kubelet_command, make_node
from injector.errors import ClusterError
from tests.campaigns.clusters.sandbox import networks
from tests.campaigns.clusters.sandbox.cri.kubelet import IMAGES, Kubelet, serving
from tests.conftest import wait_until

pytestmark = pytest.mark.inside

UNKNOWN, NOT_FOUND = grpc.StatusCode.UNKNOWN, grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("n")
    isolation.unshare(isolation.CLONE_NEWNET)
    make_root()
    (network,) = make_nodes(folder, ["node-1"])
    yield make_node(network, folder / "root", kubeconfig=b"kubeconfig", authority=b"ca", profile=Profile.FAST)
    isolation.remove_namespace(network.path)
    subprocess.run(["umount", "-l", str(folder / "root")], check=True)


@pytest.fixture(scope="module")
def pods(node: Node, tmp_path_factory: pytest.TempPathFactory) -> NodePods:
    return NodePods(node.network, node.root, tmp_path_factory.mktemp("p"))


@pytest.fixture(scope="module")
def served(pods: NodePods, spawner: Spawner) -> Iterator[Kubelet]:
    with serving(pods, spawner) as kubelet:
        yield kubelet


@pytest.fixture
def kubelet(served: Kubelet, pods: NodePods) -> Iterator[Kubelet]:
    """With a network, and without pods before and after."""
    networks.give_subnet(pods, "10.244.0.0/24")
    yield served
    served.clean()


def refused(code: grpc.StatusCode, words: str) -> Any:
    class Refused:
        def __enter__(self) -> None:
            self.raises = pytest.raises(grpc.RpcError)
            self.error = self.raises.__enter__()

        def __exit__(self, *parts: Any) -> bool:
            handled = self.raises.__exit__(*parts)
            told = self.error.value.details() or ""
            assert self.error.value.code() is code and words in told, told
            return bool(handled)

    return Refused()


# the runtime itself


def test_it_says_what_it_is_and_what_it_is_not(kubelet: Kubelet) -> None:
    version = kubelet.Version()
    assert (version.runtime_name, version.runtime_api_version) == ("mutineer", "v1")
    assert kubelet.RuntimeConfig().linux.cgroup_driver == 1, "CGROUPFS"
    kubelet.UpdateRuntimeConfig()  # kubelets send an empty one before they know
    with refused(grpc.StatusCode.UNIMPLEMENTED, ""):
        kubelet.CheckpointContainer(container_id="x")


def test_the_network_is_ready_when_it_is_configured_and_no_pod_runs_before(kubelet: Kubelet, node: Node) -> None:
    def conditions() -> dict[str, tuple[bool, str]]:
        return {c.type: (c.status, c.reason) for c in kubelet.Status().status.conditions}

    assert conditions() == {"RuntimeReady": (True, ""), "NetworkReady": (True, "")}
    (node.root / "etc/cni/net.d/10-mutineer.conflist").unlink()
    assert conditions() == {"RuntimeReady": (True, ""), "NetworkReady": (False, "NetworkPluginNotReady")}
    with refused(UNKNOWN, "failed to set up the pod's network: cni plugin not initialized"):
        kubelet.pod()
    assert kubelet.pod(host=True), "which is how the network's own pods start"


# pods


def test_a_pod_has_the_networks_address_and_changes_of_it_reach_new_pods_only(kubelet: Kubelet, pods: NodePods) -> None:
    def address(pod: str) -> str:
        return str(kubelet.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip)

    first = kubelet.pod("a")
    networks.give_subnet(pods, "10.244.77.0/24")
    assert [address(pod) for pod in (first, kubelet.pod("b"))] == ["10.244.0.2", "10.244.77.2"]


def test_a_web_server_answers_on_its_pods_address(kubelet: Kubelet, node: Node) -> None:
    pod = kubelet.pod()
    container = kubelet.start(pod, "mutineer/web:1", args=["--port", "80"])
    kubelet.wait_said(container, "serving as web-host on port 80")
    address = kubelet.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip

    def ask() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(address, 80, timeout=5)
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status, response.read()

    assert isolation.in_network(node.network.path, ask) == (200, b"web-host\n")
    kubelet.StopContainer(container_id=container, timeout=5)
    assert (kubelet.status(container).exit_code, kubelet.status(container).reason) == (0, "Completed")


def test_a_pod_on_the_nodes_network_is_in_it(kubelet: Kubelet, node: Node) -> None:
    script = "readlink /proc/self/ns/net; hostname"
    host, own = kubelet.pod("a", host=True), kubelet.pod("b")
    found = [kubelet.said(kubelet.wait(kubelet.shell(pod, script)).id) for pod in (host, own)]
    theirs = f"net:[{node.network.path.stat().st_ino}]"
    assert found[0] == [theirs, "a-host"] and found[1][0] != theirs
    assert kubelet.PodSandboxStatus(pod_sandbox_id=host).status.network.ip == "", "the kubelet knows the node's"


def test_containers_of_a_pod_share_its_network_and_ipc_and_nothing_else(kubelet: Kubelet) -> None:
    pod, other = kubelet.pod("a"), kubelet.pod("b")
    script = "for n in net ipc pid mnt uts; do readlink /proc/self/ns/$n; done; hostname; echo up; exec sleep 60"
    containers = [kubelet.shell(p, script) for p in (pod, pod, other)]
    for container in containers:
        kubelet.wait_said(container, "up")
    first, second, third = map(kubelet.said, containers)
    assert first[:2] == second[:2] and not set(first[:2]) & set(third[:2])
    assert not set(first[2:4]) & set(second[2:4]) and first[5] == second[5] == "a-host"


def test_sysctls_are_set_in_the_pod(kubelet: Kubelet) -> None:
    pod = kubelet.pod(sysctls={"net.ipv4.ip_unprivileged_port_start": "1234"})
    container = kubelet.wait(kubelet.shell(pod, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"))
    assert kubelet.said(container.id) == ["1234"]
    with refused(UNKNOWN, "failed to set up the pod's network: "):
        kubelet.pod("b", sysctls={"net.no.such": "1"})
    assert len(kubelet.ListPodSandbox().items) == 1


def test_a_shared_pid_namespace_is_the_pods_and_its_end_is_the_pods(kubelet: Kubelet) -> None:
    pod = kubelet.pod(pid=POD)
    first = kubelet.shell(pod, "exec sleep 60", pid=POD)
    second = kubelet.shell(pod, "cat /proc/1/comm; for i in /proc/[0-9]*; do cat $i/comm; done | sort -u", pid=POD)
    kubelet.wait(second)
    assert kubelet.said(second)[0] == "pause" and "sleep" in kubelet.said(second)
    assert kubelet.execute(first, "kill -0 1")[0] == 0
    assert kubelet.execute(first, "ls -A /proc/1/root/tmp") == (0, "", ""), (
        "the pod's first process shows nothing of ours"
    )
    kubelet.execute(first, "kill -TERM 1")

    def state() -> int:
        return int(kubelet.PodSandboxStatus(pod_sandbox_id=pod).status.state)

    wait_until(lambda: state() == NOT_READY, within_s=5, what="the pod's end")
    assert kubelet.wait(first).exit_code == 137
    with refused(UNKNOWN, "failed to start container: the container has ended"):
        kubelet.shell(pod, "true", pid=POD)


def test_an_ephemeral_container_is_in_its_targets_pid_namespace(kubelet: Kubelet) -> None:
    pod = kubelet.pod()
    target = kubelet.shell(pod, "exec sleep 77")
    wait = "until grep -q ^sleep /proc/1/cmdline; do sleep 0.02; done"  # a shell first, then its exec
    debugger = kubelet.shell(pod, f"{wait}; tr '\\0' ' ' < /proc/1/cmdline", pid=TARGET, target=target)
    kubelet.wait(debugger)
    assert kubelet.said(debugger) == ["sleep 77 "]
    with refused(UNKNOWN, "failed to start container: no target container nobody"):
        kubelet.shell(pod, "true", pid=TARGET, target="nobody")
    kubelet.StopContainer(container_id=target, timeout=0)
    with refused(UNKNOWN, "failed to start container: the container is not running"):
        kubelet.shell(pod, "true", pid=TARGET, target=target)


def test_a_container_on_the_nodes_pids_sees_everybody(kubelet: Kubelet) -> None:
    container = kubelet.wait(kubelet.shell(kubelet.pod(), f"test -d /proc/{os.getpid()} && echo yes", pid=NODE))
    assert kubelet.said(container.id) == ["yes"]


# containers


def test_a_container_lives_from_create_to_remove(kubelet: Kubelet) -> None:
    pod = kubelet.pod()
    container = kubelet.container(pod, args=["argument"], envs=[new("KeyValue", key="EXTRA", value=b"more")])
    assert kubelet.status(container).state == CREATED
    kubelet.StartContainer(container_id=container)
    kubelet.wait_said(container, "web-host more argument")
    status = kubelet.status(container)
    assert (status.state, status.metadata.attempt, status.image.image) == (RUNNING, 1, "tool:1")
    assert status.image_ref == kubelet.ImageStatus(image=new("ImageSpec", image="tool:1")).image.id
    (stats,) = kubelet.ListContainerStats().stats
    assert stats.attributes.id == container and stats.memory.working_set_bytes.value > 0
    (pod_stats,) = kubelet.ListPodSandboxStats().stats
    assert [each.attributes.id for each in pod_stats.linux.containers] == [container]
    kubelet.StopContainer(container_id=container, timeout=0)
    status = kubelet.status(container)
    assert (status.state, status.exit_code, status.reason) == (EXITED, 137, "Error")
    assert status.created_at <= status.started_at <= status.finished_at
    assert list(kubelet.ListContainerStats().stats) == []
    kubelet.RemoveContainer(container_id=container)
    with refused(NOT_FOUND, "no container"):
        kubelet.status(container)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({}, "image by default"), ({"args": ["more"]}, "image more"), ({"command": ["echo", "own"]}, "own")],
)
def test_the_pods_command_and_args_replace_the_images(kubelet: Kubelet, settings: Any, words: str) -> None:
    assert kubelet.said(kubelet.wait(kubelet.start(kubelet.pod(), "echo:1", **settings)).id) == [words]


def test_the_environment_is_what_runtimes_give(kubelet: Kubelet) -> None:
    envs = [new("KeyValue", key="GIVEN", value=b"yes")]
    container = kubelet.wait(kubelet.start(kubelet.pod(), command=["env"], envs=envs))
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert set(kubelet.said(container.id)) == {"GIVEN=yes", "HOME=/root", "HOSTNAME=web-host", f"PATH={path}"}


def test_volumes_are_the_nodes_folders(kubelet: Kubelet, node: Node) -> None:
    (node.root / "srv/data").mkdir(exist_ok=True)
    (node.root / "srv/data/file").write_text("the node's\n")
    mounts = [
        new("Mount", host_path="/srv/data", container_path="/data", readonly=True),
        new("Mount", host_path="//srv/fresh", container_path="/fresh"),  # two slashes lead nowhere else
    ]
    container = kubelet.wait(kubelet.shell(kubelet.pod(), "cat /data/file; echo x > /fresh/y; pwd", mounts=mounts))
    assert kubelet.said(container.id) == ["the node's", "/"]
    assert (node.root / "srv/fresh/y").read_text() == "x\n" and not Path("/srv/fresh").exists()


def test_what_can_not_be_started_has_failed_in_words(kubelet: Kubelet) -> None:
    pod = kubelet.pod()
    for words, image, settings in (
        ('exec: "no-such-command": executable file not found in $PATH', "broken:1", {}),
        ("no user 'nginx' in the image", "tool:1", {"security": _security(run_as_username="nginx")}),
        ("uid 70000", "tool:1", {"security": _security(run_as_user=new("Int64Value", value=70000))}),
        ("embedded null byte", "tool:1", {"mounts": [new("Mount", host_path="/srv/a\0b", container_path="/x")]}),
        ("embedded null byte", "tool:1", {"envs": [new("KeyValue", key="A", value=b"\0")]}),
        ("/etc/passwd", "tool:1", {"working_dir": "/etc/passwd"}),
    ):
        container = kubelet.container(pod, image, **settings)
        with refused(UNKNOWN, f"failed to start container: {words}" if "/etc" not in words else words):
            kubelet.StartContainer(container_id=container)
        status = kubelet.status(container)
        assert (status.state, status.exit_code, status.reason) == (EXITED, 128, "StartError")
        assert words in status.message
    assert kubelet.wait(kubelet.start(pod, "quick:1")).exit_code == 3


def _security(**fields: Any) -> Any:
    return new("LinuxContainerSecurityContext", **fields)


def test_security_contexts_reach_the_process(kubelet: Kubelet) -> None:
    drop = new("Capability", drop_capabilities=["ALL"], add_capabilities=["KILL"])
    security = _security(capabilities=drop, readonly_rootfs=True, no_new_privs=True, readonly_paths=["/proc/sys"])
    script = "grep -E 'CapEff|NoNew' /proc/self/status; test -w / || test -w /proc/sys/kernel/hostname || echo ro"
    container = kubelet.wait(kubelet.shell(kubelet.pod(), script, security=security))
    assert kubelet.said(container.id) == ["CapEff:\t0000000000000020", "NoNewPrivs:\t1", "ro"]


def test_stopping_honours_a_handler_and_kills_after_the_grace(kubelet: Kubelet) -> None:
    pod, loop = kubelet.pod(), "echo up; while :; do sleep 0.02; done"
    polite = kubelet.shell(pod, f"trap 'echo bye; exit 0' TERM; {loop}")
    stubborn = kubelet.shell(pod, f"trap '' TERM; {loop}")
    for container in (polite, stubborn):
        kubelet.wait_said(container, "up")
    kubelet.StopContainer(container_id=polite, timeout=10)
    assert kubelet.status(polite).exit_code == 0 and kubelet.said(polite) == ["up", "bye"]
    began = time.monotonic()
    kubelet.StopContainer(container_id=stubborn, timeout=1)
    assert time.monotonic() - began >= 1 and kubelet.status(stubborn).exit_code == 137


def test_stopping_and_removing_what_is_not_there_is_no_error(kubelet: Kubelet) -> None:
    # a runtime that answers with errors is asked again for ever
    pod = kubelet.pod()
    containers = [kubelet.container(pod), kubelet.start(pod), kubelet.start(pod, "quick:1")]
    for _ in range(2):
        for container in containers:
            kubelet.StopContainer(container_id=container, timeout=0)
            kubelet.RemoveContainer(container_id=container)
        kubelet.StopPodSandbox(pod_sandbox_id=pod)
    for _ in range(2):
        kubelet.RemovePodSandbox(pod_sandbox_id=pod)
    assert not kubelet.ListPodSandbox().items and not kubelet.ListContainers().containers


def test_stopping_a_pod_ends_its_containers_and_nothing_is_started_in_it_any_more(
    kubelet: Kubelet, pods: NodePods
) -> None:
    for host in (False, True):
        pod, other = kubelet.pod("a", host=host), kubelet.pod("b", host=host)
        containers = [kubelet.start(p) for p in (pod, pod, other)]
        late = kubelet.container(pod)
        kubelet.StopPodSandbox(pod_sandbox_id=pod)
        assert [kubelet.status(c).state for c in (*containers, late)] == [EXITED, EXITED, RUNNING, EXITED]
        assert kubelet.PodSandboxStatus(pod_sandbox_id=pod).status.state == NOT_READY
        with refused(UNKNOWN, "is not running"):
            kubelet.container(pod)
        with refused(UNKNOWN, "has ended"):
            kubelet.StartContainer(container_id=late)
        kubelet.RemovePodSandbox(pod_sandbox_id=pod)
        assert [c.id for c in kubelet.ListContainers().containers] == [containers[2]]
        with refused(NOT_FOUND, "no pod sandbox"):
            kubelet.PodSandboxStatus(pod_sandbox_id=pod)
        kubelet.clean()
    assert pods.pods == {}


def test_lists_are_filtered_by_id_state_pod_and_labels(kubelet: Kubelet) -> None:
    made = [kubelet.pod("a", app="x"), kubelet.pod("b", app="y")]
    containers = [kubelet.container(made[0], labels={"n": n}) for n in ("1", "2")]
    kubelet.StopPodSandbox(pod_sandbox_id=made[1])
    kubelet.StartContainer(container_id=containers[0])

    def listed(**wanted: Any) -> list[str]:
        return [p.id for p in kubelet.ListPodSandbox(filter=new("PodSandboxFilter", **wanted)).items]

    assert listed() == made
    assert listed(id=made[1]) == listed(label_selector={"app": "y"}) == [made[1]]
    assert listed(state=new("PodSandboxStateValue", state=READY)) == [made[0]]

    def contained(**wanted: Any) -> list[str]:
        return [c.id for c in kubelet.ListContainers(filter=new("ContainerFilter", **wanted)).containers]

    assert contained(pod_sandbox_id=made[0]) == containers
    assert contained(pod_sandbox_id=made[1]) == contained(id="other") == []
    assert contained(state=new("ContainerStateValue", state=RUNNING)) == [containers[0]]
    assert contained(label_selector={"n": "2"}) == [containers[1]]


def test_a_rotated_log_goes_on_in_a_new_file(kubelet: Kubelet) -> None:
    container = kubelet.shell(kubelet.pod(), "echo old; trap 'echo new' HUP; while :; do sleep 0.02; done")
    kubelet.wait_said(container, "old")
    path = kubelet.root / kubelet.status(container).log_path.lstrip("/")
    path.rename(path.with_suffix(".1"))
    kubelet.ReopenContainerLog(container_id=container)
    kubelet.execute(container, "kill -HUP 1")
    kubelet.wait_said(container, "new")
    assert kubelet.said(container) == ["new"] and "old" in path.with_suffix(".1").read_text()
    kubelet.StopContainer(container_id=container, timeout=0)
    with refused(UNKNOWN, "the container is not running"):
        kubelet.ReopenContainerLog(container_id=container)


def test_commands_in_a_container_end_with_their_code_or_in_time(kubelet: Kubelet) -> None:
    container = kubelet.start(kubelet.pod(), envs=[new("KeyValue", key="EXTRA", value=b"more")])
    assert kubelet.execute(container, "echo $EXTRA; test -d /proc/1; echo e >&2; exit 4") == (4, "more\n", "e\n")
    began = time.monotonic()
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "timeout 1s exceeded"):
        kubelet.execute(container, "sleep 30", timeout=1)
    assert time.monotonic() - began < 10
    with refused(UNKNOWN, 'failed to exec in container: exec: "no-such": executable file not found in $PATH'):
        kubelet.ExecSync(container_id=container, cmd=["no-such"])
    with refused(NOT_FOUND, "no container"):
        kubelet.ExecSync(container_id="x", cmd=["true"])
    kubelet.StopContainer(container_id=container, timeout=0)
    with refused(UNKNOWN, "failed to exec in container: the container is not running"):
        kubelet.execute(container, "true")


def test_streams_are_asked_for_by_url_and_what_makes_no_sense_is_refused(kubelet: Kubelet) -> None:
    pod = kubelet.pod()
    container, invalid = kubelet.start(pod), grpc.StatusCode.INVALID_ARGUMENT
    for answer, kind in (
        (kubelet.Exec(container_id=container, cmd=["sh"], tty=True, stdin=True, stdout=True), "exec"),
        (kubelet.Attach(container_id=container, stderr=True), "attach"),
        (kubelet.PortForward(pod_sandbox_id=pod, port=[80]), "portforward"),
    ):
        assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/{kind}/\S+", answer.url)
    with refused(invalid, "tty and stderr cannot both be true"):
        kubelet.Exec(container_id=container, cmd=["sh"], tty=True, stderr=True, stdout=True)
    with refused(invalid, "one of stdin, stdout, or stderr must be set"):
        kubelet.Attach(container_id=container)
    with refused(invalid, "ports [0]"):
        kubelet.PortForward(pod_sandbox_id=pod, port=[0])
    with refused(NOT_FOUND, "no pod sandbox x"):
        kubelet.PortForward(pod_sandbox_id="x", port=[80])


@pytest.mark.parametrize("once", [True, False])
def test_who_is_attached_sees_all_and_gives_stdin_once_or_again(kubelet: Kubelet, once: bool) -> None:
    script = "echo up; while read line; do echo got $line; done; echo end"
    container = kubelet.shell(kubelet.pod(), script, stdin=True, stdin_once=once)
    kubelet.wait_said(container, "up")
    seen: list[tuple[str, bytes]] = []
    assert kubelet.runtime is not None
    for word in (b"one", b"two")[: 1 if once else 2]:
        attached = kubelet.runtime.attach(container, lambda *said: seen.append(said))
        assert (attached.stdin_once, attached.tty) == (once, False) and attached.stdin is not None
        os.write(attached.stdin, word + b"\n")
        kubelet.wait_said(container, f"got {word.decode()}")
        if word == b"one" and not once:
            attached.close()
    attached.end_stdin()
    assert kubelet.wait(container).exit_code == 0
    assert kubelet.said(container)[-1] == "end"
    wait_until(lambda: seen[-2:] == [("stdout", b""), ("stderr", b"")], within_s=5, what="the end")
    attached.close()
    with pytest.raises(OSError, match="the container is not running"):
        kubelet.runtime.attach(container, lambda *_: None)


def test_resources_are_told_back_as_wanted(kubelet: Kubelet) -> None:
    container = kubelet.start(kubelet.pod())
    kubelet.UpdateContainerResources(container_id=container, linux=new("LinuxContainerResources", cpu_shares=512))
    assert kubelet.status(container).resources.linux.cpu_shares == 512


# images


def test_images_that_are_not_in_the_catalogue_can_not_be_pulled(kubelet: Kubelet) -> None:
    known, unknown = new("ImageSpec", image="tool:1"), new("ImageSpec", image="example.com/nosuch:1")
    assert kubelet.PullImage(image=known).image_ref == kubelet.ImageStatus(image=known).image.id
    assert not kubelet.ImageStatus(image=unknown).HasField("image")
    with refused(NOT_FOUND, "failed to pull 'example.com/nosuch:1': not found"):
        kubelet.PullImage(image=unknown)
    with refused(NOT_FOUND, "image 'example.com/nosuch:1' is not in the catalogue"):
        kubelet.container(kubelet.pod(), "example.com/nosuch:1")
    assert set(IMAGES) < {tag for image in kubelet.ListImages().images for tag in image.repo_tags}
    (usage,) = kubelet.ImageFsInfo().image_filesystems
    assert usage.fs_id.mountpoint == "/" and usage.used_bytes.value > 0


# a whole node


def test_a_nodes_root_is_what_kubeadm_leaves_there(node: Node) -> None:
    root = node.root
    assert (root / "etc/hostname").read_text() == "node-1\n"
    assert (root / "etc/resolv.conf").read_text() == "nameserver 172.30.0.1\n"
    private = ("etc/kubernetes/kubelet.conf", "etc/kubernetes/pki/ca.crt")
    assert [(root / path).stat().st_mode & 0o777 for path in private] == [0o600, 0o600]
    assert (root / "var/lib/kubelet/config.yaml").exists() and not (root / "etc/shadow").exists()
    assert (root / "proc/self").exists() and root.is_mount(), "the kubelet looks for the mount that holds its folder"
    with pytest.raises(OSError, match="Read-only"):
        (root / "usr/mine").touch()
    command = kubelet_command(node, Path("/bin/kubelet"))
    assert (
        command[command.index("--") + 1] == "/bin/kubelet" and str(root) in command and node.kubelet == "kubelet-node-1"
    )


def test_faults_of_a_node_stop_wake_and_kill_its_containers(kubelet: Kubelet, node: Node, pods: NodePods) -> None:
    runtime = Runtime(node)
    pod = kubelet.pod()
    one, two = kubelet.shell(pod, "sleep 61 & exec sleep 60"), kubelet.start(pod, "mutineer/web:1")
    kubelet.wait(kubelet.start(pod, "quick:1"))
    assert runtime.containers().keys() == {one, two}

    def states() -> set[str]:
        found = set()
        for first in runtime.containers().values():
            children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
            for pid in (first, *children):
                found.add(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0])
        return found

    runtime.signal(signal.SIGSTOP)
    wait_until(lambda: states() == {"T"}, within_s=5, what="all to be stopped")
    runtime.signal(signal.SIGCONT)
    wait_until(lambda: states() == {"S"}, within_s=5, what="all to go on")
    runtime.kill_pods()
    assert not kubelet.ListPodSandbox().items and not kubelet.ListContainers().containers and not pods.pods
    runtime.kill_pods()
    nobody = Node(node.network, node.root / "no-such")
    with pytest.raises(ClusterError, match=r"the container runtime at \S+no-such/run/cri.sock does not answer"):
        Runtime(nobody).kill_pods()


def test_pods_that_come_and_go_leave_no_descriptor_mount_or_namespace(
    kubelet: Kubelet, pods: NodePods, spawner: Spawner
) -> None:
    def seen() -> Any:
        own, theirs = (len(os.listdir(f"/proc/{pid}/fd")) for pid in ("self", spawner.pid))
        mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
        return own, theirs, mounts, networks.say("ip", "-o", "route", at=pods.node.path)

    def round_(number: int) -> None:
        pod = kubelet.pod(f"p{number}")
        container = kubelet.start(pod, "mutineer/web:1")
        kubelet.execute(container, "true")
        kubelet.RemovePodSandbox(pod_sandbox_id=pod)

    round_(0)  # pools are filled
    before = seen()
    for number in range(8):
        round_(number)
    wait_until(lambda: seen() == before, within_s=5, what="everything to be as before")


def test_the_runtimes_process_takes_its_containers_with_it_however_it_ends(
    node: Node, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("r")  # a socket's path is short
    processes = {}
    for ending in (signal.SIGTERM, signal.SIGKILL):
        folder = base / ending.name
        for below in ("pods", "root/run", "root/etc"):
            (folder / below).mkdir(parents=True)
        (folder / "root/etc/resolv.conf").touch()
        isolation.make_network(folder / "pods/left")  # by one that was killed
        network = node.network
        described = {"name": "node-1", "address": network.address, "netns": str(network.path), "root": f"{folder}/root"}
        document = {"pods": f"{folder}/pods", "scratch": f"{folder}/scratch", "images": {}, "nodes": [described]}
        (folder / "config.json").write_text(json.dumps(document))
        command = [sys.executable, "-m", "campaigns.clusters.sandbox.cri", f"{folder}/config.json"]
        processes[ending] = subprocess.Popen(command)
    for ending, process in processes.items():
        own = Node(node.network, base / ending.name / "root")
        with grpc.insecure_channel(f"unix://{own.socket}") as channel:
            wait_until(own.socket.exists, within_s=10, what="its socket")
            grpc.channel_ready_future(channel).result(10)
            assert not (base / ending.name / "pods/left").exists()
            kubelet = Kubelet(channel, own.root)
            kubelet.start(kubelet.pod(host=True), "mutineer/web:1", args=["--port", f"81{ending:02}"])
            (first,) = Runtime(own).containers().values()
        process.send_signal(ending)
        assert process.wait(10) == (0 if ending is signal.SIGTERM else -ending)
        wait_until(lambda p=first: not Path(f"/proc/{p}").exists(), within_s=5, what="its container's end")  # type: ignore[misc]
