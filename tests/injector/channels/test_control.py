"""The control client against forwarders that do not answer as they should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from injector.channels.control import ForwarderClient
from injector.errors import HarnessError

Answering = Callable[[bytes | None], ForwarderClient]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    """A server that answers one request with the given bytes; None: never."""
    threads: list[threading.Thread] = []
    path = tmp_path / "c.sock"
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve(answer: bytes | None) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                if answer is None:
                    over.wait(5)
                else:
                    connection.sendall(answer)

        def start(answer: bytes | None) -> ForwarderClient:
            threads.append(threading.Thread(target=serve, args=(answer,)))
            threads[-1].start()
            return ForwarderClient(path, timeout_s=0.2)

        yield start
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "did not answer 'collect' in 0.2 s"),
        (b"", "closed the connection"),
        (b"not json\n", "can't be asked to collect"),
        (b'{"schema":2,"ok":true}\n', "speaks schema 2, this program 1"),
        (b'{"schema":1,"ok":false,"error":"no"}\n', "could not collect: no"),
        (b'{"schema":1,"ok":true,"firings":3}\n', "firings: expected a list"),
        (b'{"schema":1,"ok":true,"firings":[{"rule":1}],"near_misses":[]}\n', "a record that can't be read"),
    ],
)
def test_a_wrong_answer_is_a_harness_error_in_words(answering: Answering, answer: bytes | None, words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        answering(answer).collect()


def test_no_forwarder_is_a_harness_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="can't be asked to ping"):
        ForwarderClient(tmp_path / "none.sock").ping()
