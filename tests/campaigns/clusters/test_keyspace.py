"""The key space, against a real etcd."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from campaigns.clusters.keyspace import Change, KeySpace
from campaigns.clusters.sandbox import pki
from injector.errors import ClusterError, HarnessError
from injector.etcd_tls import EtcdTls
from tests.campaigns.etcd import running_etcd, running_secure_etcd
from tests.conftest import wait_until


class Seen:
    """What a watch told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.failures: list[str] = []
        self.failed = threading.Event()

    def told(self, changes: list[Change]) -> None:
        self.changes += changes

    def broke(self, why: str) -> None:
        self.failures.append(why)
        self.failed.set()


def test_a_dump_holds_every_key_with_its_value_and_its_revision(keyspace: KeySpace) -> None:
    before = keyspace.revision()
    keyspace.write({"/registry/a": b"1", "/registry/b": b"\x00\xff"}, [])
    keyspace.write({"/registry/a": b"2"}, [])
    dump = keyspace.dump()
    assert {key: stored.value for key, stored in dump.items()} == {"/registry/a": b"2", "/registry/b": b"\x00\xff"}
    assert [dump[key].mod_revision - before for key in ("/registry/b", "/registry/a")] == [1, 2]
    assert keyspace.revision() == before + 2


def test_one_key_and_the_keys_below_a_prefix_are_read(keyspace: KeySpace) -> None:
    keyspace.write({"/registry/a/2": b"\x00\xff", "/registry/a/1": b"", "/registry/b/1": b"x"}, [])
    assert keyspace.value("/registry/a/2") == b"\x00\xff" and keyspace.value("/registry/a/1") == b""
    assert keyspace.value("/registry/a/") is None
    assert keyspace.keys("/registry/a/") == ["/registry/a/1", "/registry/a/2"]
    assert keyspace.keys("/registry/c") == []


def test_a_key_that_is_not_utf_8_survives_the_round_trip(keyspace: KeySpace) -> None:
    key = b"/registry/\xff\xfe".decode(errors="surrogateescape")
    keyspace.write({key: b"odd"}, [])
    assert keyspace.dump()[key].value == b"odd"
    keyspace.write({}, [key])
    assert keyspace.dump() == {}


def test_more_operations_than_one_transaction_may_hold_are_all_written(keyspace: KeySpace) -> None:
    keyspace.write({f"/registry/many/{n}": b"v" for n in range(1203)}, [])
    assert len(keyspace.dump("/registry/many/")) == 1203
    keyspace.write({"/registry/one": b"1"}, [f"/registry/many/{n}" for n in range(1203)])
    assert list(keyspace.dump()) == ["/registry/one"]


def test_objects_that_together_exceed_a_request_go_in_several(keyspace: KeySpace) -> None:
    large = {f"/registry/large/{n}": bytes(200_000) for n in range(12)}  # 2.4 MB; etcd takes 1.5 MiB a request
    keyspace.write(large, [])
    assert {key: len(stored.value) for key, stored in keyspace.dump().items()} == dict.fromkeys(large, 200_000)


def test_what_etcd_refuses_is_a_cluster_error_in_words(keyspace: KeySpace) -> None:
    with pytest.raises(ClusterError, match="etcd refused: INVALID_ARGUMENT: etcdserver: request is too large"):
        keyspace.write({"/registry/huge": bytes(2_000_000)}, [])


def test_a_watch_tells_creates_updates_and_deletes_in_order_from_its_revision_on(keyspace: KeySpace) -> None:
    keyspace.write({"/registry/early": b"0"}, [])
    since = keyspace.revision() + 1
    keyspace.write({"/registry/a": b"1"}, [])  # before the watch begins, after its revision
    seen = Seen()
    end = keyspace.watch(since, seen.told, seen.broke)
    keyspace.write({"/registry/a": b"2"}, [])
    keyspace.write({}, ["/registry/a"])
    keyspace.write({"/registry/a": b"3"}, [])
    wait_until(lambda: len(seen.changes) >= 4, within_s=5, what="four changes")
    end()
    key = "/registry/a"
    assert seen.changes == [
        Change(key, b"1", since, True),
        Change(key, b"2", since + 1, False),
        Change(key, None, since + 2, False),
        Change(key, b"3", since + 3, True),
    ]
    assert seen.failures == [], "ending a watch is no failure of it"


def test_a_watch_on_an_etcd_that_dies_says_so_once_and_the_next_question_is_a_cluster_error(tmp_path: Path) -> None:
    with running_etcd(tmp_path) as etcd:
        keyspace, seen = KeySpace(etcd.address), Seen()
        end = keyspace.watch(1, seen.told, seen.broke)
        keyspace.write({"/registry/a": b"1"}, [])
        wait_until(lambda: bool(seen.changes), within_s=5, what="the first change")
        etcd.process.kill()
        assert seen.failed.wait(10)
        end()
        assert len(seen.failures) == 1 and seen.failures[0].startswith("etcd's watch broke: ")
        with pytest.raises(ClusterError, match="etcd does not answer"):
            keyspace.dump()
        keyspace.close()


def test_a_watch_from_a_revision_that_was_compacted_away_says_so(keyspace: KeySpace) -> None:
    keyspace.write({"/registry/a": b"1"}, [])
    keyspace.write({"/registry/a": b"2"}, [])
    now = keyspace.revision()
    keyspace._client.compact(now)
    seen = Seen()
    end = keyspace.watch(now - 1, seen.told, seen.broke)
    assert seen.failed.wait(5)
    end()
    assert "compacted" in seen.failures[0]


def test_over_tls_it_reads_writes_and_watches_and_gets_nowhere_with_a_certificate_of_another_authority(
    tmp_path: Path,
) -> None:
    with running_secure_etcd(tmp_path) as etcd:
        tls = pki.etcd_client(tmp_path / "pki")
        keyspace, seen = KeySpace(etcd.address, tls), Seen()
        end = keyspace.watch(1, seen.told, seen.broke)
        keyspace.write({"/registry/a": b"1"}, [])
        wait_until(lambda: bool(seen.changes), within_s=5, what="the first change")
        assert keyspace.dump()["/registry/a"].value == b"1"
        end()
        keyspace.close()
        stranger = pki.Authority("etcd-ca").issue("kube-etcd-healthcheck-client")
        cert = pki.write_private(tmp_path / "stranger.crt", stranger.certificate)
        key = pki.write_private(tmp_path / "stranger.key", stranger.key)
        for wrong in (EtcdTls(tls.ca, cert, key), None):
            outside = KeySpace(etcd.address, wrong)
            with pytest.raises(ClusterError, match="etcd does not answer"):
                outside.dump()
            outside.close()


def test_a_certificate_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"etcd/ca\.crt, .*healthcheck-client\.key can't be read"):
        KeySpace(("127.0.0.1", 1), pki.etcd_client(tmp_path))
