"""As much of a cluster as observers look at, with what a test puts there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from campaigns.clusters.protocol import Cluster

__all__ = ["LookedAt"]


@dataclass
class LookedAt:
    """`pages`: (component, path) → HTTP status and text; a component that is in none of them serves none."""

    pids: dict[str, int] = field(default_factory=dict)
    pages: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    logs: Mapping[str, Path] = field(default_factory=dict)
    audit_log: Path | None = None
    dns_address: tuple[str, int] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, component: str, path: str, *, timeout_s: float) -> tuple[int, bytes] | None:
        self.asked.append((component, path))
        return self.pages.get((component, path))

    @property
    def cluster(self) -> Cluster:
        return cast(Cluster, self)
