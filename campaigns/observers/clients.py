"""Clients of all of a workload's Services: a Prober for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

from campaigns.clusters.protocol import Cluster
from campaigns.observers.history import History
from campaigns.observers.probes import Prober
from campaigns.observers.stored import service_address
from campaigns.workloads.workload import ServiceName
from classifiers.observation import ProbeSeries

__all__ = ["Clients", "joined"]


class Clients:
    """Probes `services` from every node between `start` and `stop`. Times are seconds since `began`."""

    def __init__(self, cluster: Cluster, services: Sequence[ServiceName], history: History, *, began: float) -> None:
        self._services = {
            service: Prober(
                cluster, str(service), partial(service_address, history, service.name, service.namespace), began=began
            )
            for service in services
        }

    def start(self) -> None:
        for prober in self._services.values():
            prober.start()

    def stop(self) -> tuple[ProbeSeries, ...]:
        return tuple(series for prober in self._services.values() for series in prober.stop())

    def first_ok_s(self) -> float | None:
        """When the last of the nodes first got an answer from the last of the services; None while one has not."""
        firsts = [prober.first_ok_s() for prober in self._services.values()]
        return None if not firsts or None in firsts else max(f for f in firsts if f is not None)

    def all_ok_s(self, history: History) -> float | None:
        """The same of those services that there are now; 0 where there is none."""
        there = [s for s in self._services if service_address(history, s.name, s.namespace) is not None]
        firsts = [self._services[service].first_ok_s() for service in there]
        return None if None in firsts else max((f for f in firsts if f is not None), default=0.0)

    def stop_since_ok(self) -> tuple[ProbeSeries, ...]:
        """Stops; of each service that answered on every node, what was seen from then on."""
        found = []
        for prober in self._services.values():
            since = prober.first_ok_s()
            for series in prober.stop():
                if since is not None:
                    samples = tuple(sample for sample in series.samples if sample.at_s >= since)
                    found.append(dataclasses.replace(series, samples=samples))
        return tuple(found)


def joined(before: Sequence[ProbeSeries], after: Sequence[ProbeSeries]) -> tuple[ProbeSeries, ...]:
    """`after`, each with what the same client saw before it."""
    samples = {(series.service, series.vantage): series.samples for series in before}
    return tuple(
        dataclasses.replace(series, samples=samples.get((series.service, series.vantage), ()) + series.samples)
        for series in after
    )
