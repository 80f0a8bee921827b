"""Clients, against real local servers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.observers.probes import Prober, ask
from campaigns.record import Reset
from classifiers.observation import ComponentHealth, ProbeSeries
from injector.channels.control import ForwarderClient
from tests.conftest import wait_until

T = TypeVar("T")
Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[tuple[str, int]]:
    """Calls `answer` with every connection, after its request has been read."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def saying(text: bytes) -> Answer:
    return lambda connection: connection.sendall(text)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "ok"),
        (saying(b"HTTP/1.0 200 OK\r\n\r\n"), "ok"),
        (saying(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "http-503"),
        (saying(b"HTTP/1.1 404 Not Found\r\n\r\n"), "http-404"),
        (saying(b"HTTP/1.1 2000 what\r\n\r\n"), "other: not HTTP"),
        (saying(b"SSH-2.0-OpenSSH 200\r\n"), "other: not HTTP"),
        (saying(b"hello"), "other: not HTTP"),
        (saying(b""), "reset"),
        (reset, "reset"),
    ],
)
def test_an_answer_is_told_in_the_words_of_the_record(answer: Answer, outcome: str) -> None:
    with server(answer) as address:
        assert ask(address, timeout_s=2) == outcome


def test_a_server_that_does_not_answer_in_time_is_a_timeout() -> None:
    over = threading.Event()
    with server(lambda _: over.wait(5) and None) as address:
        began = time.monotonic()
        assert ask(address, timeout_s=0.1) == "timeout"
        assert time.monotonic() - began < 1
        over.set()


def test_nobody_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert ask(("127.0.0.1", port)) == "refused"


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        (("10.96.0.1x", 80), "other: not an IP address"),
        (("no such name", 80), "other: not an IP address"),
        (("", 80), "other: not an IP address"),
        (("1\0", 80), "other: not an IP address"),
        (("127.0.0.1", 0), "other: not a port"),
        (("127.0.0.1", 65536), "other: not a port"),
        (("127.0.0.1", -1), "other: not a port"),
        (("127.0.0.1", 2**31), "other: not a port"),
        (("255.255.255.255", 80), "other: Network is unreachable|other: Permission denied"),
    ],
)
def test_a_corrupted_address_is_an_outcome_not_an_exception_and_is_never_looked_up(
    address: tuple[str, int], outcome: str
) -> None:
    began = time.monotonic()
    assert ask(address) in outcome.split("|")
    assert time.monotonic() - began < 0.2


class Nodes:
    """A cluster whose nodes are this machine; `broken` ones can't be entered."""

    name, kubeconfig, etcd_address = "stand-in", Path("/nowhere"), ("127.0.0.1", 0)
    forwarder = ForwarderClient(Path("/nowhere"))

    def __init__(self, nodes: Sequence[str], broken: Sequence[str] = ()) -> None:
        self._nodes, self._broken = nodes, broken

    @property
    def pids(self) -> Mapping[str, int]:
        return {}

    def vantage_points(self) -> Sequence[str]:
        return self._nodes

    def on_node(self, node: str, function: Callable[[], T]) -> T:
        if node in self._broken:
            raise FileNotFoundError(2, "No such file or directory", node)
        return function()

    def health(self) -> tuple[ComponentHealth, ...]:
        return ()

    def rollback(self, keyspace: KeySpace, *, within_s: float) -> Reset:
        raise NotImplementedError


@contextlib.contextmanager
def probing(nodes: Nodes, address: Callable[[], tuple[str, int] | None]) -> Iterator[Prober]:
    prober = Prober(nodes, "web", address, began=time.monotonic())  # type: ignore[arg-type]
    prober.start()
    try:
        yield prober
    finally:
        prober.stop()


def test_every_node_asks_at_its_rate_until_it_is_stopped() -> None:
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as address, probing(Nodes(["a", "b"]), lambda: address) as prober:
        wait_until(lambda: (prober.first_ok_s() or 0) > 0, within_s=5, what="an answer on every node")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.5, within_s=5, what="ten requests")
        series = prober.stop()
    assert [each.vantage for each in series] == ["a", "b"] and all(each.service == "web" for each in series)
    for each in series:
        assert 5 <= len(each.samples) <= 25, "20 a second"
        assert {sample.outcome for sample in each.samples} == {"ok"}
        assert all(0 < sample.latency_s < 0.4 for sample in each.samples)
        assert [s.at_s for s in each.samples] == sorted(s.at_s for s in each.samples)
    assert prober.stop() == series, "nothing is asked after the end"
    assert not [t for t in threading.enumerate() if t in prober._threads]


def test_a_service_without_an_address_is_said_and_one_that_gets_it_later_is_asked() -> None:
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as address:
        given: list[tuple[str, int]] = []
        with probing(Nodes(["a"]), lambda: given[0] if given else None) as prober:
            wait_until(lambda: len(prober._clients[0].samples) > 1, within_s=5, what="two samples")
            assert prober.first_ok_s() is None
            given.append(address)
            wait_until(lambda: prober.first_ok_s() is not None, within_s=5, what="traffic")
            outcomes = [sample.outcome for sample in prober.stop()[0].samples]
    assert outcomes[:2] == ["no-address", "no-address"] and outcomes[-1] == "ok"


def test_waiting_for_the_address_is_no_latency_of_the_service() -> None:
    def slow() -> tuple[str, int]:
        time.sleep(0.15)  # as while the history's lock is held
        return address

    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as address, probing(Nodes(["a"]), slow) as prober:
        wait_until(lambda: len(prober._clients[0].samples) >= 2, within_s=5, what="two samples")
        assert all(sample.latency_s < 0.1 for sample in prober.stop()[0].samples)


def test_a_node_that_can_not_be_entered_is_blind_in_words_and_has_no_traffic() -> None:
    nodes = Nodes(["a", "b"], broken=["b"])
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as address, probing(nodes, lambda: address) as prober:
        wait_until(lambda: prober._clients[0].first_ok_s is not None, within_s=5, what="traffic on a")
        assert prober.first_ok_s() is None
        a, b = prober.stop()
    assert a.blind is None and a.samples
    assert b == ProbeSeries(
        service="web", vantage="b", samples=(), blind="no client on b: [Errno 2] No such file or directory: 'b'"
    )
