"""What the spawner is asked to start: a plain value that travels as JSON from the runtime to the forked child."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from campaigns.clusters.sandbox.roots import Mount

__all__ = ["CAPABILITIES", "DEFAULT_CAPABILITIES", "ContainerRoot", "Credentials", "ProcessSpec"]

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the order of their numbers (linux/capability.h)."""
DEFAULT_CAPABILITIES = frozenset({
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
})  # fmt: skip
"""What containerd gives a container that asks for nothing (containerd/pkg/oci/spec.go, v2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Of a container's processes. `capabilities` without CAP_; None: all of them (privileged)."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    capabilities: tuple[str, ...] | None = None
    no_new_privileges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRoot:
    """See roots.make_container_root."""

    files: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    etc: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    masked: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process to start.

    argv        command; where `program` is set, its arguments
    program     name of a module in cri.programs that is called in the forked child instead of a command
    network,    namespace files to enter; None: the sandbox's own
    ipc
    hostname    of a new UTS namespace
    own_pids    a pid namespace of its own
    root        a new root in a new mount namespace
    join        process whose mount, uts, pid, network and ipc namespaces are entered instead (exec)
    pids_of     process whose pid namespace is entered (shareProcessNamespace, ephemeral containers)
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    program: str | None = None
    credentials: Credentials = Credentials()
    network: str | None = None
    ipc: str | None = None
    hostname: str | None = None
    own_pids: bool = False
    root: ContainerRoot | None = None
    join: int | None = None
    pids_of: int | None = None
    tty: bool = False

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> ProcessSpec:
        raw = json.loads(text)
        if (root := raw["root"]) is not None:
            mounts = tuple(Mount(**mount) for mount in root["mounts"])
            changed = {"mounts": mounts, "masked": tuple(root["masked"]), "frozen": tuple(root["frozen"])}
            raw["root"] = ContainerRoot(**{**root, **changed})
        given = raw["credentials"]
        kept = None if given["capabilities"] is None else tuple(given["capabilities"])
        raw["credentials"] = Credentials(**{**given, "groups": tuple(given["groups"]), "capabilities": kept})
        return cls(**{**raw, "argv": tuple(raw["argv"])})
