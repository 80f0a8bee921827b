"""Where recordings are: those that ship, and those that were made here.

A recording speaks of a workload on clusters of the same content (campaigns.recording.cluster_content), but for the
furniture that only other workloads of a spec need; its file is called after the workload, with the beginning of a hash
where the cluster is not the usual one, which has what the workload itself needs. Those in `recordings/`
below the current folder, where `mutineer record` puts them, come before those that ship.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.cluster_spec import ClusterSpec
from campaigns.recording import Recording, cluster_content, read_recording, write_recording
from campaigns.spec import CampaignSpec
from injector.targets import Channel

__all__ = ["HERE", "SHIPPED", "Found", "channels_needed", "file_name", "find_recordings", "write_recordings"]

SHIPPED = Path(__file__).parent / "recordings"
HERE = Path("recordings")
"""Below the current folder, as `runs` is."""
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Found:
    """Recordings by workload, the files that they are in, and the workloads of which there is none."""

    recordings: Mapping[str, Recording]
    files: Mapping[str, Path]
    missing: tuple[str, ...]


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
    """For a spec's sample, of each workload the first that speaks of its cluster and has its channels; nothing where
    the spec asks for no sample. StoreError for a file that should be one and can't be read."""
    recordings: dict[str, Recording] = {}
    files: dict[str, Path] = {}
    if spec.sample is None:
        return Found({}, {}, ())
    needed = channels_needed(spec.sample.channels)
    for workload in spec.workloads:
        alone = spec.alone(workload)
        content = cluster_content(alone.cluster)
        for path in (folder / file_name(alone) for folder in folders):
            if not path.exists():
                continue
            recording = read_recording(path)
            if (recording.workload, recording.cluster) == (workload, content) and needed <= set(recording.channels):
                recordings[workload], files[workload] = recording, path
                break
    return Found(recordings, files, tuple(w for w in spec.workloads if w not in recordings))


def write_recordings(recordings: Mapping[str, Recording], run: Path) -> None:
    """Into a run's folder, so that its plan can be drawn again. OSError as it comes."""
    if recordings:
        folder = run / HERE
        folder.mkdir(mode=0o700)
        for workload, recording in recordings.items():
            write_recording(recording, folder / f"{workload}.recording")
