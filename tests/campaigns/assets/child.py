"""Run as `python -m tests.campaigns.assets.child ROOT URL`: a second process that wants the same binary."""

from __future__ import annotations

import sys
from pathlib import Path

from campaigns.assets.progress import PlainProgress
from tests.campaigns.assets.builders import downloading

if __name__ == "__main__":
    root, url = sys.argv[1:]
    assets = downloading(Path(root), url, progress=PlainProgress(sys.stdout)).ensure()
    print(f"got {assets['tool']}", flush=True)
