"""Image `mutineer/metrics:1`: the API metrics.k8s.io/v1beta1, behind kube-apiserver's aggregation layer.

    metrics [--resolution 15] [--port 10250] [--certificates FOLDER] [--credentials FOLDER]

What metrics-server is, shaped as it is (kubernetes-sigs/metrics-server): it asks every node's kubelet for
/metrics/resource every `--resolution` seconds, keeps the last two answers and serves NodeMetrics and PodMetrics, one or
a list, with label and field selectors (which Nodes and Pods there are it asks kube-apiserver, selectors and all).

Who asks is authenticated as the front proxy's client certificate and headers say, and authorized by SubjectAccessReview
(cri/front_proxy.py); other credentials are not taken, so it answers through kube-apiserver only. JSON only, no tables,
no watch. Kubelets' serving certificates are self-signed in a kubeadm cluster and not verified (--kubelet-insecure-tls).
/readyz says 200 once there is something to tell, /livez always. Nodes follow some seconds after pods, since a kubelet
looks at its whole machine every 10 to 15 s only (cAdvisor's housekeeping).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from campaigns.clusters.sandbox.cri.front_proxy import (
    CONFIG_MAP,
    FrontProxy,
    User,
    access_review,
    authenticate,
    read_front_proxy,
)
from campaigns.clusters.sandbox.cri.https import Handler, Server, exit_at_sigterm, server_context
from campaigns.clusters.sandbox.cri.in_cluster import CREDENTIALS, Api, Event, Gone, Refused, follow, say
from campaigns.clusters.sandbox.cri.usage import Batch, Usage, node_metrics, pod_metrics, read_exposition

__all__ = ["main"]

_GROUP, _VERSION = "metrics.k8s.io", "v1beta1"
_ROOT = f"/apis/{_GROUP}/{_VERSION}"
_PATH = re.compile(
    rf"{_ROOT}/(?:(?P<nodes>nodes)|(?:namespaces/(?P<namespace>[^/]+)/)?(?P<pods>pods))(?:/(?P<name>[^/]+))?"
)
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""Of Nodes and Pods only their metadata is needed."""
_DECISIONS_S = 10.0
"""k8s.io/apiserver, options/authorization.go: allowCacheTTL and denyCacheTTL."""
_MOST_DECISIONS = 1000
"""Arbitrary: then all are asked again."""
_MOST_SCRAPES = 10
"""At a time; a sandbox has at most 10 nodes."""
_MASTERS = "system:masters"
"""Never asked about: options/authorization.go, AlwaysAllowGroups."""
_PREFERRED = ("InternalIP", "ExternalIP", "Hostname")
"""metrics-server's manifest, --kubelet-preferred-address-types."""
_FAILURES = (OSError, http.client.HTTPException, Refused, Gone, ValueError, LookupError, TypeError)


class _Kubelet:
    """One node's, on a connection that stays."""

    def __init__(self, address: str, port: int, timeout_s: float) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.address = (address, port)
        self._connection = http.client.HTTPSConnection(address, port, timeout=timeout_s, context=context)

    def scrape(self, token: str) -> str:
        try:
            self._connection.request("GET", "/metrics/resource", headers={"Authorization": f"Bearer {token}"})
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # and made anew by the next request
            raise
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"HTTP {response.status} {body[:200]!r}")
        return body.decode()

    def close(self) -> None:
        self._connection.close()


class _Scraper:
    """All kubelets, every `resolution_s`, in a thread of its own."""

    def __init__(self, api: Api, resolution_s: float) -> None:
        self._api, self._resolution_s = api, resolution_s
        self._nodes: dict[str, tuple[str, int]] = {}
        self._kubelets: dict[str, _Kubelet] = {}
        self._said: dict[str, str] = {}
        self.lock = threading.Lock()
        self.usage = Usage(resolution_s)
        self.ready = False

    def take(self, event: Event) -> None:
        """What the watch of Nodes tells."""
        with self.lock:
            if event.kind == "LISTED":
                self._nodes.clear()
            for node in event.objects:
                name, address = node["metadata"].get("name", ""), _address(node)
                if event.kind == "DELETED" or address is None:
                    self._nodes.pop(name, None)
                else:
                    self._nodes[name] = address

    def run(self) -> None:
        with ThreadPoolExecutor(_MOST_SCRAPES, thread_name_prefix="scrape") as pool:
            due = time.monotonic()
            while True:
                with self.lock:
                    nodes = dict(self._nodes)
                self._connect(nodes)
                batch = Batch()
                for found in pool.map(self._scrape, nodes):
                    batch.add(found)
                with self.lock:
                    self.usage.store(batch)
                    self.ready = self.usage.ready
                due = max(due + self._resolution_s, time.monotonic())
                # until there are two points, metrics-server's readiness waits; nodes are known within milliseconds
                time.sleep(max(0.0, due - time.monotonic()) if nodes else 0.1)

    def _connect(self, nodes: Mapping[str, tuple[str, int]]) -> None:
        for name, kubelet in list(self._kubelets.items()):
            if nodes.get(name) != kubelet.address:
                self._kubelets.pop(name).close()
        for name in nodes.keys() - self._kubelets.keys():
            # metrics-server: a scrape may take 90 % of the resolution
            self._kubelets[name] = _Kubelet(*nodes[name], self._resolution_s * 0.9)

    def _scrape(self, name: str) -> Batch:
        problem = ""
        try:
            return read_exposition(self._kubelets[name].scrape(self._api.token()), name, time.time())
        except _FAILURES as error:
            problem = f"{name}: its kubelet can't be asked: {type(error).__name__}: {error}"
            return Batch()
        finally:
            if problem and self._said.get(name) != problem:
                say(problem)
            self._said[name] = problem


