"""Attaching to containers."""

from __future__ import annotations

import json
import os

import pytest

from campaigns.clusters.sandbox.cri.streaming import sessions
from tests.campaigns.clusters.sandbox.cri.streaming.client import SpdyClient
from tests.campaigns.clusters.sandbox.cri.streaming.conftest import Serving
from tests.campaigns.clusters.sandbox.cri.streaming.processes import Container
from tests.conftest import wait_until

SUCCESS = {"status": "Success"}


def attached(container: Container) -> None:
    wait_until(lambda: bool(container.sinks), within_s=5, what="the attachment")


def left(container: Container) -> None:
    wait_until(lambda: not container.sinks, within_s=5, what="the end of the attachment")


def make(serving: Serving, container: Container) -> Container:
    serving.backend.containers["a"] = container
    return container


def test_output_from_now_on_comes_until_the_container_ends(serving: Serving) -> None:
    container = make(serving, Container())
    container.says("stdout", b"before")
    with SpdyClient(serving.attach("a")) as client:
        error, out, err = client.streams("error", "stdout", "stderr")
        attached(container)
        container.says("stdout", b"hi")
        container.says("stderr", b"no")
        container.says("stdout", b"!")
        container.ends()
        client.rest()
        assert (client.text(out), client.text(err)) == (b"hi!", b"no")
        assert json.loads(client.text(error)) == SUCCESS
    left(container)


def test_two_clients_see_the_same(serving: Serving) -> None:
    container = make(serving, Container())
    with SpdyClient(serving.attach("a")) as one, SpdyClient(serving.attach("a")) as two:
        streams = [client.streams("error", "stdout", "stderr") for client in (one, two)]
        wait_until(lambda: len(container.sinks) == 2, within_s=5, what="both attachments")
        container.says("stdout", b"hi")
        container.ends()
        assert [c.rest().text(s[1]) for c, s in zip((one, two), streams, strict=True)] == [b"hi", b"hi"]


def test_stdin_reaches_the_container_and_its_end_if_it_was_made_so(serving: Serving) -> None:
    container = make(serving, Container(stdin_once=True))
    with SpdyClient(serving.attach("a", stdin=True)) as client:
        _, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        client.write(stdin, b"hello", fin=True)
        assert os.read(container.reads, 100) == b"hello"
        assert os.read(container.reads, 100) == b""
        container.says("stdout", b"bye")  # it goes on showing
        container.ends()
        assert client.rest().text(out) == b"bye"


def test_the_end_of_stdin_detaches_from_a_container_that_keeps_its_own(serving: Serving) -> None:
    container = make(serving, Container())
    for round_ in (b"one", b"two"):
        with SpdyClient(serving.attach("a", stdin=True)) as client:
            error, stdin, *_ = client.streams("error", "stdin", "stdout", "stderr")
            client.write(stdin, round_, fin=True)
            assert json.loads(client.rest().text(error)) == SUCCESS
        assert os.read(container.reads, 100) == round_
        left(container)


def test_a_container_without_stdin_ignores_the_clients(serving: Serving) -> None:
    container = make(serving, Container(with_stdin=False))
    with SpdyClient(serving.attach("a", stdin=True)) as client:
        _, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        client.write(stdin, bytes(4 << 20), fin=True)  # more than is held
        attached(container)
        container.says("stdout", b"hi")
        container.ends()
        assert client.rest().text(out) == b"hi"


def test_a_terminal_has_one_output_and_the_clients_size(serving: Serving) -> None:
    container = make(serving, Container(tty=True))
    with SpdyClient(serving.attach("a", stdin=True, tty=True)) as client:
        error, stdin, out, resize = client.streams("error", "stdin", "stdout", "resize")
        client.write(resize, b'{"Width":0,"Height":30}{"Width":70000,"Height":30}{"Width":"80","Height":24} [80, 24]\n')
        client.write(resize, b'{"Width":100,"Height":30}\n')
        wait_until(lambda: os.get_terminal_size(container.reads) == (100, 30), within_s=5, what="the new size")
        assert container.sizes == [(100, 30)]
        client.write(stdin, b"line\n")
        assert os.read(container.reads, 100) == b"line\n"
        container.says("stdout", b"$ ")
        container.ends()
        assert client.rest().text(out) == b"$ "
        assert json.loads(client.text(error)) == SUCCESS


def test_a_container_that_is_not_there_is_told_in_words(serving: Serving) -> None:
    with SpdyClient(serving.attach("gone")) as client:
        error, *_ = client.streams("error", "stdout", "stderr")
        assert json.loads(client.rest().text(error)) == {
            "status": "Failure",
            "message": "Internal error occurred: error attaching to container: "
            "failed to find container 'gone': not found",
            "reason": "InternalError",
            "code": 500,
        }


def test_the_end_of_stdin_detaches_from_a_terminal(serving: Serving) -> None:
    container = make(serving, Container(tty=True, stdin_once=True))
    with SpdyClient(serving.attach("a", stdin=True, tty=True)) as client:
        error, stdin, *_ = client.streams("error", "stdin", "stdout", "resize")
        client.write(stdin, b"", fin=True)
        assert json.loads(client.rest().text(error)) == SUCCESS
    assert container.stdin is not None
    left(container)


@pytest.mark.parametrize("stdin", [True, False])
def test_the_container_outlives_a_client_that_vanishes(serving: Serving, stdin: bool) -> None:
    container = make(serving, Container())
    client = SpdyClient(serving.attach("a", stdin=stdin))
    client.streams("error", "stdout", "stderr", *(["stdin"] if stdin else []))
    attached(container)
    client.socket.close()
    left(container)
    serving.idle()
    assert container.stdin is not None
    os.write(container.stdin, b"still open")


def test_a_client_that_does_not_read_is_let_go_before_it_holds_up_the_container(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_BACKLOG_BYTES", 1 << 20)
    container = make(serving, Container())
    with SpdyClient(serving.attach("a")) as client:
        error, *_ = client.streams("error", "stdout", "stderr")
        attached(container)
        for _ in range(200):  # the kernel takes some megabytes
            container.says("stdout", bytes(1 << 17))
        assert b"too slowly" in client.rest().text(error)
    left(container)


def test_a_client_that_reads_may_take_any_amount(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_BACKLOG_BYTES", 1 << 20)
    container = make(serving, Container())
    with SpdyClient(serving.attach("a")) as client:
        _, out, _ = client.streams("error", "stdout", "stderr")
        attached(container)
        for number in range(1, 9):
            container.says("stdout", bytes(1 << 19))
            client.until(lambda number=number: len(client.text(out)) == number << 19)  # type: ignore[misc]
