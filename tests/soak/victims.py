"""Which process is killed, and how it is found among those of a campaign or a sandbox."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from tests.soak.leftovers import descendants

__all__ = ["Victim", "find"]


class Victim(StrEnum):
    """A process. RUNNER is the command that a person started: `mutineer run` or `mutineer sandbox up`."""

    RUNNER = "runner"
    FIRST_PROCESS = "first process"
    ETCD = "etcd"
    KUBELET = "kubelet"
    RUNTIME = "runtime"
    SPAWNER = "spawner"


_MODULES = {Victim.RUNTIME: "campaigns.clusters.sandbox.cri", Victim.SPAWNER: "campaigns.clusters.sandbox.cri.spawner"}
_FIRST = ("campaigns.running.worker", "campaigns.clusters.sandbox.keeper")


def find(victim: Victim, above: int) -> int | None:
    """The process id of a victim below the process `above`; None while it is not there."""
    return next((pid for pid in descendants(above) if _is(pid, victim)), None)


def _is(pid: int, victim: Victim) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        inner = Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].splitlines()[0].split()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False
    if victim is Victim.FIRST_PROCESS:
        return any(module in words for module in _FIRST) and len(inner) > 1 and inner[-1] == "1"
    if victim in _MODULES:
        return words[1:3] == ["-m", _MODULES[victim]] and len(inner) == 2  # not a container, which is a spawner's fork
    return Path(words[0]).name == victim.value
