"""Image `mutineer/routes:1`: the host-gw route agent, one on every node (DaemonSet, host network).

    routes [--config FILE] [--credentials FOLDER] [--cni-folder FOLDER]

Lists and watches Nodes through the Service `kubernetes` (so it needs kube-proxy) and keeps, on its own node

  * a route `podCIDR via InternalIP` for every other node, in the main table, with a protocol number of its own: what
    is stale is found and removed, what somebody else removed comes back at the next resync;
  * /etc/cni/net.d/10-mutineer.conflist with its own node's podCIDR: the runtime gives pods addresses from it, and the
    node is NotReady until it exists.

Settings are /etc/mutineer-routes/config.json, from a ConfigMap: {"network": "10.244.0.0/16", "resyncSeconds": 10}.
NODE_NAME names the own node. SIGTERM ends it with exit code 0; routes and conflist stay. It exits 1, in words, where
its settings are wrong; whatever else fails is said once and tried again.

What it decides is in cri/host_gw.py, which is what flannel's host-gw backend decides. It does it differently in three
points: it waits for its podCIDR where flannel exits and is started again, it follows a podCIDR that changes where
flannel looks at its annotations only, and it removes stale routes of before its start. IPv4 only, and no masquerading:
the sandbox has no outside.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import json
import os
import queue
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, NoReturn

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from campaigns.clusters.sandbox.cri.host_gw import (
    NodeEvent,
    Nodes,
    Route,
    Settings,
    conflist,
    desired,
    read_settings,
    stale,
)

__all__ = ["CONFLIST", "PROTOCOL", "main", "retry_after_s"]

PROTOCOL = 77
"""Of our routes (rtnetlink(7), rtm_protocol): arbitrary, above the kernel's own and in nobody's rt_protos."""
_MAIN_TABLE = 254
CONFLIST = "10-mutineer.conflist"
"""Of the files in the CNI folder the first by name counts; 10- is what network plugins use (10-flannel.conflist)."""
_HANDSHAKE_S = 10.0
"""Go's net/http, DefaultTransport, TLSHandshakeTimeout."""
_READ_S = 30.0
"""Of a list; arbitrary, three times what the slowest list of a loaded API was seen to take."""
_WATCH_S = 300
"""A watch lasts this long to twice as long: client-go, tools/cache/reflector.go, minWatchTimeout."""
_SHORT_WATCH_S = 1.0
"""A watch that ended sooner was none: client-go, tools/cache/reflector.go, VeryShortWatchError."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""Seconds, seconds, count: a silent peer is given up after 45 s, as client-go's HTTP/2 pings do (30 s + 15 s)."""


def retry_after_s(failing_s: float) -> float:
    """How long to wait before the next try after failing for so long: a boot waits for kube-proxy's rules in steps of
    0.2 s, a long outage is asked every 5 s."""
    return min(5.0, max(0.2, failing_s / 25))


# The node: kernel and /etc/cni/net.d


def _present(ip: IPRoute) -> list[Route]:
    """Routes of our protocol in the main table."""
    found = []
    for message in ip.get_routes(family=socket.AF_INET, table=_MAIN_TABLE):
        if message["proto"] == PROTOCOL:
            destination = IPv4Network((message.get("dst") or 0, message["dst_len"]))
            gateway = message.get("gateway")
            found.append(Route(destination, IPv4Address(gateway) if gateway else None))
    return found


def _route(ip: IPRoute, command: str, route: Route) -> str | None:
    """Replaces or deletes one route; why it could not be done, in words."""
    gateway = {"gateway": str(route.gateway)} if route.gateway else {}
    try:
        ip.route(command, dst=str(route.destination), proto=PROTOCOL, table=_MAIN_TABLE, **gateway)
    except NetlinkError as error:
        if command == "del" and error.code == errno.ESRCH:
            return None
        return f"route {route.destination} via {route.gateway} ({command}): {os.strerror(error.code)}"
    _say(f"route {route.destination} via {route.gateway}: {'removed' if command == 'del' else 'set'}")
    return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all: the runtime may read at any moment. Readers of the folder look at .conf and .conflist."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _say(words: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {words}", flush=True)


