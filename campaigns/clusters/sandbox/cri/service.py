"""The CRI calls of one node, as kubelet 1.36 makes them. One method a call, named as in the CRI.

A runtime that answers with errors is expensive: kubelets retry for ever and patch events (control-plane notes). So all
Stop and Remove calls are idempotent, and what is unknown is NOT_FOUND, as containerd answers.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import grpc

from campaigns.clusters.sandbox.cri.containers import RUNNING, Container, Watcher
from campaigns.clusters.sandbox.cri.images import Catalogue, Image
from campaigns.clusters.sandbox.cri.pods import NodePods, Pod
from campaigns.clusters.sandbox.cri.protocol import methods, new

__all__ = ["ImageService", "RuntimeService", "handler"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NANO = 1_000_000_000


def handler(service_name: str, service: object) -> Any:
    """All of `service`'s methods that the CRI names; the rest answer UNIMPLEMENTED, as gRPC does by itself."""
    handlers = {}
    for name, (request, response, streams) in methods(service_name).items():
        if (method := getattr(service, name, None)) is not None and not streams:
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                method, request_deserializer=request.FromString, response_serializer=response.SerializeToString
            )
    return grpc.method_handlers_generic_handler(f"runtime.v1.{service_name}", handlers)


def _matches(selector: Any, labels: Any) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


class RuntimeService:
    """runtime.v1.RuntimeService for one node."""

    def __init__(self, pods: NodePods, catalogue: Catalogue, watcher: Watcher) -> None:
        self._pods, self._catalogue, self._watcher = pods, catalogue, watcher
        self._containers: dict[str, Container] = {}

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
        ready = self._pods.cidr is not None
        network = new(
            "RuntimeCondition",
            type="NetworkReady",
            status=ready,
            reason="" if ready else "NoPodCIDR",
            message="" if ready else "the node has no podCIDR yet",
        )
        runtime = new("RuntimeCondition", type="RuntimeReady", status=True)
        return new("StatusResponse", status=new("RuntimeStatus", conditions=[runtime, network]))

    def RuntimeConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return new("RuntimeConfigResponse", linux=new("LinuxRuntimeConfiguration", cgroup_driver=1))  # CGROUPFS

    def UpdateRuntimeConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        cidrs = [c for c in request.runtime_config.network_config.pod_cidr.split(",") if c]
        if cidrs:
            self._pods.set_cidr(cidrs[0])
        return new("UpdateRuntimeConfigResponse")

    # pods

    def RunPodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            pod = self._pods.run(secrets.token_hex(32), request.config)
        except RuntimeError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return new("RunPodSandboxResponse", pod_sandbox_id=pod.id)

    def StopPodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        if (pod := self._pods.pods.get(request.pod_sandbox_id)) is not None:
            for container in self._of_pod(pod.id):
                container.stop(0)
            self._pods.stop(pod)
        return new("StopPodSandboxResponse")

    def RemovePodSandbox(self, request: Any, context: Any) -> Any:  # noqa: N802
        if (pod := self._pods.pods.get(request.pod_sandbox_id)) is not None:
            for container in self._of_pod(pod.id):
                container.stop(0)
                self._containers.pop(container.id, None)
            self._pods.remove(pod)
        return new("RemovePodSandboxResponse")

    def PodSandboxStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        pod = self._pod(request.pod_sandbox_id, context)
        status = new(
            "PodSandboxStatus",
            id=pod.id,
            metadata=pod.config.metadata,
            state=pod.state,
            created_at=pod.created_at,
            network=new("PodSandboxNetworkStatus", ip=pod.address if pod.network else ""),
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
                state=pod.state,
                created_at=pod.created_at,
                labels=pod.config.labels,
                annotations=pod.config.annotations,
            )
            for pod in list(self._pods.pods.values())
            if (not wanted.id or pod.id == wanted.id)
            and (not wanted.HasField("state") or pod.state == wanted.state.state)
            and _matches(wanted.label_selector, pod.config.labels)
        ]
        return new("ListPodSandboxResponse", items=items)

    # containers

    def CreateContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        pod = self._pod(request.pod_sandbox_id, context)
        config = request.config
        image = self._catalogue.find(config.image.image)
        if image is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"image {config.image.image!r} is not in the catalogue")
            raise AssertionError  # abort raises
        command = tuple(config.command) or image.command
        env = {"PATH": _PATH, "HOSTNAME": pod.config.hostname or pod.config.metadata.name}
        env |= {pair.key: pair.value for pair in config.envs}
        container = Container(
            id=secrets.token_hex(32),
            pod_id=pod.id,
            config=config,
            image_id=image.id,
            argv=command + tuple(config.args),
            env=env,
            log_path=Path(pod.config.log_directory) / config.log_path,
            network=pod.network,
            cwd=config.working_dir or "/",
        )
        self._containers[container.id] = container
        return new("CreateContainerResponse", container_id=container.id)

    def StartContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        container = self._container(request.container_id, context)
        try:
            container.start(self._watcher)
        except OSError as error:
            container.exit_code, container.reason, container.message = 128, "StartError", str(error)
            container.finished_at = time.time_ns()
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to start container: {error}")
        return new("StartContainerResponse")

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
            image_ref=container.image_id,
            image_id=container.image_id,
            reason=container.reason,
            message=container.message,
            labels=container.config.labels,
            annotations=container.config.annotations,
            mounts=container.config.mounts,
            log_path=str(container.log_path),
        )
        return new("ContainerStatusResponse", status=status)

    def ListContainers(self, request: Any, context: Any) -> Any:  # noqa: N802
        items = [
            new(
                "Container",
                id=container.id,
                pod_sandbox_id=container.pod_id,
                metadata=container.config.metadata,
                image=container.config.image,
                image_ref=container.image_id,
                image_id=container.image_id,
                state=container.state,
                created_at=container.created_at,
                labels=container.config.labels,
                annotations=container.config.annotations,
            )
            for container in self._filtered(request.filter)
        ]
        return new("ListContainersResponse", containers=items)

    def ReopenContainerLog(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._container(request.container_id, context)  # logs live as long as their pod: nothing to rotate
        return new("ReopenContainerLogResponse")

    def UpdateContainerResources(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._container(request.container_id, context)
        return new("UpdateContainerResourcesResponse")

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


def _stats(container: Container) -> Any:
    """CPU (nanoseconds) and memory (bytes) of the container's first process, from /proc."""
    now, cpu, memory = time.time_ns(), 0, 0
    if container.state == RUNNING and container.child is not None:
        try:
            fields = Path(f"/proc/{container.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
            cpu = (int(fields[11]) + int(fields[12])) * _NANO // os.sysconf("SC_CLK_TCK")
            memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile
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
        cpu=new("CpuUsage", timestamp=now, usage_core_nano_seconds=new("UInt64Value", value=cpu)),
        memory=new("MemoryUsage", timestamp=now, working_set_bytes=new("UInt64Value", value=memory)),
    )


class ImageService:
    """runtime.v1.ImageService: the catalogue, and the host's own file system."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

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
        # "/": cAdvisor, which the kubelet asks about this mount point, does not know a tmpfs of ours
        used = shutil.disk_usage("/").used
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
