"""Namespaces and mounts by system call.

ctypes rather than `nsenter`/`ip netns` processes: a pod's network is made in about 2 ms instead of 44 ms
(control-plane notes), and Python 3.11 has no os.setns. A thread that changes its network namespace never changes it
back: `in_network` gives every such call a thread of its own, which ends with it.

Sources: setns(2), unshare(2), mount(2), linux/sched.h and linux/mount.h of kernel 6.x.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUTS",
    "bind",
    "enter",
    "enter_network",
    "in_network",
    "make_namespaces",
    "make_network",
    "mount",
    "mount_tmpfs",
    "pivot_root",
    "read_only",
    "remove_namespace",
    "slave_mounts",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_FILES = {CLONE_NEWNS: "mnt", CLONE_NEWUTS: "uts", CLONE_NEWIPC: "ipc", CLONE_NEWPID: "pid", CLONE_NEWNET: "net"}
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC = 0x20, 0x1000, 0x4000
MS_SLAVE = 1 << 19
MNT_DETACH = 2
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
"""mount_setattr(2), Linux 5.12; newer system calls have one number on all architectures."""
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203, "s390x": 217}
"""pivot_root(2) has no wrapper in glibc; numbers from each architecture's syscall table."""

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}{arguments}: {os.strerror(code)}")


def enter(path: str | Path, kind: int = 0) -> None:
    """Moves the calling thread into the namespace at `path`; `kind` is its CLONE_NEW… flag, 0 for any. Needs root in
    the user namespace that owns it. A pid namespace is entered by the next child only."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", descriptor, kind)
    finally:
        os.close(descriptor)


def enter_network(path: str | Path) -> None:
    """`enter` for a network namespace."""
    enter(path, CLONE_NEWNET)


def unshare(kinds: int) -> None:
    """New namespaces for the calling thread (a pid namespace: for its next child)."""
    _call("unshare", kinds)


def in_network(path: str | Path, function: Callable[[], T]) -> T:
    """Runs `function` inside the network namespace at `path`, in a thread of its own. Sockets that it opens stay
    there for good. Exceptions come back to the caller."""

    def inside() -> T:
        enter_network(path)
        return function()

    return _in_thread(inside)


def _in_thread(function: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            failure.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def make_namespaces(paths: Mapping[int, Path], inside: Callable[[], None] = lambda: None) -> None:
    """New, empty namespaces (CLONE_NEW… flag → file), kept alive without a process by a bind mount at each file.
    `inside` runs in them once they are there."""

    def body() -> None:
        unshare(sum(paths))
        for kind, path in paths.items():
            path.touch()
            mount(f"/proc/thread-self/ns/{_FILES[kind]}", path, flags=MS_BIND)
        inside()

    _in_thread(body)


def make_network(path: Path) -> None:
    """A new, empty network namespace, kept alive by a bind mount at `path`."""
    make_namespaces({CLONE_NEWNET: path})


def remove_namespace(path: Path) -> None:
    """Undoes `make_namespaces` for one file. The namespace ends with its last process. Nothing happens if it is
    gone."""
    try:
        _call("umount2", os.fsencode(path), MNT_DETACH)
    except OSError:
        if path.exists() and os.path.ismount(path):
            raise
    path.unlink(missing_ok=True)


def mount(source: str | Path, target: str | Path, kind: str = "none", *, flags: int = 0, options: str = "") -> None:
    """mount(2). OSError that names the target."""
    data = options.encode() or None
    _call("mount", os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data)


def bind(source: str | Path, target: str | Path, *, writable: bool) -> None:
    """Shows `source` with all that is mounted below it at `target`, which exists already."""
    # MS_REC: mounts below that a more privileged namespace made can't be left out
    mount(source, target, flags=MS_BIND | MS_REC)
    if not writable:
        read_only(target, recursive=True)


def read_only(target: str | Path, *, recursive: bool = False) -> None:
    """Remounts a mount read-only; if `recursive`, with all that is mounted below it (where the kernel can: 5.12). Its
    other flags have to be repeated: a user namespace may not drop them."""
    if recursive:
        attributes = struct.pack("=4Q", _MOUNT_ATTR_RDONLY, 0, 0, 0)
        path, size = os.fsencode(target), ctypes.c_size_t(len(attributes))
        if _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, attributes, size) == 0:
            return
        if (code := ctypes.get_errno()) != errno.ENOSYS:
            raise OSError(code, f"mount_setattr({target}): {os.strerror(code)}")
    kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def pivot_root(root: str | Path) -> None:
    """Makes the mount `root` the calling process's root and leaves the old one (pivot_root(2), "." over ".")."""
    os.chdir(root)
    number = _SYS_PIVOT_ROOT[platform.machine()]
    if _libc.syscall(number, b".", b".") != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"pivot_root: {os.strerror(code)}")
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def mount_tmpfs(path: Path | str, *, size: str, mode: str = "0755") -> None:
    """A tmpfs of at most `size` (as mount(8) has it, e.g. `256m`) on `path`."""
    mount("tmpfs", path, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=f"size={size},mode={mode}")


def slave_mounts() -> None:
    """From now on mounts that we make stay ours."""
    mount("none", "/", flags=MS_REC | MS_SLAVE)
