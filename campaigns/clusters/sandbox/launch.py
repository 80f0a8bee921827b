"""Exec wrapper: puts one process into a node's namespaces, then becomes it.

    python -I -S launch.py [--net FILE] [--own-var-lib] -- COMMAND ARGUMENT...

A file of its own, run without site-packages (12 ms), because Popen's preexec_fn is unsafe in a process with threads.
`--own-var-lib` mounts a tmpfs over /var/lib: the kubelet has /var/lib/kubelet/device-plugins hard-coded beside its
--root-dir, and must never touch that of a host which is itself a node.
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
    if "--own-var-lib" in options:
        isolation.private_mounts()
        isolation.mount_tmpfs("/var/lib", size="16m")
    if "--net" in options:
        isolation.enter_network(options[options.index("--net") + 1])
    os.execvp(command[0], command)  # noqa: S606 - an argument list; becoming the command is the point


if __name__ == "__main__":
    main(sys.argv[1:])
