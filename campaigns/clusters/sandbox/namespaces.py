"""Runs a command as the first process of new user, network, pid, mount, ipc and uts namespaces.

    python -I -S namespaces.py [--dies-with-parent] -- COMMAND ARGUMENT...

As `unshare --map-root-user … --kill-child` does, but with as many users as can be had, so that pods run as the users
that they ask for: all of ours where root calls, a range of /etc/subuid where there is one (by newuidmap, Debian's
package uidmap), else root alone. The process that was called stays outside and waits: it ends when the first process
ends, with its exit code, and its own end is that one's (and so everybody's) end.

A file of its own, run without site-packages. Sources: user_namespaces(7), newuidmap(1), subuid(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

_CLONE_NEWUSER = 0x10000000
_MS_PRIVATE = 1 << 18
_PR_SET_PDEATHSIG = 1
_EVERY_USER = 2**32 - 1

Extents = list[tuple[int, int, int]]
"""(first inside, first outside, how many), as a line of uid_map has them."""


def _isolation() -> ModuleType:
    # Loaded by path: -I keeps our packages (and everybody's) off sys.path.
    spec = importlib.util.spec_from_file_location("isolation", Path(__file__).with_name("isolation.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def whole_map(text: str) -> Extents:
    """Every user that there is in a namespace whose uid_map (or gid_map) is `text`, each as itself; all but the last
    where that is every user there can be: by such a map kubelet, runc and systemd know the host's own namespace."""
    extents = [(int(first), int(first), int(count)) for first, _, count in map(str.split, text.splitlines())]
    return [(0, 0, _EVERY_USER - 1)] if extents == [(0, 0, _EVERY_USER)] else extents


def subordinate(text: str, user: str, number: int) -> Extents:
    """`user` (`number`) as root, and the first range that /etc/subuid's `text` gives it as 1, 2, …; only root where it
    gives none."""
    extents = [(0, number, 1)]
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in (user, str(number)) and rest.count(":") == 1:
            first, count = rest.split(":")
            return [*extents, (1, int(first), int(count))]
    return extents


def _write_maps(pid: int) -> None:
    """From outside: users and groups of the namespace that `pid` has made."""
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # root of a container without CAP_SETUID
            for kind in ("uid_map", "gid_map"):
                _write(pid, kind, whole_map(Path("/proc/self", kind).read_text()))
            return
    elif _write_subordinate(pid):
        return
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/setgroups").write_text("deny")
    for kind, number in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        if not Path(f"/proc/{pid}/{kind}").read_text().strip():
            _write(pid, kind, [(0, number, 1)])


def _write(pid: int, kind: str, extents: Extents) -> None:
    Path(f"/proc/{pid}/{kind}").write_text("".join(f"{i} {o} {n}\n" for i, o, n in extents))


def _write_subordinate(pid: int) -> bool:
    """With the set-user-id helpers; False where there are none, or no range is given to this user."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = ""
    for helper, file, number in (
        ("newuidmap", "/etc/subuid", os.geteuid()),
        ("newgidmap", "/etc/subgid", os.getegid()),
    ):
        path = Path(file)
        extents = subordinate(path.read_text() if path.exists() else "", name, number)
        command = shutil.which(helper)
        if len(extents) < 2 or command is None:
            return False
        arguments = [str(value) for extent in extents for value in extent]
        if subprocess.run([command, str(pid), *arguments], stdin=subprocess.DEVNULL, capture_output=True).returncode:
            return False
    return True


def _become_first(isolation: ModuleType, command: list[str]) -> NoReturn:
    """In the child that is the namespace's first process."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        isolation.mount("none", "/", flags=isolation.MS_REC | _MS_PRIVATE)
        os.umask(0o022)  # not the caller's: containers live with it
        isolation.mount("proc", "/proc", "proc", flags=isolation.MS_NOSUID | isolation.MS_NODEV)
        os.execvp(command[0], command)  # noqa: S606 - an argument list; becoming the command is the point
    except OSError as error:
        print(f"the sandbox's first process can't start: {error}", file=sys.stderr)
    os._exit(3)


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    isolation = _isolation()
    if "--dies-with-parent" in options:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    made_read, made_write = os.pipe()
    us = os.getpid()
    if (mapper := os.fork()) == 0:  # stays outside, where users can be mapped
        os.close(made_write)
        os.read(made_read, 1)
        code = 1
        with contextlib.suppress(OSError):
            _write_maps(us)
            code = 0
        os._exit(code)
    os.close(made_read)
    try:
        isolation.unshare(
            _CLONE_NEWUSER | isolation.CLONE_NEWNET | isolation.CLONE_NEWPID | isolation.CLONE_NEWNS
            | isolation.CLONE_NEWIPC | isolation.CLONE_NEWUTS
        )  # fmt: skip
    except OSError as error:
        print(f"new namespaces are refused: {error} (`mutineer doctor` tells what to do)", file=sys.stderr)
        return 3
    finally:
        os.close(made_write)
    if os.waitpid(mapper, 0)[1] != 0:
        print("the users of the new namespace can't be mapped (`mutineer doctor` tells what to do)", file=sys.stderr)
        return 3
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if (first := os.fork()) == 0:
        _become_first(isolation, command)
    return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) % 256


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
