"""Port-forward over SPDY."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.cri.streaming import forwarding, spdy
from tests.campaigns.clusters.sandbox.cri.streaming.client import FORWARD, RECORDED, SpdyClient, dial
from tests.campaigns.clusters.sandbox.cri.streaming.conftest import Serving, descriptors

ROOT = Path(__file__).parents[6]


@pytest.fixture
def pod() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def accept(pod: socket.socket) -> socket.socket:
    peer, _ = pod.accept()
    peer.settimeout(10)
    return peer


def port(pod: socket.socket) -> str:
    return str(pod.getsockname()[1])


def forward(serving: Serving, pod_id: str = "p") -> SpdyClient:
    return SpdyClient(serving.server.port_forward_url(pod_id, []), [FORWARD])


def pair(client: SpdyClient, number: str, request: str = "0") -> tuple[int, int]:
    """The error and the data stream of a new connection, as client-go opens them."""
    error = client.open(streamtype="error", port=number, requestid=request)
    client.send(spdy.Data(error, b"", fin=True))
    return error, client.open(streamtype="data", port=number, requestid=request)


def test_several_connections_share_a_client(serving: Serving, pod: socket.socket) -> None:
    with forward(serving) as client:
        _, first = pair(client, port(pod), "0")
        one = accept(pod)
        error, second = pair(client, port(pod), "1")
        two = accept(pod)
        for stream, peer, text in ((second, two, b"b"), (first, one, b"a")):
            client.write(stream, text)
            assert peer.recv(10) == text
            peer.sendall(text.upper())
            client.until(lambda stream=stream, text=text: client.text(stream) == text.upper())  # type: ignore[misc]
        two.close()
        client.until(lambda: {second, error} <= client.ended)
        one.sendall(b"!")
        client.until(lambda: client.text(first) == b"A!")
        one.close()
        client.until(lambda: first in client.ended)


def test_the_bytes_of_the_real_client_are_answered(serving: Serving, pod: socket.socket) -> None:
    url = serving.server.port_forward_url("p", [])
    head, _, frames = (RECORDED / "forward.bin").read_bytes().partition(b"\r\n\r\n")
    encoder, ours = spdy.Encoder(), b""
    for frame in spdy.Decoder().feed(frames):
        if isinstance(frame, spdy.SynStream):  # to the port that there is
            frame = spdy.SynStream(frame.stream, dict(frame.headers) | {"port": port(pod)})
        ours += b"" if isinstance(frame, spdy.GoAway) else encoder.encode(frame)
    with dial(url) as sock:
        token = url.rpartition("/")[2].encode()
        sock.sendall(b"POST /portforward/" + token + b" HTTP/1.1\r\n" + head.partition(b"\r\n")[2] + b"\r\n\r\n" + ours)
        for _ in range(2):
            with accept(pod) as peer:
                assert peer.recv(100) in (b"ping 0", b"ping 1")
                assert peer.recv(100) == b""


def test_the_clients_end_is_passed_on_and_the_pod_may_still_answer(serving: Serving, pod: socket.socket) -> None:
    with forward(serving) as client:
        _, data = pair(client, port(pod))
        client.write(data, b"question", fin=True)
        with accept(pod) as peer:
            assert peer.recv(100) == b"question"
            assert peer.recv(100) == b""
            peer.sendall(b"answer")
        client.until(lambda: data in client.ended)
        assert client.text(data) == b"answer"


def test_a_pod_that_says_nothing_more_after_the_clients_end_is_let_go(
    serving: Serving, pod: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_ENDING_S", 0.1)
    with forward(serving) as client:
        _, data = pair(client, port(pod))
        client.write(data, b"", fin=True)
        with accept(pod):
            client.until(lambda: data in client.ended)


def test_megabytes_go_through_in_both_directions_at_once(serving: Serving, pod: socket.socket) -> None:
    sent = os.urandom(1 << 20) * 8
    with forward(serving) as client:
        _, data = pair(client, port(pod))
        peer = accept(pod)

        def echo() -> None:
            with peer:
                while part := peer.recv(65536):
                    peer.sendall(part)

        echoing = threading.Thread(target=echo)
        echoing.start()
        writer = client.writing(data, sent, fin=True)
        client.until(lambda: data in client.ended)
        writer.join()
        echoing.join()
        assert client.text(data) == sent


def test_a_port_where_nobody_listens_is_told_on_the_error_stream(serving: Serving) -> None:
    with forward(serving) as client:
        error, data = pair(client, "1")
        client.until(lambda: error in client.ended)
        assert client.text(error) == (
            b"error forwarding port 1 to pod p: failed to connect to localhost:1 inside the pod: "
            b"127.0.0.1: Connection refused, ::1: Connection refused"
        )
        assert spdy.Reset(data, spdy.ResetStatus.CANCEL) in client.frames


def test_a_pod_that_is_gone_is_told_on_the_error_stream(serving: Serving) -> None:
    with forward(serving, "x") as client:
        error, _ = pair(client, "80")
        client.until(lambda: error in client.ended)
        assert client.text(error) == b"error forwarding port 80 to pod x: failed to find sandbox 'x': not found"


def test_a_connection_that_the_pod_resets_is_told_on_the_error_stream(serving: Serving, pod: socket.socket) -> None:
    with forward(serving) as client:
        error, _ = pair(client, port(pod))
        peer = accept(pod)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        client.until(lambda: error in client.ended)
        assert b"Connection reset by peer" in client.text(error)


def test_a_pod_that_listens_on_ipv6_only_is_reached(serving: Serving) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as pod, forward(serving) as client:
        _, data = pair(client, port(pod))
        with accept(pod) as peer:
            peer.sendall(b"six")
        client.until(lambda: data in client.ended)
        assert client.text(data) == b"six"


def test_streams_without_request_ids_are_paired_by_their_numbers(serving: Serving, pod: socket.socket) -> None:
    with forward(serving) as client:
        client.open(streamtype="error", port=port(pod))
        data = client.open(streamtype="data", port=port(pod))
        with accept(pod) as peer:
            peer.sendall(b"old")
        client.until(lambda: data in client.ended)
        assert client.text(data) == b"old"


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "-1"},
        {"streamtype": "data", "port": "http"},
        {"streamtype": "stdin", "port": "80"},
    ],
)
def test_a_stream_that_names_no_port_is_reset(serving: Serving, headers: dict[str, str]) -> None:
    with forward(serving) as client:
        client.send(spdy.SynStream(1, headers))
        client.until(lambda: spdy.Reset(1, spdy.ResetStatus.CANCEL) in client.frames)


def test_a_stream_whose_partner_does_not_come_is_told_and_reset(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_PAIR_S", 0.1)
    with forward(serving) as client:
        error = client.open(streamtype="error", port="80", requestid="7")
        client.until(lambda: spdy.Reset(error, spdy.ResetStatus.CANCEL) in client.frames)
        assert client.text(error) == b"request 7: timed out waiting for streams"


def test_a_second_error_stream_for_a_request_is_told_on_the_first(serving: Serving) -> None:
    with forward(serving) as client:
        error = client.open(streamtype="error", port="80", requestid="7")
        client.open(streamtype="error", port="80", requestid="7")
        client.until(lambda: bool(client.text(error)))
        assert client.text(error) == b"error processing stream for request 7: error stream already assigned"


def test_when_the_client_vanishes_every_connection_ends_and_nothing_leaks(serving: Serving, pod: socket.socket) -> None:
    before = descriptors()
    client = forward(serving)
    peers = []
    for number in range(3):
        _, data = pair(client, port(pod), str(number))
        peers.append(accept(pod))
        client.write(data, b"x")
    client.socket.close()
    for peer in peers:
        while peer.recv(100):
            pass
        peer.close()
    serving.idle()
    assert descriptors() == before


def test_a_pod_that_never_stops_talking_is_left_when_the_client_vanishes(serving: Serving, pod: socket.socket) -> None:
    client = forward(serving)
    _, data = pair(client, port(pod))
    with accept(pod) as peer:
        peer.sendall(bytes(1 << 16))
        client.until(lambda: len(client.text(data)) == 1 << 16)
        client.socket.close()
        with pytest.raises(OSError):
            while True:
                peer.sendall(bytes(1 << 16))
    serving.idle()


def test_a_connection_is_made_inside_the_pods_network_namespace() -> None:
    enter = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    command = [*enter, sys.executable, "-m", "tests.campaigns.clusters.sandbox.cri.streaming.inside"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "the pod's own\nthe node's\n"), done.stderr


def test_an_idle_connection_stays(serving: Serving, pod: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_ENDING_S", 0.1)
    with forward(serving) as client:
        _, data = pair(client, port(pod))
        with accept(pod) as peer:
            time.sleep(0.3)  # silence alone is no reason to end, and nothing shows that it isn't but time
            peer.sendall(b"still here")
        client.until(lambda: client.text(data) == b"still here")
