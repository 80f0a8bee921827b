"""What a sandbox is made of: a plain value that travels as JSON from the launcher into the namespace."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.components import Profile
from injector.rules import JSONValue

__all__ = ["BINARIES", "ImageConfig", "SandboxConfig"]

BINARIES = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
    "coredns",
)  # fmt: skip
"""Assets that a sandbox runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What the runtime runs for an image's name.

    command    what the image's ENTRYPOINT would be; an absolute path is looked up in the container
    arguments  what the image's CMD would be: used where the pod gives neither command nor args
    files      path in the container → file or folder of the host that is shown there, read-only; `/usr` replaces the
               host's programs
    copies     path in the container → small file of the host that is copied, so that the container may change it
    """

    command: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ImageConfig:
        return cls(
            command=tuple(raw["command"]),
            arguments=tuple(raw.get("arguments", ())),
            files=dict(raw.get("files", {})),
            copies=dict(raw.get("copies", {})),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """folder      the sandbox's own, on disk: logs, lock, control; `folder/work` becomes a tmpfs inside the namespace
    binaries    asset name → executable
    images      image name → what is run, beside the built-in catalogue
    encryption  Secrets are encrypted at rest (--encryption-provider-config)
    etcd_tls    kube-apiserver, forwarder and etcd talk TLS
    feature_gates  name → on or off, for every component (as kind's configuration has them)
    component_channels  every component that has a forwarder of its own goes through it to kube-apiserver
    audit       kube-apiserver writes an audit log (metadata of every request) to `logs/audit.log`
    furniture   names of what else real clusters have (campaigns.clusters.sandbox.furniture)
    workloads   documents of the user's own workloads (campaigns.workloads.documents)"""

    name: str
    folder: Path
    binaries: Mapping[str, Path]
    nodes: int = 3
    profile: Profile = Profile.FAST
    images: Mapping[str, ImageConfig] = field(default_factory=dict)
    encryption: bool = False
    etcd_tls: bool = False
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    component_channels: bool = False
    audit: bool = False
    furniture: tuple[str, ...] = ()
    workloads: tuple[JSONValue, ...] = ()

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def node_names(self) -> list[str]:
        return [f"node-{i}" for i in range(1, self.nodes + 1)]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> SandboxConfig:
        raw = json.loads(text)
        return cls(
            **{
                **raw,
                "folder": Path(raw["folder"]),
                "binaries": {name: Path(path) for name, path in raw["binaries"].items()},
                "profile": Profile(raw["profile"]),
                "images": {name: ImageConfig.from_mapping(image) for name, image in raw["images"].items()},
                "furniture": tuple(raw["furniture"]),
                "workloads": tuple(raw.get("workloads", ())),
            }
        )
