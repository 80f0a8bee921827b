"""The probing client against a server that behaves differently every time."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from campaigns.clusters.sandbox.cri.programs.client import Target, outcome_of, read_url

MODULE = "campaigns.clusters.sandbox.cri.programs.client"


def test_a_url_says_whom_to_ask_for_what() -> None:
    assert read_url("http://web") == Target("web", 80, "web", "/")
    assert read_url("http://u@web:81/a?b=c#d") == Target("web", 81, "web:81", "/a?b=c")


@pytest.mark.parametrize("text", ["https://web", "web:80", "http://", "http://web:x"])
def test_what_is_no_http_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_url(text)


def test_every_failure_has_one_word() -> None:
    errors = [
        socket.gaierror(-3, "again"),
        TimeoutError(),
        ConnectionRefusedError(),
        OSError(113, "no route"),
        OSError(5),
    ]
    assert [outcome_of(error) for error in errors] == ["dns", "timeout", "refused", "unreachable", "other"]


def _status(line: str) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(f"HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nhi".encode())


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _silence(connection: socket.socket) -> None:
    connection.recv(1)  # until the client has given up


def _garbage(connection: socket.socket) -> None:
    connection.sendall(b"220 smtp\r\n\r\n")


BEHAVIOURS = (
    (_status("200 OK"), "ok"),
    (_status("500 No"), "http-500"),
    (_status("302 Found"), "ok"),
    (_status("404 No"), "http-404"),
    (_reset, "reset"),
    (_silence, "timeout"),
    (lambda _: None, "reset"),
    (_garbage, "protocol"),
    (_status("204 None"), "ok"),
)


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """A port on which each connection meets the next behaviour, and nobody after the last."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def serve() -> None:
        with listener:
            for behave, _ in BEHAVIOURS:
                connection, _ = listener.accept()
                with connection:
                    requests.append(connection.recv(4096))
                    behave(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)
    assert {request.split(b"\r\n")[0] for request in requests} == {b"GET /x?y=1 HTTP/1.1"}


def test_it_says_how_every_attempt_went_and_how_many_there_were() -> None:
    with serving() as port:
        url = f"http://127.0.0.1:{port}/x?y=1"
        command = [sys.executable, "-m", MODULE, "--url", url, "--interval", "0.01", "--timeout", "0.2"]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        with client, client.stdout:
            lines = [client.stdout.readline().rstrip() for _ in range(len(BEHAVIOURS) + 1)]
            client.send_signal(signal.SIGTERM)
            rest = client.stdout.read().splitlines()
    assert client.returncode == 0
    shape = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:(ok) \d+\.\dms|error (\S+))")
    found = [match[1] or match[2] for line in lines if (match := shape.fullmatch(line))]
    assert found == [word for _, word in BEHAVIOURS] + ["refused"], lines
    gave_up, went_on = (float(lines[at].split()[0][17:-1]) for at in (5, 6))
    assert 0.19 < (went_on - gave_up) % 60 < 1.5, "--timeout is that of a whole attempt"
    refused = 1 + len(rest) - 1
    words = f"3 ok, 1 http-404, 1 http-500, 1 protocol, {refused} refused, 2 reset, 1 timeout"
    assert rest[-1].endswith(f"Z end: {words}")


def test_attempts_keep_their_interval() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()  # refused at once
    command = [sys.executable, "-m", MODULE, "--url", f"http://127.0.0.1:{port}", "--interval", "0.1"]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    with client, client.stdout:
        seconds = [float(client.stdout.readline().split()[0][17:-1]) for _ in range(5)]
        client.send_signal(signal.SIGTERM)
    took = (seconds[-1] - seconds[0]) % 60
    assert 0.39 < took < 2, seconds


def test_wrong_arguments_end_it_with_the_usage() -> None:
    for arguments in (["--url", "https://web"], [], ["--url", "http://web", "--interval", "0"]):
        done = subprocess.run([sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "usage: client" in done.stderr
