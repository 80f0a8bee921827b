"""kube-system's workloads as components: kube-proxy, route agent, CoreDNS and whatever else runs there, by their pods.

One component each DaemonSet or Deployment, named `kube-system/NAME` after the top of its pods' owners: alive while one
pod is ready, ready when all are, restarted as often as their containers were since r0. From the history alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from campaigns.clusters.keyspace import Stored
from campaigns.observers.history import History, StoredObject
from campaigns.observers.stored import is_ready
from classifiers.observation import ComponentHealth
from injector.codec import to_tree
from injector.errors import CodecError

__all__ = ["NAMESPACE", "system_components"]

NAMESPACE = "kube-system"
_SHOWN = 3


def system_components(history: History, baseline: Mapping[str, Stored]) -> tuple[ComponentHealth, ...]:
    """Those that have pods now, or had some since r0. Pods that have done their work (of Jobs) are none."""
    pods: dict[str, list[StoredObject]] = {_owner(identity): [] for identity in history.identities("Pod", NAMESPACE)}
    for pod in history.objects("Pod", NAMESPACE):
        pods.setdefault(_owner(pod.who.identity), []).append(pod)
        if ((pod.tree or {}).get("status") or {}).get("phase") == "Succeeded":
            del pods[_owner(pod.who.identity)]
    return tuple(_health(owner, found, baseline) for owner, found in sorted(pods.items()))


def _owner(identity: str) -> str:
    """`coredns` of `Pod/kube-system/coredns#2`."""
    return identity.rsplit("/", 1)[1].partition("#")[0]


def _health(owner: str, pods: Sequence[StoredObject], baseline: Mapping[str, Stored]) -> ComponentHealth:
    ready = [pod for pod in pods if pod.tree and is_ready(pod.tree)]
    restarts = sum(max(0, _restarts(pod.tree) - _restarts(_then(baseline.get(pod.key)))) for pod in pods)
    return ComponentHealth(
        name=f"{NAMESPACE}/{owner}",
        alive=bool(ready),
        restarts=restarts,
        ready=bool(pods) and len(ready) == len(pods),
        detail="" if pods and len(ready) == len(pods) else _detail(pods, len(ready)),
    )


def _then(stored: Stored | None) -> Any:
    try:
        return to_tree(stored.value) if stored else None
    except CodecError:
        return None


def _statuses(pod: Any) -> list[Any]:
    status = (pod or {}).get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _restarts(pod: Any) -> int:
    return sum(int(status.get("restartCount") or 0) for status in _statuses(pod))


def _detail(pods: Sequence[StoredObject], ready: int) -> str:
    why = []
    for pod in pods:
        if not (pod.tree and is_ready(pod.tree)):
            waiting = [(s.get("state") or {}).get("waiting") or {} for s in _statuses(pod.tree)]
            reasons = [str(w["reason"]) for w in waiting if w.get("reason")]
            why.append(f"{pod.who.identity}{f' {reasons[0]}' if reasons else ''}")
    told = f": {', '.join(why[:_SHOWN])}{', …' if len(why) > _SHOWN else ''}" if why else ""
    return f"{ready} of {len(pods)} pods are ready{told}"
