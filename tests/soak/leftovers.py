"""What a campaign had on the machine, and what of it is still there: processes, namespaces, mounts, links, folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Footprint", "descendants"]

_NAMESPACES = ("user", "net", "pid", "mnt")


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


@dataclass(slots=True)
class Footprint:
    """Everything of one campaign below `root`, added to with each `look`. Made before the campaign starts."""

    root: Path
    links: frozenset[str] = field(default_factory=_links)
    processes: dict[int, str] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)

    def look(self, pid: int) -> None:
        """Adds `pid`, what is below it, and the namespaces that are not ours."""
        for each in (pid, *descendants(pid)):
            if (started := _started(each)) is not None:
                self.processes[each] = started
            self.namespaces |= _namespaces(each) - _namespaces(os.getpid())

    def left(self, *, folders: bool = True) -> list[str]:
        """What is still there, in words. `folders`: also the sandboxes' folders and temp files."""
        found = [f"process {pid}: {_command(pid)}" for pid, at in self.processes.items() if _started(pid) == at]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {line.split()[4]}" for line in mounts if str(self.root) in line]
        found += [f"link {name}" for name in _links() - self.links]
        for path in Path("/proc").glob("[0-9]*"):
            if _started(pid := int(path.name)) is None:
                continue
            if held := _namespaces(pid) & self.namespaces:
                found.append(f"namespaces {', '.join(sorted(held))} held by process {pid}: {_command(pid)}")
            elif str(self.root) in _command(pid) and pid != os.getpid():
                found.append(f"process {pid}: {_command(pid)}")
        if folders:
            sandboxes, temporary = self.root / "state/mutineer/sandboxes", self.root / "tmp"
            found += [f"folder {path}" for path in (*sandboxes.glob("*"), *temporary.glob("*"))]
        return found


def _namespaces(pid: int) -> set[str]:
    found = set()
    for kind in _NAMESPACES:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except (FileNotFoundError, ProcessLookupError):
        return ""
