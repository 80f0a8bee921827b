"""The door with real sockets on both sides; which network they are of is test_outside.py's."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.doorway import Doorway, open_door
from tests.conftest import wait_until

BIG = os.urandom(5 << 20)
"""More than what socket buffers hold on both sides (net.ipv4.tcp_wmem, tcp_rmem: 4 and 6 MB at most)."""


class Server:
    """Accepts connections and does with each what `act` does, in a thread of its own."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.accepted: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()
        return host, port

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            thread = threading.Thread(target=self.act, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def act(self, connection: socket.socket) -> None:
        """Echoes; what came last is answered after the other side has said all."""
        kept = b""
        with suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(kept)
                kept = data
            connection.sendall(kept + b".")
            connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.accepted:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in (self._thread, *self._threads):
            thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def doorway(server: Server) -> Iterator[Doorway]:
    made = Doorway(open_door(), server.address)
    made.start()
    yield made
    made.close()


def connect(doorway: Doorway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", doorway.port), timeout=10)


def all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def ends(connection: socket.socket) -> bool:
    """Whether the other side ends it, in whatever way."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_bytes_go_both_ways_unchanged_and_the_end_of_one_way_leaves_the_other_open(doorway: Doorway) -> None:
    with connect(doorway) as client:
        reader = threading.Thread(target=lambda: got.append(all_of(client)))
        got: list[bytes] = []
        reader.start()
        client.sendall(BIG)
        client.shutdown(socket.SHUT_WR)
        reader.join(20)
    assert got == [BIG + b"."], "the last piece and the dot came after our end"


def test_a_slow_reader_holds_the_writer_back_instead_of_filling_memory(doorway: Doorway) -> None:
    with connect(doorway) as client:
        client.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):  # nobody reads the echo
            while sent < 200 << 20:
                sent += client.send(BIG)
        assert sent < 100 << 20


def test_many_connections_are_open_at_once_and_none_leaks(doorway: Doorway, server: Server) -> None:
    before = descriptors()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(doorway)) for _ in range(150)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
            client.shutdown(socket.SHUT_WR)
        assert [all_of(client) for client in clients] == [b"%d." % number for number in range(150)]
    wait_until(lambda: doorway.connections == 0, within_s=5, what="all to be closed")
    for connection in server.accepted:
        connection.close()
    wait_until(lambda: descriptors() <= before, within_s=5, what=f"{descriptors()} descriptors to be {before}")


def test_a_client_that_vanishes_takes_the_inner_connection_with_it(doorway: Doorway, server: Server) -> None:
    with connect(doorway) as client:
        wait_until(lambda: doorway.connections == 1, within_s=5, what="it to be let through")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: doorway.connections == 0, within_s=5, what="the end on both sides")


def test_an_inner_reset_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        doorway = Doorway(open_door(), listener.getsockname())
        doorway.start()
        try:
            with connect(doorway) as client:
                inner, _ = listener.accept()
                inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                inner.close()
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
            wait_until(lambda: doorway.connections == 0, within_s=5, what="its end")
        finally:
            doorway.close()


def test_where_nobody_listens_inside_the_client_is_reset_and_later_ones_get_through() -> None:
    nobody = socket.create_server(("127.0.0.1", 0))
    address = nobody.getsockname()
    nobody.close()
    doorway = Doorway(open_door(), address)
    doorway.start()
    try:
        with pytest.raises(ConnectionResetError), connect(doorway) as client:  # maybe before connect returns
            client.recv(1)
        with socket.create_server(address) as back, connect(doorway) as client:
            inner, _ = back.accept()
            with inner:
                inner.sendall(b"here")
                assert client.recv(4) == b"here"
    finally:
        doorway.close()


def test_closing_ends_what_is_open_and_refuses_what_comes(doorway: Doorway, server: Server) -> None:
    with connect(doorway) as client:
        wait_until(lambda: doorway.connections == 1, within_s=5, what="it to be let through")
        port = doorway.port
        doorway.close()
        assert ends(client)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    doorway.close()


def test_the_door_is_on_loopback_only_and_a_taken_port_is_an_error() -> None:
    with open_door() as door:
        assert door.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OSError, match="Address already in use"):
            open_door(door.getsockname()[1])
