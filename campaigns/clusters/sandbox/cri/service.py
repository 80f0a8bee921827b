"""The CRI calls of one node, as kubelet 1.36 makes them. One method a call, named as in the CRI.

A runtime that answers with errors is expensive: kubelets retry for ever and patch events (control-plane notes). So all
Stop and Remove calls are idempotent, and what is unknown is NOT_FOUND, as containerd answers.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from pyroute2.netlink.exceptions import NetlinkError

from campaigns.clusters.sandbox.cri.containers import RUNNING, Container
from campaigns.clusters.sandbox.cri.images import Catalogue, Image
from campaigns.clusters.sandbox.cri.logs import Watcher
from campaigns.clusters.sandbox.cri.pods import POD, READY, TARGET, NodePods, Pod
from campaigns.clusters.sandbox.cri.protocol import methods, new
from campaigns.clusters.sandbox.cri.requests import container_spec, exec_spec
from campaigns.clusters.sandbox.cri.spawning import Child, Spawner
from campaigns.clusters.sandbox.cri.spec import ContainerRoot, Credentials, ProcessSpec
from campaigns.clusters.sandbox.cri.streaming import StreamingServer, TooManyRequestsError, run_sync
from campaigns.clusters.sandbox.roots import inside

__all__ = ["ImageService", "RuntimeService", "handler"]

_NANO = 1_000_000_000
_STREAMS = ("tty", "stdin", "stdout", "stderr")
"""Which a client of exec or attach may have: fields of the CRI's requests."""


def handler(service_name: str, service: object) -> Any:
    """All of `service`'s methods that the CRI names; the rest answer UNIMPLEMENTED, as gRPC does by itself."""
    handlers = {}
    for name, (request, response, streams) in methods(service_name).items():
        if (method := getattr(service, name, None)) is not None and not streams:
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                method, request_deserializer=request.FromString, response_serializer=response.SerializeToString
            )
    return grpc.method_handlers_generic_handler(f"runtime.v1.{service_name}", handlers)


def _url(make: Callable[[], str], context: Any) -> str:
    """What `make` makes, or its errors as gRPC has them."""
    try:
        return make()
    except ValueError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except TooManyRequestsError as error:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
    raise AssertionError  # abort raises


def _matches(selector: Any, labels: Any) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


