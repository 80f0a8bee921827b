"""Edits in the file of a real etcd that is stopped, and their undo; what a cluster of three members makes of one."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import etcd3
import pytest

from injector.at_rest import AtRest
from injector.at_rest_silent import AtRestSilent
from injector.bbolt import Member, Revision, opened
from injector.codec import locate
from injector.errors import FaultError, HarnessError
from injector.rules import Rule
from injector.targets import Channel, Target
from injector.undo import Undone
from tests.conftest import wait_until
from tests.injector.bbolt.conftest import DB, filled
from tests.injector.conftest import Address, connected, etcd_binary, etcdrpc, free_port, start_etcd
from tests.injector.stored import KEYS, golden

WEB, DEPLOYMENT = KEYS["deployment"], golden("deployment")
TARGET = Target(kind="Deployment", identity="Deployment/default/web", group="apps", field="spec.replicas")
RULE = Rule(
    id="e1/x", channel=Channel.AT_REST_SILENT, model="value-set", target=TARGET, parameters={"value": 67}
)  # fmt: skip
Written = tuple[bytes, int, int, int]


@contextmanager
def running(data: Path) -> Iterator[Any]:
    """A client of an etcd of that data folder; it is stopped in good order afterwards."""
    etcd = start_etcd(data, ("127.0.0.1", free_port()))
    try:
        with connected(etcd.address) as client:
            yield client
    finally:
        etcd.process.terminate()
        etcd.process.wait(10)


def everything(client: Any) -> dict[bytes, Written]:
    return {m.key: (v, m.create_revision, m.mod_revision, m.version) for v, m in client.get_prefix("/")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of a stopped etcd that holds a Deployment and a Service."""

    def fill(client: Any) -> None:
        client.put(WEB, b"older")
        client.put(WEB, DEPLOYMENT)
        client.put(KEYS["service"], golden("service"))

    return filled(tmp_path / "data", fill)


def test_etcd_serves_the_new_value_at_the_old_revision_and_everything_else_as_before(
    data: Path, tmp_path: Path
) -> None:
    with running(data) as client:
        before, revision = everything(client), client.get(WEB)[1].response_header.revision
    firing = AtRestSilent([data / DB], tmp_path / "undo").inject(RULE)
    assert firing == replace(
        firing,
        rule_id="e1/x",
        key=WEB,
        identity="Deployment/default/web",
        operation="silent",
        before=DEPLOYMENT,
        span=locate(DEPLOYMENT, "spec.replicas").span,
        field_before=locate(DEPLOYMENT, "spec.replicas").value,
        field_after=67,
        accepted=True,
        revision=None,
        told=None,
    )
    assert locate(firing.after, "spec.replicas").value == 67
    with running(data) as client:
        assert client.get(WEB)[1].response_header.revision == revision, "no revision is made"
        after = everything(client)
    key = WEB.encode()
    assert after == before | {key: (firing.after, *before[key][1:])}