class _Agent:
    """Makes the node be as the nodes' claims want it. Problems are told when they come, not again while they stay."""

    def __init__(self, own: str, settings: Settings, folder: Path) -> None:
        self.nodes = Nodes()
        self._own, self._settings, self._path = own, settings, folder / CONFLIST
        self._told: set[str] = set()

    def reconcile(self) -> None:
        problems = [*self.nodes.problems, *self._set_routes(), *self._configure()]
        for problem in problems:
            if problem not in self._told:
                _say(problem)
        self._told = set(problems)

    def _set_routes(self) -> list[str]:
        wanted = desired(self.nodes.claims, self._own)
        try:
            with IPRoute() as ip:
                present = _present(ip)
                problems = [_route(ip, "del", route) for route in stale(wanted, present)]
                missing = [r for r in (Route(*pair) for pair in wanted.items()) if r not in present]
                problems += [_route(ip, "replace", route) for route in missing]
        except (NetlinkError, OSError) as error:
            return [f"routes can't be read: {error}"]
        return [problem for problem in problems if problem]

    def _configure(self) -> list[str]:
        claim = self.nodes.claims.get(self._own)
        if claim is None:
            return [f"{self._path.name} is left as it is: node {self._own!r} has no podCIDR and InternalIP"]
        if not claim.cidr.subnet_of(self._settings.network):
            return [f"{self._path.name} is left as it is: {claim.cidr} is not within {self._settings.network}"]
        text = conflist(claim.cidr)
        try:
            if not self._path.exists() or self._path.read_text() != text:
                _write(self._path, text)
                _say(f"{self._path}: pods get addresses from {claim.cidr}")
        except (OSError, UnicodeDecodeError) as error:
            return [f"{self._path} can't be written: {error}"]
        return []


# The API


class _Expired(Exception):  # noqa: N818 - not an error: it is how a client learns to ask for the latest
    """The resource version is too old (410), or newer than the server knows (504, too large resource version)."""


class _Api:
    """kube-apiserver as a pod sees it: a connection a request, the token read anew each time (it is rotated)."""

    def __init__(self, host: str, port: int, credentials: Path) -> None:
        self._host, self._port, self._credentials = host, port, credentials
        self.connect_s = 0.4

    @contextlib.contextmanager
    def _get(self, path: str, *, read_s: float) -> Iterator[http.client.HTTPResponse]:
        token = (self._credentials / "token").read_text().strip()
        context = ssl.create_default_context(cafile=str(self._credentials / "ca.crt"))
        connection = http.client.HTTPConnection(self._host, self._port)
        with contextlib.closing(connection):
            plain = socket.create_connection((self._host, self._port), self.connect_s)
            connection.sock = plain
            plain.settimeout(_HANDSHAKE_S)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                plain.setsockopt(socket.IPPROTO_TCP, option, value)
            connection.sock = context.wrap_socket(plain, server_hostname=self._host)
            connection.sock.settimeout(read_s)
            headers = {
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "User-Agent": "mutineer-routes",
            }
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status in (http.HTTPStatus.GONE, http.HTTPStatus.GATEWAY_TIMEOUT):
                raise _Expired(path)
            if response.status != http.HTTPStatus.OK:
                raise http.client.HTTPException(f"GET {path}: HTTP {response.status} {response.read(300)!r}")
            yield response

    def list(self, version: str) -> tuple[tuple[Mapping[str, Any], ...], str]:
        """All nodes, as fresh as `version` at least ("0": whatever the watch cache has; "": the latest), and the
        version that a watch goes on from."""
        query = f"?resourceVersion={version}" if version else ""
        with self._get(f"/api/v1/nodes{query}", read_s=_READ_S) as response:
            document = json.load(response)
        return tuple(document["items"]), str(document["metadata"]["resourceVersion"])

    def watch(self, version: str) -> Iterator[tuple[NodeEvent, str]]:
        """Events after `version`, each with the version it brings, until the server ends it. _Expired if `version` is
        too old."""
        lasts = _WATCH_S + random.randrange(_WATCH_S)  # noqa: S311 - spreads watches, as client-go does
        query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={lasts}"
        with self._get(f"/api/v1/nodes{query}", read_s=lasts + _READ_S) as response:
            while line := response.readline():
                event = json.loads(line)
                kind, thing = event["type"], event["object"]
                if kind == "ERROR":
                    if thing.get("code") == http.HTTPStatus.GONE:
                        raise _Expired(thing.get("message"))
                    raise http.client.HTTPException(f"the watch ended: {thing.get('message')}")
                yield NodeEvent(kind, (thing,)), str(thing["metadata"]["resourceVersion"])


