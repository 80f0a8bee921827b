"""Clients, against real local servers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, cast

from campaigns.clusters.protocol import Cluster
from campaigns.observers.asking import HttpGet
from campaigns.observers.probes import Path, Prober
from classifiers.observation import ProbeKind, ProbeSeries
from tests.builders import observation
from tests.campaigns.observers.servers import saying, server
from tests.conftest import wait_until

T = TypeVar("T")


class Nodes:
    """As much of a cluster as probes need; its nodes are this machine. `broken` ones can't be entered."""

    dns_address = None

    def __init__(self, nodes: Sequence[str], broken: Sequence[str] = ()) -> None:
        self._nodes, self._broken = nodes, broken

    def vantage_points(self) -> Sequence[str]:
        return self._nodes

    def on_node(self, node: str, function: Callable[[], T]) -> T:
        if node in self._broken:
            raise FileNotFoundError(2, "No such file or directory", node)
        return function()


@dataclass
class Way:
    """A path whose requests a test makes."""

    made: Callable[[], tuple[str, int] | None]
    kind: ProbeKind = ProbeKind.HTTP
    service: str = "web"

    def request(self, node: str) -> HttpGet | str:
        address = self.made()
        return HttpGet(address) if address else "no-address"


@contextlib.contextmanager
def probing(nodes: Nodes, *ways: Path) -> Iterator[Prober]:
    prober = Prober(cast(Cluster, nodes), ways, began=time.monotonic())
    prober.start()
    try:
        yield prober
    finally:
        prober.stop()
    assert not [t for t in threading.enumerate() if t in prober._threads]


def seen(prober: Prober) -> list[str]:
    """The outcomes of the first series so far."""
    return [sample.outcome for sample in prober.series()[0].samples]


def stopped(prober: Prober) -> tuple[ProbeSeries, ...]:
    prober.stop()
    return prober.series()


OK = saying(b"HTTP/1.1 200 OK\r\n\r\n")


def test_every_node_goes_every_path_at_its_rate_until_it_is_stopped() -> None:
    with server(OK) as address:
        ways = [Way(lambda: address), Way(lambda: address, ProbeKind.POD, "pods of default")]
        with probing(Nodes(["a", "b"]), *ways) as prober:
            wait_until(lambda: (prober.first_ok_s() or 0) > 0, within_s=5, what="an answer on every node")
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 0.5, within_s=5, what="ten requests")
            series = stopped(prober)
    assert [(each.vantage, each.path) for each in series] == [
        ("a", "web"), ("a", "pods of default"), ("b", "web"), ("b", "pods of default"),
    ]  # fmt: skip
    for each in series:
        assert 5 <= len(each.samples) <= 25, "20 a second"
        assert {sample.outcome for sample in each.samples} == {"ok"}
        assert all(0 < sample.latency_s < 0.4 for sample in each.samples)
        times = [t for sample in each.samples for t in (sample.at_s, sample.latency_s)]
        assert times == [round(t, 4) for t in times], "tenths of a millisecond"
        assert [s.at_s for s in each.samples] == sorted(s.at_s for s in each.samples)
    assert prober.series() == series, "nothing is asked after the end"


def test_the_rate_stays_while_requests_hang_and_those_under_way_are_waited_for() -> None:
    over = threading.Event()
    with server(lambda _: over.wait(5) and None) as hanging, probing(Nodes(["a"]), Way(lambda: hanging)) as prober:
        wait_until(lambda: len(seen(prober)) > 2, within_s=5, what="three requests that hung")
        (series,) = stopped(prober)
        over.set()
    assert {sample.outcome for sample in series.samples} == {"timeout"}
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(series.samples)]
    assert sorted(gaps)[len(gaps) // 2] < 0.1 and len(series.samples) > 6, "not one each 0.4 s"


def test_a_service_without_an_address_is_said_and_one_that_gets_it_later_is_asked() -> None:
    with server(OK) as address:
        given: list[tuple[str, int]] = []
        with probing(Nodes(["a"]), Way(lambda: given[0] if given else None)) as prober:
            wait_until(lambda: len(seen(prober)) > 1, within_s=5, what="two samples")
            assert prober.first_ok_s() is None
            given.append(address)
            wait_until(lambda: prober.first_ok_s() is not None, within_s=5, what="traffic")
            outcomes = [sample.outcome for sample in stopped(prober)[0].samples]
    assert outcomes[:2] == ["no-address", "no-address"] and outcomes[-1] == "ok"


def test_traffic_is_there_when_every_service_answers_whatever_names_and_pods_do() -> None:
    with server(OK) as address:
        given: list[tuple[str, int]] = []
        ways = [
            Way(lambda: address), Way(lambda: given[0] if given else None, service="other"),
            Way(lambda: None, ProbeKind.DNS), Way(lambda: None, ProbeKind.POD),
        ]  # fmt: skip
        with probing(Nodes(["a"]), *ways) as prober:
            wait_until(lambda: seen(prober)[-1:] == ["ok"], within_s=5, what="the first service")
            assert prober.first_ok_s() is None
            given.append(address)
            wait_until(lambda: prober.first_ok_s() is not None, within_s=5, what="the other one")


def test_where_nobody_is_to_be_asked_nothing_is_noted() -> None:
    class Nobody(Way):
        def request(self, node: str) -> None:  # type: ignore[override]
            return None

    with server(OK) as address, probing(Nodes(["a"]), Way(lambda: address), Nobody(lambda: None)) as prober:
        wait_until(lambda: len(seen(prober)) > 2, within_s=5, what="three requests")
        assert stopped(prober)[1].samples == ()


def test_waiting_for_the_address_is_no_latency_of_the_service() -> None:
    def slow() -> tuple[str, int]:
        time.sleep(0.15)  # as while the history's lock is held
        return address

    with server(OK) as address, probing(Nodes(["a"]), Way(slow)) as prober:
        wait_until(lambda: len(seen(prober)) >= 2, within_s=5, what="two samples")
        assert all(sample.latency_s < 0.1 for sample in stopped(prober)[0].samples)


def test_a_node_that_can_not_be_entered_is_blind_in_words_and_has_no_traffic() -> None:
    nodes = Nodes(["a", "b"], broken=["b"])
    with server(OK) as address, probing(nodes, Way(lambda: address)) as prober:
        wait_until(lambda: seen(prober)[-1:] == ["ok"], within_s=5, what="traffic on a")
        assert prober.first_ok_s() is None
        a, b = stopped(prober)
    assert a.blind is None and a.samples
    why = "no client on b: [Errno 2] No such file or directory: 'b'"
    assert b == ProbeSeries(service="web", vantage="b", samples=(), blind=why)
    added = prober.add_to(observation(blind=("etcd history: gone",)))
    assert added.probes == (a, b) and added.blind == ("etcd history: gone", f"probe from b: {why}")


def test_a_client_that_breaks_is_blind_in_words() -> None:
    def broken() -> tuple[str, int]:
        raise ValueError("no such thing")

    with probing(Nodes(["a"]), Way(broken)) as prober:
        wait_until(lambda: bool(prober.blind), within_s=5, what="the client's end")
        stopped(prober)
    assert prober.blind == ("probe from a: the client on a ended: ValueError('no such thing')",)