class RuntimeService:
    """runtime.v1.RuntimeService for one node."""

    def __init__(self, pods: NodePods, catalogue: Catalogue, watcher: Watcher, spawner: Spawner) -> None:
        self._pods, self._catalogue, self._watcher, self._spawner = pods, catalogue, watcher, spawner
        self._containers: dict[str, Container] = {}
        self._streams: StreamingServer | None = None

    def stream(self, listener: socket.socket) -> None:
        """Serves exec, attach and port-forward on `listener`, which listens on the node's loopback."""
        self._streams = StreamingServer(listener, self, network=self._pods.node.path)

    # the runtime itself

    def Version(self, request: Any, context: Any) -> Any:  # noqa: N802 - the CRI's names, here and below
        return new(
            "VersionResponse",
            version="0.1.0",
            runtime_name="mutineer",
            runtime_version="0.1.0",
            runtime_api_version="v1",
        )

    def Status(self, request: Any, context: Any) -> Any:  # noqa: N802
        ready = self._pods.subnet() is not None
        network = new(
            "RuntimeCondition",
            type="NetworkReady",
            status=ready,
            reason="" if ready else "NetworkPluginNotReady",
            message="" if ready else "Network plugin returns error: cni plugin not initialized",
        )
        runtime = new("RuntimeCondition", type="RuntimeReady", status=True)
        return new("StatusResponse", status=new("RuntimeStatus", conditions=[runtime, network]))

    def RuntimeConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("RuntimeConfigResponse", linux=new("LinuxRuntimeConfiguration", cgroup_driver=1))  # CGROUPFS

    def UpdateRuntimeConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("UpdateRuntimeConfigResponse")  # the pods' network is the route agent's to configure

    # pods

    def RunPodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            pod = self._pods.run(secrets.token_hex(32), request.config)
        except (RuntimeError, OSError, NetlinkError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to set up the pod's network: {error}")
        return new("RunPodSandboxResponse", pod_sandbox_id=pod.id)

    def StopPodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        if (pod := self._pods.pods.get(request.pod_sandbox_id)) is not None:
            self._end_containers(pod)
            self._pods.stop(pod)
        return new("StopPodSandboxResponse")

    def _end_containers(self, pod: Pod) -> list[Container]:
        """All of the pod's, which gets no others any more."""
        pod.stopping = True
        containers = self._of_pod(pod.id)
        for container in containers:
            container.stop(0)
        return containers

    def RemovePodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        if (pod := self._pods.pods.get(request.pod_sandbox_id)) is not None:
            for container in self._end_containers(pod):
                self._containers.pop(container.id, None)
            self._pods.remove(pod)
        return new("RemovePodSandboxResponse")

    def PodSandboxStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        pod = self._pod(request.pod_sandbox_id, context)
        status = new(
            "PodSandboxStatus",
            id=pod.id,
            metadata=pod.config.metadata,
            state=pod.shown_state,
            created_at=pod.created_at,
            network=new("PodSandboxNetworkStatus", ip="" if pod.on_host else pod.address),
            labels=pod.config.labels,
            annotations=pod.config.annotations,
        )
        options = pod.config.linux.security_context.namespace_options
        status.linux.namespaces.options.CopyFrom(options)
        return new("PodSandboxStatusResponse", status=status, timestamp=time.time_ns())

    def ListPodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        wanted = request.filter
        items = [
            new(
                "PodSandbox",
                id=pod.id,
                metadata=pod.config.metadata,
                state=pod.shown_state,
                created_at=pod.created_at,
                labels=pod.config.labels,
                annotations=pod.config.annotations,
            )
            for pod in list(self._pods.pods.values())
            if (not wanted.id or pod.id == wanted.id)
            and (not wanted.HasField("state") or pod.shown_state == wanted.state.state)
            and _matches(wanted.label_selector, pod.config.labels)
        ]
        return new("ListPodSandboxResponse", items=items)

    # containers

    def CreateContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        pod, config = self._pod(request.pod_sandbox_id, context), request.config
        if pod.stopping:
            context.abort(grpc.StatusCode.UNKNOWN, f"pod sandbox {pod.id} is not running")
        image = self._catalogue.find(config.image.image)
        if image is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"image {config.image.image!r} is not in the catalogue")
            raise AssertionError  # abort raises
        container = Container(
            id=secrets.token_hex(32),
            pod_id=pod.id,
            config=config,
            image=image,
            log_path=inside(self._pods.root, f"{pod.config.log_directory}/{config.log_path}"),
        )
        self._containers[container.id] = container
        return new("CreateContainerResponse", container_id=container.id)

    def StartContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        container = self._container(request.container_id, context)
        pod = self._pod(container.pod_id, context)
        try:
            container.start(lambda: self._spec(pod, container), self._spawner, self._watcher)
        except OSError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to start container: {error}")
        return new("StartContainerResponse")

    def _spec(self, pod: Pod, container: Container) -> ProcessSpec:
        """OSError in words where there can be none."""
        if pod.stopping:
            raise OSError(f"pod sandbox {pod.id} is not running")
        pids_of = self._shared_pids(pod, container)
        return container_spec(pod, container.config, container.image, self._pods.root, pids_of=pids_of)

    def _shared_pids(self, pod: Pod, container: Container) -> int | None:
        """The process whose pid namespace the container is in, where that is not its own. OSError if that is gone."""
        options = container.config.linux.security_context.namespace_options
        if options.pid == TARGET:
            if options.target_id not in self._containers:
                raise OSError(f"no target container {options.target_id}")
            return self._running(options.target_id).pid
        if options.pid != POD:
            return None
        if pod.pause is None:
            spec = ProcessSpec(
                argv=(), program="pause", network=str(pod.network), own_pids=True,
                credentials=Credentials(capabilities=()), root=ContainerRoot(),  # not ours: others see /proc/1/root
            )  # fmt: skip
            with Path("/dev/null").open("r+b") as null:
                pod.pause = self._spawner.start(spec, (null.fileno(),) * 3)
        return pod.pause.pid

    def StopContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        if (container := self._containers.get(request.container_id)) is not None:
            container.stop(request.timeout)
        return new("StopContainerResponse")

    def RemoveContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        if (container := self._containers.get(request.container_id)) is not None:
            container.stop(0)
            self._containers.pop(container.id, None)
        return new("RemoveContainerResponse")

    def ContainerStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        container = self._container(request.container_id, context)
        status = new(
            "ContainerStatus",
            id=container.id,
            metadata=container.config.metadata,
            state=container.state,
            created_at=container.created_at,
            started_at=container.started_at,
            finished_at=container.finished_at,
            exit_code=container.exit_code,
            image=container.config.image,
            image_ref=container.image.id,
            image_id=container.image.id,
            reason=container.reason,
            message=container.message,
            labels=container.config.labels,
            annotations=container.config.annotations,
            mounts=container.config.mounts,
            log_path="/" + str(container.log_path.relative_to(self._pods.root)),
            resources=new("ContainerResources", linux=container.config.linux.resources),
        )
        info = {"pid": container.child.pid} if container.state == RUNNING and container.child else {}
        return new("ContainerStatusResponse", status=status, info={"info": json.dumps(info)})

    def ListContainers(self, request: Any, context: Any) -> Any:  # noqa: N802
        items = [
            new(
                "Container",
                id=container.id,
                pod_sandbox_id=container.pod_id,
                metadata=container.config.metadata,
                image=container.config.image,
                image_ref=container.image.id,
                image_id=container.image.id,
                state=container.state,
                created_at=container.created_at,
                labels=container.config.labels,
                annotations=container.config.annotations,
            )
            for container in self._filtered(request.filter)
        ]
        return new("ListContainersResponse", containers=items)

    def ReopenContainerLog(self, request: Any, context: Any) -> Any:  # noqa: N802
        container = self._container(request.container_id, context)
        try:
            if container.state != RUNNING or container.output is None:
                raise OSError("the container is not running")
            container.output.reopen()
        except OSError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to reopen the container's log: {error}")
        return new("ReopenContainerLogResponse")

    def UpdateContainerResources(self, request: Any, context: Any) -> Any:  # noqa: N802
        container = self._container(request.container_id, context)  # told back as wanted; nothing enforces them
        container.config.linux.resources.MergeFrom(request.linux)
        return new("UpdateContainerResourcesResponse")

    # in running containers

    def _running(self, container_id: str) -> Child:
        container = self._containers[container_id]
        if container.state != RUNNING or container.child is None:
            raise OSError("the container is not running")
        return container.child

    def execute(self, container_id: str, argv: Sequence[str], files: tuple[int, int, int], *, tty: bool) -> Child:
        """For streaming.Backend."""
        child, container = self._running(container_id), self._containers[container_id]
        spec = exec_spec(self._pods.pods[container.pod_id], container.config, child.pid, argv, tty=tty)
        return self._spawner.start(spec, files)

    def attach(self, container_id: str, sink: Callable[[str, bytes], None]) -> _Attachment:
        """For streaming.Backend."""
        self._running(container_id)
        return _Attachment(self._containers[container_id], sink)

    def pod_network(self, pod_id: str) -> Any:
        """For streaming.Backend."""
        pod = self._pods.pods[pod_id]
        if pod.state != READY:
            raise KeyError(pod_id)
        return pod.network

    def ExecSync(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._container(request.container_id, context)
        try:
            code, out, error = run_sync(self, request.container_id, list(request.cmd), request.timeout or None)
        except TimeoutError:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"timeout {request.timeout}s exceeded")
        except OSError as failure:
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to exec in container: {failure}")
        return new("ExecSyncResponse", stdout=out, stderr=error, exit_code=code)

    def Exec(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._container(request.container_id, context)
        streams = {name: getattr(request, name) for name in _STREAMS}
        make = functools.partial(self._server().exec_url, request.container_id, list(request.cmd), **streams)
        return new("ExecResponse", url=_url(make, context))

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._container(request.container_id, context)
        streams = {name: getattr(request, name) for name in _STREAMS}
        make = functools.partial(self._server().attach_url, request.container_id, **streams)
        return new("AttachResponse", url=_url(make, context))

    def PortForward(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._pod(request.pod_sandbox_id, context)
        make = functools.partial(self._server().port_forward_url, request.pod_sandbox_id, list(request.port))
        return new("PortForwardResponse", url=_url(make, context))

    def _server(self) -> StreamingServer:
        assert self._streams is not None, "stream() comes first"
        return self._streams

    # statistics

    def ContainerStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("ContainerStatsResponse", stats=_stats(self._container(request.container_id, context)))

    def ListContainerStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new(
            "ListContainerStatsResponse",
            stats=[_stats(c) for c in self._filtered(request.filter) if c.state == RUNNING],
        )

    def ListPodSandboxStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("ListPodSandboxStatsResponse", stats=[self._pod_stats(p) for p in list(self._pods.pods.values())])

    def _pod_stats(self, pod: Pod) -> Any:
        attributes = new(
            "PodSandboxAttributes",
            id=pod.id,
            metadata=pod.config.metadata,
            labels=pod.config.labels,
            annotations=pod.config.annotations,
        )
        containers = [_stats(c) for c in self._of_pod(pod.id) if c.state == RUNNING]
        return new("PodSandboxStats", attributes=attributes, linux=new("LinuxPodSandboxStats", containers=containers))

    # lookups

    def _of_pod(self, pod_id: str) -> list[Container]:
        return [c for c in list(self._containers.values()) if c.pod_id == pod_id]

    def _filtered(self, wanted: Any) -> list[Container]:
        has_state = wanted.DESCRIPTOR.fields_by_name.get("state") is not None and wanted.HasField("state")
        return [
            c
            for c in list(self._containers.values())
            if (not wanted.id or c.id == wanted.id)
            and (not wanted.pod_sandbox_id or c.pod_id == wanted.pod_sandbox_id)
            and (not has_state or c.state == wanted.state.state)
            and _matches(wanted.label_selector, c.config.labels)
        ]

    def _pod(self, pod_id: str, context: Any) -> Pod:
        if (pod := self._pods.pods.get(pod_id)) is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no pod sandbox {pod_id}")
            raise AssertionError  # abort raises
        return pod

    def _container(self, container_id: str, context: Any) -> Container:
        if (container := self._containers.get(container_id)) is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no container {container_id}")
            raise AssertionError  # abort raises
        return container


class _Attachment:
    """See streaming.Attachment."""

    def __init__(self, container: Container, sink: Callable[[str, bytes], None]) -> None:
        assert container.output is not None
        self._container, self._detach = container, container.output.attach(sink)
        self.stdin = container.duplicate_stdin()
        self.tty, self.stdin_once = bool(container.config.tty), bool(container.config.stdin_once)

    def resize(self, columns: int, rows: int) -> None:
        self._container.resize(columns, rows)

    def end_stdin(self) -> None:
        self._close_stdin()
        self._container.close_stdin()

    def close(self) -> None:
        self._detach()
        self._close_stdin()

    def _close_stdin(self) -> None:
        stdin, self.stdin = self.stdin, None
        if stdin is not None:
            os.close(stdin)


def _stats(container: Container) -> Any:
    """CPU (nanoseconds) and memory (bytes) of all the container's processes."""
    now, usage = time.time_ns(), container.usage()
    attributes = new(
        "ContainerAttributes",
        id=container.id,
        metadata=container.config.metadata,
        labels=container.config.labels,
        annotations=container.config.annotations,
    )
    return new(
        "ContainerStats",
        attributes=attributes,
        cpu=new("CpuUsage", timestamp=now, usage_core_nano_seconds=new("UInt64Value", value=int(usage.cpu_s * _NANO))),
        memory=new("MemoryUsage", timestamp=now, working_set_bytes=new("UInt64Value", value=usage.rss_bytes)),
    )


class ImageService:
    """runtime.v1.ImageService: the catalogue, and the node's own disk."""

    def __init__(self, catalogue: Catalogue, root: Path) -> None:
        """`root`: the node's, which also is the disk that containers write to."""
        self._catalogue, self._root = catalogue, root

    def ListImages(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("ListImagesResponse", images=[_image(i) for i in self._catalogue.all()])

    def ImageStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        image = self._catalogue.find(request.image.image)
        return new("ImageStatusResponse", image=_image(image)) if image else new("ImageStatusResponse")

    def PullImage(self, request: Any, context: Any) -> Any:  # noqa: N802
        image = self._catalogue.find(request.image.image)
        if image is None:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"failed to pull {request.image.image!r}: not found (the sandbox's `images:` maps names to commands)",
            )
            raise AssertionError  # abort raises
        return new("PullImageResponse", image_ref=image.id)

    def RemoveImage(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("RemoveImageResponse")

    def ImageFsInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        used = shutil.disk_usage(self._root).used
        usage = new(
            "FilesystemUsage",
            timestamp=time.time_ns(),
            fs_id=new("FilesystemIdentifier", mountpoint="/"),
            used_bytes=new("UInt64Value", value=used),
            inodes_used=new("UInt64Value", value=0),
        )
        return new("ImageFsInfoResponse", image_filesystems=[usage], container_filesystems=[usage])


def _image(image: Image) -> Any:
    return new(
        "Image",
        id=image.id,
        repo_tags=[image.name],
        size=1,
        uid=new("Int64Value", value=0),
        spec=new("ImageSpec", image=image.name),
    )
