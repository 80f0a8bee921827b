"""Image `mutineer/operator:1`: the operator of the custom resource Site (demo.mutineer.dev/v1).

    operator [--resync 30] [--credentials FOLDER]

    apiVersion: demo.mutineer.dev/v1
    kind: Site
    metadata: {name: hello}
    spec: {replicas: 2, port: 80, image: "mutineer/web:1"}      # all have defaults in the CRD

For every Site it keeps a Deployment and a Service of its name (see cri/site.py) and says in the
Site's status how they are. It is level-triggered: it watches Sites and what carries their label, and compares all of
it at every event and every `--resync` seconds; what somebody changed or deleted comes back. What can't be done is said
in the status, and tried again with a back-off of its own per Site. No leader election: its Deployment has one replica
and strategy Recreate.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.cri.https import exit_at_sigterm
from campaigns.clusters.sandbox.cri.in_cluster import CREDENTIALS, Api, Event, Gone, Refused, follow, say
from campaigns.clusters.sandbox.cri.site import GROUP, LABEL, children, foreign, merged, status

__all__ = ["Operator", "main"]

_SITES, _DEPLOYMENTS, _SERVICES = f"/apis/{GROUP}/v1/sites", "/apis/apps/v1/deployments", "/api/v1/services"
_BACK_OFF_S, _BACK_OFF_MOST_S = 0.1, 60.0
"""controller-runtime's rate limiter goes from 5 ms to 16 min; arbitrary, milder at both ends."""
_FAILURES = (OSError, http.client.HTTPException, Refused, Gone)

Key = tuple[str, str]
"""Namespace and name."""


class _Cache:
    """What there is of one kind, as a watch told it."""

    def __init__(self) -> None:
        self.objects: dict[Key, Mapping[str, Any]] = {}
        self.listed = False

    def take(self, event: Event) -> None:
        if event.kind == "LISTED":
            self.objects.clear()
            self.listed = True
        for thing in event.objects:
            key = (thing["metadata"].get("namespace", ""), thing["metadata"].get("name", ""))
            if event.kind == "DELETED":
                self.objects.pop(key, None)
            elif event.kind in ("LISTED", "ADDED", "MODIFIED"):
                self.objects[key] = thing


