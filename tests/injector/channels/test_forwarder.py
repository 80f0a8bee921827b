"""The forwarder as a process between a real etcd and a real gRPC client."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from injector.channels.control import ForwarderClient
from injector.codec import locate
from injector.errors import HarnessError
from injector.rules import JSONValue, NearMiss, Rule
from injector.targets import Channel, Target
from injector.wire import frames as h2
from tests.conftest import wait_until
from tests.injector.conftest import (
    Etcd,
    RunningForwarder,
    answers,
    connected,
    delete_request,
    etcd3,
    etcdrpc,
    forwarder_command,
    free_port,
    put_request,
    start_etcd,
    stop,
)
from tests.injector.stored import KEYS, golden

WEB, DEPLOYMENT = KEYS["deployment"], golden("deployment")
Start = Callable[[str], RunningForwarder]


def rule(model: str = "value-set", field: str | None = "spec.replicas", **parameters: JSONValue) -> Rule:
    target = Target(kind="Deployment", identity="Deployment/default/web", group="apps", field=field)
    if model == "value-set" and not parameters:
        parameters = {"value": 67}
    return Rule(id="r1", channel=Channel.APISERVER_TO_ETCD, model=model, target=target, parameters=parameters)


def transact(client: object, request: object, timeout_s: float = 5) -> object:
    return client.kvstub.Txn(request, timeout_s)  # type: ignore[attr-defined]


def test_unarmed_an_etcd_client_works_through_it_watches_and_large_values_included(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    large = os.urandom(1_000_000)
    over = threading.Event()

    def requests() -> Iterator[object]:
        yield etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(key=b"/large"))
        over.wait(10)

    with forwarder.etcd() as client, grpc.insecure_channel(f"127.0.0.1:{forwarder.address[1]}") as channel:
        watch = etcdrpc.WatchStub(channel).Watch(requests(), timeout=10)
        assert next(watch).created
        client.put("/large", large)
        assert next(watch).events[0].kv.value == large
        over.set()
        watch.cancel()
        assert client.get("/large")[0] == large
    stats = forwarder.control.stats()
    assert stats.messages >= 3 and stats.bytes_up > 1_000_000 and stats.bytes_down > 2_000_000
    assert stats.armed is None
    wait_until(lambda: forwarder.control.stats().connections == 0, within_s=5, what="the connection to be closed")


def test_an_armed_rule_changes_one_write_and_the_evidence_is_collected(etcd: Etcd, forwarder: RunningForwarder) -> None:
    forwarder.control.arm(rule())
    assert forwarder.control.stats().armed == "r1"
    with forwarder.etcd() as client:
        transact(client, put_request(KEYS["service"], golden("service")))
        first = transact(client, put_request(WEB, DEPLOYMENT))
        second = transact(client, put_request(WEB, DEPLOYMENT, mod_revision=first.header.revision))
        with connected(etcd.address) as direct:
            assert direct.get(WEB)[0] == DEPLOYMENT and second.succeeded
            (stored,) = direct.kvstub.Range(range_at(WEB, first.header.revision)).kvs
    collected = forwarder.control.collect()
    (firing,) = collected.firings
    assert locate(stored.value, "spec.replicas").value == 67
    assert (firing.before, firing.after) == (DEPLOYMENT, stored.value)
    assert (firing.accepted, firing.revision) == (True, first.header.revision)
    assert 0 <= time.monotonic() - firing.at_s < 60
    assert collected.near_misses == ()


def range_at(key: str, revision: int) -> object:
    return etcdrpc.RangeRequest(key=key.encode(), revision=revision)


def test_a_megabyte_in_many_frames_is_changed_and_arrives(etcd: Etcd, forwarder: RunningForwarder) -> None:
    from tests.injector.test_identity import _text, stored

    value = stored("ConfigMap", "big", body=_text(2, _text(1, "noise") + _text(2, "n" * 1_000_000)))
    target = Target(kind="ConfigMap", identity="ConfigMap/default/big", field="data[noise]")
    longer = Rule(
        id="grow", channel=Channel.APISERVER_TO_ETCD, model="value-set", target=target,
        parameters={"value": "m" * 1_300_000},
    )  # fmt: skip
    forwarder.control.arm(longer)
    with forwarder.etcd() as client:
        assert transact(client, put_request("/registry/configmaps/default/big", value)).succeeded
        stored_value = client.get("/registry/configmaps/default/big")[0]
        assert locate(stored_value, "data[noise]").value == "m" * 1_300_000
        for number in range(3):  # the windows of the connection are whole again
            assert transact(client, put_request(f"/registry/configmaps/default/{number}", value)).succeeded


def test_a_write_dropped_with_an_error_reads_as_unavailable_and_the_connection_lives_on(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    forwarder.control.arm(rule("drop", field=None))
    with forwarder.etcd() as client:
        with pytest.raises(Exception, match="dropped by rule r1") as caught:
            transact(client, put_request(WEB, DEPLOYMENT))
        assert caught.value.code().name == "UNAVAILABLE"  # type: ignore[attr-defined]
        assert client.get(WEB)[0] is None
        assert transact(client, put_request(WEB, DEPLOYMENT)).succeeded
        assert client.get(WEB)[0] == DEPLOYMENT
    assert forwarder.control.stats().connections_total == 1


def test_a_write_dropped_with_a_timeout_ends_with_the_clients_own_deadline(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    forwarder.control.arm(rule("drop", field=None, told="timeout"))
    with forwarder.etcd() as client:
        began = time.monotonic()
        with pytest.raises(Exception) as caught:
            transact(client, put_request(WEB, DEPLOYMENT), 0.4)
        assert caught.value.code().name == "DEADLINE_EXCEEDED"  # type: ignore[attr-defined]
        assert time.monotonic() - began >= 0.4
        assert client.get(WEB)[0] is None
    (firing,) = forwarder.control.collect().firings
    assert (firing.told, firing.accepted) == ("timeout", False)


def test_a_lost_write_is_acknowledged_with_the_revision_it_should_have_got(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    forwarder.control.arm(rule("drop", field=None, told="success"))
    with forwarder.etcd() as client:
        before = transact(client, put_request(KEYS["service"], golden("service")))
        lost = transact(client, put_request(WEB, DEPLOYMENT))
        assert (lost.succeeded, lost.header.revision) == (True, before.header.revision + 1)
        assert lost.header.member_id == before.header.member_id
        assert client.get(WEB)[0] is None
        assert transact(client, put_request(WEB, DEPLOYMENT)).succeeded


def test_a_lost_delete_leaves_the_object(etcd: Etcd, forwarder: RunningForwarder) -> None:
    with forwarder.etcd() as client:
        created = transact(client, put_request(WEB, DEPLOYMENT))
        forwarder.control.arm(rule("drop", field=None, told="success"), baseline=[(WEB.encode(), DEPLOYMENT)])
        lost = transact(client, delete_request(WEB, mod_revision=created.header.revision))
        assert lost.responses[0].response_delete_range.deleted == 1
        assert client.get(WEB)[0] == DEPLOYMENT


def test_a_disarmed_rule_does_nothing_and_its_near_misses_can_still_be_collected(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    from dataclasses import replace

    waiting = rule()
    forwarder.control.arm(replace(waiting, target=replace(waiting.target, occurrence=2)))
    with forwarder.etcd() as client:
        first = transact(client, put_request(WEB, DEPLOYMENT))
        forwarder.control.disarm()
        transact(client, put_request(WEB, DEPLOYMENT, mod_revision=first.header.revision))
        assert client.get(WEB)[0] == DEPLOYMENT
    collected = forwarder.control.collect()
    why = "matched, but the rule waits for occurrence 2"
    assert collected.near_misses == (NearMiss(identity="Deployment/default/web", why=why, times=1),)
    assert collected.firings == ()
    forwarder.control.arm(rule())
    assert forwarder.control.collect().near_misses == ()


def test_refused_requests_to_the_control_socket_are_answered_in_words(forwarder: RunningForwarder) -> None:
    forwarder.control.arm(rule())
    with pytest.raises(HarnessError, match="rule 'r1' is armed; disarm it first"):
        forwarder.control.arm(rule())
    forwarder.control.disarm()
    with pytest.raises(HarnessError, match="no fault model 'nonsense'"):
        forwarder.control.arm(rule("nonsense"))
    for line, words in ((b"{}", b"schema"), (b"x", b"Expecting"), (b'{"schema":1,"do":"jump"}', b"do: expected one")):
        assert words in raw_answer(forwarder.control.path, line)
    assert forwarder.control.ping() == forwarder.process.pid


def raw_answer(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(str(path))
        channel.sendall(line + b"\n")
        return channel.recv(1 << 16)


def test_the_control_socket_is_for_its_owner_only_and_goes_with_sigterm(forwarder: RunningForwarder) -> None:
    path = forwarder.control.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.create_connection(forwarder.address, 5):
        forwarder.process.send_signal(signal.SIGTERM)
        assert forwarder.process.wait(5) == 0
    assert not path.exists()


def test_a_client_that_breaks_http2_loses_its_connection_and_the_others_go_on(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    with forwarder.etcd() as client:
        client.put("/a", "1")
        with socket.create_connection(forwarder.address, 5) as bad:
            bad.sendall(h2.PREFACE + h2.frame(h2.CONTINUATION, 4, 1, b"x"))
            said = b""
            while part := bad.recv(1 << 16):
                said += part
        length_kind, _, _ = h2.FRAME_HEADER.unpack_from(said, len(said) - said[::-1].index(b"\x07") - 4)
        assert length_kind & 0xFF == h2.GOAWAY and struct.pack(">I", h2.ErrorCode.PROTOCOL_ERROR) in said
        assert client.get("/a")[0] == b"1"
    assert forwarder.control.stats().connections_total == 2


def test_etcd_may_go_and_come_back(tmp_path: Path, start_forwarder: Start) -> None:
    address = ("127.0.0.1", free_port())
    forwarder = start_forwarder(f"{address[0]}:{address[1]}")
    with socket.create_connection(forwarder.address, 5) as early:
        early.sendall(h2.PREFACE)
        assert early.recv(100) == b""
    etcd = start_etcd(tmp_path / "data", address)
    try:
        with forwarder.etcd() as client:
            client.put("/a", "1")
            stop(etcd.process)
            with pytest.raises(etcd3.Etcd3Exception):
                client.put("/a", "2")
        etcd = start_etcd(tmp_path / "data", address)
        with forwarder.etcd() as client:
            assert client.get("/a")[0] == b"1"
    finally:
        stop(etcd.process)


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    control = tmp_path / "c.sock"
    command = forwarder_command(f"127.0.0.1:{free_port()}", "127.0.0.1:1", control)
    script = f"import subprocess, sys; subprocess.Popen({command!r}); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        client = ForwarderClient(control)
        wait_until(lambda: answers(client), within_s=10, what="the forwarder")
        pid = client.ping()
        parent.kill()
    wait_until(lambda: not alive(pid), within_s=5, what="the forwarder to die with its parent")
    assert not control.exists()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_it_outlives_the_thread_that_started_it(etcd: Etcd, start_forwarder: Start) -> None:
    started: list[RunningForwarder] = []
    thread = threading.Thread(target=lambda: started.append(start_forwarder(etcd.text)))
    thread.start()
    thread.join()
    with started[0].etcd() as client:  # a round trip, so that the signal has surely come
        client.put("/a", "1")
    assert started[0].control.ping() == started[0].process.pid


@pytest.mark.parametrize(
    ("listen", "upstream", "code", "words"),
    [
        ("0.0.0.0:2381", "127.0.0.1:1", 2, b"expected a loopback address"),
        ("localhost", "127.0.0.1:1", 2, b"expected HOST:PORT"),
        ("127.0.0.1:70000", "127.0.0.1:1", 2, b"expected HOST:PORT"),
    ],
)
def test_wrong_addresses_are_refused_in_words(
    tmp_path: Path, listen: str, upstream: str, code: int, words: bytes
) -> None:
    ended = subprocess.run(forwarder_command(listen, upstream, tmp_path / "c"), capture_output=True, timeout=10)
    assert ended.returncode == code and words in ended.stderr


def test_a_port_or_control_path_in_use_is_said_and_nothing_is_taken_over(
    tmp_path: Path, forwarder: RunningForwarder
) -> None:
    busy = f"127.0.0.1:{forwarder.address[1]}"
    ended = subprocess.run(forwarder_command(busy, "127.0.0.1:1", tmp_path / "other"), capture_output=True, timeout=10)
    assert ended.returncode == 3 and b"choose a free port" in ended.stderr
    free = f"127.0.0.1:{free_port()}"
    ended = subprocess.run(
        forwarder_command(free, "127.0.0.1:1", forwarder.control.path), capture_output=True, timeout=10
    )
    assert ended.returncode == 3 and b"stop the forwarder that uses it" in ended.stderr
    assert forwarder.control.ping() == forwarder.process.pid


def test_the_socket_of_a_forwarder_that_was_killed_is_replaced(etcd: Etcd, start_forwarder: Start) -> None:
    start_forwarder(etcd.text).process.kill()
    second = start_forwarder(etcd.text)
    assert second.control.ping() == second.process.pid


def watching(forwarder: RunningForwarder, prefix: bytes, until: threading.Event) -> tuple[object, Iterator[object]]:
    """A watch of a prefix that is under way, on a connection of its own."""

    def requests() -> Iterator[object]:
        create = etcdrpc.WatchCreateRequest(key=prefix, range_end=b"\xff", prev_kv=True)
        yield etcdrpc.WatchRequest(create_request=create)
        until.wait(20)

    channel = grpc.insecure_channel(f"127.0.0.1:{forwarder.address[1]}")
    watch = etcdrpc.WatchStub(channel).Watch(requests(), timeout=20)
    assert next(watch).created
    return channel, watch


def reading(model: str, field: str | None, operation: str, **parameters: JSONValue) -> Rule:
    target = Target(
        kind="Deployment", identity="Deployment/default/web", group="apps", field=field, operation=operation
    )
    return Rule(id="r1", channel=Channel.ETCD_TO_APISERVER, model=model, target=target, parameters=parameters)


def test_a_watch_that_was_under_way_is_told_another_value_while_etcd_holds_the_true_one(
    etcd: Etcd, forwarder: RunningForwarder
) -> None:
    over = threading.Event()
    channel, watch = watching(forwarder, b"/registry/", over)
    with channel, connected(etcd.address) as direct:  # type: ignore[attr-defined]
        direct.put(KEYS["service"], golden("service"))
        assert next(watch).events[0].kv.value == golden("service")  # type: ignore[attr-defined]
        forwarder.control.arm(reading("value-set", "spec.replicas", "watch", value=67))
        for _ in range(2):
            direct.put(WEB, DEPLOYMENT)
        told = [next(watch).events[0].kv.value for _ in range(2)]  # type: ignore[attr-defined]
        assert [locate(value, "spec.replicas").value for value in told] == [
            67,
            locate(DEPLOYMENT, "spec.replicas").value,
        ]
        assert direct.get(WEB)[0] == DEPLOYMENT
        over.set()
        watch.cancel()  # type: ignore[attr-defined]
    (firing,) = forwarder.control.collect().firings
    assert (firing.operation, firing.identity, firing.after) == ("watch", "Deployment/default/web", told[0])


def test_a_lost_event_never_arrives_and_the_next_one_does(etcd: Etcd, forwarder: RunningForwarder) -> None:
    over = threading.Event()
    channel, watch = watching(forwarder, b"/registry/", over)
    with channel, connected(etcd.address) as direct:  # type: ignore[attr-defined]
        forwarder.control.arm(reading("drop", None, "watch"))
        direct.put(WEB, DEPLOYMENT)
        direct.put(KEYS["service"], golden("service"))
        assert next(watch).events[0].kv.key == KEYS["service"].encode()  # type: ignore[attr-defined]
        over.set()
        watch.cancel()  # type: ignore[attr-defined]


def test_a_list_of_many_megabytes_is_changed_in_one_object(etcd: Etcd, forwarder: RunningForwarder) -> None:
    noise = os.urandom(1_000_000)
    with connected(etcd.address) as direct:
        for number in range(12):
            direct.put(f"/registry/a{number:02}", noise)
        direct.put(WEB, DEPLOYMENT)
    forwarder.control.arm(reading("value-set", "metadata.name", "range", value="n" * 300))
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{forwarder.address[1]}", options) as channel:
        everything = etcdrpc.RangeRequest(key=b"/registry/", range_end=b"/registry0")
        first, second = (etcdrpc.KVStub(channel).Range(everything, timeout=20) for _ in range(2))
    found = {pair.key: pair.value for pair in first.kvs}
    assert locate(found[WEB.encode()], "metadata.name").value == "n" * 300
    assert len(found) == 13 and all(found[b"/registry/a%02d" % number] == noise for number in range(12))
    assert {pair.key: pair.value for pair in second.kvs} == found | {WEB.encode(): DEPLOYMENT}
