"""A small client of the CRI, and a node that serves it to one: what a kubelet does, without one."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.config import ImageConfig
from campaigns.clusters.sandbox.cri.containers import EXITED
from campaigns.clusters.sandbox.cri.images import Catalogue
from campaigns.clusters.sandbox.cri.logs import Watcher
from campaigns.clusters.sandbox.cri.pods import NodePods
from campaigns.clusters.sandbox.cri.protocol import methods, new
from campaigns.clusters.sandbox.cri.service import ImageService, RuntimeService, handler
from campaigns.clusters.sandbox.cri.spawning import Spawner
from tests.conftest import wait_until

IMAGES = {
    "tool:1": ImageConfig(command=("sh", "-c", "echo $HOSTNAME $EXTRA $0; exec sleep 60")),
    "quick:1": ImageConfig(command=("sh", "-c", "exit 3")),
    "broken:1": ImageConfig(command=("no-such-command",)),
    "echo:1": ImageConfig(command=("echo", "image"), arguments=("by", "default")),
}


class Kubelet:
    """`kubelet.Version()` calls runtime.v1.RuntimeService/Version. `root`: the node's. `runtime`: what serves it, if it
    is in this process."""

    def __init__(self, channel: grpc.Channel, root: Path, runtime: RuntimeService | None = None) -> None:
        self.root, self.runtime = root, runtime
        self._numbers = itertools.count()
        self._calls: dict[str, Any] = {}
        for service in ("RuntimeService", "ImageService"):
            for name, (request, response, streams) in methods(service).items():
                if not streams:
                    path = f"/runtime.v1.{service}/{name}"
                    call = channel.unary_unary(path, request.SerializeToString, response.FromString)
                    self._calls[name] = (call, request)

    def __getattr__(self, name: str) -> Any:
        call, request = self._calls[name]
        return lambda **fields: call(request(**fields), timeout=20)

    def pod(self, name: str = "web", *, host: bool = False, pid: int = 1, sysctls: Any = None, **labels: str) -> str:
        """Its id. `pid`: a NamespaceMode."""
        options = new("NamespaceOption", network=2 if host else 0, pid=pid)
        context = new("LinuxSandboxSecurityContext", namespace_options=options)
        config = new(
            "PodSandboxConfig",
            metadata=new("PodSandboxMetadata", name=name, namespace="default", uid=f"uid-{name}"),
            hostname=f"{name}-host",
            log_directory=f"/var/log/pods/{name}",
            labels=labels,
            linux=new("LinuxPodSandboxConfig", security_context=context, sysctls=sysctls or {}),
        )  # fmt: skip
        return str(self.RunPodSandbox(config=config).pod_sandbox_id)

    def container(self, pod: str, image: str = "tool:1", *, pid: int = 1, target: str = "", **config: Any) -> str:
        """The id of a new one."""
        labels, security = config.pop("labels", {}), config.pop("security", new("LinuxContainerSecurityContext"))
        security.namespace_options.CopyFrom(new("NamespaceOption", pid=pid, target_id=target))
        made = new(
            "ContainerConfig",
            metadata=new("ContainerMetadata", name="main", attempt=1),
            image=new("ImageSpec", image=image),
            log_path=f"main/{next(self._numbers)}.log",
            labels=labels,
            linux=new("LinuxContainerConfig", security_context=security),
            **config,
        )
        return str(self.CreateContainer(pod_sandbox_id=pod, config=made).container_id)

    def start(self, pod: str, image: str = "tool:1", **config: Any) -> str:
        container = self.container(pod, image, **config)
        self.StartContainer(container_id=container)
        return container

    def shell(self, pod: str, script: str, **config: Any) -> str:
        """`start` of a script."""
        return self.start(pod, command=["sh", "-c", script], **config)

    def status(self, container: str) -> Any:
        return self.ContainerStatus(container_id=container).status

    def said(self, container: str) -> list[str]:
        """What it wrote, line by line."""
        path = self.root / self.status(container).log_path.lstrip("/")
        return [line.split(" ", 3)[3] for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, container: str) -> Any:
        """Its status when it has ended."""
        wait_until(lambda: self.status(container).state == EXITED, within_s=10, what="the container's end")
        return self.status(container)

    def wait_said(self, container: str, line: str) -> None:
        wait_until(lambda: line in self.said(container), within_s=10, what=f"{line!r} in its log")

    def execute(self, container: str, script: str, timeout: int = 10) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        answer = self.ExecSync(container_id=container, cmd=["sh", "-c", script], timeout=timeout)
        return answer.exit_code, answer.stdout.decode(), answer.stderr.decode()

    def clean(self) -> None:
        for pod in self.ListPodSandbox().items:
            self.RemovePodSandbox(pod_sandbox_id=pod.id)


@contextlib.contextmanager
def serving(pods: NodePods, spawner: Spawner) -> Iterator[Kubelet]:
    """A node's runtime in this process, on the socket where a node has it."""
    catalogue = Catalogue(IMAGES)
    runtime = RuntimeService(pods, catalogue, Watcher(), spawner)
    listener = isolation.in_network(pods.node.path, lambda: socket.create_server(("127.0.0.1", 0)))
    runtime.stream(listener)
    pool = futures.ThreadPoolExecutor(8)
    server = grpc.server(pool)
    images = handler("ImageService", ImageService(catalogue, pods.root))
    server.add_generic_rpc_handlers((handler("RuntimeService", runtime), images))
    path = pods.root / "run/cri.sock"
    server.add_insecure_port(f"unix://{path}")
    server.start()
    with grpc.insecure_channel(f"unix://{path}") as channel:
        yield Kubelet(channel, pods.root, runtime)
    server.stop(None).wait(5)
    pool.shutdown()
