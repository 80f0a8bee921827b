"""The workload's user, against a stand-in for the API: a small HTTPS server that answers as it is told."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox import pki
from campaigns.observers.stored import is_ready
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import ObjectName, Patch, PatchType, scale
from campaigns.workloads.user import User

KINDS = {
    "/api/v1": [
        {"name": "services", "kind": "Service", "namespaced": True},
        {"name": "services/status", "kind": "Service", "namespaced": True},
        {"name": "nodes", "kind": "Node", "namespaced": False},
    ],
    "/apis/apps/v1": [
        {"name": "deployments", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
    ],
}
READY = {"type": "Ready", "status": "True"}


class StandIn(http.server.ThreadingHTTPServer):
    """Tells which kinds there are; answers every other request with the next of `answers` (status, headers, body; None:
    hangs up), and keeps what came."""

    daemon_threads = True

    def __init__(self, answers: list[tuple[int, dict[str, str], bytes] | None]) -> None:
        self.answers = answers
        self.came: list[tuple[str, str, Any]] = []
        self.types: list[str] = []
        self.asked: list[str] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.came.append((self.command, self.path, json.loads(body) if body else None))
        self.server.types.append(self.headers["Content-Type"])
        self._answer(self.server.answers.pop(0))

    do_PATCH = do_DELETE = do_PUT = do_POST  # noqa: N815 - http.server's names

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        resources = KINDS.get(self.path)
        if resources is None and self.server.answers:
            self._answer(self.server.answers.pop(0))
            return
        self._answer((200, {}, json.dumps({"resources": resources}).encode()) if resources else (404, {}, b"none"))

    def _answer(self, answer: tuple[int, dict[str, str], bytes] | None) -> None:
        if answer is None:
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def standing_in(folder: Path, *answers: tuple[int, dict[str, str], bytes] | None) -> Iterator[tuple[StandIn, Path]]:
    """The server, and a kubeconfig for it. The client must show its certificate, as to the real API."""
    authority = pki.Authority("kubernetes")
    own = authority.issue("kube-apiserver", hosts=("127.0.0.1",))
    ca = pki.write_private(folder / "ca.crt", authority.identity.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.verify_mode = ssl.CERT_REQUIRED
    certificate = pki.write_private(folder / "s.crt", own.certificate)
    context.load_cert_chain(certificate, pki.write_private(folder / "s.key", own.key))
    server = StandIn(list(answers))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    kubeconfig = pki.kubeconfig(
        f"https://127.0.0.1:{server.server_address[1]}",
        authority.identity.certificate,
        "admin",
        authority.issue("admin"),
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server, pki.write_private(folder / "kubeconfig", kubeconfig)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def user(kubeconfig: Path) -> Iterator[User]:
    made = User(kubeconfig)
    try:
        yield made
    finally:
        made.close()


def status(message: str) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message}).encode()


OK = (200, {}, b"{}")
MANAGER = "?fieldManager=mutineer-user"
WEB = ObjectName("apps/v1", "Deployment", "default", "web")


def test_requests_go_where_the_api_expects_them_and_say_whose_they_are(tmp_path: Path) -> None:
    with standing_in(tmp_path, OK, OK, OK, OK, OK, OK) as (server, kubeconfig), user(kubeconfig) as asking:
        assert asking.create(deployment("web", "default", 6)) and asking.create(service("web", "default"))
        assert asking.apply(service("web", "default"))
        assert asking.patch(scale(WEB, 4)) and asking.patch(Patch(WEB, [], PatchType.JSON))
        assert asking.delete(ObjectName("v1", "Node", "", "node-1"))
        assert asking.told == []
    deployments, services = "/apis/apps/v1/namespaces/default/deployments", "/api/v1/namespaces/default/services"
    assert [(method, path) for method, path, _ in server.came] == [
        ("POST", deployments + MANAGER),
        ("POST", services + MANAGER),
        ("PATCH", f"{services}/web{MANAGER}&force=true"),
        ("PATCH", f"{deployments}/web/scale{MANAGER}"),
        ("PATCH", f"{deployments}/web{MANAGER}"),
        ("DELETE", "/api/v1/nodes/node-1"),
    ]
    bodies = [body for _, _, body in server.came]
    assert bodies[:3] == [deployment("web", "default", 6), service("web", "default"), service("web", "default")]
    assert bodies[3] == {"spec": {"replicas": 4}} and bodies[5]["propagationPolicy"] == "Background"
    assert server.types == [
        "application/json",
        "application/json",
        "application/apply-patch+yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/json",
    ]


def test_kinds_are_asked_for_once_a_version_and_one_that_there_is_not_is_told_of(tmp_path: Path) -> None:
    with standing_in(tmp_path, OK, OK) as (server, kubeconfig), user(kubeconfig) as asking:
        asking.learn("v1")
        assert asking.create(service("a", "default")) and asking.create(service("b", "default"))
        assert not asking.delete(ObjectName("v1", "Pad", "default", "a"))
        assert not asking.delete(ObjectName("shop.dev/v1", "Site", "default", "a"))
        assert asking.told == ["Pad a: the API has no kind Pad in v1", "Site a: HTTP 404 none"]
    assert server.asked == ["/api/v1", "/api/v1", "/apis/shop.dev/v1"] and len(server.came) == 2


def test_what_the_api_refuses_and_warns_of_is_told_in_order_and_in_its_words(tmp_path: Path) -> None:
    warning = {"Warning": '299 - "spec is odd"'}
    answers = (
        (403, {}, status("quota exceeded")),
        (201, warning, b"{}"),
        (500, {}, b"<html>broken"),
        (422, {}, b"[1]"),
    )
    with standing_in(tmp_path, *answers) as (_, kubeconfig), user(kubeconfig) as asking:
        outcomes = [asking.create(service(name, "default")) for name in ("a", "b", "c", "d")]
        told = asking.told
    assert outcomes == [False, True, False, False]
    assert told == [
        "Service a: HTTP 403 quota exceeded",
        'Service b: warning 299 - "spec is odd"',
        "Service c: HTTP 500 <html>broken",
        "Service d: HTTP 422 [1]",
    ]


def test_an_api_that_hangs_up_is_asked_once_and_told_of(tmp_path: Path) -> None:
    with standing_in(tmp_path, None, None, None, None) as (server, kubeconfig), user(kubeconfig) as asking:
        assert not asking.create(service("a", "default"))
        assert len(server.came) == 1, "no retries behind the user's back"
        assert asking.told == ["Service a: no answer (ProtocolError)"]


def test_an_api_that_says_nothing_is_waited_for_as_long_as_the_user_has_patience(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, standing_in(tmp_path) as (server, kubeconfig):
        text = kubeconfig.read_text().replace(f":{server.server_address[1]}", f":{silent.getsockname()[1]}")
        other = pki.write_private(tmp_path / "other", text.encode())
        with contextlib.closing(User(other, patience_s=0.2)) as asking:
            assert not asking.create(service("a", "default"))
            assert asking.told == ["Service a: no answer (ReadTimeoutError)"]


def test_keys_are_written_only_beside_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "cluster").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "host"))
    with standing_in(tmp_path / "cluster", (201, {}, b"{}")) as (_, kubeconfig), user(kubeconfig) as asking:
        assert asking.create(service("a", "default"))
    assert list((tmp_path / "host").iterdir()) == []


def test_an_api_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with standing_in(tmp_path) as (_, kubeconfig):
        pass
    with user(kubeconfig) as asking:
        assert not asking.create(service("a", "default"))
        assert asking.told == ["Service a: no answer (NewConnectionError)"]


def test_an_api_with_another_authoritys_certificate_is_not_trusted(tmp_path: Path) -> None:
    with standing_in(tmp_path, (201, {}, b"{}")) as (server, _):
        stranger = pki.Authority("kubernetes")
        address = f"https://127.0.0.1:{server.server_address[1]}"
        other = pki.kubeconfig(address, stranger.identity.certificate, "x", stranger.issue("x"))
        with user(pki.write_private(tmp_path / "other", other)) as asking:
            assert not asking.create(service("a", "default"))
            assert asking.told == ["Service a: no answer (ApiException)"] and server.came == []


@pytest.mark.parametrize(
    ("pod", "ready"),
    [
        ({"metadata": {}, "status": {"conditions": [READY]}}, True),
        ({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}, False),
        ({"metadata": {}, "status": {"conditions": [{"type": "Initialized", "status": "True"}]}}, False),
        ({"metadata": {"deletionTimestamp": "t"}, "status": {"conditions": [READY]}}, False),
        ({"status": {"conditions": [READY]}}, True),
        ({"metadata": None, "status": None}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_a_pod_is_ready_if_its_status_says_so_and_it_is_not_being_deleted(pod: dict[str, Any], ready: bool) -> None:
    assert is_ready(pod) is ready


STORED = {"kind": "Deployment", "spec": {"replicas": -1}}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(200, {}, json.dumps(STORED).encode()), OK, OK], ("", "", "")),
        (
            [(200, {}, json.dumps(STORED).encode()), (422, {}, status("spec.replicas: Invalid value: -1")), OK],
            ("", "Deployment web: HTTP 422 spec.replicas: Invalid value: -1", ""),
        ),
        (
            [(500, {}, status("unable to decode")), (500, {}, status("unable to decode, too"))],
            (
                "Deployment web: HTTP 500 unable to decode",
                "Deployment web: HTTP 500 unable to decode",
                "Deployment web: HTTP 500 unable to decode, too",
            ),
        ),
    ],
)
def test_a_dry_run_tells_what_could_be_done_with_an_object_and_changes_nothing(
    tmp_path: Path, answers: list[tuple[int, dict[str, str], bytes]], expected: tuple[str, str, str]
) -> None:
    with standing_in(tmp_path, *answers) as (server, kubeconfig), user(kubeconfig) as asking:
        asking.told.append("of the user")
        assert asking.dry_run(WEB) == expected
        assert asking.told == ["of the user"]
        assert server.asked[-1] == "/apis/apps/v1/namespaces/default/deployments/web"
        assert all(path.endswith("/deployments/web?dryRun=All") for _, path, _ in server.came)
        assert [body for method, _, body in server.came if method == "PUT"] in ([], [STORED])


def test_where_nobody_answers_a_dry_run_asks_once(tmp_path: Path) -> None:
    with standing_in(tmp_path, None) as (server, kubeconfig), user(kubeconfig) as asking:
        read, update, delete = asking.dry_run(WEB)
        assert read == update == delete and read.startswith("Deployment web: no answer (")
        assert server.came == []
        unknown = asking.dry_run(ObjectName("apps/v1", "Gone", "default", "web"))
        assert set(unknown) == {"Gone web: the API has no kind Gone in apps/v1"}
