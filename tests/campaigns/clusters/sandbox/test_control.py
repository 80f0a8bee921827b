from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.control import SOCKET, ControlServer, ask
from injector.errors import ClusterError
from injector.rules import JSONValue


def answer(request: Mapping[str, JSONValue]) -> JSONValue:
    if request.get("do") == "fail":
        raise ClusterError("it is broken: mend it")
    return {"got": dict(request)}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    server = ControlServer(tmp_path / SOCKET, answer)
    yield tmp_path
    server.close()
    assert not (tmp_path / SOCKET).exists()


def test_a_request_is_answered_and_an_error_comes_in_its_own_words(folder: Path) -> None:
    assert ask(folder, {"do": "x", "n": 1}, within_s=5) == {"got": {"do": "x", "n": 1}}
    with pytest.raises(ClusterError, match=r"^it is broken: mend it$"):
        ask(folder, {"do": "fail"}, within_s=5)


def test_only_the_owner_may_connect(folder: Path) -> None:
    assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600


def test_nonsense_is_answered_in_words_and_the_next_line_is_read(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(folder / SOCKET))
        connection.sendall(b'{\n[1]\n{"do": "x"}\n')
        with connection.makefile("rb") as lines:
            answers = [json.loads(lines.readline()) for _ in range(3)]
    assert answers[0]["error"].startswith("not JSON: ")
    assert answers[1:] == [{"error": "expected a mapping, got [1]"}, {"ok": {"got": {"do": "x"}}}]


def test_where_nobody_answers_it_is_a_cluster_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"does not answer: .*No such file"):
        ask(tmp_path, {"do": "x"}, within_s=5)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen(4)
        with pytest.raises(ClusterError, match="does not answer: timed out"):
            ask(tmp_path, {"do": "x"}, within_s=0.05)


def test_a_sandbox_that_ends_before_it_answers_is_a_cluster_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen(4)

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ClusterError, match="ended before it answered"):
            ask(tmp_path, {"do": "x"}, within_s=5)
        thread.join(5)


def test_a_folder_can_be_served_again_after_a_crash_left_the_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET))
    server = ControlServer(tmp_path / SOCKET, answer)
    try:
        assert ask(tmp_path, {}, within_s=5) == {"got": {}}
    finally:
        server.close()
