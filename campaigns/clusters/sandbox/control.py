"""The control channel of a sandbox in the background: a Unix socket in its folder, 0600, one JSON line each way.

    {"do": "health"}                                    → {"ok": [ComponentHealth as a mapping, …]}
    {"do": "component", "name": …, "action": Action}    → {"ok": null}
    {"do": "node", "name": …, "action": Action}         → {"ok": null}
    {"do": "reset"}                                     → {"ok": {"rung", "seconds", "proof"}}
    {"do": "inject" | "injected" | "disarm" | "undo"}   see campaigns.clusters.sandbox.injections
    {"do": "value", "key": …}                           → {"ok": etcd's value of that key in base64, or null}
    {"do": "keys", "prefix": …}                         → {"ok": [etcd's keys that begin so, …]}
    anything that fails                                 → {"error": in words}

A path in the file system leads into every network namespace, so this needs no port. Who may connect is who may open the
folder. What the requests mean is in campaigns.clusters.sandbox.keeper.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from injector.errors import ClusterError, MutineerError
from injector.rules import JSONValue

__all__ = ["SOCKET", "ControlServer", "ask"]

SOCKET = "control.sock"
"""Its name in the sandbox's folder."""

_POLL_S = 0.1
"""How soon `close` is noticed; a request wakes the server at once."""

Answer = Callable[[Mapping[str, JSONValue]], JSONValue]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        for line in self.rfile:
            answer = json.dumps(self._answered(line)).encode() + b"\n"
            try:
                self.wfile.write(answer)
            except OSError:  # whoever asked has gone
                return

    def _answered(self, line: bytes) -> JSONValue:
        try:
            request = json.loads(line)
        except ValueError as error:
            return {"error": f"not JSON: {error}"}
        if not isinstance(request, dict):
            return {"error": f"expected a mapping, got {request!r:.60}"}
        try:
            return {"ok": self.server.answer(request)}
        except MutineerError as error:
            return {"error": str(error)}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    answer: Answer


class ControlServer:
    """Answers requests at `path`, each connection in a thread of its own, until `close`."""

    def __init__(self, path: Path, answer: Answer) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._server = _Server(str(path), _Handler, bind_and_activate=False)
        self._server.answer = answer
        self._server.server_bind()
        path.chmod(0o600)  # before anybody can connect
        self._server.server_activate()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def ask(folder: Path, request: Mapping[str, JSONValue], *, within_s: float) -> JSONValue:
    """What the sandbox in `folder` answers. ClusterError with its own words, or if it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within_s)
            connection.connect(str(folder / SOCKET))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except OSError as error:
        raise ClusterError(f"the sandbox {folder.name!r} does not answer: {error or 'no answer in time'}") from None
    if not line:
        raise ClusterError(f"the sandbox {folder.name!r} ended before it answered")
    answer = json.loads(line)
    if "error" in answer:
        raise ClusterError(str(answer["error"]))
    result: JSONValue = answer["ok"]
    return result
