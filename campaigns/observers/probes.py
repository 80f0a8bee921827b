"""Clients: on every node one thread asks, 20 times a second, each Service, its name, and pods on other nodes.

    http    GET / of a Service at the address that it has just then in the stored state, as a client with DNS would get
            it, whose records CoreDNS keeps from a watch
    dns     the Service's name, of the address where pods ask for names. CoreDNS answers names of the cluster from its
            watch (kubeadm's Corefile disables its cache for them), so each answer is fresh. `wrong-address`: not the
            one that is stored
    pod     GET / of the Ready pods on other nodes in turn, at the stored address and the port of their own HTTP
            readiness probe: what is Ready answers there, as its kubelet has found, so what fails is the way to it.
            Where no such pod is, nobody is asked, and nothing has failed

All requests of a node are begun together and waited for together, which takes a third fewer turns than one thread each;
one that hangs does not hold up those after it. What it costs: docs/observers.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from campaigns.clusters.protocol import Cluster
from campaigns.observers.asking import TIMEOUT_S, Asker, Request
from classifiers.observation import Observation, ProbeKind, ProbeSample, ProbeSeries

__all__ = ["Path", "Prober"]

_INTERVAL_S = 0.05
"""20 Hz: a gap of 100 ms in a Service shows."""


class Path(Protocol):
    """What is asked again and again from one node, and who it is about."""

    @property
    def service(self) -> str: ...

    @property
    def kind(self) -> ProbeKind: ...

    def request(self, node: str) -> Request | str | None:
        """What `node` asks now; None: nobody; a text is the outcome already."""


@dataclass(slots=True)
class _Series:
    path: Path
    samples: list[ProbeSample] = field(default_factory=list)
    first_ok_s: float | None = None


@dataclass(slots=True)
class _Client:
    node: str
    series: list[_Series]
    offset_s: float
    blind: str | None = None


class Prober:
    """Goes all `paths` from every node but `without` between `start` and `stop`. Times are seconds since `began`, to a
    tenth of a millisecond."""

    name = "probes"

    def __init__(self, cluster: Cluster, paths: Sequence[Path], *, began: float, without: Collection[str] = ()) -> None:
        self._cluster, self._began = cluster, began
        nodes = [node for node in cluster.vantage_points() if node not in without]
        self._clients = [  # nodes take turns, so that their requests don't wait for each other
            _Client(node, [_Series(path) for path in paths], number * _INTERVAL_S / len(nodes))
            for number, node in enumerate(nodes)
        ]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(c,), daemon=True) for c in self._clients]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for client, thread in zip(self._clients, self._threads, strict=True):
            thread.join(2 * TIMEOUT_S + 1)
            if thread.is_alive():
                client.blind = f"the client on {client.node} does not end"

    @property
    def blind(self) -> tuple[str, ...]:
        """Which clients could not see, in words."""
        return tuple(f"probe from {c.node}: {c.blind}" for c in self._clients if c.blind)

    def add_to(self, observation: Observation) -> Observation:
        """With the series, and why one is blind."""
        return replace(observation, probes=self.series(), blind=(*observation.blind, *self.blind))

    def series(self) -> tuple[ProbeSeries, ...]:
        """All that was seen so far, by node."""
        return tuple(
            ProbeSeries(
                service=series.path.service,
                vantage=client.node,
                kind=series.path.kind,
                samples=tuple(sorted(series.samples, key=lambda sample: sample.at_s)),
                blind=client.blind,
            )
            for client in self._clients
            for series in client.series
        )

    def first_ok_s(
        self, service: str | None = None, *, kinds: Collection[ProbeKind] = (ProbeKind.HTTP,)
    ) -> float | None:
        """When the last of the nodes first got an answer of that Service, or of the last of all; None while one has
        not."""
        asked = [s for c in self._clients for s in c.series if s.path.kind in kinds]
        firsts = [s.first_ok_s for s in asked if service is None or s.path.service == service]
        return None if not firsts or None in firsts else max(f for f in firsts if f is not None)

    def _run(self, client: _Client) -> None:
        try:
            self._cluster.on_node(client.node, lambda: self._loop(client))
        except OSError as error:
            client.blind = f"no client on {client.node}: {error}"
        except Exception as error:  # noqa: BLE001 - the border of a thread: an observer is blind in words, never silently
            client.blind = f"the client on {client.node} ended: {error!r}"

    def _loop(self, client: _Client) -> None:
        asker = Asker()
        try:
            due = time.monotonic() + client.offset_s
            while not self._stop.is_set():
                asker.poll(due)
                if time.monotonic() < due:
                    continue
                # may wait for the history's lock, which is no latency of a service: all are looked up before one is
                # asked, and what was asked has half a turn to be answered before the next look
                requests = [(series, series.path.request(client.node)) for series in client.series]
                for series, request in requests:
                    self._ask(asker, series, request)
                due = max(due + _INTERVAL_S, time.monotonic() + _INTERVAL_S / 2)
            while not asker.idle:  # what was sent is waited for: it may be what fails
                asker.poll(time.monotonic() + TIMEOUT_S)
        finally:
            asker.close()

    def _ask(self, asker: Asker, series: _Series, request: Request | str | None) -> None:
        if request is None:
            return

        def done(began: float, ended: float, outcome: str) -> None:
            at_s = round(began - self._began, 4)
            series.samples.append(ProbeSample(at_s, round(ended - began, 4), outcome))
            if outcome == "ok" and series.first_ok_s is None:
                series.first_ok_s = round(ended - self._began, 4)

        if isinstance(request, str):
            now = time.monotonic()
            done(now, now, request)
        else:
            asker.begin(request, done)
