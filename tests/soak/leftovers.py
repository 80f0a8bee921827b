"""What a campaign or a sandbox had on the machine, and what of it is still there.

processes   those that were seen below it, and any whose command line names its folder
namespaces  those that were seen, held now by a process, by a descriptor or by a mount (as lsns finds them)
mounts      in our own mount table and in the host's first process's
links       network interfaces of ours that were not there before
folders     the sandboxes' and temporary ones, and what a kubelet would make on a machine that is itself a node
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Footprint", "descendants"]

_NAMESPACES = ("user", "net", "pid", "pid_for_children", "mnt", "ipc", "uts")
_HOST_FOLDERS = (
    "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/netns", "/run/lock", "/var/lib", "/var/log", "/etc", "/opt",
    "/usr/libexec", "/sys/fs/cgroup",
)  # fmt: skip
_OURS = re.compile(r"mutineer|kube|etcd|cni|containers|pods$|calico|flannel|^cri")
"""Names in them that a part of a sandbox might make: others come and go on any machine."""
_TICKS = os.sysconf("SC_CLK_TCK")
_NAMESPACE = re.compile(r"(?:user|net|pid|mnt|ipc|uts):\[\d+\]")


def _started(pid: int) -> str | None:
    """When it started, in ticks since boot: with the pid, the identity of a process. None for a zombie, too: it has
    nothing any more but its number, and when it is collected is not its doing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, into their namespaces, as seen from here."""
    found: list[int] = []
    for task in _threads(pid):
        try:
            children = [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _links() -> frozenset[str]:
    return frozenset(os.listdir("/sys/class/net"))


def _host_files() -> frozenset[str]:
    return frozenset(
        f"{folder}/{name}"
        for folder in _HOST_FOLDERS
        if Path(folder).is_dir()
        for name in os.listdir(folder)
        if _OURS.search(name)
    )


@dataclass(slots=True)
class Footprint:
    """Everything of one campaign below `root`, added to with each `look`. Made before the campaign starts."""

    root: Path
    links: frozenset[str] = field(default_factory=_links)
    files: frozenset[str] = field(default_factory=_host_files)
    processes: dict[int, str] = field(default_factory=dict)
    namespaces: dict[str, float] = field(default_factory=dict)
    """With when each was last seen, in ticks since boot: the kernel gives the number to another one afterwards."""

    def look(self, pid: int) -> None:
        """Adds `pid`, what is below it, and the namespaces that are not ours."""
        ours, now = _namespaces(os.getpid()), time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS
        for each in (pid, *descendants(pid)):
            if (started := _started(each)) is not None:
                self.processes[each] = started
            self.namespaces |= dict.fromkeys(_namespaces(each) - ours, now)

    def left(self, *, folders: bool = True) -> list[str]:
        """What is still there, in words. `folders`: also the sandboxes' folders and temp files."""
        found = [f"process {pid}: {_command(pid)}" for pid, at in self.processes.items() if _started(pid) == at]
        found += [f"mount {line}" for line in _mounts() if str(self.root) in line or self._holds(line)]
        found += [f"link {name}" for name in _links() - self.links]
        for path in Path("/proc").glob("[0-9]*"):
            if (started := _started(pid := int(path.name))) is None:
                continue
            known = {name for name, seen in self.namespaces.items() if float(started) <= seen}
            if held := (_namespaces(pid) | _opened(pid)) & known:
                found.append(f"namespaces {', '.join(sorted(held))} held by process {pid}: {_command(pid)}")
            elif str(self.root) in _command(pid) and pid != os.getpid():
                found.append(f"process {pid}: {_command(pid)}")
        if folders:
            sandboxes, temporary = self.root / "state/mutineer/sandboxes", self.root / "tmp"
            found += [f"folder {path}" for path in (*sandboxes.glob("*"), *temporary.glob("*"))]
            found += [f"file {path}" for path in _host_files() - self.files if path != str(self.root)]
        return found

    def _holds(self, mount: str) -> bool:
        return not self.namespaces.keys().isdisjoint(_NAMESPACE.findall(mount))


def _mounts() -> Iterator[str]:
    for pid in ("self", "1"):
        try:
            yield from Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:  # somebody else's
            continue


def _namespaces(pid: int) -> set[str]:
    found = set()
    for kind in _NAMESPACES:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def _opened(pid: int) -> set[str]:
    """Namespaces that it holds by a descriptor."""
    found = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            if _NAMESPACE.fullmatch(target):
                found.add(target)
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        pass
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except (FileNotFoundError, ProcessLookupError):
        return ""
