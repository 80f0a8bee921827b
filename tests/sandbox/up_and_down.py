"""Starts a sandbox, says how it is in a JSON line, and ends it when its stdin does:

python -m tests.sandbox.up_and_down NAME BINARIES-AS-JSON
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from campaigns.clusters.sandbox import outside


def main(name: str, binaries: str) -> None:
    config = outside.prepare(name, binaries={key: Path(path) for key, path in json.loads(binaries).items()})
    outside.up(config)
    try:
        found = outside.find_running(name)
        said = {"user": os.getuid(), "folder": str(config.folder), "pid": found.pid, "port": found.port}
        print(json.dumps(said), flush=True)
        sys.stdin.read()
    finally:
        outside.down(name)
    print(json.dumps({"left": [str(path) for path in outside.root().iterdir()]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
