"""What every test shares: nothing may be left behind, and where the binaries are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.assets import Assets, ensure
from campaigns.clusters.sandbox.config import BINARIES

_GRACE_S = 3.0
"""Ends are asynchronous (a killed child has to be reaped, a daemon thread to notice): waited for, not slept through."""


def children() -> set[int]:
    """Process ids of this process's children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Waits for a condition; fails the test, naming it, when it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within_s:g} s for {what}")
        threading.Event().wait(0.02)


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails any test that leaves a child process or a thread of its own behind."""
    processes, threads = children(), {t.ident for t in threading.enumerate()}
    yield
    deadline = time.monotonic() + _GRACE_S
    while True:
        left = children() - processes
        alive = [t.name for t in threading.enumerate() if t.ident not in threads and not t.daemon]
        if not left and not alive:
            return
        if time.monotonic() > deadline:
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in left]
            pytest.fail(f"left behind: processes {commands or left}, threads {alive}")
        threading.Event().wait(0.02)


@pytest.fixture(scope="session")
def binaries() -> Assets:
    """The pinned binaries, got first if need be (`make test` does so before pytest starts)."""
    return ensure(BINARIES)


@pytest.fixture
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own, so that its sandboxes are the only ones there are."""
    # short: sockets in it may have 107 characters
    folder = Path(f"/tmp/mt-{os.getpid()}-{time.monotonic_ns() % 10**9}")
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder
