"""Image `mutineer/client:1`: GETs a URL for ever and says of every attempt how it went.

    client --url http://web.default.svc.cluster.local [--interval 0.5] [--timeout 1]

One line an attempt, a connection each, names looked up anew each time with the pod's resolv.conf:

    2026-03-01T12:00:00.123Z ok 1.2ms
    2026-03-01T12:00:00.623Z error refused

`ok` is any status from 200 to 399, as the kubelet's probes have it. Errors: dns (no such name, or no answer in time),
refused, timeout, unreachable, reset, protocol (not HTTP), http-NNN, other. `--timeout` (seconds) is that of a whole
attempt. Attempts begin every `--interval` seconds; one that takes longer delays the next, and none is made up for. At
SIGTERM it prints how many there were of each and exits 0.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import errno
import http.client
import signal
import socket
import sys
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

__all__ = ["Target", "main", "outcome_of", "read_url"]

_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH)
_BODY_BYTES = 1 << 16
"""As much of an answer is read; arbitrary, no service of ours says more."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked: `path` with its query, `authority` as the Host header has it."""

    host: str
    port: int
    authority: str
    path: str


def read_url(text: str) -> Target:
    """ValueError unless it is an http URL with a host."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"expected a URL as http://HOST[:PORT][/PATH], got {text!r}")
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return Target(parts.hostname, parts.port or http.client.HTTP_PORT, parts.netloc.rpartition("@")[2], path)


def outcome_of(error: Exception) -> str:
    """The one word for what went wrong."""
    if isinstance(error, socket.gaierror):
        return "dns"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return "reset"
    if isinstance(error, OSError):
        return "unreachable" if error.errno in _UNREACHABLE else "other"
    return "protocol"


class _Lookup:
    """getaddrinfo in a thread, since nothing can interrupt it: a server that does not answer holds it for as long as
    resolv.conf says (5 s, several times). Later attempts wait for the same one, so there never is a second thread."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._found: list[Any] = []
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="dns", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = socket.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._failure = error if isinstance(error, OSError) else socket.gaierror(str(error))

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def addresses(self, within_s: float) -> list[Any]:
        """What getaddrinfo found. gaierror where it found nothing, or not in time."""
        self._thread.join(within_s)
        if not self.done:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time")
        if self._failure is not None:
            raise self._failure
        return self._found


class _Client:
    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target, self._timeout_s = target, timeout_s
        self._lookup: _Lookup | None = None

    def attempt(self) -> str:
        """`ok` or the word for what went wrong."""
        deadline = time.monotonic() + self._timeout_s
        if self._lookup is None:
            self._lookup = _Lookup(self._target)
        try:
            addresses = self._lookup.addresses(self._timeout_s)
            with contextlib.closing(_connect(addresses, deadline)) as plain:
                status = _ask(plain, self._target, deadline)
        except (OSError, http.client.HTTPException) as error:
            return outcome_of(error)
        finally:
            if self._lookup.done:
                self._lookup = None
        return "ok" if 200 <= status < 400 else f"http-{status}"


def _left_s(deadline: float) -> float:
    """TimeoutError where nothing is left: a socket's timeout of 0 would mean something else."""
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _connect(addresses: list[Any], deadline: float) -> socket.socket:
    """The first address that takes a connection; the last one's error otherwise."""
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for family, kind, protocol, _, address in addresses:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left_s(deadline))
            plain.connect(address)
        except OSError as error:
            plain.close()
            failure = error
        else:
            return plain
    raise failure


def _ask(plain: socket.socket, target: Target, deadline: float) -> int:
    """The status of the answer, which has been read."""
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = plain
    headers = {"Host": target.authority, "Connection": "close", "User-Agent": "mutineer-client"}
    plain.settimeout(_left_s(deadline))
    connection.request("GET", target.path, headers=headers)
    with contextlib.closing(connection), contextlib.closing(connection.getresponse()) as response:
        response.read(_BODY_BYTES)
        return response.status


def _now() -> str:
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"


def _probe(client: _Client, interval_s: float, counts: Counter[str]) -> NoReturn:
    due = time.monotonic()
    while True:
        at, began = _now(), time.monotonic()
        outcome = client.attempt()
        took_ms = (time.monotonic() - began) * 1000
        counts[outcome] += 1
        print(f"{at} ok {took_ms:.1f}ms" if outcome == "ok" else f"{at} error {outcome}", flush=True)
        due = max(due + interval_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) < threading.TIMEOUT_MAX:
        raise ValueError(text)
    return number


def main(arguments: list[str]) -> None:
    counts: Counter[str] = Counter()
    signal.signal(signal.SIGTERM, _stop)
    parser = argparse.ArgumentParser(prog="client")
    parser.add_argument("--url", type=read_url, required=True)
    parser.add_argument("--interval", type=_positive, default=0.5)
    parser.add_argument("--timeout", type=_positive, default=1.0)
    options = parser.parse_args(arguments)
    try:
        _probe(_Client(options.url, options.timeout), options.interval, counts)
    finally:
        said = [f"{counts['ok']} ok", *(f"{n} {word}" for word, n in sorted(counts.items()) if word != "ok")]
        print(f"{_now()} end: {', '.join(said)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