class Operator:
    """Single-threaded; the watches only fill its queue."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self.caches = {path: _Cache() for path in (_SITES, _DEPLOYMENTS, _SERVICES)}
        self._failing: dict[Key, tuple[float, float]] = {}
        """When to try again and how long was waited for that."""
        self._said: dict[Key, str] = {}

    def reconcile(self) -> float | None:
        """Every Site. Seconds until the next try of one that failed; None if none did."""
        if not all(cache.listed for cache in self.caches.values()):
            return None  # what is not known is not missing
        sites = self.caches[_SITES].objects
        for gone in self._failing.keys() - sites.keys():
            del self._failing[gone]
        for key, site in list(sites.items()):
            due, waited = self._failing.get(key, (0.0, 0.0))
            if self._clock() >= due and "deletionTimestamp" not in site["metadata"]:  # its children go with it
                if self._reconcile(key, site):
                    self._failing.pop(key, None)
                else:
                    waited = min(max(_BACK_OFF_S, waited * 2), _BACK_OFF_MOST_S)
                    self._failing[key] = (self._clock() + waited, waited)
        return max(0.0, min(due for due, _ in self._failing.values()) - self._clock()) if self._failing else None

    def _reconcile(self, key: Key, site: Mapping[str, Any]) -> bool:
        problem: str | None = None
        try:
            for path, wanted in zip((_DEPLOYMENTS, _SERVICES), children(site), strict=True):
                self._make(key, site, path, wanted)
        except (*_FAILURES, LookupError, TypeError, ValueError) as error:
            problem = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
        self._log(key, problem)
        return self._tell(key, site, problem) and problem is None

    def _make(self, key: Key, site: Mapping[str, Any], path: str, wanted: dict[str, Any]) -> None:
        there = self.caches[path].objects.get(key) or self._unlabelled(path, key)
        if there is None:
            made, done = self._api.send("POST", _single(path, key).rpartition("/")[0], wanted), "made"
        elif owner := foreign(there, site):
            raise ValueError(f"{wanted['kind']} {key[1]} belongs to {owner}")
        elif (whole := merged(there, wanted)) == there:
            return
        else:
            made, done = self._api.send("PUT", _single(path, key), whole), "mended"
        self.caches[path].objects[key] = made
        say(f"{'/'.join(key)}: {wanted['kind']} {done}")

    def _unlabelled(self, path: str, key: Key) -> Any:
        """One of that name that the watch does not show, since it has lost its label or never had it."""
        try:
            return self._api.send("GET", _single(path, key))
        except Refused as answer:
            if answer.status != http.HTTPStatus.NOT_FOUND:
                raise
            return None

    def _tell(self, key: Key, site: Mapping[str, Any], problem: str | None) -> bool:
        """Writes the status where it differs. False if that failed."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            wanted = status(site, self.caches[_DEPLOYMENTS].objects.get(key), problem, now)
            if site.get("status") != wanted:
                patch = {"metadata": {"resourceVersion": site["metadata"]["resourceVersion"]}, "status": wanted}
                path = f"{_single(_SITES, key)}/status"
                kind = "application/merge-patch+json"
                self.caches[_SITES].objects[key] = self._api.send("PATCH", path, patch, content_type=kind)
        except (*_FAILURES, LookupError, TypeError) as error:
            if not (isinstance(error, Refused) and error.status in (404, 409)):  # it changed: the watch will tell
                say(f"{'/'.join(key)}: its status can't be written: {error}")
            return False
        return True

    def _log(self, key: Key, problem: str | None) -> None:
        if problem is None:
            self._said.pop(key, None)
        elif self._said.get(key) != problem:
            self._said[key] = problem
            say(f"{'/'.join(key)}: {problem}")


def _single(path: str, key: Key) -> str:
    base, plural = path.rsplit("/", 1)
    return f"{base}/namespaces/{key[0]}/{plural}/{key[1]}"


def _run(operator: Operator, followers: Iterable[threading.Thread], events: Any, resync_s: float) -> None:
    """Until SIGTERM, or until a following thread has died of what it did not expect."""
    retry_s: float | None = None
    while all(follower.is_alive() for follower in followers):
        with contextlib.suppress(queue.Empty):
            event: tuple[str, Event] = events.get(timeout=resync_s if retry_s is None else min(retry_s, resync_s))
            while True:
                operator.caches[event[0]].take(event[1])
                event = events.get_nowait()
        retry_s = operator.reconcile()


def main(arguments: list[str]) -> None:
    exit_at_sigterm()
    parser = argparse.ArgumentParser(prog="operator")
    parser.add_argument("--resync", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        api = Api.of_pod("site-operator", options.credentials)
    except ValueError as error:
        say(f"fatal: {error}")
        sys.exit(1)
    events: queue.SimpleQueue[tuple[str, Event]] = queue.SimpleQueue()
    followers = []
    for path, query in ((_SITES, {}), (_DEPLOYMENTS, {"labelSelector": LABEL}), (_SERVICES, {"labelSelector": LABEL})):
        watching = Api.of_pod("site-operator", options.credentials)
        tell = partial(_put, events, path)
        followers.append(threading.Thread(target=follow, args=(watching, path, tell, query), name=path, daemon=True))
    for follower in followers:
        follower.start()
    say(f"site operator, resync every {options.resync:g} s")
    _run(Operator(api), followers, events, options.resync)
    say("fatal: a thread that follows the API has died")
    sys.exit(1)


def _put(events: queue.SimpleQueue[tuple[str, Event]], path: str, event: Event) -> None:
    events.put((path, event))


if __name__ == "__main__":
    main(sys.argv[1:])
