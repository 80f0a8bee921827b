"""Requests and their outcomes, against real local servers."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.observers.asking import Asker, HttpGet, NameLookup, ask
from tests.campaigns.observers.servers import Answer, dns_server, reset, saying, server


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


# Several at once


def outcomes(asker: Asker, *requests: HttpGet | NameLookup) -> list[str]:
    """Of the requests, begun together, in their order."""
    found: dict[int, str] = {}
    for number, request in enumerate(requests):
        asker.begin(request, lambda _b, _e, outcome, number=number: found.update({number: outcome}))  # type: ignore[misc]
    deadline = time.monotonic() + 5
    while len(found) < len(requests) and time.monotonic() < deadline:
        asker.poll(deadline)
    assert asker.idle
    return [found[number] for number in range(len(requests))]


@pytest.fixture
def asker() -> Iterator[Asker]:
    made = Asker(timeout_s=0.3)
    yield made
    made.close()


def test_one_that_hangs_holds_up_no_other(asker: Asker) -> None:
    over = threading.Event()
    with server(lambda _: over.wait(5) and None) as hanging, server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as quick:
        ended: dict[str, float] = {}
        began = time.monotonic()
        for name, address in (("hangs", hanging), ("quick", quick)):
            asker.begin(HttpGet(address), lambda _b, e, outcome, name=name: ended.update({f"{name} {outcome}": e}))  # type: ignore[misc]
        while not asker.idle:
            asker.poll(began + 5)
        over.set()
    assert set(ended) == {"hangs timeout", "quick ok"}
    assert ended["quick ok"] - began < 0.2 and 0.3 <= ended["hangs timeout"] - began < 1


def test_polling_returns_when_its_time_is_over_and_costs_nothing_meanwhile(asker: Asker) -> None:
    over = threading.Event()
    with server(lambda _: over.wait(5) and None) as hanging:
        asker.begin(HttpGet(hanging), lambda *_: None)
        began, used = time.monotonic(), time.thread_time()
        asker.poll(began + 0.1)
        assert 0.09 < time.monotonic() - began < 0.25
        assert time.thread_time() - used < 0.02
        over.set()


# Names


def answering(*addresses: str, rcode: int = 0, cut: int | None = None) -> Callable[[bytes], bytes]:
    """A server that has these addresses for every name, the name in the answer being a pointer to the question's."""

    def reply(question: bytes) -> bytes:
        head = question[:2] + struct.pack("!5H", 0x8580 | rcode, 1, len(addresses), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 30, 4) + socket.inet_aton(a) for a in addresses]
        return (head + question[12:] + b"".join(records))[:cut]

    return reply


NAME = "web.default.svc.cluster.local"


@pytest.mark.parametrize(
    ("reply", "right", "outcome"),
    [
        (answering("10.96.0.7"), ["10.96.0.7"], "ok"),
        (answering("10.96.0.8"), ["10.96.0.7"], "wrong-address"),
        (answering("10.96.0.8"), [], "wrong-address"),
        (answering("10.96.0.8", "10.96.0.7"), ["10.96.0.7", "10.96.0.8"], "ok"),
        (answering("10.96.0.8", "10.96.0.7"), None, "ok"),
        (answering(), ["10.96.0.7"], "no-records"),
        (answering(rcode=2), ["10.96.0.7"], "servfail"),
        (answering(rcode=3), ["10.96.0.7"], "nxdomain"),
        (answering(rcode=5), ["10.96.0.7"], "dns-5"),
        (answering("10.96.0.7", cut=40), ["10.96.0.7"], "other: not DNS"),
        (answering("10.96.0.7", cut=-1), ["10.96.0.7"], "other: not DNS"),
        (answering(cut=-1), ["10.96.0.7"], "other: not DNS"),
        (lambda question: question, ["10.96.0.7"], "other: not DNS"),
        (lambda question: b"x", ["10.96.0.7"], "other: not DNS"),
        (lambda question: b"", ["10.96.0.7"], "timeout"),
    ],
)
def test_what_dns_answers_is_told_in_the_words_of_the_record(
    reply: Callable[[bytes], bytes], right: list[str] | None, outcome: str, asker: Asker
) -> None:
    with dns_server(reply) as address:
        lookup = NameLookup(address, NAME, lambda: None if right is None else frozenset(right))
        assert outcomes(asker, lookup, lookup) == [outcome, outcome]


def test_a_question_is_what_rfc_1035_says(asker: Asker) -> None:
    asked: list[bytes] = []

    def keep(question: bytes) -> bytes:
        asked.append(question)
        return answering("10.96.0.7")(question)

    with dns_server(keep) as address:
        outcomes(asker, *(NameLookup(address, NAME, lambda: None) for _ in range(2)))
    assert asked[0][2:] == (
        bytes.fromhex("0100 0001 0000 0000 0000") + b"\x03web\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01"
    )
    assert asked[0][:2] != asked[1][:2], "each question has a number of its own"


def test_a_dns_that_is_not_there_is_refused(asker: Asker) -> None:
    with dns_server(lambda _: b"") as address:
        pass
    assert outcomes(asker, NameLookup(address, NAME, lambda: None)) == ["refused"]


ASKING = """
import time
from campaigns.observers.asking import Asker, HttpGet, NameLookup
asker, outcomes, turns = Asker(timeout_s=1.0), [], 0
for request in (HttpGet(("10.99.0.1", 80)), NameLookup(("10.99.0.1", 53), "a.b", lambda: None)):
    asker.begin(request, lambda began, ended, outcome: outcomes.append((outcome, ended - began < 0.5)))
began = time.monotonic()
while not asker.idle:
    asker.poll(began + 5)
    turns += 1
asker.close()
print(outcomes, turns < 20)
"""


def test_what_a_router_says_is_unreachable_is_told_at_once_and_epoll_rests() -> None:
    # a router on this machine answers while the first packet is still being sent: the socket alone does not tell of it.
    # A socket for UDP is told of a closed port only, so a name is asked for in vain
    script = Path(__file__).with_name("unreachable.sh")
    spaces = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*spaces, "sh", str(script), sys.executable, "-c", ASKING]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=root, stdin=subprocess.DEVNULL)
    expected = [("other: Network is unreachable", True), ("timeout", False)]
    assert done.stdout.strip() == f"{expected} True", done.stderr
