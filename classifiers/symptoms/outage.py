"""Outage: the control plane is gone or does not serve, at the end and not recovering.

Either etcd or kube-apiserver is dead, not ready or in a crash loop when the experiment ends; or both halves of the
cluster are down at once: not one client of any of the workload's services gets an answer at the end, and the control
plane can't even take the canary's objects. Services that are down while the control plane takes and carries out
requests are no outage but `network` (or the result of missing pods); a control plane that takes nothing while
services run on is a stall.
"""

from __future__ import annotations

from classifiers.client import client_views
from classifiers.components import SERVERS, broken
from classifiers.golden import Baseline
from classifiers.observation import Observation, ProbeKind
from classifiers.symptoms.stall import canary_refused
from classifiers.verdict import ClientFailure, OrchestratorFailure, Symptom

__all__ = ["absent", "detect"]


def detect(observation: Observation, baseline: Baseline) -> Symptom | None:
    servers = broken(observation, baseline, SERVERS)
    if servers:
        return Symptom(orchestrator=OrchestratorFailure.OUTAGE, why="; ".join(servers))
    views = [v for v in client_views(observation, baseline) if v.kind is ProbeKind.HTTP]
    everywhere = bool(views) and all(v.at_end is ClientFailure.UNREACHABLE for v in views)
    if everywhere and canary_refused(observation, baseline):
        return Symptom(
            orchestrator=OrchestratorFailure.OUTAGE,
            why=f"no service answers from any of {len({v.vantage for v in views})} vantage points at the end, and the "
            f"control plane did not take the canary ({observation.canary.error})",
        )
    return None


def absent(observation: Observation, baseline: Baseline) -> str:
    """Why it does not hold, in words."""
    views = [v for v in client_views(observation, baseline) if v.kind is ProbeKind.HTTP]
    served = sum(v.at_end is not ClientFailure.UNREACHABLE for v in views)
    clients = f"; {served} of {len(views)} clients are answered at the end" if views else ""
    return f"{' and '.join(SERVERS)} serve{clients}"
