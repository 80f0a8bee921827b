"""The root file system of a node and of a container: the host's programs read-only, everything else its own.

    /usr, /bin, /lib…     the host's, read-only; /usr/local is its own
    /etc                  a handful of files of its own; certificates, alternatives and the linker's cache of the host
    /proc, /sys, /dev     as a container has them; a node shows the sandbox's
    /tmp, /var, /run, …   empty

Nothing else of the host is there: no home folder, no /etc/shadow, no sockets. Both live in a tmpfs.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.isolation import bind, mount, mount_tmpfs

__all__ = ["Mount", "home_of", "inside", "make_container_root", "make_node_root", "resolve"]

_PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FOLDERS = ("etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "usr", "var/lib", "var/log", "var/tmp")
_OF_THE_HOST = (
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)  # fmt: skip
"""Not all of /etc/ssl: /etc/ssl/private holds the host's keys."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    # without it nft lists protocols as numbers: a kube-proxy that starts anew takes its own old rules for others' and
    # deletes them (knftables compares text); its image has it, too
    "protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n",
}
_NODE_DISK = "1g"
"""Host guard: volumes and logs lie in memory; a node at rest holds about 1 MB."""
_HOMES = {int(line.split(":")[2]): line.split(":")[5] for line in _ETC["passwd"].splitlines()}
_OWN_SYSCTLS = ("net",)
"""Below /proc/sys: what a network namespace has for itself, and kube-proxy sets."""
_SYMLINKS = 40
"""As the kernel has it (path_resolution(7)): more are a loop."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in a container: `source` as the sandbox sees it, `target` as the container does."""

    source: str
    target: str
    writable: bool


def home_of(uid: int) -> str:
    """As runc finds it in the container's /etc/passwd."""
    return _HOMES.get(uid, "/")


def inside(root: Path, path: str | Path) -> Path:
    """Where `path`, absolute as seen by someone whose root is `root`, lies for us: symbolic links on the way are
    followed within `root`. The last parts need not exist. OSError for a loop."""
    done, todo, links = Path(root), [*Path(path).parts[::-1]], 0
    while todo:
        part = todo.pop()
        if part in ("/", "//"):  # pathlib keeps two leading slashes, as POSIX has it
            done = Path(root)
        elif part == "..":
            done = done.parent if done != root else done
        elif (done / part).is_symlink():
            links += 1
            if links > _SYMLINKS:
                raise OSError(f"{path}: too many symbolic links")
            todo += (done / part).readlink().parts[::-1]
        else:
            done /= part
    return done


def resolve(node_root: Path, path: str) -> str:
    """`inside` as text, for what travels to the spawner."""
    return str(inside(node_root, path))


def _lay_out(root: Path, files: Mapping[str, str], etc: Mapping[str, str]) -> None:
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir()
    for sticky in ("tmp", "var/tmp"):
        (root / sticky).chmod(0o1777)
    (root / "var/run").symlink_to("/run")
    bind("/usr", root / "usr", writable=False)
    if (root / "usr/local").is_dir():  # what the host's owner put there is no part of a distribution
        mount_tmpfs(root / "usr/local", size="1m")
    for name in _PROGRAMS:
        host = Path("/", name)
        if host.is_symlink():  # merged /usr
            (root / name).symlink_to(host.readlink())
        elif host.is_dir():
            (root / name).mkdir()
            bind(host, root / name, writable=False)
    for name, content in {**_ETC, **etc}.items():
        (root / "etc" / name).write_text(content)
    for path in _OF_THE_HOST:
        if Path(path).exists():
            _show(root, path, path)
    for path, source in files.items():
        _show(root, source, path)


def _show(root: Path, source: str, path: str, *, writable: bool = False) -> None:
    """Binds `source` at `path` of the root, which is made if it is not there."""
    target = inside(root, path)
    try:
        _make(target, folder=Path(source).is_dir())
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        _open_up(next(parent for parent in target.parents if parent.is_dir()))
        _make(target, folder=Path(source).is_dir())
    bind(source, target, writable=writable)