def _follow(api: _Api, tell: Callable[[NodeEvent], None]) -> NoReturn:
    """Lists, watches, and begins again whenever the watch ends, for whatever reason."""
    version, failing_since, said = "0", time.monotonic(), ""
    while True:
        listed_at = None
        try:
            nodes, version = api.list(version)
            listed_at = time.monotonic()
            tell(NodeEvent("LISTED", nodes))
            for event, seen in api.watch(version):
                version = seen  # the next list is to be as fresh as the last event
                tell(event)
        except _Expired:
            version = ""
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            words = f"nodes can't be watched: {type(error).__name__}: {error}"
            if words != said:
                _say(words)
            said = words
        now = time.monotonic()
        if listed_at is not None and now - listed_at > _SHORT_WATCH_S:
            failing_since, said = now, ""
        # A SYN sent before kube-proxy's rules exist is lost for good: better a new connection soon than a long wait.
        api.connect_s = min(5.0, max(0.4, (now - failing_since) / 10))
        time.sleep(retry_after_s(now - failing_since))


def _run(agent: _Agent, api: _Api, resync_s: float) -> None:
    """Until SIGTERM, or until the following thread has died of what it did not expect."""
    events: queue.SimpleQueue[NodeEvent] = queue.SimpleQueue()
    follower = threading.Thread(target=_follow, args=(api, events.put), name="nodes", daemon=True)
    follower.start()
    while follower.is_alive():
        with contextlib.suppress(queue.Empty):
            agent.nodes.take(events.get(timeout=resync_s))
            while True:
                agent.nodes.take(events.get_nowait())
        if agent.nodes.listed:  # before that nobody knows which routes are stale
            agent.reconcile()


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGTERM, _stop)
    parser = argparse.ArgumentParser(prog="routes")
    parser.add_argument("--config", type=Path, default=Path("/etc/mutineer-routes/config.json"))
    secrets = "/var/run/secrets/kubernetes.io/serviceaccount"
    parser.add_argument("--credentials", type=Path, default=Path(secrets), metavar="FOLDER")
    parser.add_argument("--cni-folder", type=Path, default=Path("/etc/cni/net.d"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        own = os.environ["NODE_NAME"]
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        settings = read_settings(options.config.read_text())
    except KeyError as error:
        sys.exit(_failed(f"the variable {error} is not set"))
    except (OSError, ValueError) as error:
        sys.exit(_failed(f"{options.config}: {error}"))
    _say(f"node {own}: routes to podCIDRs within {settings.network}, resync every {settings.resync_s:g} s")
    _run(_Agent(own, settings, options.cni_folder), _Api(host, port, options.credentials), settings.resync_s)
    sys.exit(_failed("the thread that follows the nodes has died"))


def _failed(words: str) -> int:
    _say(f"fatal: {words}")
    return 1


if __name__ == "__main__":
    main(sys.argv[1:])
