"""A stand-in for kube-apiserver: HTTPS, bearer tokens, and lists and watches of Nodes as it speaks them.

It keeps what it is told and sends every watcher what comes after; `list_with` and `end_watches` make it behave as an
API server that has compacted, fails or goes away. What was asked of it is in `asked`.
"""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from campaigns.clusters.sandbox import pki

__all__ = ["StandIn"]


class StandIn:
    def __init__(self, credentials: Path, *, port: int) -> None:
        """Writes ca.crt and a token into `credentials`, as the kubelet would."""
        self.token = "first"
        self.asked: list[dict[str, str]] = []
        self.unauthorized = 0
        self._version = 100
        self._nodes: dict[str, dict[str, Any]] = {}
        self._watchers: list[queue.SimpleQueue[dict[str, Any] | None]] = []
        self._lock = threading.Lock()
        self._refusals: list[int] = []
        credentials.mkdir()
        authority = pki.Authority("kubernetes")
        (credentials / "ca.crt").write_bytes(authority.identity.certificate)
        (credentials / "token").write_text(self.token)
        own = authority.issue("kube-apiserver", hosts=("127.0.0.1",))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, data in (("apiserver.crt", own.certificate), ("apiserver.key", own.key)):
            pki.write_private(credentials.parent / name, data)
        context.load_cert_chain(credentials.parent / "apiserver.crt", credentials.parent / "apiserver.key")
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    # what the cluster does

    def put(self, name: str, cidr: str | None, address: str, *, silently: bool = False) -> None:
        """A node is made or changed; silently: watchers miss it."""
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        with self._lock:
            known = name in self._nodes
            self._nodes[name] = {"spec": {"podCIDR": cidr} if cidr else {}, "status": status}
            self._changed("MODIFIED" if known else "ADDED", name, silently)

    def delete(self, name: str) -> None:
        with self._lock:
            self._changed("DELETED", name, False)
            del self._nodes[name]

    def _changed(self, kind: str, name: str, silently: bool) -> None:
        self._version += 1
        self._nodes[name]["metadata"] = {"name": name, "resourceVersion": str(self._version)}
        if not silently:
            self._send({"type": kind, "object": self._nodes[name]})

    def _send(self, event: dict[str, Any] | None) -> None:
        for watcher in self._watchers:
            watcher.put(event)

    def bookmark(self) -> str:
        with self._lock:
            self._version += 10
            self._send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self._version)}}})
            return str(self._version)

    def expire(self) -> None:
        """What watchers get whose version is compacted: one event, and the end."""
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        with self._lock:
            self._send({"type": "ERROR", "object": status})
            self._send(None)

    def end_watches(self) -> None:
        with self._lock:
            self._send(None)

    def refuse(self, *statuses: int) -> None:
        """The next requests are answered with these."""
        self._refusals += statuses

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    # what it answers

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if self.headers["Authorization"] != f"Bearer {api.token}":
                    api.unauthorized += 1
                    return self._json(401, {"kind": "Status", "code": 401})
                assert url.path == "/api/v1/nodes"
                query = dict(parse_qsl(url.query))
                api.asked.append(query)
                if api._refusals:
                    return self._json(status := api._refusals.pop(0), {"kind": "Status", "code": status})
                if "watch" in query:
                    return self._watch()
                with api._lock:
                    metadata = {"resourceVersion": str(api._version)}
                    return self._json(200, {"metadata": metadata, "items": [api._nodes[n] for n in sorted(api._nodes)]})

            def _json(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _watch(self) -> None:
                events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                with api._lock:
                    api._watchers.append(events)
                with contextlib.suppress(OSError):
                    while (event := events.get()) is not None:
                        line = json.dumps(event).encode() + b"\n"
                        middle = len(line) // 2  # a line may come in several chunks
                        for part in (line[:middle], line[middle:]):
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                api._watchers.remove(events)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