def _address(node: Mapping[str, Any]) -> tuple[str, int] | None:
    told = node.get("status") or {}
    port = ((told.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    for kind in _PREFERRED:
        for each in told.get("addresses") or ():
            if each.get("type") == kind and port:
                return str(each["address"]), int(port)
    return None


class _Gate:
    """Who may ask what. The answers of kube-apiserver are kept for some seconds."""

    def __init__(self, api: Api, certificates: Path) -> None:
        self._api, self._certificates = api, certificates
        self.proxy: FrontProxy | None = None
        self.server: Server | None = None
        self._decisions: dict[str, tuple[float, bool]] = {}

    def take(self, event: Event) -> None:
        """What the watch of the ConfigMap tells."""
        if event.kind not in ("LISTED", "ADDED", "MODIFIED"):
            return
        for config_map in event.objects:
            try:
                proxy = read_front_proxy(config_map)
                context = server_context(self._certificates)
                context.verify_mode = ssl.CERT_OPTIONAL  # probes have none
                context.load_verify_locations(cadata=proxy.authority)
            except (ValueError, OSError) as error:
                say(f"ConfigMap {CONFIG_MAP}: {error}")
                continue
            assert self.server is not None
            self.server.context, self.proxy = context, proxy

    def who(self, peer: Mapping[str, Any] | None, headers: list[tuple[str, str]]) -> User | None:
        if self.proxy is None:
            return None
        subject = [pair for part in (peer or {}).get("subject", ()) for pair in part]
        return authenticate(self.proxy, dict(subject).get("commonName"), headers)

    def may(self, user: User, path: str, resource: Mapping[str, str] | None) -> bool:
        if _MASTERS in user.groups:
            return True
        review = access_review(user, path, resource)
        key, now = json.dumps(review, sort_keys=True), time.monotonic()
        until, allowed = self._decisions.get(key, (0.0, False))
        if now >= until:
            asked = self._api.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
            allowed = bool(asked["status"]["allowed"])
            if len(self._decisions) >= _MOST_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = (now + _DECISIONS_S, allowed)
        return allowed


@dataclass(slots=True)
class _Metrics:
    """What the handler's threads share."""

    api: Api
    scraper: _Scraper
    gate: _Gate
    discovery: Mapping[str, Any] = field(default_factory=lambda: dict(_discovery()))

    def find(self, match: re.Match[str], query: Mapping[str, list[str]]) -> dict[str, Any] | None:
        """The object or the list that a path names; None where there is none."""
        plural, namespace, name = match["nodes"] or match["pods"], match["namespace"], match["name"]
        within = f"/namespaces/{namespace}" if namespace else ""
        path = f"/api/v1{within}/{plural}"
        if name:
            try:
                thing = self.api.send("GET", f"{path}/{name}?resourceVersion=0", accept=_METADATA.format(""))
            except Refused as answer:
                if answer.status == http.HTTPStatus.NOT_FOUND:
                    return None
                raise
            found = self._metrics(plural, [thing["metadata"]])
            return found[0] if found else None
        selectors = {key: query[key][0] for key in ("labelSelector", "fieldSelector") if key in query}
        asked = urlencode({**selectors, "resourceVersion": "0"})
        things = self.api.send("GET", f"{path}?{asked}", accept=_METADATA.format("List"))["items"]
        kind = "NodeMetricsList" if plural == "nodes" else "PodMetricsList"
        items = self._metrics(plural, [thing["metadata"] for thing in things])
        return {"apiVersion": f"{_GROUP}/{_VERSION}", "kind": kind, "metadata": {}, "items": items}

    def _metrics(self, plural: str, things: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        usage, found = self.scraper.usage, []
        with self.scraper.lock:
            for metadata in sorted(things, key=lambda m: (m.get("namespace", ""), m["name"])):
                if plural == "nodes":
                    if points := usage.of_node(metadata["name"]):
                        found.append(node_metrics(metadata, points))
                elif containers := usage.of_pod((metadata["namespace"], metadata["name"])):
                    found.append(pod_metrics(metadata, containers))
        return found


def _discovery() -> dict[str, dict[str, Any]]:
    """Path → what the API says of itself there."""
    version = {"groupVersion": f"{_GROUP}/{_VERSION}", "version": _VERSION}
    group = {"name": _GROUP, "versions": [version], "preferredVersion": version}
    kinds = (("nodes", "NodeMetrics", False), ("pods", "PodMetrics", True))
    resources = [
        {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
        for name, kind, namespaced in kinds
    ]
    return {
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]},
        f"/apis/{_GROUP}": {"kind": "APIGroup", "apiVersion": "v1", **group},
        _ROOT: {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{_GROUP}/{_VERSION}",
            "resources": resources,
        },
        # without them the aggregation layer asks, and complains, for ever; it tells no schemas
        "/openapi/v2": {"swagger": "2.0", "info": {"title": _GROUP, "version": _VERSION}, "paths": {}},
        "/openapi/v3": {"paths": {}},
    }


class _Handler(Handler):
    metrics: _Metrics

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        url = urlsplit(self.path)
        if url.path in ("/livez", "/healthz", "/readyz"):
            ready = url.path != "/readyz" or self.metrics.scraper.ready
            self.answer(200 if ready else 500, b"ok" if ready else b"no metrics to serve", "text/plain")
            return
        try:
            self._serve(url.path.rstrip("/"), parse_qs(url.query))
        except Refused as answer:  # kube-apiserver's own answer is ours: a selector that makes no sense, say
            self._status(answer.status, answer.reason or "InternalError", answer.message)
        except _FAILURES as error:
            self._status(500, "InternalError", f"kube-apiserver can't be asked: {type(error).__name__}: {error}")

    def _serve(self, path: str, query: Mapping[str, list[str]]) -> None:
        gate, match = self.metrics.gate, _PATH.fullmatch(path)
        user = gate.who(self.connection.getpeercert(), list(self.headers.items()))
        if user is None:
            self._status(401, "Unauthorized", "Unauthorized")
        elif not gate.may(user, path, _attributes(match) if match else None):
            self._status(403, "Forbidden", f'User "{user.name}" cannot get path "{path}"')
        elif path in self.metrics.discovery:
            self.answer(200, json.dumps(self.metrics.discovery[path]).encode())
        elif match is None or (match["pods"] and match["name"] and not match["namespace"]):
            self._status(404, "NotFound", "the server could not find the requested resource")
        elif "watch" in query:
            self._status(405, "MethodNotAllowed", "watch is not supported on metrics")
        elif (found := self.metrics.find(match, query)) is not None:
            self.answer(200, json.dumps(found).encode())
        else:
            self._status(404, "NotFound", f"no metrics known for {match['nodes'] or match['pods']} {match['name']!r}")

    def _status(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.answer(code, json.dumps({**status, "code": code, "reason": reason, "message": message}).encode())


def _attributes(match: re.Match[str]) -> dict[str, str]:
    attributes = {
        "verb": "get" if match["name"] else "list",
        "group": _GROUP,
        "version": _VERSION,
        "resource": match["nodes"] or match["pods"],
        "namespace": match["namespace"] or "",
        "name": match["name"] or "",
    }
    return {key: value for key, value in attributes.items() if value}


def main(arguments: list[str]) -> None:
    exit_at_sigterm()
    parser = argparse.ArgumentParser(prog="metrics")
    parser.add_argument("--resolution", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--port", type=int, default=10250)
    parser.add_argument("--certificates", type=Path, default=Path("/etc/metrics/certificates"), metavar="FOLDER")
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        api, nodes, proxy = (Api.of_pod("metrics-server", options.credentials) for _ in range(3))
        context = server_context(options.certificates)
    except (ValueError, OSError) as error:
        say(f"fatal: {error}")
        sys.exit(1)
    metrics = _Metrics(api, _Scraper(api, options.resolution), _Gate(api, options.certificates))
    handler = type("_MetricsHandler", (_Handler,), {"metrics": metrics})
    server = Server(("0.0.0.0", options.port), handler, context)  # noqa: S104 - of the pod's own network
    metrics.gate.server = server
    config_maps = "/api/v1/namespaces/kube-system/configmaps"
    threads = {
        "nodes": lambda: follow(nodes, "/api/v1/nodes", metrics.scraper.take),
        "front proxy": lambda: follow(
            proxy, config_maps, metrics.gate.take, {"fieldSelector": f"metadata.name={CONFIG_MAP}"}
        ),
        "scraper": metrics.scraper.run,
    }
    for name, target in threads.items():
        threading.Thread(target=_or_die, args=(target,), name=name, daemon=True).start()
    say(f"serving on port {server.server_address[1]}, asking the kubelets every {options.resolution:g} s")
    server.serve_forever(poll_interval=3600)


def _or_die(target: Callable[[], object]) -> None:
    """A thread that ends of what it did not expect takes the program with it, which is started again then."""
    try:
        target()
    finally:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
