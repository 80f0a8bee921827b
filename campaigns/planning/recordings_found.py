"""Where recordings are: those that ship, and those that were made here.

A recording speaks of a workload on clusters of the same content (recording.cluster_content), but for the furniture that
only other workloads of a spec need; its file is called after the workload, with the beginning of a hash where the
cluster is not the usual one, which has what the workload itself needs. Those in `recordings/` below the current folder,
where `mutineer record` puts them, come before those that ship.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.assets.manifest import load_manifest
from campaigns.planning.recording import Recording, cluster_content, read_recording, write_recording
from campaigns.spec.campaign_spec import CampaignSpec
from campaigns.spec.cluster_spec import ClusterSpec
from injector.rules import JSONValue
from injector.targets import Channel

__all__ = [
    "HERE",
    "SHIPPED",
    "Found",
    "channels_needed",
    "file_name",
    "find_recording",
    "find_recordings",
    "write_recordings",
]

SHIPPED = Path(__file__).parents[1] / "recordings"
HERE = Path("recordings")
"""Below the current folder, as `runs` is."""
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Found:
    """Recordings by workload, the files that they are in, the workloads of which there is none, and the files that
    were passed over, each with why."""

    recordings: Mapping[str, Recording]
    files: Mapping[str, Path]
    missing: tuple[str, ...]
    passed_over: tuple[tuple[Path, str], ...] = ()


def file_name(alone: CampaignSpec) -> str:
    """Of a recording's file, for a spec of one workload (CampaignSpec.alone)."""
    (workload,) = alone.workloads
    needs = {name for each in alone.known_workloads for name in each.furniture}
    usual = ClusterSpec.model_validate({"furniture": sorted(needs)})
    content = cluster_content(alone.cluster)
    if content == cluster_content(usual):
        return f"{workload}.recording"
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"{workload}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}.recording"


def channels_needed(channels: Sequence[str]) -> frozenset[Channel]:
    """What has to be recorded to plan faults in those channels: at rest is what the writes have left."""
    asked = {Channel(name) for name in channels}
    return frozenset(Channel.APISERVER_TO_ETCD if channel.at_rest else channel for channel in asked)


def find_recordings(spec: CampaignSpec, *, folders: Sequence[Path] = (HERE, SHIPPED)) -> Found:
    """For a spec's sample, of each workload the first that speaks of its cluster, made of the binaries that this
    program takes, and has its channels; nothing where the spec asks for no sample. StoreError for a file that should be
    one and can't be read."""
    recordings: dict[str, Recording] = {}
    files: dict[str, Path] = {}
    passed_over: list[tuple[Path, str]] = []
    if spec.sample is None:
        return Found({}, {}, ())
    needed = channels_needed(spec.sample.channels)
    for workload in spec.workloads:
        recording, path, over = find_recording(spec.alone(workload), needed, folders=folders)
        if recording is not None and path is not None:
            recordings[workload], files[workload] = recording, path
        passed_over += over
    missing = tuple(workload for workload in spec.workloads if workload not in recordings)
    return Found(recordings, files, missing, tuple(passed_over))


def find_recording(
    alone: CampaignSpec, needed: frozenset[Channel], *, folders: Sequence[Path] = (HERE, SHIPPED)
) -> tuple[Recording | None, Path | None, list[tuple[Path, str]]]:
    """The same for a spec of one workload (CampaignSpec.alone) and these channels."""
    (workload,) = alone.workloads
    content = cluster_content(alone.cluster)
    passed_over: list[tuple[Path, str]] = []
    name = file_name(alone)
    for path in (folder / name for folder in folders):
        if not path.exists():
            continue
        recording = read_recording(path)
        why = _misfit(recording, workload, content, needed)
        if why is None:
            return recording, path, passed_over
        passed_over.append((path, why))
    return None, None, passed_over


def _misfit(
    recording: Recording, workload: str, content: Mapping[str, JSONValue], needed: frozenset[Channel]
) -> str | None:
    """Why a campaign can't be drawn from it, None if it can."""
    if recording.workload != workload:
        return f"it is of the workload {recording.workload}"
    if recording.cluster != content:
        return "it is of another kind of cluster"
    if lacking := needed - set(recording.channels):
        return f"it has nothing of {', '.join(sorted(lacking))}"
    pinned = {binary.name: project.version for project in load_manifest().projects for binary in project.binaries}
    others = {name: version for name, version in recording.versions.items() if pinned.get(name) != version}
    if others:
        return f"it is of {', '.join(f'{name} {version}' for name, version in sorted(others.items()))}"
    return None


def write_recordings(recordings: Mapping[str, Recording], run: Path) -> None:
    """Into a run's folder, so that its plan can be drawn again. OSError as it comes."""
    if recordings:
        folder = run / HERE
        folder.mkdir(mode=0o700)
        for workload, recording in recordings.items():
            write_recording(recording, folder / f"{workload}.recording")
