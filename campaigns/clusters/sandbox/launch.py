"""Exec wrapper: puts one process into a node's network and root, then becomes it.

    python -I -S launch.py [--net FILE] [--root FOLDER] -- COMMAND ARGUMENT...

A file of its own, run without site-packages (12 ms), because Popen's preexec_fn is unsafe in a process with threads.
COMMAND is a path as seen from here: it is opened before the root changes.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    # Loaded by path: -I keeps our packages (and everybody's) off sys.path.
    spec = importlib.util.spec_from_file_location("isolation", Path(__file__).with_name("isolation.py"))
    assert spec and spec.loader
    isolation = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(isolation)
    binary = os.open(command[0], os.O_PATH | os.O_CLOEXEC)
    if "--net" in options:
        isolation.enter_network(options[options.index("--net") + 1])
    if "--root" in options:
        os.chroot(options[options.index("--root") + 1])
        os.chdir("/")
    os.execve(binary, command, os.environ)  # noqa: S606 - an argument list; becoming the command is the point


if __name__ == "__main__":
    main(sys.argv[1:])
