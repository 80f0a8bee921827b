"""The CRI's calls as a kubelet makes them: over gRPC on a Unix socket. Pods are on the node's network here; what their
own networks do is in ../test_network.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from campaigns.clusters.sandbox.cri.containers import EXITED, RUNNING, Watcher
from campaigns.clusters.sandbox.cri.images import Catalogue
from campaigns.clusters.sandbox.cri.pods import NOT_READY, READY, NodePods
from campaigns.clusters.sandbox.cri.protocol import methods, new
from campaigns.clusters.sandbox.cri.service import ImageService, RuntimeService, handler
from campaigns.clusters.sandbox.network import NodeNetwork
from tests.conftest import wait_until

IMAGES = {
    "tool:1": ("sh", "-c", "echo $HOSTNAME $EXTRA $0; sleep 60"),
    "quick:1": ("sh", "-c", "exit 3"),
    "broken:1": ("no-such-command",),
    "echo:1": ("echo", "image"),
}
UNKNOWN, NOT_FOUND, UNAVAILABLE = grpc.StatusCode.UNKNOWN, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE


class Kubelet:
    """A small client: `kubelet.Version()` calls runtime.v1.RuntimeService/Version."""

    def __init__(self, channel: grpc.Channel, folder: Path) -> None:
        self.folder = folder
        self._calls: dict[str, Any] = {}
        for service in ("RuntimeService", "ImageService"):
            for name, (request, response, streams) in methods(service).items():
                if not streams:
                    path = f"/runtime.v1.{service}/{name}"
                    call = channel.unary_unary(path, request.SerializeToString, response.FromString)
                    self._calls[name] = (call, request)

    def __getattr__(self, name: str) -> Any:
        call, request = self._calls[name]
        return lambda **fields: call(request(**fields), timeout=10)

    def pod(self, name: str = "web", *, host: bool = True, **labels: str) -> str:
        options = new("NamespaceOption", network=2 if host else 0)
        context = new("LinuxSandboxSecurityContext", namespace_options=options)
        config = new(
            "PodSandboxConfig",
            metadata=new("PodSandboxMetadata", name=name, namespace="default", uid=f"uid-{name}"),
            hostname=f"{name}-host",
            log_directory=str(self.folder / name),
            labels=labels,
            linux=new("LinuxPodSandboxConfig", security_context=context),
        )  # fmt: skip
        return str(self.RunPodSandbox(config=config).pod_sandbox_id)

    def container(self, pod: str, image: str = "tool:1", **config: Any) -> str:
        labels = config.pop("labels", {})
        made = new(
            "ContainerConfig",
            metadata=new("ContainerMetadata", name="main", attempt=1),
            image=new("ImageSpec", image=image),
            log_path="main/1.log",
            labels=labels,
            **config,
        )
        return str(self.CreateContainer(pod_sandbox_id=pod, config=made).container_id)

    def status(self, container: str) -> Any:
        return self.ContainerStatus(container_id=container).status

    def log(self, container: str) -> str:
        path = Path(self.status(container).log_path)
        return path.read_text() if path.exists() else ""

    def wait(self, container: str) -> Any:
        wait_until(lambda: self.status(container).state == EXITED, within_s=10, what="the container's end")
        return self.status(container)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelet]:
    folder = tmp_path_factory.mktemp("cri")
    node = NodeNetwork("node-1", "172.30.0.11", folder / "netns")
    catalogue = Catalogue(IMAGES)
    runtime = RuntimeService(NodePods(node, [node], folder), catalogue, Watcher())
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        (handler("RuntimeService", runtime), handler("ImageService", ImageService(catalogue)))
    )
    server.add_insecure_port(f"unix://{folder}/cri.sock")
    server.start()
    with grpc.insecure_channel(f"unix://{folder}/cri.sock") as channel:
        yield Kubelet(channel, folder)
    server.stop(None).wait(5)


@pytest.fixture
def kubelet(served: Kubelet) -> Iterator[Kubelet]:
    """Without pods before and after."""
    yield served
    for pod in served.ListPodSandbox().items:
        served.RemovePodSandbox(pod_sandbox_id=pod.id)


def refused(code: grpc.StatusCode, words: str) -> Any:
    class Refused:
        def __enter__(self) -> None:
            self.raises = pytest.raises(grpc.RpcError)
            self.error = self.raises.__enter__()

        def __exit__(self, *parts: Any) -> bool:
            handled = self.raises.__exit__(*parts)
            assert self.error.value.code() is code and words in self.error.value.details()
            return bool(handled)

    return Refused()


def test_it_says_what_it_is_and_that_a_node_without_a_pod_cidr_has_no_network(kubelet: Kubelet) -> None:
    version = kubelet.Version()
    assert (version.runtime_name, version.runtime_api_version) == ("mutineer", "v1")
    conditions = {c.type: (c.status, c.reason) for c in kubelet.Status().status.conditions}
    assert conditions == {"RuntimeReady": (True, ""), "NetworkReady": (False, "NoPodCIDR")}
    assert kubelet.RuntimeConfig().linux.cgroup_driver == 1, "CGROUPFS"
    kubelet.UpdateRuntimeConfig()  # kubelets send an empty one before they know
    with refused(UNAVAILABLE, "the node has no podCIDR"):
        kubelet.pod(host=False)


def test_calls_that_are_not_served_are_unimplemented(kubelet: Kubelet) -> None:
    with refused(grpc.StatusCode.UNIMPLEMENTED, ""):
        kubelet.ExecSync(container_id="x")


def test_a_container_lives_from_create_to_remove(kubelet: Kubelet) -> None:
    pod = kubelet.pod()
    container = kubelet.container(pod, args=["argument"], envs=[new("KeyValue", key="EXTRA", value=b"more")])
    assert kubelet.status(container).state == 0
    kubelet.StartContainer(container_id=container)
    wait_until(lambda: "web-host more argument" in kubelet.log(container), within_s=5, what="its first line")
    status = kubelet.status(container)
    assert (status.state, status.metadata.attempt, status.image.image) == (RUNNING, 1, "tool:1")
    assert status.image_ref == kubelet.ImageStatus(image=new("ImageSpec", image="tool:1")).image.id
    (stats,) = kubelet.ListContainerStats().stats
    assert stats.attributes.id == container and stats.memory.working_set_bytes.value > 0
    kubelet.StopContainer(container_id=container, timeout=5)
    status = kubelet.status(container)
    assert (status.state, status.exit_code, status.reason) == (EXITED, 143, "Error")
    assert status.created_at <= status.started_at <= status.finished_at
    assert list(kubelet.ListContainerStats().stats) == []
    kubelet.RemoveContainer(container_id=container)
    with refused(NOT_FOUND, "no container"):
        kubelet.status(container)


def test_the_pods_command_replaces_the_images_and_its_args_follow(kubelet: Kubelet) -> None:
    pod = kubelet.pod()
    for settings, words in (
        ({"args": ["more"]}, "image more"),
        ({"command": ["echo", "own"]}, "own"),
        ({"command": ["echo"], "args": ["a", "b"]}, "a b"),
    ):
        container = kubelet.container(pod, "echo:1", **settings)
        kubelet.StartContainer(container_id=container)
        kubelet.wait(container)
        assert kubelet.log(container).endswith(f" stdout F {words}\n")


def test_a_container_works_in_the_folder_that_its_pod_names(kubelet: Kubelet) -> None:
    for settings, folder in (({}, "/"), ({"working_dir": "/proc"}, "/proc")):
        container = kubelet.container(kubelet.pod(f"in{len(folder)}"), command=["pwd"], **settings)
        kubelet.StartContainer(container_id=container)
        kubelet.wait(container)
        assert kubelet.log(container).endswith(f" F {folder}\n")


def test_a_command_that_does_not_exist_fails_its_container_in_words(kubelet: Kubelet) -> None:
    container = kubelet.container(kubelet.pod(), "broken:1")
    with refused(UNKNOWN, 'exec: "no-such-command": executable file not found in $PATH'):
        kubelet.StartContainer(container_id=container)
    status = kubelet.status(container)
    assert (status.state, status.exit_code, status.reason) == (EXITED, 128, "StartError")
    assert "no-such-command" in status.message


def test_an_exit_code_is_reported(kubelet: Kubelet) -> None:
    container = kubelet.container(kubelet.pod(), "quick:1")
    kubelet.StartContainer(container_id=container)
    assert (kubelet.wait(container).exit_code, kubelet.wait(container).reason) == (3, "Error")


def test_images_that_are_not_in_the_catalogue_can_not_be_pulled(kubelet: Kubelet) -> None:
    known, unknown = new("ImageSpec", image="tool:1"), new("ImageSpec", image="example.com/nosuch:1")
    assert kubelet.PullImage(image=known).image_ref == kubelet.ImageStatus(image=known).image.id
    assert not kubelet.ImageStatus(image=unknown).HasField("image")
    with refused(NOT_FOUND, "failed to pull 'example.com/nosuch:1': not found"):
        kubelet.PullImage(image=unknown)
    with refused(NOT_FOUND, "image 'example.com/nosuch:1' is not in the catalogue"):
        kubelet.container(kubelet.pod(), "example.com/nosuch:1")
    assert {tag for image in kubelet.ListImages().images for tag in image.repo_tags} == set(IMAGES)
    (usage,) = kubelet.ImageFsInfo().image_filesystems
    assert usage.fs_id.mountpoint == "/" and usage.used_bytes.value > 0


def test_stopping_a_pod_kills_its_containers_and_removing_it_forgets_them(kubelet: Kubelet) -> None:
    pod, other = kubelet.pod("a"), kubelet.pod("b")
    containers = [kubelet.container(p) for p in (pod, pod, other)]
    for container in containers:
        kubelet.StartContainer(container_id=container)
    kubelet.StopPodSandbox(pod_sandbox_id=pod)
    assert [kubelet.status(c).state for c in containers] == [EXITED, EXITED, RUNNING]
    assert kubelet.PodSandboxStatus(pod_sandbox_id=pod).status.state == NOT_READY
    kubelet.RemovePodSandbox(pod_sandbox_id=pod)
    assert [c.id for c in kubelet.ListContainers().containers] == [containers[2]]
    with refused(NOT_FOUND, "no pod sandbox"):
        kubelet.PodSandboxStatus(pod_sandbox_id=pod)


def test_stopping_and_removing_what_is_not_there_is_no_error(kubelet: Kubelet) -> None:
    # a runtime that answers with errors is asked again for ever
    pod = kubelet.pod()
    container = kubelet.container(pod)
    for _ in range(2):
        kubelet.StopContainer(container_id=container, timeout=0)
        kubelet.RemoveContainer(container_id=container)
        kubelet.StopPodSandbox(pod_sandbox_id=pod)
        kubelet.RemovePodSandbox(pod_sandbox_id=pod)


def test_lists_are_filtered_by_id_state_pod_and_labels(kubelet: Kubelet) -> None:
    pods = [kubelet.pod("a", app="x"), kubelet.pod("b", app="y")]
    kubelet.StopPodSandbox(pod_sandbox_id=pods[1])
    containers = [kubelet.container(pods[0], labels={"n": n}) for n in ("1", "2")]
    kubelet.StartContainer(container_id=containers[0])

    def listed(**wanted: Any) -> list[str]:
        return [p.id for p in kubelet.ListPodSandbox(filter=new("PodSandboxFilter", **wanted)).items]

    assert listed() == pods
    assert listed(id=pods[1]) == listed(label_selector={"app": "y"}) == [pods[1]]
    assert listed(state=new("PodSandboxStateValue", state=READY)) == [pods[0]]

    def contained(**wanted: Any) -> list[str]:
        return [c.id for c in kubelet.ListContainers(filter=new("ContainerFilter", **wanted)).containers]

    assert contained(pod_sandbox_id=pods[0]) == containers
    assert contained(pod_sandbox_id=pods[1]) == contained(id="other") == []
    assert contained(state=new("ContainerStateValue", state=RUNNING)) == [containers[0]]
    assert contained(label_selector={"n": "2"}) == [containers[1]]


def test_the_built_in_web_server_answers_with_its_pods_name(kubelet: Kubelet) -> None:
    import http.client
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    web = Path(sys.modules[NodePods.__module__].__file__ or "").with_name("web.py")
    command = [sys.executable, "-I", "-S", str(web), "--port", str(port)]
    container = kubelet.container(kubelet.pod(), command=command)
    kubelet.StartContainer(container_id=container)
    wait_until(lambda: f"serving as web-host on port {port}" in kubelet.log(container), within_s=5, what="it to serve")
    for path in ("/", "/healthz"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"web-host\n")
        connection.close()
    kubelet.StopContainer(container_id=container, timeout=5)
    assert kubelet.status(container).exit_code == 0
