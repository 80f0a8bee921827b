"""Where probes go, by the stored state of a real etcd; objects in JSON, which may be stored as well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.observers.asking import HttpGet, NameLookup
from campaigns.observers.history import History
from campaigns.observers.paths import NamePath, PodPath, ServicePath, paths_to
from campaigns.workloads.workload import ServiceName
from classifiers.observation import ProbeKind
from tests.campaigns.observers.looked_at import LookedAt

WEB = ServiceName("default", "web")
SERVICE = "/registry/services/specs/default/web"
DNS = ("10.96.0.10", 53)


@pytest.fixture
def history(keyspace: KeySpace) -> Iterator[History]:
    with History(keyspace, {}, r0=keyspace.revision(), began=time.monotonic()) as started:
        yield started


def put(keyspace: KeySpace, history: History, **objects: dict[str, Any] | None) -> None:
    """Stores pods by name (None: deletes one), and the Service under `service`."""
    puts, deletes = {}, []
    for name, made in objects.items():
        key = SERVICE if name == "service" else f"/registry/pods/default/{name}"
        if made is None:
            deletes.append(key)
        else:
            puts[key] = json.dumps(made).encode()
    keyspace.write(puts, deletes)
    assert history.caught_up()


def service(**spec: Any) -> dict[str, Any]:
    spec = {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "web"}, "spec": spec}


def pod(name: str, node: str, ip: str, *, ready: bool = True, get: Any = None, **container: Any) -> dict[str, Any]:
    probe = {"httpGet": get if get is not None else {"path": "/", "port": 8080}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "side"}, {"name": "c", "readinessProbe": probe, **container}],
        },
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def test_a_service_is_asked_at_the_address_that_is_stored_just_then(keyspace: KeySpace, history: History) -> None:
    path = ServicePath(history, WEB)
    assert (path.service, path.kind, path.request("node-1")) == ("web", ProbeKind.HTTP, "no-address")
    put(keyspace, history, service=service())
    assert path.request("node-1") == HttpGet(("10.96.0.7", 80))
    put(keyspace, history, service=service(clusterIP="None"))
    assert path.request("node-1") == "no-address"
    assert ServicePath(history, ServiceName("shop", "cart")).service == "shop/cart"


def test_a_name_has_to_lead_to_the_address_that_is_stored(keyspace: KeySpace, history: History) -> None:
    path = NamePath(history, WEB, DNS)
    asked = path.request("node-1")
    assert isinstance(asked, NameLookup)
    assert (asked.address, asked.name, path.kind) == (DNS, "web.default.svc.cluster.local", ProbeKind.DNS)
    assert asked.right() == frozenset(), "not there yet: no address is right"
    put(keyspace, history, service=service(clusterIPs=["10.96.0.7", "fd00::7"]))
    assert asked.right() == frozenset({"10.96.0.7"}), "IPv4 is asked for"
    put(keyspace, history, service=service(clusterIP="None", clusterIPs=["None"]))
    assert asked.right() is None, "headless: its pods'"


def test_pods_on_other_nodes_take_turns(keyspace: KeySpace, history: History) -> None:
    path = PodPath(history, ("default",))
    assert path.service == "pods of default" and path.request("node-1") is None
    put(
        keyspace,
        history,
        a=pod("a", "node-1", "10.244.0.2"),
        b=pod("b", "node-2", "10.244.1.2"),
        c=pod("c", "node-3", "10.244.2.2"),
        unready=pod("unready", "node-2", "10.244.1.3", ready=False),
        nowhere=pod("nowhere", "node-2", ""),
    )
    asked = [path.request("node-1") for _ in range(4)]
    b, c = HttpGet(("10.244.1.2", 8080)), HttpGet(("10.244.2.2", 8080))
    assert set(asked) == {b, c} and asked[:2] == asked[2:]
    assert path.request("node-2") == HttpGet(("10.244.0.2", 8080)), "each node has turns of its own"
    put(keyspace, history, b=None, c=None)
    assert path.request("node-1") is None


@pytest.mark.parametrize(
    ("get", "port"),
    [
        ({"port": 81}, 81),
        ({"path": "/", "port": "http", "scheme": "HTTP"}, 8081),
        ({"path": "/", "port": "nosuch"}, None),
        ({"path": "/healthz", "port": 81}, None),
        ({"path": "/", "port": 81, "scheme": "HTTPS"}, None),
        ({}, None),
    ],
)
def test_a_pod_is_asked_what_its_kubelet_asks_it(
    get: dict[str, Any], port: int | None, keyspace: KeySpace, history: History
) -> None:
    ports = [{"name": "other", "containerPort": 1}, {"name": "http", "containerPort": 8081}]
    put(keyspace, history, a=pod("a", "node-1", "10.244.0.2", get=get, ports=ports))
    asked = PodPath(history, ("default",)).request("node-2")
    assert asked == (HttpGet(("10.244.0.2", port)) if port else None)


def test_every_service_has_its_paths_and_pods_are_asked_once(history: History) -> None:
    services = [WEB, ServiceName("default", "other"), ServiceName("shop", "cart")]
    paths = paths_to(LookedAt(dns_address=DNS).cluster, history, services)
    assert [(p.kind, p.service) for p in paths] == [
        *((ProbeKind.HTTP, s) for s in ("web", "other", "shop/cart")),
        *((ProbeKind.DNS, s) for s in ("web", "other", "shop/cart")),
        (ProbeKind.POD, "pods of default, shop"),
    ]
    without = paths_to(LookedAt().cluster, history, [WEB])
    assert [p.kind for p in without] == [ProbeKind.HTTP, ProbeKind.POD]
    assert paths_to(LookedAt(dns_address=DNS).cluster, history, []) == ()
