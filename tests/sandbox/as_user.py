"""Becomes an ordinary user who can read what the test needs, and then a command:

    python as_user.py UID PATH... -- COMMAND ARGUMENT...

Interpreter, packages and binaries often lie in root's home folder, which nobody else may enter. In a mount namespace of
its own each folder on the way to a PATH that others can't enter is hidden by an empty one that shows just that PATH.
Needs root.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from campaigns.clusters.sandbox import isolation


def _closed(path: Path) -> Path | None:
    """The outermost folder on the way to `path` that others may not enter."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & stat.S_IXOTH), None)


def open_up(paths: list[Path]) -> None:
    """Shows `paths` to everybody, in this process's mount namespace."""
    held = [(path, os.open(path, os.O_PATH)) for path in paths if _closed(path) is not None]
    for hidden in {_closed(path) for path, _ in held}:
        if hidden is not None:
            isolation.mount_tmpfs(hidden, size="1m")
    for path, descriptor in held:
        path.mkdir(parents=True, exist_ok=True)
        isolation.mount(f"/proc/self/fd/{descriptor}", path, flags=0x1000 | 0x4000)  # MS_BIND | MS_REC


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    user, paths, command = int(arguments[0]), [Path(a) for a in arguments[1:split]], arguments[split + 1 :]
    isolation.unshare(isolation.CLONE_NEWNS)
    isolation.slave_mounts()
    open_up(paths)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.chdir("/")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
