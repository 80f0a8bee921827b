"""WebSocket clients, by the websocket-client library."""

from __future__ import annotations

import base64
import json
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
import websocket

from tests.campaigns.clusters.sandbox.cri.streaming.conftest import Serving


def connect(url: str, protocol: str | None = "v4.channel.k8s.io") -> websocket.WebSocket:
    return websocket.create_connection(
        url.replace("http://", "ws://"), subprotocols=[protocol] if protocol else None, timeout=20
    )


def messages(client: websocket.WebSocket) -> Iterator[bytes]:
    """Until the server closes."""
    while True:
        opcode, data = client.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return
        yield data


def channels(client: websocket.WebSocket) -> dict[int, bytes]:
    joined: dict[int, bytes] = {}
    for message in messages(client):
        joined[message[0]] = joined.get(message[0], b"") + message[1:]
    client.shutdown()  # after the server's close frame the library's close() forgets its socket
    return joined


def test_a_command_gives_its_outputs_and_its_exit_code(serving: Serving) -> None:
    client = connect(serving.exec("sh", "-c", "echo hi; echo no >&2; exit 3"))
    assert client.getsubprotocol() == "v4.channel.k8s.io"
    got = channels(client)
    assert (got[1], got[2]) == (b"hi\n", b"no\n")
    assert json.loads(got[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


@pytest.mark.parametrize("protocol", ["channel.k8s.io", None])
def test_the_conformance_suites_protocol_has_output_only_after_an_empty_message(
    serving: Serving, protocol: str | None
) -> None:
    client = connect(serving.exec("echo", "remote execution test"), protocol)
    assert list(messages(client)) == [b"\x01", b"\x01remote execution test\n"]
    client.shutdown()


def test_base64_goes_both_ways(serving: Serving) -> None:
    client = connect(serving.exec("head", "-c", "3", stdin=True), "v4.base64.channel.k8s.io")
    client.send("0" + base64.b64encode(b"foo").decode())
    assert list(messages(client)) == [b"1", b"1Zm9v", b"3" + base64.b64encode(b'{"status": "Success"}')]
    client.shutdown()


def test_a_terminal_takes_input_and_size(serving: Serving) -> None:
    client = connect(serving.exec("sh", "-c", "read line; stty size; echo $line", stdin=True, tty=True))
    client.send_binary(b'\x04{"Width":80,"Height":24}')
    client.send_binary(b"\x09to a channel that there is not")
    client.send_binary(b"\x00hello\n")
    got = channels(client)
    assert got[1].startswith(b"hello\r\n") and got[1].endswith(b"hello\r\n")
    assert json.loads(got[3]) == {"status": "Success"}


def test_megabytes_go_through_in_both_directions_at_once(serving: Serving) -> None:
    client = connect(serving.exec("head", "-c", "8000000", stdin=True))
    sender = threading.Thread(target=lambda: [client.send_binary(b"\x00" + bytes(100_000)) for _ in range(80)])
    sender.start()
    got = channels(client)
    sender.join()
    assert got[1] == bytes(8_000_000)


def test_pings_are_answered(serving: Serving) -> None:
    client = connect(serving.exec("cat", stdin=True))
    assert client.recv() == b"\x01"
    client.ping("are you there")
    opcode, frame = client.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (websocket.ABNF.OPCODE_PONG, b"are you there")
    client.close()
    serving.idle()


@pytest.mark.parametrize("politely", [True, False])
def test_the_command_of_a_client_that_leaves_is_killed(serving: Serving, politely: bool) -> None:
    client = connect(serving.exec("sleep", "1000"))
    if politely:
        client.close()
        assert client.close_frame is not None  # answered
    else:
        client.sock.shutdown(socket.SHUT_RDWR)
    assert serving.started().ended.wait(5), "the command still runs"
    assert serving.started().child.returncode == -signal.SIGKILL
    client.shutdown()
    serving.idle()


def test_the_newest_protocol_is_the_kubelets_and_refused_here(serving: Serving) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        connect(serving.exec("true"), "v5.channel.k8s.io")


def test_ports_are_named_before_their_data_flows(serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as pod:
        port = pod.getsockname()[1]
        client = connect(serving.server.port_forward_url("p", [port, 1]))
        named = {client.recv()[:1]: 0}
        peer, _ = pod.accept()
        client.send_binary(b"\x00ping")
        assert peer.recv(100) == b"ping"
        peer.sendall(b"pong")
        peer.close()
        got = channels(client)
    assert named.keys() == {b"\x00"}
    assert got[0] == b"pong"
    assert got[1] == port.to_bytes(2, "little")
    assert got[2] == b"\x01\x00"
    assert got[3].startswith(b"\x01\x00error forwarding port 1 to pod p: failed to connect to localhost:1")