def _make(target: Path, *, folder: bool) -> None:
    if folder:
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def _open_up(folder: Path) -> None:
    """Makes a read-only folder one to which names can be added (a volume at /usr/share/nginx/html): a tmpfs that shows
    what was there, entry by entry."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount_tmpfs(folder, size="1m")
        was = Path(f"/proc/self/fd/{descriptor}")
        for entry in os.scandir(descriptor):
            if entry.is_symlink():
                (folder / entry.name).symlink_to((was / entry.name).readlink())
            elif entry.is_dir() or entry.is_file():
                _make(folder / entry.name, folder=entry.is_dir())
                bind(was / entry.name, folder / entry.name, writable=False)
    finally:
        os.close(descriptor)


def make_node_root(root: Path, *, files: Mapping[str, str], etc: Mapping[str, str]) -> None:
    """Mounts a node's root at the folder `root`. `files`: path there → file of the host that is shown read-only; `etc`:
    what stands in /etc besides the usual."""
    mount_tmpfs(root, size=_NODE_DISK)  # a mount of its own: the kubelet looks for the one that holds its folder
    _lay_out(root, files, etc)
    bind("/proc", root / "proc", writable=True)
    _freeze_host(root, ())  # the kubelet would set the machine's kernel.panic and vm.overcommit_memory
    bind("/sys", root / "sys", writable=False)
    _make_devices(root / "dev")


def make_container_root(
    root: Path,
    *,
    files: Mapping[str, str],
    copies: Mapping[str, str],
    etc: Mapping[str, str],
    mounts: Sequence[Mount],
    masked: Sequence[str],
    frozen: Sequence[str],
    read_only: bool,
    privileged: bool,
    own_processes: bool,
) -> None:
    """Mounts a container's root at the folder `root`, in a mount namespace of its own. The caller is in the
    container's pid namespace already, if it has one (`own_processes`). `masked` and `frozen` are paths in it that show
    nothing, or can't be changed, where they exist. OSError in words where the kernel refuses or a volume's source is
    not there."""
    mount_tmpfs(root, size="256m")  # arbitrary: a layer that a process fills must not take the sandbox's memory
    _lay_out(root, files, etc)
    for path, source in copies.items():
        target = inside(root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    if read_only and (root / "usr/local").is_mount():  # before volumes, one of which may be there
        isolation.read_only(root / "usr/local")
    if own_processes:
        mount("proc", root / "proc", "proc")
    else:
        bind("/proc", root / "proc", writable=True)
    # for privileged ones, too: a file's owner, the host's root, is the root of a sandbox that root started
    bind("/sys", root / "sys", writable=False)
    if privileged:
        _freeze_host(root, _OWN_SYSCTLS)
    _protect(root, masked, frozen)
    _make_devices(root / "dev")
    for volume in sorted(mounts, key=lambda m: Path(m.target).parts):  # outer before inner
        if not Path(volume.source).exists():
            raise OSError(f"the volume's source {volume.source} for {volume.target} does not exist")
        _show(root, volume.source, volume.target, writable=volume.writable)
    if read_only:
        isolation.read_only(root)


def _freeze_host(root: Path, kept: Sequence[str]) -> None:
    """Settings of the machine that no namespace has for itself can't be changed; `kept` in /proc/sys can."""
    settings = [path for path in (root / "proc/sys").iterdir() if path.name not in kept]
    for path in [*settings, root / "proc/sysrq-trigger"]:
        if path.exists():
            bind(path, path, writable=False)


def _protect(root: Path, masked: Sequence[str], frozen: Sequence[str]) -> None:
    """As runc does (libcontainer/rootfs_linux.go): what is not there needs no protection."""
    for path in frozen:
        if (target := inside(root, path)).exists():
            bind(target, target, writable=False)
    for path in masked:
        target = inside(root, path)
        if target.is_dir():
            mount_tmpfs(target, size="4k")
            isolation.read_only(target)
        elif target.exists():
            bind("/dev/null", target, writable=True)


def _make_devices(dev: Path) -> None:
    dev.mkdir()
    mount_tmpfs(dev, size="64k")
    for name in _DEVICES:
        if Path("/dev", name).exists():
            _show(dev, f"/dev/{name}", name, writable=True)
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (dev / name).symlink_to(f"/proc/self/fd{target}")
    (dev / "pts").mkdir()
    mount("devpts", dev / "pts", "devpts", options="newinstance,ptmxmode=0666,mode=620")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "shm").mkdir()
    mount_tmpfs(dev / "shm", size="64m", mode="1777")
