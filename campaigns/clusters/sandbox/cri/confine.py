"""What a forked child does before it becomes a container's process: namespaces, root, credentials.

Every step raises OSError in words; the spawner tells the runtime, which tells the kubelet, as runc's errors are told.
Sources: capabilities(7), prctl(2), capset(2), linux/capability.h; the order is runc's (libcontainer/standard_init).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.cri.spec import CAPABILITIES, Credentials, ProcessSpec
from campaigns.clusters.sandbox.roots import make_container_root

__all__ = ["confine", "open_join"]

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_ORDINARY = "started by an ordinary user, it has only root"
_JOINED = ("uts", "ipc", "net", "mnt")
"""The mount namespace last: the files of the others are reached through ours."""

_libc = ctypes.CDLL(None, use_errno=True)


def open_join(pid: int) -> list[int]:
    """Descriptors of the namespaces of `pid` that an exec enters, in order."""
    return [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _JOINED]


def confine(spec: ProcessSpec, join: list[int], scratch: Path) -> None:
    """Called in the child, single-threaded, in the right pid namespace already. `scratch`: an empty folder."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    if spec.tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for path in (spec.network, spec.ipc):
        if path is not None:
            isolation.enter(path)
    for descriptor in join:
        if _libc.setns(descriptor, 0) != 0:
            raise OSError(ctypes.get_errno(), "the container's namespaces can't be entered: it has ended")
    if spec.hostname is not None:
        isolation.unshare(isolation.CLONE_NEWUTS)
        socket.sethostname(spec.hostname)
    if spec.root is not None:
        _own_root(spec, scratch)
    _change_folder(spec)
    _set_credentials(spec.credentials)


def _own_root(spec: ProcessSpec, scratch: Path) -> None:
    assert spec.root is not None
    isolation.unshare(isolation.CLONE_NEWNS)
    isolation.slave_mounts()
    make_container_root(
        scratch,
        files=spec.root.files,
        copies=spec.root.copies,
        etc=spec.root.etc,
        mounts=spec.root.mounts,
        masked=spec.root.masked,
        frozen=spec.root.frozen,
        read_only=spec.root.read_only,
        privileged=spec.credentials.capabilities is None,
        own_processes=spec.own_pids or spec.pids_of is not None,
    )
    isolation.pivot_root(scratch)


def _change_folder(spec: ProcessSpec) -> None:
    if spec.root is not None and not spec.root.read_only:
        Path(spec.cwd).mkdir(parents=True, exist_ok=True)  # as runc
    os.chdir(spec.cwd)


def _set_credentials(wanted: Credentials) -> None:
    if wanted.capabilities is not None:
        _drop_bounding(wanted.capabilities)
    if os.getgroups() or wanted.groups:
        _setgroups(wanted.groups)
    if wanted.gid:
        _mapped("gid", wanted.gid, lambda: os.setresgid(wanted.gid, wanted.gid, wanted.gid))
    if wanted.uid:
        _mapped("uid", wanted.uid, lambda: os.setresuid(wanted.uid, wanted.uid, wanted.uid))
    elif wanted.capabilities is not None:
        _capset(wanted.capabilities)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of the user clears it
    if wanted.no_new_privileges:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _setgroups(groups: tuple[int, ...]) -> None:
    try:
        os.setgroups(groups)
    except OSError as error:  # setgroups is denied where an ordinary user mapped only itself (user_namespaces(7))
        if groups:
            listed = ", ".join(map(str, groups))
            raise OSError(error.errno, f"groups {listed}: this sandbox has no such groups ({_ORDINARY})") from None


def _mapped(what: str, number: int, act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        raise OSError(error.errno, f"{what} {number}: this sandbox has no such user ({_ORDINARY})") from None


@cache
def _last() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _numbers(names: Iterable[str]) -> set[int]:
    wanted = {name.upper().removeprefix("CAP_") for name in names}
    if "ALL" in wanted:
        return set(range(_last() + 1))
    # unknown ones are ignored, as runc does (libcontainer/capabilities.New)
    return {number for number, name in enumerate(CAPABILITIES) if name in wanted} & set(range(_last() + 1))


def _drop_bounding(kept: Iterable[str]) -> None:
    for number in set(range(_last() + 1)) - _numbers(kept):
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)


def _capset(kept: Iterable[str]) -> None:
    """Effective and permitted; none inheritable, as runtimes have done since CVE-2022-24769."""
    bits = sum(1 << number for number in _numbers(kept))
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
