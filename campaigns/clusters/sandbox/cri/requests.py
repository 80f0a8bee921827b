"""From what the kubelet asks for to what the spawner is told (runtime.v1 messages → ProcessSpec)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.cri.images import Image
from campaigns.clusters.sandbox.cri.pods import CONTAINER, NODE, Pod
from campaigns.clusters.sandbox.cri.spec import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    ContainerRoot,
    Credentials,
    ProcessSpec,
)
from campaigns.clusters.sandbox.roots import Mount, home_of, inside

__all__ = ["container_spec", "credentials", "exec_spec"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def credentials(security: Any) -> Credentials:
    """OSError for a user by name that no image of ours has. What is both added and dropped is dropped, as in
    containerd (internal/cri/opts, WithCapabilities…)."""
    if security.run_as_username not in ("", "root"):
        raise OSError(f"no user {security.run_as_username!r} in the image")
    capabilities: tuple[str, ...] | None = None
    if not security.privileged:
        added, dropped = (
            {name.upper().removeprefix("CAP_") for name in names}
            for names in (security.capabilities.add_capabilities, security.capabilities.drop_capabilities)
        )
        kept = frozenset() if "ALL" in dropped else frozenset(CAPABILITIES) if "ALL" in added else DEFAULT_CAPABILITIES
        capabilities = tuple(sorted((kept | added) - dropped - {"ALL"}))
    return Credentials(
        uid=security.run_as_user.value,
        gid=security.run_as_group.value,
        groups=tuple(security.supplemental_groups),
        capabilities=capabilities,
        no_new_privileges=security.no_new_privs,
    )


def _etc(pod: Pod, node_root: Path) -> dict[str, str]:
    config = pod.config
    name = config.hostname or config.metadata.name
    dns = config.dns_config
    lines = [f"nameserver {server}" for server in dns.servers]
    lines += [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    if not lines:
        lines = (node_root / "etc/resolv.conf").read_text().splitlines()
    return {
        "hostname": f"{name}\n",
        "hosts": "127.0.0.1\tlocalhost\n",  # the kubelet mounts its own over it
        "resolv.conf": "\n".join(lines) + "\n",
    }


def _environment(pod: Pod, config: Any, *, tty: bool) -> Mapping[str, str]:
    """What the process gets: a PATH, its pod's name, a home (runc sets one where none is given), TERM on a terminal
    (containerd), then what the kubelet says (service links among it)."""
    defaults = {
        "PATH": _PATH,
        "HOSTNAME": pod.config.hostname or pod.config.metadata.name,
        "HOME": home_of(config.linux.security_context.run_as_user.value),
        **({"TERM": "xterm"} if tty else {}),
    }
    # bytes since Kubernetes 1.34: an environment need not be text
    return {**defaults, **{pair.key: os.fsdecode(pair.value) for pair in config.envs}}


def _mounts(config: Any, node_root: Path) -> tuple[Mount, ...]:
    found = []
    for mount in config.mounts:
        if mount.HasField("image"):
            raise OSError(f"image volume {mount.image.image!r} at {mount.container_path}: images here have no layers")
        source = inside(node_root, mount.host_path)
        if not source.exists():
            source.mkdir(parents=True, exist_ok=True)  # as containerd does; another container may be first
        found.append(Mount(str(source), str(Path("/", mount.container_path)), not mount.readonly))
    return tuple(found)


def container_spec(pod: Pod, config: Any, image: Image, node_root: Path, *, pids_of: int | None) -> ProcessSpec:
    """What a container of `pod` is. OSError for what the image or the node can't give."""
    security = config.linux.security_context
    command = tuple(config.command) or image.command
    arguments = tuple(config.args) or (image.arguments if not config.command else ())
    program = image.program if not command else None
    mode = security.namespace_options.pid
    return ProcessSpec(
        argv=command + arguments,
        program=program,
        env=_environment(pod, config, tty=config.tty),
        cwd=config.working_dir or "/",
        credentials=credentials(security),
        network=str(pod.network),
        ipc=str(pod.ipc) if pod.ipc else None,
        hostname=pod.config.hostname or pod.config.metadata.name,
        own_pids=mode == CONTAINER,
        pids_of=pids_of if mode != NODE else None,
        root=ContainerRoot(
            files=image.files,
            etc=_etc(pod, node_root),
            copies=image.copies,
            mounts=_mounts(config, node_root),
            masked=() if security.privileged else tuple(security.masked_paths),
            frozen=() if security.privileged else tuple(security.readonly_paths),
            read_only=security.readonly_rootfs,
        ),
        tty=config.tty,
    )


def exec_spec(pod: Pod, config: Any, pid: int, argv: Sequence[str], *, tty: bool) -> ProcessSpec:
    """A command in the container whose first process is `pid`."""
    return ProcessSpec(
        argv=tuple(argv),
        env=_environment(pod, config, tty=tty),
        cwd=config.working_dir or "/",
        credentials=credentials(config.linux.security_context),
        join=pid,
        tty=tty,
    )