def test_the_undo_record_is_there_before_the_file_changes_and_for_its_owner_only(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_rest, records, file = AtRestSilent([data / DB], tmp_path / "undo"), [], data / DB
    before, write = file.read_bytes(), Member.replace

    def look_first(self: Member, revision: Revision, value: bytes) -> None:
        (record,) = at_rest.pending()
        assert stat.S_IMODE(record.stat().st_mode) == 0o600 and stat.S_IMODE(record.parent.stat().st_mode) == 0o700
        records.append(json.loads(record.read_text()))
        assert file.read_bytes() == before
        write(self, revision, value)

    monkeypatch.setattr(Member, "replace", look_first)
    at_rest.inject(RULE)
    (record,) = records
    assert base64.b64decode(record.pop("key")) == WEB.encode() and base64.b64decode(record.pop("value")) == DEPLOYMENT
    assert record == {
        "schema": 1, "rule_id": "e1/x", "mod_revision": 3, "channel": "at-rest-silent", "files": [str(file)],
    }  # fmt: skip
    assert file.read_bytes() != before


def test_undo_restores_the_file_byte_for_byte_where_the_size_is_the_same_and_removes_the_record(
    data: Path, tmp_path: Path
) -> None:
    at_rest, before = AtRestSilent([data / DB], tmp_path / "undo"), (data / DB).read_bytes()
    firing = at_rest.inject(RULE)
    assert len(firing.after) == len(firing.before) and (data / DB).read_bytes() != before
    (record,) = at_rest.pending()
    assert AtRestSilent([tmp_path / "any"], tmp_path / "undo").undo(record) is Undone.RESTORED, "its files are in it"
    assert (data / DB).read_bytes() == before and at_rest.pending() == ()


def test_undo_finds_a_value_that_never_changed_that_is_gone_or_that_was_written_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_rest = AtRestSilent([data / DB], tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Member, "replace", lambda *_: None)
        at_rest.inject(RULE)  # killed between the record and the edit
    assert at_rest.undo(at_rest.pending()[0]) is Undone.UNCHANGED
    firing = at_rest.inject(RULE)
    with running(data) as client:
        client.put(WEB, firing.after)
    assert at_rest.undo(at_rest.pending()[0]) is Undone.OVERWRITTEN
    with running(data) as client:
        assert client.get(WEB)[0] == firing.after, "somebody's write, after the fault"
        old = client.kvstub.Range(etcdrpc.RangeRequest(key=WEB.encode(), revision=3), 5).kvs[0]
        assert old.value == DEPLOYMENT, "the revision that was changed is as it was"
    at_rest.inject(replace(RULE, parameters={"value": 5}))
    with running(data) as client:
        client.delete(WEB)
    assert at_rest.undo(at_rest.pending()[0]) is Undone.GONE
    with running(data) as client:
        assert client.get(WEB)[0] is None


def test_a_fault_that_does_not_fit_leaves_neither_a_change_nor_a_record(data: Path, tmp_path: Path) -> None:
    at_rest, before = AtRestSilent([data / DB], tmp_path / "undo"), (data / DB).read_bytes()
    same = locate(DEPLOYMENT, "spec.replicas").value
    with pytest.raises(FaultError, match="already has the value"):
        at_rest.inject(replace(RULE, parameters={"value": same}))
    with pytest.raises(FaultError, match="no stored apps object is Deployment/default/other"):
        at_rest.inject(replace(RULE, target=replace(TARGET, identity="Deployment/default/other")))
    assert (data / DB).read_bytes() == before and at_rest.pending() == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(RULE, model="drop", parameters={}), "there is no message at rest; drop is done to one"),
        (replace(RULE, channel=Channel.AT_REST_WRITE), "expected channel at-rest-silent"),
        (replace(RULE, target=replace(TARGET, occurrence=2)), "no occurrence 2"),
    ],
)
def test_what_can_t_be_done_at_rest_is_refused(wrong: Rule, words: str, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=words):
        AtRestSilent([tmp_path / "db"], tmp_path).inject(wrong)


def test_a_running_etcd_s_file_and_one_that_is_not_there_are_harness_errors(data: Path, tmp_path: Path) -> None:
    at_rest = AtRestSilent([data / DB], tmp_path / "undo")
    with running(data), pytest.raises(HarnessError, match="locked by another process"):
        at_rest.inject(RULE)
    assert at_rest.pending() == ()
    with pytest.raises(HarnessError, match="can't be opened"):
        AtRestSilent([tmp_path / "nosuch"], tmp_path).inject(RULE)


def test_each_channel_knows_its_own_records_in_a_shared_folder(data: Path, tmp_path: Path) -> None:
    silent, loud = AtRestSilent([data / DB], tmp_path), AtRest(("127.0.0.1", 1), tmp_path)
    silent.inject(RULE)
    (record,) = silent.pending()
    assert loud.pending() == ()
    with pytest.raises(HarnessError, match="an undo record of at-rest-silent, expected one of at-rest-write"):
        loud.undo(record)
    (tmp_path / "unreadable.json").write_text("{")
    assert len(silent.pending()) == 2 and len(loud.pending()) == 1


