"""What a workload's namespaces hold once it has come to rest, before the canary begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from campaigns.observers.history import History
from campaigns.observers.stored import is_ready
from classifiers.observation import PodFinal

__all__ = ["EndState"]


@dataclass(frozen=True, slots=True)
class EndState:
    """counts  live objects by kind; peaks: most at one moment, each namespace's own moment
    signs   what the API shows the workload's user without being asked, in words → since when, in seconds, if that is
            known"""

    pods: tuple[PodFinal, ...]
    counts: Mapping[str, int]
    peaks: Mapping[str, int]
    signs: Mapping[str, float | None]

    @classmethod
    def of(cls, history: History, namespaces: Sequence[str]) -> EndState:
        pods = [_pod(o.who.identity, o.tree or {}) for ns in namespaces for o in history.objects("Pod", ns)]
        counts, peaks = Counter[str](), Counter[str]()
        for namespace in namespaces:
            counts.update(history.counts(namespace))
            peaks.update(history.peak_counts(namespace))
        signs: dict[str, float | None] = {}
        for words, since_s in (sign for namespace in namespaces for sign in _signs(history, namespace)):
            signs[words] = min((s for s in (signs.get(words), since_s) if s is not None), default=None)
        return cls(tuple(pods), dict(sorted(counts.items())), dict(sorted(peaks.items())), signs)


def _pod(identity: str, tree: dict[str, dict[str, object]]) -> PodFinal:
    status, spec, metadata = (tree.get(part) or {} for part in ("status", "spec", "metadata"))
    return PodFinal(
        identity=identity,
        phase=str(status.get("phase", "")),
        ready=bool(tree) and is_ready(tree),
        node=str(spec.get("nodeName", "")),
        ip=str(status.get("podIP", "")),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


_BAD: Mapping[str, Mapping[str, str]] = {
    "Deployment": {"Available": "False", "Progressing": "False", "ReplicaFailure": "True"},
    "Job": {"Failed": "True", "FailureTarget": "True"},
    "HorizontalPodAutoscaler": {"AbleToScale": "False", "ScalingActive": "False"},
    "PodDisruptionBudget": {"DisruptionAllowed": "False"},
    "PersistentVolumeClaim": {"ControllerResizeError": "True", "NodeResizeError": "True"},
}
"""Kind → condition → the status of it that tells a user that something is wrong (k8s.io/api v0.36.3, the types)."""


def _signs(history: History, namespace: str) -> Iterator[tuple[str, float | None]]:
    """Failed conditions and warning events, each since when. Without messages and the names of pods, which differ from
    run to run."""
    for kind, bad in _BAD.items():
        for stored in history.objects(kind, namespace):
            for condition in _conditions(stored.tree):
                name, status = str(condition.get("type")), str(condition.get("status"))
                if bad.get(name) == status:
                    since_s = history.since_s(stored.key, partial(_has, name, status))
                    yield f"{kind} {stored.who.name}: condition {name}={status} ({condition.get('reason')})", since_s
    told = {write.key for write in history.writes}  # what was told before time zero is no sign of the fault
    for stored in history.objects("Event", namespace):
        if stored.key not in told:
            continue
        event = stored.tree or {}
        about = event.get("involvedObject") or {}
        if event.get("type") == "Warning" and about.get("namespace") == namespace:
            yield f"warning event {event.get('reason')} on a {about.get('kind')}", history.since_s(stored.key)


def _has(name: str, status: str, tree: Any) -> bool:
    """Whether that condition has that status."""
    return any(c.get("type") == name and c.get("status") == status for c in _conditions(tree))


def _conditions(tree: Any) -> list[Mapping[str, object]]:
    status = (tree or {}).get("status") or {}
    return [c for c in status.get("conditions") or () if isinstance(c, dict)]
