"""What a sandbox is made of: a plain value that travels as JSON from the launcher into the namespace."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.clusters.sandbox.components import Profile

__all__ = ["BINARIES", "SandboxConfig"]

BINARIES = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
)  # fmt: skip
"""Assets that a sandbox runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """folder    the sandbox's own, on disk: logs, lock, control; `folder/work` becomes a tmpfs inside the namespace
    binaries  asset name → executable
    images    image name → command, beside the built-in catalogue"""

    name: str
    folder: Path
    binaries: Mapping[str, Path]
    nodes: int = 3
    profile: Profile = Profile.FAST
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
            name=raw["name"],
            folder=Path(raw["folder"]),
            binaries={name: Path(path) for name, path in raw["binaries"].items()},
            nodes=raw["nodes"],
            profile=Profile(raw["profile"]),
            images={name: tuple(command) for name, command in raw["images"].items()},
        )
