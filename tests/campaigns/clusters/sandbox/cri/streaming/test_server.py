"""URLs, tokens and the HTTP around them."""

from __future__ import annotations

import contextlib
import socket

import pytest

from campaigns.clusters.sandbox.cri.streaming import TooManyRequestsError
from campaigns.clusters.sandbox.cri.streaming import server as module
from tests.campaigns.clusters.sandbox.cri.streaming.client import SpdyClient, ask, dial
from tests.campaigns.clusters.sandbox.cri.streaming.conftest import Serving

UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_url_holds_for_one_use(serving: Serving) -> None:
    url = serving.exec("true")
    with SpdyClient(url):
        pass
    assert status(ask(url, *UPGRADE)) == 404


def test_a_url_holds_for_a_minute(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._TOKEN_S == 60
    monkeypatch.setattr(module, "_TOKEN_S", 0.0)
    assert status(ask(serving.exec("true"), *UPGRADE)) == 404


def test_urls_are_of_the_listener_and_cannot_be_guessed(serving: Serving) -> None:
    urls = {serving.exec("true") for _ in range(20)}
    assert len(urls) == 20
    host, port = serving.server._listener.getsockname()
    assert all(url.startswith(f"http://{host}:{port}/exec/") and len(url.rpartition("/")[2]) >= 22 for url in urls)


@pytest.mark.parametrize("path", ["/attach/", "/portforward/", "/", "/exec/x"])
def test_a_token_is_good_for_its_own_path_only(serving: Serving, path: str) -> None:
    base, token = serving.exec("true").split("/exec/")
    assert status(ask(base + path + token, *UPGRADE)) == 404


def test_no_more_than_a_thousand_urls_wait(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._MAX_TOKENS == 1000
    monkeypatch.setattr(module, "_MAX_TOKENS", 2)
    for _ in range(2):
        url = serving.exec("true")
    with pytest.raises(TooManyRequestsError):
        serving.exec("true")
    with SpdyClient(url):
        pass
    serving.exec("true")


@pytest.mark.parametrize(("tty", "stdin", "stdout", "stderr"), [(True, True, True, True), (False, False, False, False)])
def test_streams_that_the_cri_forbids_are_refused(
    serving: Serving, tty: bool, stdin: bool, stdout: bool, stderr: bool
) -> None:
    with pytest.raises(ValueError, match=r"tty and stderr|must be set"):
        serving.server.exec_url("c", ("true",), tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
    with pytest.raises(ValueError, match=r"tty and stderr|must be set"):
        serving.server.attach_url("c", tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)


@pytest.mark.parametrize("ports", [[0], [65536], [80] * 128])
def test_ports_that_there_are_not_are_refused(serving: Serving, ports: list[int]) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535"):
        serving.server.port_forward_url("p", ports)


@pytest.mark.parametrize(
    ("lines", "method", "expected"),
    [
        (UPGRADE, "PUT", 405),
        (UPGRADE[:2], "POST", 400),
        (("X-Stream-Protocol-Version: v4.channel.k8s.io",), "POST", 400),
        ((*UPGRADE[:2], "X-Stream-Protocol-Version: v5.channel.k8s.io"), "POST", 403),
        ((*UPGRADE[:2], "X-Stream-Protocol-Version: portforward.k8s.io"), "POST", 403),
        (("Connection: Upgrade", "Upgrade: websocket"), "GET", 400),
        (("Connection: Upgrade", "Upgrade: websocket", KEY, "Sec-WebSocket-Version: 8"), "GET", 400),
        (("Connection: Upgrade", "Upgrade: websocket", KEY, "Sec-WebSocket-Version: 13"), "POST", 400),
    ],
)
def test_a_request_that_cannot_be_upgraded_is_refused(
    serving: Serving, lines: tuple[str, ...], method: str, expected: int
) -> None:
    answer = ask(serving.exec("true"), *lines, method=method)
    assert status(answer) == expected
    if expected == 403:
        assert b"X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io, v3" in answer
    assert serving.backend.running == []


def test_the_clients_first_choice_that_is_known_is_taken(serving: Serving) -> None:
    with SpdyClient(serving.exec("true"), ["v5.channel.k8s.io", "v3.channel.k8s.io, v4.channel.k8s.io"]) as client:
        assert "X-Stream-Protocol-Version: v3.channel.k8s.io" in client.head


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", bytes(200_000)])
def test_who_does_not_speak_http_is_left(serving: Serving, said: bytes) -> None:
    with dial(serving.exec("true")) as sock:
        with contextlib.suppress(OSError):  # it may have closed before it had read everything
            sock.sendall(said)
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    serving.idle()


def test_a_client_that_opens_no_streams_is_left_and_nothing_is_started(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module._STREAMS_S == 30
    monkeypatch.setattr(module, "_STREAMS_S", 0.1)
    with SpdyClient(serving.exec("true")) as client:
        client.open(streamtype="error")
        client.rest()
    assert serving.backend.running == []
    serving.idle()


def test_closing_twice_is_closing(serving: Serving) -> None:
    serving.server.close()
    serving.server.close()
