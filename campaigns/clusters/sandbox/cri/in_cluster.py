"""kube-apiserver as a program in a pod sees it: the Service `kubernetes`, the pod's service account, lists and watches.

    api = Api.of_pod("my-controller")
    api.send("POST", "/api/v1/namespaces/default/configmaps", {...})
    follow(api, "/api/v1/nodes", tell)          # in a thread of its own: lists, watches, begins again, for ever

A connection a request: these programs ask seldom, and a watch has one to itself. The token is read anew each time,
since the kubelet rotates it. Sources: client-go, rest/config.go (InClusterConfig), tools/cache/reflector.go, v0.36.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

__all__ = ["CREDENTIALS", "Api", "Event", "Gone", "Refused", "follow", "say"]

Document = Mapping[str, Any]
"""An object as the API's JSON has it; opaque here."""
CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HANDSHAKE_S = 10.0
"""Go's net/http, DefaultTransport, TLSHandshakeTimeout."""
_READ_S = 30.0
"""Of an answer; arbitrary, three times what the slowest list of a loaded API was seen to take."""
_WATCH_S = 300
"""A watch lasts this long to twice as long: reflector.go, minWatchTimeout."""
_SHORT_WATCH_S = 1.0
"""A watch that ended sooner was none: reflector.go, VeryShortWatchError."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""Seconds, seconds, count: a silent peer is given up after 45 s, as client-go's HTTP/2 pings do (30 s + 15 s)."""
_CONNECT_LEAST_S, _CONNECT_MOST_S = 0.4, 5.0
"""A SYN sent before kube-proxy's rules exist is lost for good: better a new connection soon than a long wait."""


def say(words: str) -> None:
    """A line of the program's log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {words}", flush=True)


class Refused(Exception):  # noqa: N818 - it is an answer
    """kube-apiserver answered, and not with success. `reason` is the Status object's, empty where it is none."""

    def __init__(self, request: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{request}: HTTP {status}: {message}")
        self.status, self.reason, self.message = status, reason, message


class Gone(Exception):  # noqa: N818 - not an error: it is how a client learns to ask for the latest
    """The resource version is too old (410), or newer than the server knows (504, too large resource version)."""


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is the watch's (ADDED, MODIFIED, DELETED, BOOKMARK), or LISTED with all objects that there are."""

    kind: str
    objects: tuple[Document, ...]


class Api:
    """OSError and http.client.HTTPException where it can't be reached, Refused where it says no, in every method."""

    def __init__(self, host: str, port: int, credentials: Path, *, agent: str) -> None:
        """`credentials`: folder with `ca.crt` and `token`; `agent`: the program's name for logs and managed fields."""
        self._host, self._port, self._credentials, self.agent = host, port, credentials, agent
        self.connect_s = _CONNECT_MOST_S

    @classmethod
    def of_pod(cls, agent: str, credentials: Path = CREDENTIALS) -> Api:
        """ValueError in words where this is no pod."""
        try:
            host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        except KeyError as error:
            raise ValueError(f"the variable {error} is not set") from None
        return cls(host, port, credentials, agent=agent)

    def token(self) -> str:
        return (self._credentials / "token").read_text().strip()

    def send(self, method: str, path: str, body: Document | None = None, **headers: str) -> Any:
        """The answer's JSON. A `content_type` or `accept` in `headers` is sent as the header of that name."""
        with self._asked(method, path, body, _READ_S, headers) as response:
            return json.load(response)

    def list(self, path: str, version: str, query: Mapping[str, str]) -> tuple[tuple[Document, ...], str]:
        """All objects, as fresh as `version` at least ("0": whatever the watch cache has; "": the latest), and the
        version that a watch goes on from."""
        found = self.send("GET", _with(path, query, {"resourceVersion": version} if version else {}))
        return tuple(found.get("items") or ()), str(found["metadata"]["resourceVersion"])

    def watch(self, path: str, version: str, query: Mapping[str, str]) -> Iterator[tuple[Event, str]]:
        """Events after `version`, each with the version it brings, until the server ends it. Gone if `version` is too
        old."""
        lasts = _WATCH_S + random.randrange(_WATCH_S)  # noqa: S311 - spreads watches, as client-go does
        watched = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(lasts)}
        full = _with(path, query, {**watched, "resourceVersion": version})
        with self._asked("GET", full, None, lasts + _READ_S, {}) as response:
            while line := response.readline():
                told = json.loads(line)
                kind, thing = told["type"], told["object"]
                if kind == "ERROR":
                    if thing.get("code") == http.HTTPStatus.GONE:
                        raise Gone(thing.get("message"))
                    raise http.client.HTTPException(f"the watch ended: {thing.get('message')}")
                yield Event(kind, (thing,)), str(thing["metadata"]["resourceVersion"])

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, body: Document | None, read_s: float, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        sent = {"Authorization": f"Bearer {self.token()}", "Accept": "application/json", "User-Agent": self.agent}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self._host, self._port)
        with contextlib.closing(connection):
            connection.sock = self._connected(read_s)
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            if not 200 <= response.status < 300:
                raise _refusal(f"{method} {path}", response.status, response.read())
            yield response

    def _connected(self, read_s: float) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self._credentials / "ca.crt"))
        plain = socket.create_connection((self._host, self._port), self.connect_s)
        try:
            plain.settimeout(_HANDSHAKE_S)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                plain.setsockopt(socket.IPPROTO_TCP, option, value)
            secured = context.wrap_socket(plain, server_hostname=self._host)
        except OSError:
            plain.close()
            raise
        secured.settimeout(read_s)
        return secured


def _with(path: str, *queries: Mapping[str, str]) -> str:
    joined = urlencode({key: value for query in queries for key, value in query.items()})
    return f"{path}?{joined}" if joined else path


def _refusal(request: str, status: int, answer: bytes) -> Exception:
    try:
        document = json.loads(answer)
        reason, message = str(document.get("reason") or ""), str(document["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, message = "", answer[:300].decode(errors="replace")
    if status == http.HTTPStatus.GONE or (
        status == http.HTTPStatus.GATEWAY_TIMEOUT and "resource version" in message.lower()
    ):
        return Gone(message)
    return Refused(request, status, reason, message)


def _pause_s(failing_s: float) -> float:
    """Until the next try after failing for so long: a boot waits for kube-proxy's rules in steps of 0.2 s, a long
    outage is asked every 5 s."""
    return min(5.0, max(0.2, failing_s / 25))


def follow(api: Api, path: str, tell: Callable[[Event], None], query: Mapping[str, str] | None = None) -> NoReturn:
    """Tells what there is and what changes: lists, watches, and begins again whenever the watch ends, for whatever
    reason. Failures are said once, until it works again."""
    version, failing_since, said = "0", time.monotonic(), ""
    while True:
        listed_at = None
        api.connect_s = min(_CONNECT_MOST_S, max(_CONNECT_LEAST_S, (time.monotonic() - failing_since) / 10))
        try:
            objects, version = api.list(path, version, query or {})
            listed_at = time.monotonic()
            tell(Event("LISTED", objects))
            for event, seen in api.watch(path, version, query or {}):
                version = seen  # the next list is to be as fresh as the last event
                tell(event)
        except Gone:
            version = ""
        except (OSError, http.client.HTTPException, Refused, ValueError, LookupError, TypeError) as error:
            words = f"{path} can't be watched: {type(error).__name__}: {error}"
            if words != said:
                say(words)
            said = words
        now = time.monotonic()
        if listed_at is not None and now - listed_at > _SHORT_WATCH_S:
            failing_since, said = now, ""
        time.sleep(_pause_s(now - failing_since))
