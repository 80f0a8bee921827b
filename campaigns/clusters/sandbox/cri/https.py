"""An HTTPS server for programs in pods: HTTP/1.1 with connections that stay, a thread a connection.

The handshake is made in the connection's thread, so that a client that says nothing holds up nobody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn, cast

__all__ = ["Handler", "Server", "exit_at_sigterm", "server_context"]

_IDLE_S = 120.0
"""A connection on which nothing is asked for so long is closed; kube-apiserver's client gives one up after 90 s
(Go's net/http, DefaultTransport, IdleConnTimeout)."""
_HANDSHAKE_S = 10.0
"""Go's net/http, DefaultTransport, TLSHandshakeTimeout."""
_MOST_BYTES = 7 << 20
"""Of a request: arbitrary, twice kube-apiserver's own limit of 3 MiB (an AdmissionReview holds two objects)."""


def server_context(folder: Path) -> ssl.SSLContext:
    """With `tls.crt` and `tls.key`, as a Secret of type kubernetes.io/tls is mounted. OSError if they can't be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


class Server(ThreadingHTTPServer):
    """`context` may be replaced at any time; it counts for new connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler], context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # a handshake that failed, a client that went away
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """Subclasses have do_GET and do_POST; they read with `body` and answer with `answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_S

    def setup(self) -> None:
        server = cast(Server, self.server)
        self.request.settimeout(_HANDSHAKE_S)
        self.request = server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        with contextlib.suppress(OSError):
            self.request.close()  # wrapping has taken the socket over from the server

    def body(self) -> bytes | None:
        """None, and an answer was sent, where there is none that can be taken."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self.answer(411 if not length else 413, b"a Content-Length of at most 7 MiB is needed\n", "text/plain")
            return None
        return self.rfile.read(int(length))

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: who asks is kube-apiserver, and it asks often."""


def _exit(*_: object) -> NoReturn:
    sys.stdout.flush()
    os._exit(0)  # now: threads of a server have nothing to finish


def exit_at_sigterm() -> None:
    """With exit code 0, at once."""
    signal.signal(signal.SIGTERM, _exit)
