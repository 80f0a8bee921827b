"""Namespaces and mounts by system call.

ctypes rather than `nsenter`/`ip netns` processes: a pod's network is made in about 2 ms instead of 44 ms
(control-plane notes), and Python 3.11 has no os.setns. A thread that changes its network namespace never changes it
back: `in_network` gives every such call a thread of its own, which ends with it.

Sources: setns(2), unshare(2), mount(2), linux/sched.h and linux/mount.h of kernel 6.x.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = [
    "bind_network",
    "enter_network",
    "in_network",
    "make_network",
    "mount_tmpfs",
    "private_mounts",
    "remove_network",
    "share_mount",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_NOSUID, MS_NODEV = 0x2, 0x4
MS_SHARED = 1 << 20
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}{arguments}: {os.strerror(code)}")


def enter_network(path: str | Path) -> None:
    """Moves the calling thread into the network namespace bound at `path`. Needs root in its user namespace."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


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


def bind_network(path: Path) -> None:
    """Binds the calling thread's network namespace to the file `path`, which keeps it alive without a process."""
    path.touch()
    _call("mount", b"/proc/thread-self/ns/net", bytes(path), None, MS_BIND, None)


def make_network(path: Path) -> None:
    """A new, empty network namespace, kept alive by a bind mount at `path`."""

    def inside() -> None:
        _call("unshare", CLONE_NEWNET)
        bind_network(path)

    _in_thread(inside)


def remove_network(path: Path) -> None:
    """Undoes `make_network`. The namespace ends with its last process. Nothing happens if it is gone."""
    try:
        _call("umount2", bytes(path), MNT_DETACH)
    except OSError:
        if path.exists() and os.path.ismount(path):
            raise
    path.unlink(missing_ok=True)


def mount_tmpfs(path: Path | str, *, size: str, mode: str = "0755") -> None:
    """A tmpfs of at most `size` (as mount(8) has it, e.g. `256m`) on `path`."""
    options = f"size={size},mode={mode}".encode()
    _call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", MS_NOSUID | MS_NODEV, options)


def share_mount(path: Path | str) -> None:
    """Makes mounts below `path` travel to the mount namespaces copied from this one later, and back: the kubelet
    mounts volumes in its own mount namespace and the runtime must see them."""
    _call("mount", None, os.fsencode(path), None, MS_SHARED, None)


def private_mounts() -> None:
    """A mount namespace of one's own. Propagation stays as it is."""
    _call("unshare", CLONE_NEWNS)
