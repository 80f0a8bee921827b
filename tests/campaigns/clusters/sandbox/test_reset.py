"""The rollback against a real etcd, and what counts as a difference."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.clusters.sandbox import reset
from campaigns.clusters.sandbox.reset import LEADERS, Baseline, NodeState, differences, node_state, rollback
from injector.codec import encode_value, locate, replace, to_tree
from injector.errors import ClusterError
from tests.injector.stored import golden

NODES = {"node-1": NodeState("", "")}
LEASE = "/registry/leases/kube-node-lease/node-1"
EVENT = "/registry/events/default/web.1"


def lease_with(path: str, value: object) -> bytes:
    lease = golden("lease")
    field = locate(lease, path)
    return replace(lease, field, encode_value(field, value))  # type: ignore[arg-type]


RENEWED, OTHER_HOLDER = lease_with("spec.renewTime", 1795400000), lease_with("spec.holderIdentity", "node-9")
NODE = "/registry/minions/node-1"


def stored(values: Mapping[str, bytes], revision: int = 1) -> dict[str, Stored]:
    return {key: Stored(value, revision) for key, value in values.items()}


def clean() -> dict[str, str]:
    return {}


def test_what_changed_is_put_back_what_is_gone_restored_what_is_new_deleted() -> None:
    before = stored({"/registry/same": b"1", "/registry/changed": b"1", "/registry/gone": b"1"})
    now = {**stored({"/registry/same": b"1"}), **stored({"/registry/changed": b"2", "/registry/new": b"1"}, 2)}
    assert differences(before, now) == ({"/registry/changed": b"1", "/registry/gone": b"1"}, ["/registry/new"])


def test_renewed_leases_are_no_difference_and_events_are_deleted() -> None:
    before = stored({LEASE: golden("lease"), EVENT: b"old"})
    now = stored({LEASE: RENEWED, EVENT: b"other", f"{EVENT}9": b"new"}, 2)
    assert differences(before, now) == ({}, [f"{EVENT}9"])


@pytest.mark.parametrize("now", [OTHER_HOLDER, b"\xff broken", None])
def test_a_lease_that_is_more_than_renewed_is_put_back_and_a_new_one_deleted(now: bytes | None) -> None:
    before = stored({LEASE: golden("lease")})
    found = stored({LEASE: now} if now is not None else {}, 2) | stored({f"{LEASE}9": RENEWED}, 2)
    assert differences(before, found) == ({LEASE: golden("lease")}, [f"{LEASE}9"])


def node_with(field: str, value: bytes) -> bytes:
    before = golden("node")
    return replace(before, locate(before, field), value)


def test_a_node_is_compared_without_its_status_and_with_all_the_rest() -> None:
    tree = to_tree(golden("node"))
    assert tree["status"]["conditions"] and tree["spec"]["podCIDR"]
    before = stored({NODE: golden("node")})
    heartbeat = node_with("status.conditions[0].reason", b"KubeletIsBusy")
    assert differences(before, stored({NODE: heartbeat}, 2)) == ({}, [])
    node = golden("node")
    found = locate(node, "metadata.managedFields[0].manager")
    assert differences(before, stored({NODE: replace(node, found, b"somebody")}, 2)) == ({}, []), "who wrote it"
    moved = node_with("spec.podCIDR", b"10.244.9.0/24")
    assert differences(before, stored({NODE: moved}, 2)) == ({NODE: golden("node")}, [])
    assert differences(before, stored({NODE: b"\xff broken"}, 2)) == ({NODE: golden("node")}, [])


def test_rollback_restores_the_key_space_and_tells_what_it_compared(keyspace: KeySpace) -> None:
    keyspace.write({"/registry/a": b"1", "/registry/b": b"1", LEASE: golden("lease")}, [])
    baseline = Baseline(keyspace.dump(), NODES)
    keyspace.write({"/registry/a": b"2", "/registry/c": b"1", LEASE: RENEWED, EVENT: b"1"}, ["/registry/b"])
    proof = rollback(keyspace, baseline, clean, within_s=5)
    found = {key: each.value for key, each in keyspace.dump().items()}
    assert found == {"/registry/a": b"1", "/registry/b": b"1", LEASE: RENEWED}
    assert proof == "3 keys equal to the baseline after 1 rounds; 1 nodes clean"


def test_what_was_stopped_starts_once_and_only_when_every_key_is_in_place(keyspace: KeySpace) -> None:
    keyspace.write({"/registry/a": b"1"}, [])
    baseline = Baseline(keyspace.dump(), NODES)
    keyspace.write({"/registry/a": b"2", **{f"/registry/new-{n}": b"1" for n in range(200)}}, [])
    found: list[dict[str, bytes]] = []

    def start() -> None:
        found.append({key: each.value for key, each in keyspace.dump().items()})
        keyspace.write({"/registry/new": b"of who starts"}, [])

    rollback(keyspace, baseline, clean, start=start, within_s=5)
    assert found == [{"/registry/a": b"1"}]
    assert "/registry/new" not in keyspace.dump()


def test_leases_of_leaders_are_theirs(keyspace: KeySpace) -> None:
    leases = dict.fromkeys(LEADERS.values(), golden("lease"))
    before, now = stored(leases), stored(dict.fromkeys(leases, OTHER_HOLDER), 2)
    assert differences(before, now) == ({}, [])
    assert differences(before, {}) == ({}, [])


def test_rollback_waits_until_the_nodes_are_clean_too(keyspace: KeySpace) -> None:
    answers = iter([{"node-1": "its routes differ"}, {"node-1": "its routes differ"}])
    asked: list[object] = []

    def node_now() -> dict[str, str]:
        asked.append(None)
        return next(answers, {})

    rollback(keyspace, Baseline(keyspace.dump(), NODES), node_now, within_s=5)
    assert len(asked) > 3
    with pytest.raises(ClusterError, match=r"to stay within 0.3 s; differed last: node-1: containers"):
        rollback(keyspace, Baseline(keyspace.dump(), NODES), lambda: {"node-1": "containers"}, within_s=0.3)


def test_nodes_that_stay_dirty_in_the_same_way_are_given_up_before_the_deadline(
    keyspace: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reset, "_STUCK_S", 0.5)
    answers = iter([*({"node-1": f"{more} containers more"} for more in (5, 4, 3, 2)), {"node-1": "1 container more"}])
    seen: dict[str, str] = {}

    def node_now() -> dict[str, str]:
        seen.update(next(answers, {}))
        return seen

    with pytest.raises(ClusterError, match=r"within [01]\.\d s; differed last: node-1: 1 container more"):
        rollback(keyspace, Baseline(keyspace.dump(), NODES), node_now, within_s=60)


def test_rollback_names_what_differs_when_something_keeps_writing(keyspace: KeySpace) -> None:
    keyspace.write({"/registry/fought-over": b"1"}, [])
    baseline, stop = Baseline(keyspace.dump(), NODES), threading.Event()

    def fight() -> None:
        while not stop.is_set():
            keyspace.write({"/registry/fought-over": b"2"}, [])

    fighter = threading.Thread(target=fight)
    fighter.start()
    try:
        with pytest.raises(ClusterError, match="differed last: /registry/fought-over"):
            rollback(keyspace, baseline, clean, within_s=0.8)
    finally:
        stop.set()
        fighter.join()


def test_equal_for_a_moment_is_not_proven(keyspace: KeySpace) -> None:
    with pytest.raises(ClusterError, match=r"did not come back to stay within 0\.2 s"):
        rollback(keyspace, Baseline(keyspace.dump(), NODES), clean, within_s=0.2)


def test_a_node_that_can_not_be_asked_is_a_cluster_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"ip -o route on node-7: .*No such file"):
        node_state(tmp_path / "node-7", tmp_path)


def test_what_a_pod_has_written_to_a_nodes_disk_is_seen(tmp_path: Path) -> None:
    state = functools.partial(node_state, Path("/proc/self/ns/net"), tmp_path)
    (tmp_path / "mnt/disks/1").mkdir(parents=True)
    (tmp_path / "var/log").mkdir(parents=True)
    before = state()
    (tmp_path / "var/log/x").write_text("goes on by itself")
    assert state() == before
    (tmp_path / "mnt/disks/1/x").write_text("one")
    first = state()
    assert first != before
    (tmp_path / "mnt/disks/1/x").write_text("three")
    assert state() != first
