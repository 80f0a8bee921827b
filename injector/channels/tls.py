"""TLS on either side of the forwarder: contexts made of files, what HTTP/2 needs of ALPN, and failures in words.

The forwarder takes etcd's place towards kube-apiserver, so it does as etcd does with --client-cert-auth: it serves a
certificate and wants one of its clients. Towards etcd it is a client that has one. TLS 1.2 or newer on both sides, as
Go's default and so etcd's. Deliberately not here: HTTP/1.1 (etcd has /health and its JSON gateway on the same port;
kube-apiserver asks for neither), and certificates that are read again when their files change.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Files", "client_context", "in_words", "server_context", "speaks_http2"]

logger = logging.getLogger("forwarder")

_HTTP2 = "h2"


@dataclass(frozen=True, slots=True)
class Files:
    """One side's PEM files, as a user gave them: our certificate, its key, and the authorities that the other side's
    certificate is checked against. All three, or none for plain text. `options` are their names, for messages.
    """

    options: tuple[str, str, str]
    cert: Path | None
    key: Path | None
    ca: Path | None


def server_context(files: Files, problems: list[str]) -> ssl.SSLContext | None:
    """For those who connect to us: nobody gets in without a certificate. None for plain text, and where something is
    wrong: that is added to `problems`, in words."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.sslobject_class = _Told
    return _loaded(context, files, problems)


def client_context(files: Files, problems: list[str]) -> ssl.SSLContext | None:
    """For connecting: the server's certificate must be signed by the authority and name the host that is connected to,
    be it an address. None for plain text, and where something is wrong: that is added to `problems`, in words."""
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files, problems)


def speaks_http2(transport: asyncio.BaseTransport) -> bool:
    """Whether the other side agreed on HTTP/2 by ALPN; without TLS it has no say, and its first bytes tell."""
    agreed = transport.get_extra_info("ssl_object")
    return agreed is None or agreed.selected_alpn_protocol() == _HTTP2


def in_words(error: Exception) -> str:
    """A connection's error as the end of a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the other side's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.replace('_', ' ').lower()}"
    return str(error) or type(error).__name__


class _Told(ssl.SSLObject):
    """Says why a handshake failed. The event loop closes the connection without a word (uvloop 0.23, sslproto.pyx,
    _fatal_error), and no protocol has been told of it yet. A client that goes in the middle of a handshake without a
    word gets none here."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):  # the rest of it has not come yet
            raise
        except ssl.SSLError as error:
            logger.warning("a client's connection was closed: %s", in_words(error))
            raise


def _loaded(context: ssl.SSLContext, files: Files, problems: list[str]) -> ssl.SSLContext | None:
    named = list(zip(files.options, (files.cert, files.key, files.ca), strict=True))
    given = [(option, path) for option, path in named if path is not None]
    if missing := [option for option, path in named if path is None]:
        if given:
            options = ", ".join(option for option, _ in given)
            problems.append(f"{options} without {', '.join(missing)}: expected all three, or none for plain text")
        return None
    unreadable = [problem for option, path in given if (problem := _unreadable(option, path))]
    problems += unreadable or _load(context, given)
    context.set_alpn_protocols([_HTTP2])
    return context


def _unreadable(option: str, path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return f"{option} {str(path)!r}: {error.strerror or error}"


def _load(context: ssl.SSLContext, given: list[tuple[str, Path]]) -> list[str]:
    """Loads certificate, key and authorities, in this order; what is wrong with them, in words."""
    (cert_option, cert), (key_option, key), (ca_option, ca) = given
    wrong = []
    try:
        context.load_cert_chain(cert, key, password="")  # none; OpenSSL would ask on the terminal
    except ssl.SSLError as error:
        wanted = "expected a certificate and the key that belongs to it, PEM, not encrypted"
        wrong.append(f"{cert_option} {str(cert)!r}, {key_option} {str(key)!r}: {wanted} ({in_words(error)})")
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        wrong.append(f"{ca_option} {str(ca)!r}: expected certificates of authorities, PEM ({in_words(error)})")
    return wrong
