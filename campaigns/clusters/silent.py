"""The channel at-rest-silent in a running cluster: etcd is stopped, its file edited, and etcd started again.

With `reread` kube-apiserver stands still meanwhile and is then killed, for its cluster to start it again: a copy of the
object in its cache would otherwise be what answers nearly every reader, and what the next write starts from, which
undoes the edit (docs/consumed.md). Stopping it in good order would take seconds more, in which no node can renew its
lease: after 8 s (profile fast) a node is NotReady and its pods get no traffic, which is not what the fault does.

What the cluster makes of the change is not judged here: an etcd or a kube-apiserver that does not come back within a
time is what the experiment is there to see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from campaigns.clusters.protocol import Action, Cluster
from injector.at_rest_silent import AtRestSilent
from injector.errors import HarnessError
from injector.rules import Firing, Rule
from injector.undo import Undone, newest_first

__all__ = ["edit_silently", "read_anew", "undo_silently"]

_API, _ETCD = "kube-apiserver", "etcd"
_BACK_WITHIN_S = 30.0
"""etcd serves 0.3 s after its start, kube-apiserver after 4 s, on two idle cores; seven times that."""
_POLL_S = 0.1


def edit_silently(cluster: Cluster, rule: Rule, undo: Path, *, r0: int) -> Firing:
    """Carries the rule out in the files of all of etcd's members. The components run again when this returns or raises.

    Raises FaultError where no object has the target's identity or the model does not fit it (nothing is changed then),
    HarnessError where the cluster's files can't be reached, ClusterError where a component can't be stopped or started.
    """
    if not cluster.etcd_files:
        raise HarnessError(f"cluster {cluster.name}: etcd's files can't be reached, and at-rest-silent changes them")
    if not rule.reread:
        return _edit(cluster, rule, undo, r0)
    cluster.component(_API, Action.PAUSE)
    then = Action.RESUME
    try:
        firing = _edit(cluster, rule, undo, r0)
        then = Action.KILL
    finally:
        cluster.component(_API, then)
    _await(cluster, _API)
    return firing


def read_anew(cluster: Cluster) -> None:
    """Kills kube-apiserver, which its cluster starts again: the new one lists everything from etcd. Returns when it is
    ready, or after a time. ClusterError where it can't be killed."""
    cluster.component(_API, Action.KILL)
    _await(cluster, _API)


def undo_silently(
    cluster: Cluster, undo: Path, chosen: Callable[[Path], bool] = lambda record: True
) -> list[tuple[Path, Undone]]:
    """Undoes every silent edit that is recorded in `undo` and `chosen`, the last one first, with etcd stopped
    meanwhile; none, and nothing is stopped. Who has read the wrong value keeps it until it reads again."""
    at_rest = AtRestSilent(cluster.etcd_files, undo)
    if not (pending := list(filter(chosen, at_rest.pending()))):
        return []
    cluster.component(_ETCD, Action.STOP)
    try:
        return [(record, at_rest.undo(record)) for record in newest_first(pending)]
    finally:
        cluster.component(_ETCD, Action.START)
        _await(cluster, _ETCD)


def _edit(cluster: Cluster, rule: Rule, undo: Path, r0: int) -> Firing:
    cluster.component(_ETCD, Action.STOP)
    try:
        return AtRestSilent(cluster.etcd_files, undo).inject(rule, r0=r0)
    finally:
        cluster.component(_ETCD, Action.START)
        _await(cluster, _ETCD)


def _await(cluster: Cluster, name: str) -> None:
    deadline = time.monotonic() + _BACK_WITHIN_S
    while time.monotonic() < deadline:
        if any(each.name == name and each.ready for each in cluster.health()):
            return
        time.sleep(_POLL_S)
