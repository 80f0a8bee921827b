"""Clients: one per node asks a Service at 20 Hz, through whatever address the Service has just then.

The address is looked up in the stored state at every request, as a client with DNS would, whose records CoreDNS keeps
from a watch. Plain sockets and one thread a node: a request costs about 0.3 ms of CPU, 60 a second 2 % of a core.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from campaigns.clusters.protocol import Cluster
from classifiers.observation import ProbeSample, ProbeSeries

__all__ = ["Prober", "ask"]

_INTERVAL_S = 0.05
"""20 Hz: a gap of 100 ms in a Service shows, and three nodes' clients stay below 2 % of a core."""
_TIMEOUT_S = 0.4
"""A loopback request takes about 1 ms and some ten on a busy machine. The first packets to a ClusterIP that is not yet
programmed are lost, so this also is the resolution of the milestone `traffic`."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")

Address = tuple[str, int]


def ask(address: Address, *, timeout_s: float = _TIMEOUT_S) -> str:
    """One GET / over a new connection. Returns the outcome in the words of classifiers.observation.ProbeSample."""
    try:  # a corrupted address must not be looked up as a host name: that takes seconds where there is no resolver
        ipaddress.ip_address(address[0])
    except ValueError:
        return "other: not an IP address"
    if not 0 < address[1] < 65536:
        return "other: not a port"
    try:
        with socket.create_connection(address, timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
            head = connection.recv(4096)
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except OSError as error:
        return f"other: {error.strerror or error}"
    if not head:
        return "reset"
    if (answer := _STATUS.match(head)) is None:
        return "other: not HTTP"
    return "ok" if answer[1] == b"200" else f"http-{answer[1].decode()}"


@dataclass(slots=True)
class _Client:
    node: str
    samples: list[ProbeSample]
    blind: str | None = None
    first_ok_s: float | None = None


class Prober:
    """Probes `service` from every node between `start` and `stop`. Times are seconds since `began`."""

    def __init__(self, cluster: Cluster, service: str, address: Callable[[], Address | None], *, began: float) -> None:
        self._cluster, self._service, self._address, self._began = cluster, service, address, began
        self._clients = [_Client(node, []) for node in cluster.vantage_points()]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(c,), daemon=True) for c in self._clients]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> tuple[ProbeSeries, ...]:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_S + 1)
        return tuple(
            ProbeSeries(service=self._service, vantage=c.node, samples=tuple(c.samples), blind=c.blind)
            for c in self._clients
        )

    def first_ok_s(self) -> float | None:
        """When the last of the nodes first got an answer; None while one has not."""
        firsts = [client.first_ok_s for client in self._clients]
        return None if not firsts or None in firsts else max(f for f in firsts if f is not None)

    def _run(self, client: _Client) -> None:
        try:
            self._cluster.on_node(client.node, lambda: self._loop(client))
        except OSError as error:
            client.blind = f"no client on {client.node}: {error}"

    def _loop(self, client: _Client) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            address = self._address()  # may wait for the history's lock, which is no latency of the service
            start = time.monotonic()
            outcome = ask(address) if address else "no-address"
            end = time.monotonic()
            client.samples.append(ProbeSample(start - self._began, end - start, outcome))
            if outcome == "ok" and client.first_ok_s is None:
                client.first_ok_s = end - self._began
            due = max(due + _INTERVAL_S, end)
            self._stop.wait(due - end)
