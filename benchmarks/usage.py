"""What the processes of a sandbox use: CPU, memory, descriptors, threads, by component.

A sandbox's processes are those below its first process, containers in pid namespaces of their own among them. A process
that has ended is in the account of who waited for it (cutime, cstime of proc_pid_stat(5)), so nothing is lost, but for
containers, which the spawner waits for, the name: they are then told as `spawner, ended containers`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ENDED", "Used", "cpu_between", "cpu_s", "held", "processes", "pss_bytes", "thread_cpu_s"]

ENDED = "spawner, ended containers"
_MODULES = {
    "campaigns.running.worker": "worker",
    "campaigns.clusters.sandbox.keeper": "keeper",
    "injector.channels.forwarder": "forwarder",
    "campaigns.clusters.sandbox.cri": "runtime",
    "campaigns.clusters.sandbox.cri.spawner": ENDED,
}
"""Module that Python runs → component."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """One process. cpu_s: its own and that of the children that it waited for."""

    pid: int
    component: str
    cpu_s: float
    threads: int


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    name: str
    cpu_s: float
    threads: int


def _stats() -> dict[int, _Stat]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        cpu = sum(map(int, rest[11:15])) / _TICKS
        found[int(path.parent.name)] = _Stat(int(rest[1]), name, cpu, int(rest[17]))
    return found


def processes(first: int) -> list[Used]:
    """Every process of the sandbox whose first process is `first`."""
    stats = _stats()
    children: dict[int, list[int]] = defaultdict(list)
    for pid, stat in stats.items():
        children[stat.parent].append(pid)

    def below(pid: int, above: str) -> Iterator[Used]:
        stat = stats[pid]
        component = _component(pid, stat.name, above)
        yield Used(pid, component, stat.cpu_s, stat.threads)
        for child in children[pid]:
            yield from below(child, component)

    return list(below(first, "")) if first in stats else []


def _component(pid: int, name: str, above: str) -> str:
    """A child of the first process or of the spawner is a component of its own, what is below belongs to it."""
    if above not in ("", "worker", "keeper", "runtime", ENDED):
        return above
    if above == ENDED:
        return f"container {name}"
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        words = [name]
    if "-m" in words and (module := words[words.index("-m") + 1]) in _MODULES:
        return _MODULES[module]
    known = Path(words[0]).name if words[0] else name
    # what the first process or the runtime starts for a moment is its own
    return known if above in ("", "worker", "keeper") and known.startswith(("etcd", "kube")) else above or known


def cpu_s(first: int) -> dict[str, float]:
    """Component → CPU seconds since its processes started."""
    found: dict[str, float] = defaultdict(float)
    for each in processes(first):
        found[each.component] += each.cpu_s
    return dict(found)


def cpu_between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Component → CPU seconds. What a container had used before is in the spawner's account once it has ended."""
    used = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {*before, *after}}
    for name in [name for name, value in used.items() if value < 0]:
        used[ENDED] = used.get(ENDED, 0.0) + used.pop(name)
    return used


def thread_cpu_s(pid: int, *, in_networks_but: str) -> dict[int, float]:
    """Thread → CPU seconds, of those threads of a process that are in another network than `in_networks_but` (as
    /proc/PID/ns/net tells it): clients on nodes."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            if str((task / "ns/net").readlink()) != in_networks_but:
                rest = (task / "stat").read_text().rsplit(")", 1)[1].split()
                found[int(task.name)] = sum(map(int, rest[11:13])) / _TICKS
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def pss_bytes(first: int, *, anonymous: bool = False) -> dict[str, int]:
    """Component → proportional set size: what all processes have adds up to what the machine has given. `anonymous`:
    without files, whose pages count less while other sandboxes run the same programs."""
    found: dict[str, int] = defaultdict(int)
    line_of = "Pss_Anon:" if anonymous else "Pss:"
    for each in processes(first):
        try:
            rollup = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        lines = (line.split() for line in rollup.splitlines())
        found[each.component] += sum(int(words[1]) << 10 for words in lines if words[0] == line_of)
    return dict(found)


def held(first: int) -> dict[str, tuple[int, int, int]]:
    """Component → its processes, their threads and their descriptors."""
    found: dict[str, tuple[int, int, int]] = {}
    for each in processes(first):
        try:
            descriptors = len(list(Path(f"/proc/{each.pid}/fd").iterdir()))
        except OSError:
            continue
        count, threads, before = found.get(each.component, (0, 0, 0))
        found[each.component] = (count + 1, threads + each.threads, before + descriptors)
    return found
