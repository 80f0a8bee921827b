"""A streaming server over this machine's processes, which may leave nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from campaigns.clusters.sandbox.cri.streaming import StreamingServer
from tests.campaigns.clusters.sandbox.cri.streaming.processes import Processes, Running
from tests.conftest import wait_until


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def streaming_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streaming-")]


@dataclass(frozen=True)
class Serving:
    server: StreamingServer
    backend: Processes

    def exec(self, *argv: str, stdin: bool = False, tty: bool = False, container: str = "c") -> str:
        return self.server.exec_url(container, argv, tty=tty, stdin=stdin, stdout=True, stderr=not tty)

    def attach(self, container: str, *, stdin: bool = False, tty: bool = False) -> str:
        return self.server.attach_url(container, tty=tty, stdin=stdin, stdout=True, stderr=not tty)

    def started(self) -> Running:
        """The first command, once it runs."""
        wait_until(lambda: bool(self.backend.running), within_s=5, what="the command's start")
        return self.backend.running[0]

    def idle(self) -> None:
        """Waits until nothing but the listener is left."""
        wait_until(lambda: streaming_threads() == ["streaming-accept"], within_s=5, what="every thread's end")


@pytest.fixture
def serving() -> Iterator[Serving]:
    before = descriptors()
    backend = Processes()
    listener = socket.create_server(("127.0.0.1", 0))
    server = StreamingServer(listener, backend, network=None)
    yield Serving(server, backend)
    server.close()
    for container in backend.containers.values():
        container.remove()
    assert streaming_threads() == []
    assert all(running.child.returncode is not None for running in backend.running)
    assert descriptors() == before
