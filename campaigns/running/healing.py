"""After the experiment: the fault is removed, and it is watched whether the cluster comes back.

First by itself. If it has not, every component that runs outside of pods but etcd is restarted, as somebody would who
does not know any better, and it is watched once more. What was seen is judged like the experiment itself
(classifiers.recovery); here is only decided whether the second step is needed.

Removing is done straight in etcd, past the forwarder, and no more than it takes: the field gets the value that it had,
in the object as it is now. Where that can't be, the object as it was before the fault is put back, as from a backup.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import HARNESS_COMPONENTS, Action, Cluster
from campaigns.observers.canary import run_canary
from campaigns.observers.clients import Clients
from campaigns.observers.components import is_on, once_well, since_then
from campaigns.observers.history import History
from campaigns.observers.observer import watching
from campaigns.record import Limits
from campaigns.running.end_state import EndState
from campaigns.workloads import Workload
from campaigns.workloads.goals import all_hold
from campaigns.workloads.user import User
from classifiers.observation import Look
from injector.codec import encode_value, locate, replace
from injector.errors import InjectionError
from injector.rules import Firing
from injector.targets import is_told

__all__ = ["Healing", "Mend", "mended"]

_NOT_RESTARTED = ("etcd", *HARNESS_COMPONENTS)
"""etcd remembers nothing that is not stored; the others are ours."""
_HEALTHY_WITHIN_S = 20.0
"""For components to serve again after a restart; kube-apiserver needs 3 s on two idle cores."""


class Mend(NamedTuple):
    """What is to be stored at a key; None: nothing."""

    value: bytes | None


def mended(firing: Firing, path: str | None, now: bytes | None) -> Mend | None:
    """What takes the fault out of its key; None where nothing of it is left there. `path`: the field that was hit;
    `now`: what is stored."""
    if firing.accepted is False or is_told(firing.operation) or now == firing.before:
        return None
    if firing.operation.startswith("delete"):  # it was lost, or of another key
        return None if now is None else Mend(None)
    if not firing.after:  # a lost write: who has written since has made up for it
        return Mend(firing.before) if now is None else None
    if now is None:
        return None
    if path is None:
        return Mend(firing.before)
    try:
        found = locate(now, path)
        if found.value != firing.field_after:
            return None
        return Mend(replace(now, found, encode_value(found, firing.field_before)))
    except InjectionError:
        return Mend(firing.before)


class Healing:
    """Of one experiment, once everything else of it is done."""

    def __init__(
        self,
        cluster: Cluster,
        keyspace: KeySpace,
        workload: Workload,
        history: History,
        user: User,
        *,
        began: float,
        limits: Limits,
        phase: Callable[[str], None],
    ) -> None:
        self._cluster, self._keyspace, self._workload, self._history = cluster, keyspace, workload, history
        self._user, self._began, self._limits, self._phase = user, began, limits, phase

    def run(self, firings: Sequence[Firing], path: str | None) -> tuple[Look, ...]:
        """One look at it, or two. ClusterError where etcd does not answer."""
        self._phase("removing the fault")
        done = self._remove(firings, path)
        looks = [self._look("healing", done)]
        if not self._came_right(looks[0]):
            self._phase("restarting components")
            looks.append(self._look("after the restart", self._restart()))
        return tuple(looks)

    def _remove(self, firings: Sequence[Firing], path: str | None) -> str:
        puts: dict[str, bytes] = {}
        deletes: list[str] = []
        for key, first in {f.key: f for f in reversed(firings)}.items():
            mend = mended(first, first.field or path, self._keyspace.value(key))
            if mend is not None and mend.value is not None:
                puts[key] = mend.value
            elif mend is not None:
                deletes.append(key)
        self._keyspace.write(puts, deletes)
        return "the fault was removed" if puts or deletes else "nothing of the fault was left to remove"

    def _restart(self) -> str:
        lost = self._workload.lost_nodes
        known = [each.name for each in self._cluster.health()]
        names = [name for name in known if name not in _NOT_RESTARTED and not is_on(name, lost)]
        for name in names:
            self._cluster.component(name, Action.RESTART)
        once_well(self._cluster, within_s=_HEALTHY_WITHIN_S, without=lost)
        return f"{', '.join(names)} were restarted"

    def _look(self, phase: str, done: str) -> Look:
        """Waits for rest, then for what clients and a canary of its own see."""
        self._phase(phase)
        before = {each.name: each for each in self._cluster.health()}
        since_s = time.monotonic() - self._began
        clients = Clients(self._cluster, self._workload, self._history, began=self._began)
        with watching((clients,)):
            rested = self._history.wait(
                lambda: self._rests(clients, since_s), deadline=time.monotonic() + self._limits.heal_s
            )
            rested_s = time.monotonic() - self._began - since_s if rested else None
            self._history.wait(lambda: False, deadline=time.monotonic() + self._limits.steady_s)
            end = EndState.of(self._history, self._workload.namespaces)
            seconds = time.monotonic() - self._began
            probes = clients.series()
        canary = run_canary(
            self._cluster, self._history, self._user, deadline_s=self._limits.canary_s, name=phase.replace(" ", "-"),
            without=self._workload.lost_nodes,
        )  # fmt: skip
        return Look(
            done=done,
            since_s=round(since_s, 3),
            seconds=round(seconds, 3),
            rested_s=None if rested_s is None else round(rested_s, 3),
            pods=end.pods,
            final_counts=end.counts,
            probes=probes,
            canary=canary,
            components=since_then(before, self._cluster.health()),
        )

    def _rests(self, clients: Clients, since_s: float) -> bool:
        quiet_s = time.monotonic() - self._began - max(self._history.last_change_s, since_s)
        there = all_hold(self._workload.done, self._history) and clients.all_ok_s() is not None
        return there and quiet_s >= self._limits.quiet_s

    def _came_right(self, look: Look) -> bool:
        """As far as can be told without golden runs."""
        failing = any(series.samples and series.samples[-1].outcome != "ok" for series in look.probes)
        stalled = any(at_s is None for at_s in look.canary.stages.values())
        more = len(look.pods) > self._workload.pods_on(len(self._cluster.vantage_points()))
        return look.rested_s is not None and not (failing or stalled or more)
