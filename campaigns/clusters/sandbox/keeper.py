"""First process of a sandbox that runs in the background: boots it, keeps it, ends it at SIGTERM.

python -m campaigns.clusters.sandbox.keeper FOLDER LOCK_FD     (by campaigns.clusters.sandbox.outside)
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from campaigns.clusters.sandbox.cluster import Sandbox
from campaigns.clusters.sandbox.config import SandboxConfig
from injector.errors import MutineerError

_TEND_S = 1.0
"""How soon a crashed component is started again: the kubelet notices its static pods once a second. Orphans are reaped
as often."""


def main(folder: Path, lock: int) -> int:
    os.set_inheritable(lock, False)  # ours alone: it must be free as soon as this process ends
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # handlers, not a mask: children would inherit a mask
        signal.signal(number, lambda *_: stop.set())
    sandbox = Sandbox(SandboxConfig.from_json((folder / "config.json").read_text()))

    def say(line: str) -> None:
        with (folder / "progress").open("a") as file:
            file.write(line + "\n")

    try:
        sandbox.boot(say)
    except MutineerError as error:
        print(error, file=sys.stderr)
        sandbox.shutdown()
        return 3
    (folder / "ready").touch()
    while not stop.wait(_TEND_S):
        sandbox.tend()
        sandbox.reap_orphans()
    sandbox.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
