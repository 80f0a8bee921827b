"""The machine and the versions that a run is made with, for its record: a figure means little without them."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from campaigns.assets import Assets
from campaigns.clusters.sandbox.components import deviations
from campaigns.clusters.sandbox.outside import Settings
from campaigns.environment import inotify_free
from campaigns.running.capacity import sandboxes_side_by_side
from campaigns.spec.campaign_spec import CampaignSpec
from injector.rules import JSONValue

__all__ = ["Host", "available_bytes", "now", "run_metadata", "sandboxes_for", "session_document", "versions"]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine."""

    cores: int
    memory_bytes: int
    kernel: str
    python: str

    @classmethod
    def this(cls) -> Host:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(len(os.sched_getaffinity(0)), pages, platform.release(), platform.python_version())


def available_bytes() -> int:
    """Memory that can be had without swapping: free, and what the page cache would give back (SC_AVPHYS_PAGES counts
    only what is free, next to nothing on a machine that has read many files)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)


def sandboxes_for(spec: CampaignSpec, wanted: int) -> int:
    """How many sandboxes side by side do so many experiments of that spec, here and now."""
    if spec.parallelism != "auto":
        return min(spec.parallelism, max(wanted, 1))
    return sandboxes_side_by_side(Host.this().cores, available_bytes(), inotify_free(), wanted)


def versions(assets: Assets) -> dict[str, JSONValue]:
    """Of mutineer and of every binary."""
    return {
        "mutineer": metadata.version("mutineer"),
        **{name: assets.entries[name].version for name in sorted(assets)},
    }


def session_document(assets: Assets, sandboxes: int) -> dict[str, JSONValue]:
    """What is true of one session and need not be of the next."""
    return {
        "process": os.getpid(),
        "versions": versions(assets),
        "assets": dict(assets.origins),
        "host": _host(Host.this(), sandboxes),
    }


def now() -> str:
    """ISO 8601 with zone, for records; nothing is decided by it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def run_metadata(spec: CampaignSpec, assets: Assets, settings: Settings, *, sandboxes: int) -> Mapping[str, JSONValue]:
    """What is true of the whole run."""
    return {
        "spec": spec.name,
        "seed": spec.seed,
        "started": now(),
        "versions": versions(assets),
        "host": _host(Host.this(), sandboxes),
        "cluster": _cluster(spec, settings),
        "deviations": [
            f"{d.component} {d.setting}: {d.kubeadm} → {d.ours} ({d.why})"
            for d in deviations(
                settings["profile"],
                etcd_tls=settings["etcd_tls"],
                component_channels=settings["component_channels"],
            )
        ],
        "assets": dict(assets.origins),
        "own_workloads": spec.own_workloads,
        "sampled": spec.sample is not None and not spec.faults,
    }


def _host(host: Host, sandboxes: int) -> dict[str, JSONValue]:
    return {
        "cores": host.cores,
        "memory_bytes": host.memory_bytes,
        "kernel": host.kernel,
        "python": host.python,
        "sandboxes": sandboxes,
    }


def _cluster(spec: CampaignSpec, settings: Settings) -> dict[str, JSONValue]:
    """As asked for, with all defaults; images with the files of this machine that were run."""
    images: dict[str, JSONValue] = {
        name: {"command": list(image.command), "files": dict(image.files)} for name, image in settings["images"].items()
    }
    asked: dict[str, JSONValue] = spec.cluster.model_dump(mode="json")
    return {**asked, "furniture": list(settings["furniture"]), "images": images}
