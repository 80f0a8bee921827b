"""The history, against a real etcd and the golden objects of the codec's tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.observers.history import History
from injector.codec import locate, replace
from injector.errors import ClusterError
from tests.campaigns.etcd import running_etcd
from tests.conftest import wait_until
from tests.injector.stored import KEYS, golden

DEPLOYMENT = "/registry/deployments/default/web"


def pod(number: int) -> tuple[str, bytes]:
    """A pod of its own name, and its key."""
    value = golden("pod")
    name = f"web-{number}"
    return f"/registry/pods/default/{name}", replace(value, locate(value, "metadata.name"), name.encode())


@pytest.fixture
def history(keyspace: KeySpace) -> Iterator[History]:
    """A history over a baseline of one pod (web-0) and one volatile key."""
    key, value = pod(0)
    keyspace.write({key: value, "/registry/leases/kube-node-lease/node-1": b"1"}, [])
    with History(keyspace, keyspace.dump(), r0=keyspace.revision(), began=time.monotonic()) as started:
        yield started


def caught_up(history: History) -> History:
    assert history.caught_up()
    return history


def test_every_write_is_kept_with_its_revision_and_what_it_was(keyspace: KeySpace, history: History) -> None:
    key, value = pod(1)
    keyspace.write({key: value}, [])
    keyspace.write({key: value + b""}, [])
    keyspace.write({}, [key])
    writes = caught_up(history).writes
    assert [(w.revision - history.r0, w.operation, w.key, w.kind) for w in writes] == [
        (1, "create", key, "Pod"),
        (2, "update", key, "Pod"),
        (3, "delete", key, "Pod"),
    ]
    assert [w.size_bytes for w in writes] == [len(value), len(value), 0]
    assert len({w.identity for w in writes}) == 1 and all(w.decodable for w in writes)
    assert 0 < writes[0].at_s <= writes[2].at_s


def test_live_objects_are_counted_by_kind_and_the_peak_stays(keyspace: KeySpace, history: History) -> None:
    assert history.counts("default") == {"Pod": 1}, "the baseline's"
    pods = dict(pod(n) for n in range(1, 4))
    keyspace.write(pods, [])
    keyspace.write({}, list(pods)[:2])
    assert caught_up(history).counts("default") == {"Pod": 2}
    assert history.peak_counts("default") == {"Pod": 4}
    assert [o.who.name for o in history.objects("Pod", "default")] == ["web-0", "web-3"]
    assert history.counts("elsewhere") == history.peak_counts("elsewhere") == {}
    keyspace.write({}, ["/registry/pods/default/web-0", "/registry/pods/default/web-3"])
    assert caught_up(history).counts("default") == {}


def test_an_object_that_can_not_be_decoded_is_live_and_named(keyspace: KeySpace, history: History) -> None:
    key, value = pod(1)
    keyspace.write({key: value}, [])
    keyspace.write({key: b"k8s\0\xff\xff\xff"}, [])
    keyspace.write({"/registry/services/specs/default/x": b"garbage"}, [])
    caught_up(history)
    assert history.undecodable() == (key, "/registry/services/specs/default/x")
    assert history.counts("default") == {"Pod": 2, "Service": 1}
    stored = history.get(key)
    assert stored is not None and stored.tree is None and stored.who.name == "web-1"
    assert [w.decodable for w in history.writes][2] is False
    keyspace.write({key: value}, [])
    caught_up(history)
    assert history.undecodable() == ("/registry/services/specs/default/x",), "mended"


def test_what_is_encrypted_at_rest_is_not_called_undecodable(keyspace: KeySpace, history: History) -> None:
    keyspace.write({"/registry/secrets/default/s": b"k8s:enc:secretbox:v1:key1:\x01\x02"}, [])
    assert caught_up(history).undecodable() == ()
    keyspace.write({"/registry/secrets/default/s": b"k8s:en"}, [])
    assert caught_up(history).undecodable() == ("/registry/secrets/default/s",)


def test_trees_are_the_apis_json(keyspace: KeySpace, history: History) -> None:
    keyspace.write({KEYS["deployment"]: golden("deployment")}, [])
    stored = caught_up(history).get(KEYS["deployment"])
    assert stored is not None and stored.tree["kind"] == "Deployment" and stored.tree is stored.tree
    assert [o.key for o in history.live() if o.who.kind == "Deployment"] == [KEYS["deployment"]]


def test_volatile_writes_are_kept_but_are_no_change(keyspace: KeySpace, history: History) -> None:
    keyspace.write({"/registry/leases/kube-node-lease/node-1": b"2", "/registry/events/default/web.1": b"e"}, [])
    assert len(caught_up(history).writes) == 2
    assert history.last_change_s == 0.0 and history.undecodable() == ()
    keyspace.write(dict([pod(1)]), [])
    assert caught_up(history).last_change_s == history.writes[-1].at_s > 0


def test_waiting_ends_with_the_condition_or_at_the_deadline(keyspace: KeySpace, history: History) -> None:
    key, value = pod(1)
    writer = threading.Timer(0.1, lambda: keyspace.write({key: value}, []))
    writer.start()
    assert history.wait(lambda: history.get(key) is not None, deadline=time.monotonic() + 5)
    writer.join()
    began = time.monotonic()
    assert not history.wait(lambda: False, deadline=began + 0.2)
    assert 0.2 <= time.monotonic() - began < 2


def test_a_history_whose_etcd_dies_is_blind_and_says_so(tmp_path: Path) -> None:
    with running_etcd(tmp_path) as etcd:
        keyspace = KeySpace(etcd.address)
        with History(keyspace, {}, r0=keyspace.revision(), began=time.monotonic()) as history:
            keyspace.write(dict([pod(1)]), [])
            caught_up(history)
            etcd.process.kill()
            wait_until(lambda: history.blind is not None, within_s=10, what="blindness")
            assert history.blind and history.blind.startswith("etcd's watch broke")
            assert not history.wait(lambda: False, deadline=time.monotonic() + 60), "at once, not after a minute"
            assert not history.caught_up(), "no exception: what the cluster does is never one"
            assert history.counts("default") == {"Pod": 1}, "what was seen stays"
        with pytest.raises(ClusterError):
            keyspace.revision()
        keyspace.close()


SLICE = "/registry/endpointslices/default/web-x"


@pytest.mark.parametrize(
    ("stored", "key", "path", "value", "renamed"),
    [
        ("pod", "/registry/pods/default/web", "metadata.name", b"wax", True),
        ("pod", "/registry/pods/default/web", "metadata.namespace", b"defaulu", True),
        ("pod", "/registry/pods/default/web", "spec.nodeName", b"node-9", False),
        ("endpointslice", SLICE, "metadata.labels[kubernetes.io/service-name]", b"wax", True),
        ("lease", "/registry/leases/kube-node-lease/node-1", "metadata.name", b"wax", False),
    ],
)
def test_an_object_that_is_stored_as_another_than_before_is_told(
    keyspace: KeySpace, history: History, stored: str, key: str, path: str, value: bytes, renamed: bool
) -> None:
    before = golden(stored)
    keyspace.write({key: before}, [])
    keyspace.write({key: replace(before, locate(before, path), value)}, [])
    keyspace.write({key: before}, [])
    assert caught_up(history).renamed() == ((key,) if renamed else ())


def test_since_when_a_value_is_as_it_is_now(keyspace: KeySpace, history: History) -> None:
    key, value = pod(1)
    moved = replace(value, locate(value, "spec.nodeName"), b"node-9")
    for written in (moved, value, moved, moved):
        keyspace.write({key: written}, [])
    came = [w.at_s for w in caught_up(history).writes]

    def is_moved(tree: Any) -> bool:
        return bool(tree["spec"]["nodeName"] == "node-9")

    assert history.since_s(key, is_moved) == came[2]
    assert history.since_s(key) == came[0]
    assert history.since_s(key, lambda tree: not is_moved(tree)) is None
    assert history.since_s(pod(0)[0]) is None, "it was there before, and was not written"


def test_what_is_deleted_and_made_anew_or_can_not_be_read_is_not_renamed(keyspace: KeySpace, history: History) -> None:
    (key, value), (_, other) = pod(1), pod(2)
    keyspace.write({key: value}, [])
    keyspace.write({}, [key])
    keyspace.write({key: other}, [])
    keyspace.write({key: b"\xff broken"}, [])
    assert caught_up(history).renamed() == ()
