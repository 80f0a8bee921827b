"""Databases made by a real etcd, and bbolt's own command as the judge of what was made of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from campaigns.assets.toolchain import find_go, required_go
from tests.injector.conftest import connected, free_port, start_etcd

_MODULE = Path(__file__).parent / "go"
DB = Path("member/snap/db")


@dataclass(frozen=True)
class Judge:
    """bbolt's command."""

    program: Path

    def check(self, path: Path) -> str:
        """What `bbolt check` says: OK, or what is wrong."""
        return self._run("check", str(path))

    def compact(self, path: Path, to: Path) -> None:
        """The same database made anew, with a freelist in the file."""
        self._run("compact", "-o", str(to), str(path))

    def freelist(self, path: Path) -> str:
        """Of the meta page that counts."""
        said = [self._run("page", str(path), number) for number in ("0", "1")]
        newest = max(said, key=lambda text: int(text.split("Txn ID:")[1].split()[0]))
        return newest.split("Freelist:")[1].split()[0]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Built from the pinned module beside this file; skips where that can't be done."""
    go = find_go(required_go(_MODULE / "go.mod"))
    if go is None:
        pytest.skip("bbolt's own check needs Go, and there is none that is new enough")
    program = tmp_path_factory.mktemp("bbolt") / "bbolt"
    command = [str(go), "build", "-mod=readonly", "-o", str(program), "go.etcd.io/bbolt/cmd/bbolt"]
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(command, cwd=_MODULE, env=env, capture_output=True, text=True, timeout=110, check=False)
    if done.returncode != 0:
        pytest.skip(f"bbolt's command can't be built: {done.stderr.strip().splitlines()[-1:]}")
    return Judge(program)


def filled(folder: Path, fill: Callable[..., None]) -> Path:
    """The data folder of an etcd that `fill` was called with a client of, and that then was stopped in good order."""
    etcd = start_etcd(folder, ("127.0.0.1", free_port()))
    try:
        with connected(etcd.address) as client:
            fill(client)
    finally:
        etcd.process.terminate()
        etcd.process.wait(10)
    return folder


SIZES = (0, 1, 5, 100, 127, 128, 900, 3000, 4000, 4096, 9000)
KEYS = 220


def _fill(client: Any) -> None:
    """Many revisions, deletions, and values on pages of their own."""
    for number in range(KEYS):
        client.put(f"/k/{number:03}", b"%03d" % number + b"v" * SIZES[number % len(SIZES)])
    for number in range(0, KEYS, 7):
        client.put(f"/k/{number:03}", b"second")
    for number in range(0, KEYS, 10):
        client.delete(f"/k/{number:03}")
    client.put("/big", b"x" * 1_000_000)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An etcd's data folder; copy it before changing it."""
    return filled(tmp_path_factory.mktemp("filled") / "data", _fill)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an etcd with so little in it that the bucket `key` is inline."""

    def fill(client: Any) -> None:
        for name in ("a", "b", "c"):
            client.put(f"/{name}", name)

    return filled(tmp_path_factory.mktemp("small") / "data", fill)


@pytest.fixture
def database(data_folder: Path, tmp_path: Path) -> Path:
    """A database file of the test's own."""
    return Path(shutil.copy(data_folder / DB, tmp_path / "db"))


@pytest.fixture
def small_database(small_folder: Path, tmp_path: Path) -> Path:
    """One whose bucket `key` is inline."""
    return Path(shutil.copy(small_folder / DB, tmp_path / "small-db"))
