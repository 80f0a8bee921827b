"""The pinned binaries a cluster is made of: cache, download with checksum, build with Go.

assets = ensure(["etcd", "kube-apiserver"], progress=choose_progress())
assets["etcd"]            # Path of an executable
assets.origins["etcd"]    # where it came from, for reports
"""

from __future__ import annotations

from campaigns.assets.manifest import load_manifest
from campaigns.assets.progress import Progress, Silent, choose_progress
from campaigns.assets.supply import Assets, AssetState, AssetStatus, Supply, ensure

__all__ = [
    "AssetState",
    "AssetStatus",
    "Assets",
    "Progress",
    "Silent",
    "Supply",
    "choose_progress",
    "ensure",
    "load_manifest",
]