@dataclass
class Members:
    """Three members of one etcd cluster, by number from 0."""

    folder: Path
    ports: list[tuple[int, int]]
    processes: dict[int, subprocess.Popen[bytes]]

    def data(self, number: int) -> Path:
        return self.folder / f"m{number}"

    def address(self, number: int) -> Address:
        return ("127.0.0.1", self.ports[number][0])

    def log(self, number: int) -> str:
        return (self.folder / f"m{number}.log").read_text(errors="replace")

    def start(self, number: int, *more: str) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self.ports[number])
        cluster = ",".join(f"m{i}=http://127.0.0.1:{port}" for i, (_, port) in enumerate(self.ports))
        argv = [
            etcd_binary(), "--name", f"m{number}", "--data-dir", str(self.data(number)),
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
            "--unsafe-no-fsync", "--log-level", "warn", *more,
        ]  # fmt: skip
        with (self.folder / f"m{number}.log").open("wb") as log:
            self.processes[number] = subprocess.Popen(argv, stderr=log, stdout=log)

    def stop(self, number: int) -> None:
        process = self.processes.pop(number)
        process.terminate()
        process.wait(20)

    def kill(self, number: int) -> None:
        """For one that has no quorum: it would try for half a minute to come to an end in good order."""
        process = self.processes.pop(number)
        process.kill()
        process.wait(10)

    def client(self, number: int) -> Any:
        return connected(self.address(number), timeout_s=3)

    def serves(self, number: int) -> bool:
        with self.client(number) as client:
            try:
                client.get("/x")
            except etcd3.Etcd3Exception:
                return False
            return True

    def local(self, number: int, key: str) -> bytes:
        """What this member itself holds (a serializable read), whatever the others do."""
        with self.client(number) as client:
            request = etcdrpc.RangeRequest(key=key.encode(), serializable=True)
            value: bytes = client.kvstub.Range(request, 5).kvs[0].value
            return value

    def hashes(self) -> dict[int, tuple[int, int]]:
        """HashKV of each member that runs: the hash, and the revision up to which it was made."""
        found = {}
        for number in self.processes:
            with self.client(number) as client:
                answer = client.maintenancestub.HashKV(etcdrpc.HashKVRequest(revision=0), 5)
                found[number] = (answer.hash, answer.header.revision)
        return found

    def alarms(self) -> Mapping[int, list[int]]:
        with self.client(0) as client:
            return {alarm.member_id: [alarm.alarm_type] for alarm in client.list_alarms()}


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    """Three members that hold the Deployment."""
    cluster = Members(tmp_path, [(free_port(), free_port()) for _ in range(3)], {})
    try:
        for number in range(3):
            cluster.start(number)
        wait_until(lambda: all(map(cluster.serves, range(3))), within_s=30, what="three members")
        with cluster.client(0) as client:
            client.put(WEB, DEPLOYMENT)
        yield cluster
    finally:
        for process in cluster.processes.values():
            process.kill()
            process.wait(10)


def _agree(members: Members) -> Callable[[], bool]:
    return lambda: len(set(members.hashes().values())) == 1


@pytest.mark.slow
def test_one_of_three_members_serves_the_new_value_the_others_the_old_one_and_etcds_checks_find_it(
    members: Members, tmp_path: Path
) -> None:
    wait_until(_agree(members), within_s=10, what="the members to agree")
    members.stop(2)
    at_rest = AtRestSilent([members.data(2) / DB], tmp_path / "undo")
    firing = at_rest.inject(RULE)
    assert [members.local(number, WEB) for number in (0, 1)] == [DEPLOYMENT] * 2

    members.start(2)
    wait_until(lambda: members.serves(2), within_s=30, what="the changed member, which nobody checks")
    assert [members.local(number, WEB) for number in range(3)] == [DEPLOYMENT, DEPLOYMENT, firing.after]
    with members.client(2) as client:
        assert client.get(WEB)[0] == firing.after, "a linearizable read is answered from the member's own file, too"
    first, second, changed = (members.hashes()[number] for number in range(3))
    assert first == second and changed[0] != first[0] and changed[1] == first[1], "HashKV at one revision"

    members.stop(2)
    members.start(2, "--feature-gates=InitialCorruptCheck=true")
    assert members.processes[2].wait(30) != 0, "it refuses to start"
    assert "found data inconsistency with peers" in members.log(2)
    members.processes.pop(2)

    (record,) = at_rest.pending()
    assert at_rest.undo(record) is Undone.RESTORED
    members.start(2, "--feature-gates=InitialCorruptCheck=true")
    wait_until(lambda: members.serves(2), within_s=30, what="the mended member")
    wait_until(_agree(members), within_s=10, what="the members to agree again")


@pytest.mark.slow
def test_a_check_while_it_runs_raises_an_alarm_and_the_same_edit_in_every_member_is_never_found(
    members: Members, tmp_path: Path
) -> None:
    check = "--corrupt-check-time=1s"
    for number in range(3):
        members.stop(number)
    files = [members.data(number) / DB for number in range(3)]
    everywhere = AtRestSilent(files, tmp_path / "undo")
    firing = everywhere.inject(RULE)
    for number in range(3):
        members.start(number, check)
    wait_until(lambda: all(map(members.serves, range(3))), within_s=30, what="three members")
    assert [members.local(number, WEB) for number in range(3)] == [firing.after] * 3
    wait_until(_agree(members), within_s=10, what="the members to agree")
    assert members.alarms() == {}

    members.stop(2)
    AtRestSilent(files[2:], tmp_path / "undo").inject(replace(RULE, id="one", parameters={"value": 5}))
    members.start(2, check)
    wait_until(lambda: bool(members.alarms()), within_s=30, what="an alarm")
    assert list(members.alarms().values()) == [[2]], "CORRUPT, of one member"

    for number in range(3):
        members.kill(number)
    with pytest.raises(HarnessError, match=r"does not hold the same of .* nothing was changed"):
        AtRestSilent(files, tmp_path / "undo").inject(replace(RULE, parameters={"value": 9}))
    with opened(files[0]) as member:
        assert member.live()[WEB.encode()].kv.value == firing.after
