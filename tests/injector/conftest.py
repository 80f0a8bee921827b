"""A real etcd for the channels, and forwarders in front of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from campaigns.assets import ensure
from injector.channels.control import ForwarderClient
from injector.errors import HarnessError, MutineerError
from injector.etcd_tls import EtcdTls, etcd3_arguments
from tests.conftest import wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import etcd3
    from etcd3 import etcdrpc

Address = tuple[str, int]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def etcd_binary() -> str:
    """MUTINEER_TEST_ETCD, PATH, or the assets; skips where there is none."""
    named = os.environ.get("MUTINEER_TEST_ETCD") or shutil.which("etcd")
    if named:
        return named
    try:
        return str(ensure(["etcd"])["etcd"])
    except MutineerError as error:
        pytest.skip(f"no etcd to test against (MUTINEER_TEST_ETCD, PATH, assets): {error}")


@dataclass
class Etcd:
    """An etcd process of the test's own."""

    address: Address
    process: subprocess.Popen[bytes]

    @property
    def text(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"


def start_etcd(folder: Path, address: Address, *, tls: EtcdTls | None = None) -> Etcd:
    """With `tls` it serves that certificate, and only clients with one of the same authority (so that one, too)."""
    url = f"{'https' if tls else 'http'}://{address[0]}:{address[1]}"
    peer = f"http://127.0.0.1:{free_port()}"
    certificates = (
        [f"--cert-file={tls.cert}", f"--key-file={tls.key}", f"--trusted-ca-file={tls.ca}", "--client-cert-auth"]
        if tls
        else []
    )
    argv = [
        etcd_binary(), "--data-dir", str(folder), "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        "--unsafe-no-fsync", "--log-level", "error", *certificates,
    ]  # fmt: skip
    etcd = Etcd(address, subprocess.Popen(argv, stderr=subprocess.DEVNULL))

    def serves() -> bool:
        with connected(address, timeout_s=1, tls=tls) as client:
            try:
                client.get("/x")
            except etcd3.Etcd3Exception:
                return False
            return True

    try:
        wait_until(serves, within_s=10, what="etcd to serve")
    except BaseException:
        stop(etcd.process)
        raise
    return etcd


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def connected(address: Address, *, timeout_s: float = 5, tls: EtcdTls | None = None) -> Any:
    """An etcd3 client; a context manager."""
    return etcd3.client(host=address[0], port=address[1], timeout=timeout_s, **etcd3_arguments(tls))


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    etcd = start_etcd(tmp_path_factory.mktemp("etcd"), ("127.0.0.1", free_port()))
    yield etcd
    stop(etcd.process)


@pytest.fixture
def etcd(etcd_server: Etcd) -> Etcd:
    """A running etcd without any keys."""
    with connected(etcd_server.address) as client:
        client.delete_prefix("/")
    return etcd_server


@dataclass
class RunningForwarder:
    address: Address
    control: ForwarderClient
    process: subprocess.Popen[bytes]

    def etcd(self, *, timeout_s: float = 5, tls: EtcdTls | None = None) -> Any:
        return connected(self.address, timeout_s=timeout_s, tls=tls)


def forwarder_command(listen: str, upstream: str, control: Path, *more: str) -> list[str]:
    module = [sys.executable, "-m", "injector.channels.forwarder"]
    return [*module, "--listen", listen, "--upstream", upstream, "--control", str(control), *more]


@pytest.fixture
def start_forwarder(tmp_path: Path) -> Iterator[Callable[[str], RunningForwarder]]:
    """Starts a forwarder to an upstream address; it is stopped after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(upstream: str) -> RunningForwarder:
        address, path = ("127.0.0.1", free_port()), tmp_path / "control.sock"
        process = subprocess.Popen(forwarder_command(f"127.0.0.1:{address[1]}", upstream, path))
        running.append(process)
        client = ForwarderClient(path)
        wait_until(lambda: answers(client), within_s=10, what="the forwarder's control socket to answer")
        return RunningForwarder(address, client, process)

    yield start
    for process in running:
        stop(process)


@pytest.fixture
def forwarder(etcd: Etcd, start_forwarder: Callable[[str], RunningForwarder]) -> RunningForwarder:
    """A forwarder in front of `etcd`."""
    return start_forwarder(etcd.text)


def answers(client: ForwarderClient) -> bool:
    try:
        client.ping()
    except HarnessError:
        return False
    return True


def put_request(key: str, value: bytes, *, mod_revision: int = 0) -> Any:
    """The Txn that kube-apiserver sends for a create (mod_revision 0) or an update."""
    return _guarded(key, mod_revision, etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key.encode(), value=value)))


def delete_request(key: str, *, mod_revision: int = 0) -> Any:
    """The Txn that kube-apiserver sends for a delete."""
    operation = etcdrpc.RequestOp(request_delete_range=etcdrpc.DeleteRangeRequest(key=key.encode()))
    return _guarded(key, mod_revision, operation)


def _guarded(key: str, mod_revision: int, operation: Any) -> Any:
    compare = etcdrpc.Compare(
        result=etcdrpc.Compare.EQUAL, target=etcdrpc.Compare.MOD, key=key.encode(), mod_revision=mod_revision
    )
    get = etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=key.encode()))
    return etcdrpc.TxnRequest(compare=[compare], success=[operation], failure=[get])
