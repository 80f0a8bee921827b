"""The forwarder's command line: read, checked as a whole, and every problem said at once."""

from __future__ import annotations

import argparse
import ipaddress
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from injector.channels.tls import Files, client_context, server_context
from injector.errors import InputError, Problem

__all__ = ["Options", "parse"]

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen and where to connect to, with TLS where there is a context, and the control socket's path."""

    listen: Address
    tls: ssl.SSLContext | None
    upstream: Address
    upstream_tls: ssl.SSLContext | None
    control: Path


def parse(argv: Sequence[str] | None = None) -> Options:
    """InputError with everything that is wrong; argparse's own exit (code 2) for options that it does not know."""
    given = _parser().parse_args(argv)
    problems: list[str] = []

    def address(option: str, text: str, parsed: Callable[[str], Address]) -> Address:
        try:
            return parsed(text)
        except ValueError as error:
            problems.append(f"{option} {text!r}: {error}")
            return "", 0

    ours = Files(("--tls-cert", "--tls-key", "--tls-client-ca"), given.tls_cert, given.tls_key, given.tls_client_ca)
    names = ("--upstream-cert", "--upstream-key", "--upstream-ca")
    theirs = Files(names, given.upstream_cert, given.upstream_key, given.upstream_ca)
    options = Options(
        listen=address("--listen", given.listen, _loopback),
        tls=server_context(ours, problems),
        upstream=address("--upstream", given.upstream, _address),
        upstream_tls=client_context(theirs, problems),
        control=given.control,
    )
    if problems:
        raise InputError(Problem("input", "", problem) for problem in problems)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="injector.channels.forwarder")
    parser.add_argument("--listen", required=True, help="HOST:PORT on loopback")
    parser.add_argument("--upstream", required=True, help="HOST:PORT of etcd")
    parser.add_argument("--control", required=True, type=Path, help="path of the control socket")
    parser.add_argument("--tls-cert", type=Path, help="serve TLS with this certificate (PEM, as all of these)")
    parser.add_argument("--tls-key", type=Path, help="its key")
    parser.add_argument("--tls-client-ca", type=Path, help="authority that clients' certificates must be signed by")
    parser.add_argument("--upstream-cert", type=Path, help="speak TLS to upstream, with this certificate")
    parser.add_argument("--upstream-key", type=Path, help="its key")
    parser.add_argument("--upstream-ca", type=Path, help="authority that upstream's certificate must be signed by")
    return parser


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected HOST:PORT")
    return host.strip("[]"), int(port)


def _loopback(text: str) -> Address:
    host, port = _address(text)
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError("expected a loopback address such as 127.0.0.1:2381")
    return host, port
