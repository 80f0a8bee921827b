"""What is told from the history alone: Events, and kube-system's workloads as components."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.observers import events
from campaigns.observers.events import events_of
from campaigns.observers.history import History
from campaigns.observers.system import system_components
from classifiers.observation import ComponentHealth, EventRecord
from tests.injector.stored import KEYS, golden

Watched = tuple[History, dict[str, Stored]]


def pod(name: str, *, ready: bool, restarts: int = 0, waiting: str = "", phase: str = "Running") -> tuple[str, bytes]:
    """One of kube-system, of the DaemonSet or Deployment before its dash, and its key."""
    owner = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": name.partition("-")[0],
        "uid": "u",
        "controller": True,
    }
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": name, "ownerReferences": [owner]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"restartCount": restarts, "state": {"waiting": {"reason": waiting}} if waiting else {}}
            ],
        },
    }
    return f"/registry/pods/kube-system/{name}", json.dumps(made).encode()


@pytest.fixture
def watched(keyspace: KeySpace) -> Iterator[Watched]:
    """A history, and the baseline that it started with: two pods of `dns` (one restarted once before) and a proxy."""
    pods = [pod("dns-a", ready=True, restarts=1), pod("dns-b", ready=True), pod("proxy-a", ready=True)]
    keyspace.write(dict(pods), [])
    baseline = keyspace.dump()
    with History(keyspace, baseline, r0=keyspace.revision(), began=time.monotonic()) as history:
        yield history, baseline


def components(watched: Watched) -> dict[str, ComponentHealth]:
    history, baseline = watched
    assert history.caught_up()
    return {c.name: c for c in system_components(history, baseline)}


def test_what_runs_in_kube_system_is_told_by_its_workload(watched: Watched) -> None:
    names = ("kube-system/dns", "kube-system/proxy")
    assert components(watched) == {name: ComponentHealth(name=name, alive=True, ready=True) for name in names}


def test_pods_that_crash_show_with_their_restarts_and_why_they_wait(keyspace: KeySpace, watched: Watched) -> None:
    crashing = pod("dns-a", ready=False, restarts=3, waiting="CrashLoopBackOff")
    keyspace.write(dict([crashing]), [])
    dns = components(watched)["kube-system/dns"]
    assert (dns.alive, dns.ready, dns.restarts) == (True, False, 2)
    assert dns.detail == "1 of 2 pods are ready: Pod/kube-system/dns#1 CrashLoopBackOff"
    keyspace.write(dict([pod("dns-b", ready=False)]), [])
    dns = components(watched)["kube-system/dns"]
    assert (dns.alive, dns.ready) == (False, False) and dns.detail.startswith("0 of 2 pods are ready")


def test_a_workload_whose_pods_are_all_gone_is_still_told(keyspace: KeySpace, watched: Watched) -> None:
    keyspace.write({}, ["/registry/pods/kube-system/proxy-a"])
    proxy = components(watched)["kube-system/proxy"]
    assert (proxy.alive, proxy.ready, proxy.detail) == (False, False, "0 of 0 pods are ready")


def test_pods_that_have_done_their_work_and_broken_ones(keyspace: KeySpace, watched: Watched) -> None:
    job = pod("job-a", ready=False, phase="Succeeded")
    keyspace.write(dict([job]) | {"/registry/pods/kube-system/proxy-a": b"k8s\0\xff\xff"}, [])
    found = components(watched)
    assert set(found) == {"kube-system/dns", "kube-system/proxy"}
    assert found["kube-system/proxy"].ready is False


# Events


def event(**fields: Any) -> bytes:
    about = {"kind": "Pod", "namespace": "default", "name": "web-1"}
    made = {"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "default", "name": "web-1.1a"}}
    told = {"involvedObject": about, "reason": "BackOff", "message": "again", "type": "Warning", "count": 3}
    return json.dumps({**made, **told, "source": {"component": "kubelet"}, **fields}).encode()


KEY = "/registry/events/default/web-1.1a"


def seen(history: History) -> tuple[tuple[EventRecord, ...], str | None]:
    assert history.caught_up()
    return events_of(history)


def test_an_event_tells_about_what_by_identity(keyspace: KeySpace, watched: Watched) -> None:
    history, _ = watched
    keyspace.write({KEYS["pod"]: golden("pod")}, [])
    keyspace.write({KEYS["event"]: golden("event"), KEY: event()}, [])
    keyspace.write({}, [KEYS["pod"], KEYS["event"]])
    (scheduled, back_off), missing = sorted(seen(history)[0], key=lambda e: e.type), seen(history)[1]
    assert missing is None
    assert (scheduled.type, scheduled.reason, scheduled.about) == ("Normal", "Scheduled", "Pod/default/web#1")
    assert scheduled.message.startswith("Successfully assigned") and scheduled.count == 1
    at_s = back_off.at_s
    assert back_off == EventRecord(at_s, "Warning", "BackOff", "Pod/default/web-1", "again", "kubelet", 3)
    assert 0 < at_s == scheduled.at_s


def test_events_that_can_not_be_read_or_have_no_room_are_missing_in_words(
    keyspace: KeySpace, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, _ = watched
    monkeypatch.setattr(events, "MOST_EVENTS", 2)
    keyspace.write({KEY: b"k8s\0\xff\xff"}, [])
    for count in range(3):
        keyspace.write({KEY: event(count=count, message="x" * 999)}, [])
    found, missing = seen(history)
    assert [(e.count, len(e.message)) for e in found] == [(1, 300)], "no count is one"
    assert missing == "events: 1 could not be decoded, 2 after the first 2 were left out"
