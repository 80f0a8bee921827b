"""First process of new user, network, mount, pid, ipc and uts namespaces, as a sandbox has them.

    python -m tests.campaigns.clusters.sandbox.namespaces PYTEST_ARGUMENT...

Runs pytest in a child and reaps whatever else ends, as a first process must. Root maps 65536 users, so that there are
others in the namespace; an ordinary user has only itself. All ends with this process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import isolation

_CLONE_NEWUSER = 0x10000000
_USERS = 65536


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _map_users(pid: int) -> None:
    available = int(Path("/proc/self/uid_map").read_text().split()[2])
    if os.geteuid() == 0 and available >= _USERS:
        user = group = f"0 0 {_USERS}"
    else:
        user, group = f"0 {os.geteuid()} 1", f"0 {os.getegid()} 1"
        Path(f"/proc/{pid}/setgroups").write_text("deny")
    Path(f"/proc/{pid}/uid_map").write_text(user)
    Path(f"/proc/{pid}/gid_map").write_text(group)


def _first_process(arguments: list[str]) -> int:
    isolation.slave_mounts()
    isolation.mount("proc", "/proc", "proc")
    if (tests := os.fork()) == 0:
        os._exit(pytest.main(arguments))
    while True:
        pid, status = os.wait()
        if pid == tests:
            return os.waitstatus_to_exitcode(status)


def _child(said: int, told: int, arguments: list[str]) -> int:
    _die_with_parent()
    network = isolation.CLONE_NEWNET | isolation.CLONE_NEWIPC | isolation.CLONE_NEWUTS
    isolation.unshare(_CLONE_NEWUSER | network | isolation.CLONE_NEWNS | isolation.CLONE_NEWPID)
    os.write(said, b"x")
    os.read(told, 1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _die_with_parent()  # a change of the user clears it
    if (first := os.fork()) == 0:
        _die_with_parent()
        os._exit(_first_process(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])


def main(arguments: list[str]) -> int:
    """The exit code of pytest."""
    _die_with_parent()
    told, tell = os.pipe()
    said, say = os.pipe()
    if (child := os.fork()) == 0:
        os._exit(_child(say, told, arguments) & 0xFF)
    os.close(say)
    if os.read(said, 1):
        _map_users(child)
        os.write(tell, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
