"""The components' forwarder as a process between real TLS clients and a real HTTPS server."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaigns.clusters.sandbox import pki
from injector.channels.component_options import read_options
from injector.channels.control import ForwarderClient
from injector.errors import InputError
from injector.rules import JSONValue, Rule
from injector.targets import Channel, Target
from tests.conftest import wait_until
from tests.injector.channels.test_forwarder import alive
from tests.injector.channels.upstream import Client, Upstream, connected
from tests.injector.conftest import answers, free_port, stop

SCHEDULER, KUBELET = "system:kube-scheduler", "system:node:node-1"
TLS = ssl.SSLContext
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Certificates:
    folder: Path

    def pair(self, name: str) -> dict[str, str]:
        return {"cert": str(self.folder / f"{name}.crt"), "key": str(self.folder / f"{name}.key")}

    def context(self, name: str | None, *alpn: str) -> TLS:
        """A client's, with that certificate."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.load_verify_locations(self.folder / "ca.crt")
        if name is not None:
            made.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if alpn:
            made.set_alpn_protocols(list(alpn))
        return made

    def server(self) -> TLS:
        """kube-apiserver's: a certificate is asked for, but not needed."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        made.load_verify_locations(self.folder / "ca.crt")
        made.verify_mode = ssl.CERT_OPTIONAL
        made.set_alpn_protocols(["h2", "http/1.1"])
        return made


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("pki")
    ours, other = pki.Authority("kubernetes"), pki.Authority("kubernetes")
    pairs = {
        "ca": ours.identity,
        "server": ours.issue("kube-apiserver", hosts=("127.0.0.1",)),
        "elsewhere": ours.issue("kube-apiserver", hosts=("10.1.1.1",)),
        "scheduler": ours.issue(SCHEDULER),
        "renewed": ours.issue(SCHEDULER),
        "grouped": ours.issue(SCHEDULER, organisations=("system:masters",)),
        "kubelet": ours.issue(KUBELET, organisations=("system:nodes",)),
        "stranger": other.issue(SCHEDULER),
    }
    for name, pair in pairs.items():
        pki.write_private(folder / f"{name}.crt", pair.certificate)
        pki.write_private(folder / f"{name}.key", pair.key)
    return Certificates(folder)


@dataclass
class Running:
    control: ForwarderClient
    process: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, int]
    certificates: Certificates

    def connection(self, component: str, certificate: str | None, *alpn: str):  # type: ignore[no-untyped-def]
        tls = self.certificates.context(certificate, *alpn or ("h2", "http/1.1"))
        return connected(("127.0.0.1", self.ports[component]), tls)

    def said(self, words: str) -> None:
        wait_until(lambda: words in self.log.read_text(), within_s=5, what=f"{words!r} in the log")

    def refused(self, component: str, certificate: str | None, words: str) -> None:
        """Nobody gets an answer with that certificate, and the log says why."""
        lost = pytest.raises((OSError, AssertionError))
        with lost, self.connection(component, certificate) as secure:
            Client(secure).ask()
        self.said(words)

    def arm(self, model: str, *, operation: str | None = None, **parameters: JSONValue) -> None:
        target = Target(kind="Pod", identity="Pod/default/web", operation=operation)
        channel = Channel.ETCD_TO_APISERVER
        self.control.arm(Rule(id="r1", channel=channel, model=model, target=target, parameters=parameters))

    def saw(self, what: str) -> list[str]:
        return [miss.why for miss in self.control.collect().near_misses if miss.identity == what]


def config(certificates: Certificates, upstream: tuple[str, int], folder: Path) -> dict[str, JSONValue]:
    names = {"kube-scheduler": "scheduler", "kubelet-node-1": "kubelet", "kube-proxy-node-1": None}
    components: list[JSONValue] = []
    for name, pair in names.items():
        own: dict[str, JSONValue] = {**certificates.pair(pair)} if pair else {}
        components.append({"name": name, "listen": f"127.0.0.1:{free_port()}", **own})
    ca = str(certificates.folder / "ca.crt")
    return {
        "control": str(folder / "control.sock"), "upstream": f"{upstream[0]}:{upstream[1]}", "upstream_ca": ca,
        "serve": {**certificates.pair("server")}, "client_ca": ca, "components": components,
    }  # fmt: skip


def command(path: Path, module: str = "tests.injector.channels.component_process") -> list[str]:
    return [sys.executable, "-m", module, "--config", str(path)]


def start(given: dict[str, JSONValue], certificates: Certificates, folder: Path) -> Running:
    path, log = folder / "config.json", folder / "forwarder.log"
    path.write_text(json.dumps(given))
    with log.open("wb") as sink:
        process = subprocess.Popen(command(path), stderr=sink, cwd=ROOT)
    control = ForwarderClient(str(given["control"]))
    try:
        wait_until(lambda: answers(control), within_s=10, what="the control socket to answer")
    except BaseException:
        stop(process)
        raise
    listed: list[dict[str, str]] = given["components"]  # type: ignore[assignment]
    ports = {each["name"]: int(each["listen"].rpartition(":")[2]) for each in listed}
    return Running(control, process, log, ports, certificates)


@pytest.fixture(scope="module")
def shared(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Running]]:
    with Upstream(certificates.server()) as upstream:
        folder = tmp_path_factory.mktemp("forwarder")
        forwarder = start(config(certificates, upstream.address, folder), certificates, folder)
        yield upstream, forwarder
        stop(forwarder.process)


@pytest.fixture
def upstream(shared: tuple[Upstream, Running]) -> Upstream:
    """One that nobody has asked for anything yet."""
    upstream, _ = shared
    upstream.requests.clear()
    upstream.connections = 0
    return upstream


@pytest.fixture
def running(shared: tuple[Upstream, Running]) -> Iterator[Running]:
    """A forwarder in front of it, with nothing armed and no connection open."""
    _, forwarder = shared
    yield forwarder
    forwarder.control.disarm()
    wait_until(lambda: forwarder.control.stats().connections == 0, within_s=5, what="the connections to be closed")


def test_each_component_reaches_upstream_as_itself(running: Running, upstream: Upstream) -> None:
    before = running.control.stats()
    for component, certificate, user in (
        ("kube-scheduler", "scheduler", SCHEDULER),
        ("kube-scheduler", "renewed", SCHEDULER),
        ("kubelet-node-1", "kubelet", KUBELET),
        ("kube-proxy-node-1", None, None),
    ):
        with running.connection(component, certificate) as secure:
            assert secure.selected_alpn_protocol() == "h2"
            got = Client(secure).ask("GET", "/who", None, ("authorization", "Bearer t"))
            assert json.loads(got.body) == {"user": user, "authorization": "Bearer t"}
    after = running.control.stats()
    counted = (after.connections_total - before.connections_total, after.messages - before.messages, after.armed)
    assert counted == (4, 4, None)
    assert after.bytes_up > before.bytes_up and after.bytes_down > before.bytes_down
    assert upstream.connections == 4


def test_nobody_acts_as_a_component_without_its_certificate(running: Running, upstream: Upstream) -> None:
    running.refused("kube-scheduler", "stranger", "certificate is not accepted")
    running.refused("kube-scheduler", "kubelet", f"its certificate says (('{KUBELET}',), ('system:nodes',))")
    running.refused("kube-scheduler", "grouped", f"its certificate says (('{SCHEDULER}',), ('system:masters',))")
    running.refused("kubelet-node-1", "scheduler", f"its certificate says (('{SCHEDULER}',), ())")
    assert upstream.connections == 0 and upstream.requests == []
    with running.connection("kube-scheduler", "scheduler") as secure:
        assert Client(secure).ask().ended
    with running.connection("kube-scheduler", None) as secure:  # as the controllers that have service accounts
        got = Client(secure).ask("GET", "/who", None, ("authorization", "Bearer t"))
        assert json.loads(got.body) == {"user": None, "authorization": "Bearer t"}


def test_large_bodies_pass_both_ways_many_at_a_time(running: Running, upstream: Upstream) -> None:
    with running.connection("kube-scheduler", "scheduler") as secure:
        client = Client(secure)
        client.peer.connection.increment_flow_control_window(1 << 24)
        got = [client.begin("GET", "/big/3000000") for _ in range(4)]
        body = bytes(range(256)) * 8000
        assert client.ask("POST", "/echo", body).body == body
        while not all(each.ended for each in got):
            assert client.exchange()
        assert {len(each.body) for each in got} == {3_000_000}


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def test_a_client_that_does_not_read_keeps_little_in_the_forwarder_and_others_go_on(
    running: Running, upstream: Upstream
) -> None:
    before = resident_bytes(running.process.pid)
    with running.connection("kube-scheduler", "scheduler") as slow:
        client = Client(slow)
        client.peer.connection.increment_flow_control_window(1 << 30)
        stream = client.begin("GET", f"/big/{64 << 20}")
        client.peer.connection.increment_flow_control_window(1 << 30, 1)
        slow.sendall(client.peer.taken())
        with running.connection("kube-scheduler", "scheduler") as quick:
            other = Client(quick)
            for _ in range(20):
                assert other.ask().ended
        assert resident_bytes(running.process.pid) - before < 24 << 20
        assert not stream.ended


def test_http_1_passes_and_so_does_what_follows_a_switched_protocol(running: Running, upstream: Upstream) -> None:
    tls = running.certificates.context("scheduler")
    with closing(
        http.client.HTTPSConnection("127.0.0.1", running.ports["kube-scheduler"], context=tls, timeout=10)
    ) as c:
        for _ in range(2):
            c.request("POST", "/echo", b"body" * 1000)
            assert c.getresponse().read() == b"body" * 1000
        c.request("GET", "/who")
        assert json.loads(c.getresponse().read())["user"] == SCHEDULER
    with running.connection("kube-scheduler", "scheduler", "http/1.1") as secure:
        secure.sendall(b"GET /exec HTTP/1.1\r\nhost: k\r\nconnection: Upgrade\r\nupgrade: shouting\r\n\r\n")
        assert secure.recv(1000).startswith(b"HTTP/1.1 101 ")
        for words in (b"hello\r\n\r\n", b"\0again"):
            secure.sendall(words)
            assert secure.recv(1000) == words.upper()
    assert upstream.connections == 2 and len(upstream.requests) == 3


def test_an_armed_rule_changes_requests_of_either_protocol(running: Running, upstream: Upstream) -> None:
    running.arm("value-set", value="another body")
    with running.connection("kube-scheduler", "scheduler") as secure:
        client = Client(secure)
        got = client.ask("POST", "/echo", b"body", ("content-length", "4"), ("accept-encoding", "gzip"))
        assert got.body == b"another body" and got.head["content-length"] == "12"
        running.control.disarm()
        assert client.ask("POST", "/echo", b"body").body == b"body"
    running.arm("value-set", value="another body")
    tls = running.certificates.context("kubelet")
    with closing(
        http.client.HTTPSConnection("127.0.0.1", running.ports["kubelet-node-1"], context=tls, timeout=10)
    ) as c:
        c.request("POST", "/echo", b"body")
        assert c.getresponse().read() == b"another body"
    assert "accept-encoding" not in upstream.requests[0].headers
    (seen,) = running.saw("exchange")
    assert seen.startswith("kubelet-node-1 ") and seen.endswith(" 1 POST /echo") and running.saw("ended") == ["200"]


def test_a_dropped_request_is_answered_and_a_delayed_one_arrives_later(running: Running, upstream: Upstream) -> None:
    with running.connection("kube-scheduler", "scheduler") as secure:
        client = Client(secure)
        running.arm("drop")
        got = client.ask("POST", "/echo", b"body")
        assert (got.head[":status"], got.body, upstream.requests) == ("503", b"dropped", [])
        running.control.disarm()
        running.arm("delay")
        assert client.ask("POST", "/echo", b"body").body == b"body"


def test_a_copy_is_a_request_as_that_component_on_a_connection_of_its_own(running: Running, upstream: Upstream) -> None:
    running.arm("duplicate")
    with running.connection("kube-scheduler", "scheduler") as secure:
        body = b"x" * 200_000
        assert Client(secure).ask("POST", "/echo", body, ("content-type", "a/b")).body == body
    wait_until(lambda: bool(running.saw("copied")), within_s=5, what="the copy's answer")
    assert running.saw("copied") == [f"200 {body.decode()}"]
    first, second = upstream.requests
    assert (first.user, first.method, first.target, first.body) == (SCHEDULER, "POST", "/echo", body)
    assert (second.user, second.method, second.target, second.body) == (SCHEDULER, "POST", "/echo", body)
    assert first.headers["content-type"] == second.headers["content-type"] == "a/b"
    assert "200000" in (first.headers.get("content-length"), second.headers.get("content-length"))
    assert upstream.connections == 2


def test_a_watch_that_was_under_way_is_told_something_else(running: Running, upstream: Upstream) -> None:
    with running.connection("kube-scheduler", "scheduler") as secure:
        client = Client(secure)
        got = client.begin("GET", "/api/v1/pods?watch=true", None, ("accept-encoding", "gzip"))
        while not got.heads:
            assert client.exchange()
        upstream.say(b'{"n":1}')
        while not got.body:
            assert client.exchange()
        running.arm("value-set", operation="watch", value='{"n":67}')
        upstream.say(b'{"n":2}')
        while got.body.count(b"\n") < 2:
            assert client.exchange()
    assert got.body == b'{"n":1}\n{"n":67}\n' and "accept-encoding" not in upstream.requests[0].headers
    assert running.saw("message") == ['{"n":2}']
    wait_until(lambda: running.saw("ended") == ["None"], within_s=5, what="the exchange to be told its end")


def test_a_client_that_breaks_http2_loses_its_connection_and_the_others_go_on(
    running: Running, upstream: Upstream
) -> None:
    with running.connection("kube-scheduler", "scheduler") as other:
        client = Client(other)
        assert client.ask().ended
        with running.connection("kube-scheduler", "scheduler") as bad:
            bad.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x01\x09\x04\0\0\0\x01x")
            while bad.recv(1 << 16):
                pass
        running.said("kube-scheduler: connection closed: the client broke HTTP/2")
        assert client.ask().ended


def test_upstream_may_be_away_and_come_back(tmp_path: Path, certificates: Certificates) -> None:
    address = ("127.0.0.1", free_port())
    running = start(config(certificates, address, tmp_path), certificates, tmp_path)
    try:
        with running.connection("kube-scheduler", "scheduler") as early, pytest.raises((OSError, AssertionError)):
            Client(early).ask()
        running.said(f"kube-scheduler: upstream 127.0.0.1:{address[1]} can't be reached")
        with ExitStack() as later:
            with Upstream(certificates.server(), address):
                secure = later.enter_context(running.connection("kube-scheduler", "scheduler"))
                assert Client(secure).ask().ended
            while secure.recv(1000):  # to the end
                pass
        wait_until(lambda: running.control.stats().connections == 0, within_s=5, what="the connection to be closed")
        with Upstream(certificates.server(), address), running.connection("kube-scheduler", "scheduler") as secure:
            assert Client(secure).ask().ended
    finally:
        stop(running.process)


def test_an_upstream_with_a_certificate_for_another_host_is_not_spoken_to(
    tmp_path: Path, certificates: Certificates
) -> None:
    wrong = certificates.server()
    wrong.load_cert_chain(certificates.folder / "elsewhere.crt", certificates.folder / "elsewhere.key")
    with Upstream(wrong) as upstream:
        running = start(config(certificates, upstream.address, tmp_path), certificates, tmp_path)
        try:
            lost = pytest.raises((OSError, AssertionError))
            with lost, running.connection("kube-scheduler", "scheduler") as secure:
                Client(secure).ask()
            running.said("the other side's certificate is not accepted: IP address mismatch")
            assert upstream.requests == []
        finally:
            stop(running.process)


def test_an_upstream_that_does_not_speak_http2_is_not_spoken_to_in_it(
    tmp_path: Path, certificates: Certificates
) -> None:
    context = certificates.server()
    context.set_alpn_protocols(["http/1.1"])
    with Upstream(context) as upstream:
        running = start(config(certificates, upstream.address, tmp_path), certificates, tmp_path)
        try:
            with running.connection("kube-scheduler", "scheduler") as secure:
                secure.settimeout(5)
                while secure.recv(1000):  # closed without an answer
                    pass
            running.said("does not speak h2")
            assert upstream.requests == []
        finally:
            stop(running.process)


def test_it_ends_on_sigterm_and_takes_its_control_socket_along(
    tmp_path: Path, upstream: Upstream, certificates: Certificates
) -> None:
    running = start(config(certificates, upstream.address, tmp_path), certificates, tmp_path)
    with running.connection("kube-scheduler", "scheduler") as secure:
        assert Client(secure).ask().ended
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(5) == 0
        while secure.recv(1000):
            pass
    assert not running.control.path.exists()


def test_it_dies_with_the_process_that_started_it(tmp_path: Path, certificates: Certificates) -> None:
    given, path = config(certificates, ("127.0.0.1", 1), tmp_path), tmp_path / "config.json"
    path.write_text(json.dumps(given))
    script = f"import subprocess, sys; subprocess.Popen({command(path)!r}); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, cwd=ROOT) as parent:
        client = ForwarderClient(str(given["control"]))
        wait_until(lambda: answers(client), within_s=10, what="the forwarder")
        pid = client.ping()
        parent.kill()
    wait_until(lambda: not alive(pid), within_s=5, what="the forwarder to die with its parent")


def test_all_that_is_wrong_with_the_config_is_said_at_once(tmp_path: Path, certificates: Certificates) -> None:
    given = config(certificates, ("127.0.0.1", 1), tmp_path)
    given |= {"upstream": "6443", "surplus": 1, "upstream_ca": "/nowhere"}
    given["serve"] = {"cert": certificates.pair("server")["cert"], "key": certificates.pair("kubelet")["key"]}
    first, second, third = given["components"]  # type: ignore[misc]
    first["listen"] = "0.0.0.0:7001"  # type: ignore[index,call-overload]
    del second["key"]  # type: ignore[attr-defined]
    third["name"] = "kube-scheduler"  # type: ignore[index,call-overload]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(given))
    ended = subprocess.run(command(path), capture_output=True, timeout=10, cwd=ROOT, text=True)
    assert ended.returncode == 2
    for words in (
        "upstream: expected HOST:PORT, got '6443'",
        "surplus: expected one of control, upstream",
        "upstream_ca '/nowhere': ",
        "expected a certificate and the key that belongs to it",
        "components[0].listen: expected a loopback or private address, got '0.0.0.0'",
        "components[1]: expected both cert and key",
        "components: name 'kube-scheduler' stands there more than once",
    ):
        assert words in ended.stderr, words
    lines = ended.stderr.splitlines()
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("text", ["", "[]", '{"components": []}', '{"components": [1]}'])
def test_a_config_that_is_none_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match="expected") as caught:
        read_options(path)
    assert all(problem.file == str(path) for problem in caught.value.problems)


def test_a_port_in_use_is_said(tmp_path: Path, certificates: Certificates) -> None:
    given = config(certificates, ("127.0.0.1", 1), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        given["components"][0]["listen"] = f"127.0.0.1:{busy.getsockname()[1]}"  # type: ignore[index,call-overload]
        path = tmp_path / "config.json"
        path.write_text(json.dumps(given))
        module = "injector.channels.component_forwarder"
        ended = subprocess.run(command(path, module), capture_output=True, timeout=10, cwd=ROOT, text=True)
    assert ended.returncode == 3 and "choose a free port" in ended.stderr
