"""Asking over sockets, many at once in one thread: HTTP over a new connection, DNS over UDP from a new port.

A new socket each time, since a kept one would stay with the endpoint that the node's rules chose for it first. Requests
are begun, and come back with their outcome when `Asker.poll` finds them answered or late. Outcomes are the words of
classifiers.observation.ProbeSample.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from campaigns.observers import dns

__all__ = ["TIMEOUT_S", "Address", "Asker", "HttpGet", "NameLookup", "Request", "ask"]

TIMEOUT_S = 0.4
"""A loopback request takes about 1 ms and some ten on a busy machine. The first packets to a ClusterIP that is not yet
programmed are lost, so this also is the resolution of the milestone `traffic`."""
_GET = b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_RCODES = {2: "servfail", 3: "nxdomain"}
_LARGEST_ANSWER = 4096
_ERRORS = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))
"""IP_RECVERR and IPV6_RECVERR (linux/in.h, linux/in6.h): a struct sock_extended_err, which begins with the errno."""
_ERROR_BYTES = 256

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class HttpGet:
    """GET / over a new connection: `ok` is status 200."""

    address: Address


@dataclass(frozen=True, slots=True)
class NameLookup:
    """The addresses of `name`, asked of the server at `address`. `ok` are just those that `right` tells, which is asked
    when the answer is there; None: any will do."""

    address: Address
    name: str
    right: Callable[[], frozenset[str] | None]


Request = HttpGet | NameLookup


@dataclass(slots=True)
class _Exchange:
    request: Request
    done: Callable[[float, float, str], None]
    began: float
    socket: socket.socket
    sent: bool = False


class Asker:
    """Requests under way. One thread's; `close` when it is over."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._epoll = select.epoll()
        self._under_way: dict[int, _Exchange] = {}
        self._by_age: deque[tuple[float, int, _Exchange]] = deque()

    def close(self) -> None:
        """Forgets what is under way."""
        for exchange in self._under_way.values():
            exchange.socket.close()
        self._under_way.clear()
        self._epoll.close()

    @property
    def idle(self) -> bool:
        return not self._under_way

    def begin(self, request: Request, done: Callable[[float, float, str], None]) -> None:
        """Sends it; `done` gets when it was sent and when its outcome was there (time.monotonic()), and the outcome."""
        began = time.monotonic()
        if (wrong := _impossible(request.address)) is not None:
            done(began, began, wrong)
            return
        kind = socket.SOCK_DGRAM if isinstance(request, NameLookup) else socket.SOCK_STREAM
        opened = socket.socket(_family(request.address[0]), kind | socket.SOCK_NONBLOCK)
        exchange = _Exchange(request, done, began, opened)
        if (code := opened.connect_ex(request.address)) not in (0, errno.EINPROGRESS):
            opened.close()
            done(began, time.monotonic(), _of_errno(code))
            return
        self._under_way[opened.fileno()] = exchange
        self._by_age.append((began + self._timeout_s, opened.fileno(), exchange))
        # on one machine the connection mostly stands by now, without a turn to wait for that
        sent = self._send(exchange)
        if sent is not None:
            self._epoll.register(opened.fileno(), select.EPOLLIN if sent else select.EPOLLOUT)

    def poll(self, until: float) -> None:
        """Waits for answers until that time (time.monotonic()), or the first that comes; ends what is late."""
        now = time.monotonic()
        while self._by_age and (self._by_age[0][0] <= now or self._by_age[0][2].socket.fileno() < 0):
            _, number, exchange = self._by_age.popleft()
            if self._under_way.get(number) is exchange:
                self._end(exchange, "timeout")
        if self._by_age:
            until = min(until, self._by_age[0][0])
        for number, what in self._epoll.poll(max(0.0, until - now)):
            if (found := self._under_way.get(number)) is not None:
                self._go_on(found, number)
            if what & select.EPOLLERR and found is not None and found.socket.fileno() >= 0:
                self._unreachable(found)

    def _go_on(self, exchange: _Exchange, number: int) -> None:
        if exchange.sent:
            self._receive(exchange)
        elif self._send(exchange):
            self._epoll.modify(number, select.EPOLLIN)

    def _unreachable(self, exchange: _Exchange) -> None:
        """Ends it with the ICMP error that came for it, if one did. The socket itself does not tell of one that came
        while it was still sending, as happens where the router is this machine: it would go on as if nothing was, and
        epoll would never rest (kernel 6.18, tcp_v4_err: ip_icmp_error, then sk_err_soft)."""
        try:
            _, ancillary, *_ = exchange.socket.recvmsg(0, _ERROR_BYTES, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            return
        for level, kind, data in ancillary:
            if (level, kind) in _ERRORS:
                self._end(exchange, _of_errno(int.from_bytes(data[:4], sys.byteorder)))
                return

    def _send(self, exchange: _Exchange) -> bool | None:
        """Whether it could be sent now; None if that ended it."""
        try:
            exchange.socket.send(_bytes_of(exchange.request))
        except BlockingIOError:
            return False
        except OSError as error:
            self._end(exchange, _of_errno(error.errno))
            return None
        exchange.sent = True
        return True

    def _receive(self, exchange: _Exchange) -> None:
        try:
            data = exchange.socket.recv(_LARGEST_ANSWER)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(exchange, _of_errno(error.errno))
            return
        request = exchange.request
        self._end(exchange, _of_http(data) if isinstance(request, HttpGet) else _of_dns(data, request))

    def _end(self, exchange: _Exchange, outcome: str) -> None:
        ended = time.monotonic()
        del self._under_way[exchange.socket.fileno()]
        exchange.socket.close()  # which takes it out of the epoll too
        exchange.done(exchange.began, ended, outcome)


def ask(address: Address, *, timeout_s: float = TIMEOUT_S) -> str:
    """One GET /, waited for. Returns the outcome."""
    outcomes: list[str] = []
    asker = Asker(timeout_s=timeout_s)
    try:
        asker.begin(HttpGet(address), lambda _began, _ended, outcome: outcomes.append(outcome))
        while not outcomes:
            asker.poll(time.monotonic() + timeout_s)
    finally:
        asker.close()
    return outcomes[0]


_numbers = itertools.cycle(range(1, 1 << 16))


def _bytes_of(request: Request) -> bytes:
    return _GET if isinstance(request, HttpGet) else dns.query(request.name, next(_numbers))


@lru_cache(maxsize=1024)
def _impossible(address: Address) -> str | None:
    """Why nobody can be asked there. A corrupted address must not be looked up as a host name: that takes seconds where
    there is no resolver."""
    try:
        ipaddress.ip_address(address[0])
    except ValueError:
        return "other: not an IP address"
    return None if 0 < address[1] < 65536 else "other: not a port"


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _of_errno(code: int | None) -> str:
    match code:
        case errno.ECONNREFUSED:
            return "refused"
        case errno.ECONNRESET | errno.EPIPE:
            return "reset"
        case errno.ETIMEDOUT:
            return "timeout"
    return f"other: {os.strerror(code) if code is not None else 'no reason given'}"


def _of_http(head: bytes) -> str:
    if not head:
        return "reset"
    if (status := _STATUS.match(head)) is None:
        return "other: not HTTP"
    return "ok" if status[1] == b"200" else f"http-{status[1].decode()}"


def _of_dns(data: bytes, request: NameLookup) -> str:
    """A socket of its own for each question, connected: what comes is from the server, and an answer to it."""
    try:
        answer = dns.answer(data)
    except ValueError:
        return "other: not DNS"
    if answer.rcode:
        return _RCODES.get(answer.rcode, f"dns-{answer.rcode}")
    if not answer.addresses:
        return "no-records"
    right = request.right()
    return "ok" if right is None or right == frozenset(answer.addresses) else "wrong-address"
