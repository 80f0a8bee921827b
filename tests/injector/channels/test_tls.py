"""The forwarder with TLS: between an etcd that asks for certificates and clients of every kind."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import hpack
import pytest

from campaigns.clusters.sandbox import pki
from injector.channels.control import ForwarderClient
from injector.codec import locate
from injector.etcd_tls import EtcdTls, etcd3_arguments
from injector.wire import frames as h2
from tests.conftest import wait_until
from tests.injector.channels.test_forwarder import DEPLOYMENT, WEB, range_at, rule, transact
from tests.injector.conftest import (
    Address,
    Etcd,
    RunningForwarder,
    answers,
    connected,
    etcd3,
    etcdrpc,
    forwarder_command,
    free_port,
    put_request,
    start_etcd,
    stop,
)
from tests.injector.wire.peers import Frame, grpc_body, parse, request_headers

ETCD = "serves etcd"
CLIENT = "kube-apiserver-etcd-client"


@dataclass(frozen=True)
class Certificates:
    """A folder with two authorities of the same name, and who is who below the first."""

    folder: Path

    def of(self, name: str, *, trusts: str = "ca") -> EtcdTls:
        return EtcdTls(self.folder / f"{trusts}.crt", self.folder / f"{name}.crt", self.folder / f"{name}.key")

    @property
    def server(self) -> EtcdTls:
        return self.of("server")

    @property
    def client(self) -> EtcdTls:
        return self.of("client")

    @property
    def stranger(self) -> EtcdTls:
        """Signed by the other authority, but trusts the first."""
        return self.of("stranger")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("pki")
    ours, other = pki.Authority("etcd-ca"), pki.Authority("etcd-ca")
    pairs = {
        "ca": ours.identity,
        "other-ca": other.identity,
        "server": ours.issue(ETCD, hosts=("localhost", "127.0.0.1")),
        "elsewhere": ours.issue(ETCD, hosts=("elsewhere", "10.1.1.1")),
        "client": ours.issue(CLIENT),
        "stranger": other.issue(CLIENT),
    }
    for name, pair in pairs.items():
        pki.write_private(folder / f"{name}.crt", pair.certificate)
        pki.write_private(folder / f"{name}.key", pair.key)
    return Certificates(folder)


@pytest.fixture(scope="module")
def secure_etcd(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Etcd]:
    """An etcd that only answers clients with a certificate."""
    etcd = start_etcd(tmp_path_factory.mktemp("etcd"), ("127.0.0.1", free_port()), tls=certificates.server)
    yield etcd
    stop(etcd.process)


@dataclass
class Logged(RunningForwarder):
    log: Path

    def said(self, words: str) -> None:
        """Waits until the log has these words."""
        wait_until(lambda: words in self.log.read_text(), within_s=5, what=f"{words!r} in the log")

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


def serving(tls: EtcdTls) -> list[str]:
    return ["--tls-cert", str(tls.cert), "--tls-key", str(tls.key), "--tls-client-ca", str(tls.ca)]


def speaking(tls: EtcdTls) -> list[str]:
    return ["--upstream-cert", str(tls.cert), "--upstream-key", str(tls.key), "--upstream-ca", str(tls.ca)]


Start = Callable[..., Logged]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a forwarder with these options to an upstream; it is stopped after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def run(upstream: Address, *options: str) -> Logged:
        address, control, log = ("127.0.0.1", free_port()), tmp_path / "control.sock", tmp_path / "forwarder.log"
        argv = forwarder_command(f"127.0.0.1:{address[1]}", f"{upstream[0]}:{upstream[1]}", control, *options)
        with log.open("wb") as sink:
            process = subprocess.Popen(argv, stderr=sink)
        running.append(process)
        client = ForwarderClient(control)
        wait_until(lambda: answers(client), within_s=10, what="the forwarder's control socket to answer")
        return Logged(address, client, process, log)

    yield run
    for process in running:
        stop(process)


@pytest.fixture
def secured(start: Start, secure_etcd: Etcd, certificates: Certificates) -> Logged:
    """A forwarder with TLS on both sides."""
    return start(secure_etcd.address, *serving(certificates.server), *speaking(certificates.client))


def context(tls: EtcdTls, *alpn: str, own: bool = True) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(tls.ca)
    if own:
        made.load_cert_chain(tls.cert, tls.key)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


@contextmanager
def connection(forwarder: Logged, tls: ssl.SSLContext, *, receive_bytes: int = 0) -> Iterator[ssl.SSLSocket]:
    plain = socket.socket()
    plain.settimeout(10)
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    with closing(plain):
        plain.connect(forwarder.address)
        with tls.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            yield secure


def read_to_end(forwarder: Logged, tls: ssl.SSLContext, first: bytes) -> bytes:
    """What comes back until the other side ends it, in whatever way."""
    said = b""
    try:
        with connection(forwarder, tls) as secure:
            secure.sendall(first)
            while part := secure.recv(1 << 16):
                said += part
    except (ssl.SSLError, ConnectionError):
        pass
    return said


def works(forwarder: Logged, certificates: Certificates) -> None:
    with forwarder.etcd(tls=certificates.client) as client:
        client.put("/works", "1")
        assert client.get("/works")[0] == b"1"


def fails(forwarder: Logged, tls: EtcdTls | None) -> None:
    with forwarder.etcd(tls=tls, timeout_s=1) as client, pytest.raises(etcd3.Etcd3Exception):
        client.get("/works")


@pytest.mark.parametrize("front", [True, False], ids=["TLS-in-front", "plain-in-front"])
@pytest.mark.parametrize("back", [True, False], ids=["TLS-to-etcd", "plain-to-etcd"])
def test_large_values_and_watches_pass_with_tls_on_either_side_or_both(
    front: bool, back: bool, etcd: Etcd, secure_etcd: Etcd, certificates: Certificates, start: Start
) -> None:
    options = [*(serving(certificates.server) if front else []), *(speaking(certificates.client) if back else [])]
    forwarder = start((secure_etcd if back else etcd).address, *options)
    large = os.urandom(1_400_000)
    over = threading.Event()

    def requests() -> Iterator[object]:
        yield etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(key=b"/large"))
        over.wait(10)

    with forwarder.etcd(tls=certificates.client if front else None) as client:
        watch = etcdrpc.WatchStub(client.channel).Watch(requests(), timeout=10)
        assert next(watch).created
        client.put("/large", large)
        assert next(watch).events[0].kv.value == large
        over.set()
        watch.cancel()
        assert client.get("/large")[0] == large
    stats = forwarder.control.stats()
    assert stats.messages >= 3 and stats.bytes_up > 1_400_000 and stats.bytes_down > 2_800_000
    wait_until(lambda: forwarder.control.stats().connections == 0, within_s=5, what="the connection to be closed")
    assert forwarder.lines == []


def test_an_armed_rule_fires_over_tls_and_the_evidence_is_collected(
    secured: Logged, secure_etcd: Etcd, certificates: Certificates
) -> None:
    secured.control.arm(rule())
    with connected(secure_etcd.address, tls=certificates.client) as direct:
        direct.delete_prefix("/registry")
        with secured.etcd(tls=certificates.client) as client:
            first = transact(client, put_request(WEB, DEPLOYMENT))
        (stored,) = direct.kvstub.Range(range_at(WEB, first.header.revision)).kvs  # type: ignore[attr-defined]
    (firing,) = secured.control.collect().firings
    assert locate(stored.value, "spec.replicas").value == 67
    assert (firing.before, firing.after) == (DEPLOYMENT, stored.value)
    assert (firing.accepted, firing.revision) == (True, first.header.revision)  # type: ignore[attr-defined]


def test_a_write_dropped_over_tls_reads_as_unavailable_and_the_connection_lives_on(
    secured: Logged, secure_etcd: Etcd, certificates: Certificates
) -> None:
    with connected(secure_etcd.address, tls=certificates.client) as direct:
        direct.delete_prefix("/registry")
    secured.control.arm(rule("drop", field=None))
    with secured.etcd(tls=certificates.client) as client:
        with pytest.raises(Exception, match="dropped by rule r1"):
            transact(client, put_request(WEB, DEPLOYMENT))
        assert client.get(WEB)[0] is None
        assert transact(client, put_request(WEB, DEPLOYMENT)).succeeded  # type: ignore[attr-defined]
    assert secured.control.stats().connections_total == 1


# Who is refused


def test_a_client_without_a_certificate_is_refused_before_etcd_hears_of_it(
    secured: Logged, certificates: Certificates
) -> None:
    assert read_to_end(secured, context(certificates.client, "h2", own=False), h2.PREFACE) == b""
    secured.said("TLS: peer did not return a certificate")
    assert secured.control.stats().connections_total == 0
    works(secured, certificates)


def test_a_client_of_another_authority_is_refused_and_the_others_go_on(
    secured: Logged, certificates: Certificates
) -> None:
    with secured.etcd(tls=certificates.client) as client:
        client.put("/a", "1")
        fails(secured, certificates.stranger)
        secured.said("a client's connection was closed: the other side's certificate is not accepted: ")
        assert client.get("/a")[0] == b"1"
    assert secured.control.stats().connections_total == 1


def test_a_client_that_does_not_trust_us_goes_and_it_is_said(secured: Logged, certificates: Certificates) -> None:
    distrusts = context(certificates.of("client", trusts="other-ca"), "h2")
    with pytest.raises(ssl.SSLCertVerificationError), connection(secured, distrusts):
        pass
    secured.said("a client's connection was closed: TLS: tlsv1 alert unknown ca")
    works(secured, certificates)


def test_a_client_that_speaks_plain_text_to_the_tls_port_is_closed(secured: Logged, certificates: Certificates) -> None:
    with socket.create_connection(secured.address, 5) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: etcd\r\n\r\n")
        assert plain.recv(100) == b""
    secured.said("a client's connection was closed: TLS: http request")
    works(secured, certificates)


@pytest.mark.parametrize("alpn", [("http/1.1",), ()], ids=["http/1.1", "no-ALPN"])
def test_a_client_that_does_not_ask_for_http2_is_closed_and_nothing_goes_to_etcd(
    alpn: tuple[str, ...], secured: Logged, certificates: Certificates
) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: etcd\r\n\r\n"
    assert read_to_end(secured, context(certificates.client, *alpn), request) == b""
    secured.said("it did not ask for HTTP/2 (ALPN h2)")
    stats = secured.control.stats()
    assert (stats.connections_total, stats.bytes_up) == (0, 0)
    works(secured, certificates)


def test_a_client_that_could_do_both_gets_http2(secured: Logged, certificates: Certificates) -> None:
    with connection(secured, context(certificates.client, "http/1.1", "h2")) as secure:
        assert secure.selected_alpn_protocol() == "h2"


# etcd, seen from the forwarder


def test_an_etcd_of_another_authority_is_not_spoken_to(
    secure_etcd: Etcd, certificates: Certificates, start: Start
) -> None:
    distrusts = certificates.of("client", trusts="other-ca")
    forwarder = start(secure_etcd.address, *speaking(distrusts))
    fails(forwarder, None)
    forwarder.said(f"upstream {secure_etcd.text} can't be reached: the other side's certificate is not accepted: ")


def test_an_etcd_that_does_not_accept_our_certificate_closes_the_clients_connection(
    secure_etcd: Etcd, certificates: Certificates, start: Start
) -> None:
    forwarder = start(secure_etcd.address, *speaking(certificates.stranger))
    fails(forwarder, None)
    forwarder.said(f"upstream {secure_etcd.text} closed the connection: TLS: ")


@pytest.mark.parametrize(
    ("identity", "alpn", "words"),
    [
        ("elsewhere", ["h2"], "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("server", ["http/1.1"], "does not speak HTTP/2 over TLS (ALPN h2)"),
    ],
)
def test_a_server_of_another_name_or_without_http2_is_not_etcd(
    identity: str, alpn: list[str], words: str, certificates: Certificates, start: Start
) -> None:
    tls, own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificates.of(identity)
    tls.load_cert_chain(own.cert, own.key)
    tls.set_alpn_protocols(alpn)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept_once, args=(listener, tls))
        thread.start()
        forwarder = start(listener.getsockname(), *speaking(certificates.client))
        with socket.create_connection(forwarder.address, 5) as client:
            assert client.recv(100) == b""
        thread.join(10)
    forwarder.said(words)
    assert forwarder.control.stats().connections == 0


def accept_once(listener: socket.socket, tls: ssl.SSLContext) -> None:
    accepted, _ = listener.accept()
    accepted.settimeout(5)
    try:
        with tls.wrap_socket(accepted, server_side=True) as secure:
            while secure.recv(1 << 16):
                pass
    except OSError:
        accepted.close()


# A client that does not read

VALUES, VALUE_BYTES = 20, 1_200_000
LIST_BYTES = VALUES * VALUE_BYTES
HELD_BYTES = LIST_BYTES // 2
"""More than sockets (loopback: up to 4 MiB to send, autotuned) and TLS buffers (512 KiB) hold; less than the list."""


def list_request() -> bytes:
    """A Range of everything, from a client whose HTTP/2 windows never close: only the socket can stop the answer."""
    largest = (1 << 31) - 1
    settings = h2.Setting.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + largest.to_bytes(4, "big")
    body = etcdrpc.RangeRequest(key=b"/list/", range_end=b"/list0").SerializeToString()
    grpc_headers = {"content-type": "application/grpc", "te": "trailers"}
    return b"".join(
        [
            h2.PREFACE,
            h2.frame(h2.SETTINGS, 0, 0, settings),
            h2.window_update(0, largest - 65535),
            request_headers(hpack.Encoder(), 1, "/etcdserverpb.KV/Range", **grpc_headers),
            h2.frame(h2.DATA, h2.END_STREAM, 1, grpc_body(body)),
        ]
    )


def answer(secure: ssl.SSLSocket) -> bytes:
    """The DATA of stream 1 until it ends."""
    content, rest = bytearray(), b""
    while part := secure.recv(1 << 20):
        found, rest = parse(rest + part)
        for frame in [each for each in found if each.stream == 1]:
            if frame.kind == h2.DATA:
                content += frame.content
            if ends(frame):
                return bytes(content)
    raise AssertionError(f"the answer ended after {len(content)} bytes")


def ends(frame: Frame) -> bool:
    return frame.kind in (h2.DATA, h2.HEADERS) and bool(frame.flags & h2.END_STREAM)


def test_a_client_that_does_not_read_a_big_list_stops_etcd_not_the_forwarders_memory(
    secured: Logged, secure_etcd: Etcd, certificates: Certificates
) -> None:
    value = os.urandom(VALUE_BYTES)
    with connected(secure_etcd.address, tls=certificates.client) as direct:
        for number in range(VALUES):
            direct.put(f"/list/{number:02}", value)
    counts: list[int] = []

    def still() -> bool:
        counts.append(secured.control.stats().bytes_down)
        return len(counts) > 10 and counts[-10] == counts[-1] > VALUE_BYTES

    with connection(secured, context(certificates.client, "h2"), receive_bytes=1 << 16) as secure:
        secure.sendall(list_request())
        wait_until(still, within_s=10, what="the answer to come to a halt")
        assert counts[-1] < HELD_BYTES
        body = answer(secure)
    found = etcdrpc.RangeResponse.FromString(body[5:])
    assert [kv.value == value for kv in found.kvs] == [True] * VALUES


# Options


def refused(*options: str) -> str:
    argv = forwarder_command("127.0.0.1:1", "127.0.0.1:1", Path("/nowhere/c"), *options)
    ended = subprocess.run(argv, capture_output=True, timeout=10, text=True)
    assert ended.returncode == 2
    return ended.stderr


def test_everything_that_is_wrong_with_the_options_is_said_at_once(certificates: Certificates, tmp_path: Path) -> None:
    pem = tmp_path / "empty.pem"
    pem.write_text("nothing\n")
    wrong = replace(certificates.server, key=certificates.client.key, ca=pem)
    said = refused("--listen", "0.0.0.0:1", "--upstream-ca", "/x", "--upstream-cert", "/y", *serving(wrong))
    for words in (
        "--listen '0.0.0.0:1': expected a loopback address",
        "--upstream-cert, --upstream-ca without --upstream-key: expected all three, or none for plain text",
        f"--tls-cert '{wrong.cert}', --tls-key '{wrong.key}': expected a certificate and the key that belongs to it",
        f"--tls-client-ca '{pem}': expected certificates of authorities, PEM",
    ):
        assert words in said
    assert "Traceback" not in said


def test_every_file_that_can_t_be_read_is_named() -> None:
    said = refused(*speaking(EtcdTls(Path("/no/ca"), Path("/no/cert"), Path("/no/key"))))
    for option, name in (("ca", "ca"), ("cert", "cert"), ("key", "key")):
        assert f"--upstream-{option} '/no/{name}': No such file or directory" in said


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(
    certificates: Certificates, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(certificates.client.key.read_bytes(), None)
    path = tmp_path / "locked.key"
    locked = s.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, locked))
    assert "not encrypted" in refused(*speaking(replace(certificates.client, key=path)))


def test_etcd3_gets_the_files_by_name_or_a_sentence_about_those_that_can_t_be_read(certificates: Certificates) -> None:
    from injector.errors import HarnessError

    tls = certificates.client
    assert etcd3_arguments(None) == {}
    assert etcd3_arguments(tls) == {"ca_cert": str(tls.ca), "cert_cert": str(tls.cert), "cert_key": str(tls.key)}
    with pytest.raises(HarnessError, match="/no/cert, /no/key can't be read"):
        etcd3_arguments(replace(tls, cert=Path("/no/cert"), key=Path("/no/key")))
