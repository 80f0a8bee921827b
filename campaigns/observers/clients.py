"""The clients of a workload: probes of all its Services, their names and its pods (campaigns.observers.probes), those
from before the experiment's time zero included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from campaigns.clusters.protocol import Cluster
from campaigns.observers.history import History
from campaigns.observers.paths import paths_to
from campaigns.observers.probes import Prober
from campaigns.observers.stored import service_address
from campaigns.workloads.workload import Workload
from classifiers.observation import Observation, ProbeKind, ProbeSeries

__all__ = ["Clients"]


_BOTH = (ProbeKind.HTTP, ProbeKind.DNS)


class Clients(Prober):
    """An Observer, on every node that the workload leaves on. Times are seconds since `began`; `before` is what the
    same clients saw before that."""

    def __init__(
        self,
        cluster: Cluster,
        workload: Workload,
        history: History,
        *,
        began: float,
        before: Sequence[ProbeSeries] = (),
    ) -> None:
        paths = paths_to(cluster, history, workload.services)
        super().__init__(cluster, paths, began=began, without=workload.lost_nodes)
        self._services, self._history, self._before = workload.services, history, before

    def served_from_start(self) -> bool:
        """Whether every one of the services answered before time zero."""
        return bool(self._before) and {str(s) for s in self._services} <= {series.service for series in self._before}

    def all_ok_s(self) -> float | None:
        """When the last of the nodes first got an answer of the last of those services that there are now, and their
        addresses by name; None while one has not, 0 where there is no service."""
        there = [s for s in self._services if service_address(self._history, s.name, s.namespace) is not None]
        firsts = [self.first_ok_s(str(service), kinds=_BOTH) for service in there]
        return None if None in firsts else max((f for f in firsts if f is not None), default=0.0)

    def since_ok(self) -> tuple[ProbeSeries, ...]:
        """What was seen from when all services that answer did so, on every node; nothing of one that never did."""
        firsts = {str(service): self.first_ok_s(str(service), kinds=_BOTH) for service in self._services}
        since = max((first for first in firsts.values() if first is not None), default=None)
        if since is None:
            return ()
        return tuple(
            dataclasses.replace(series, samples=tuple(s for s in series.samples if s.at_s >= since))
            for series in self.series()
            if firsts.get(series.service, since) is not None
        )

    def add_to(self, observation: Observation) -> Observation:
        seen = super().add_to(observation)
        earlier = {(s.service, s.vantage, s.kind): s.samples for s in self._before}
        joined = (
            dataclasses.replace(s, samples=earlier.get((s.service, s.vantage, s.kind), ()) + s.samples)
            for s in seen.probes
        )
        return dataclasses.replace(seen, probes=tuple(joined))
