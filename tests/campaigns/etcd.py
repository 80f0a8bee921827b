"""A real etcd for tests: one member, on free ports, with its data in a folder of the test's own."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from campaigns.assets import ensure
from campaigns.clusters.sandbox import components, pki
from tests.conftest import wait_until

__all__ = ["Etcd", "running_etcd", "running_secure_etcd"]


@dataclass(frozen=True, slots=True)
class Etcd:
    address: tuple[str, int]
    process: subprocess.Popen[bytes]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        taken = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


@contextlib.contextmanager
def running_etcd(folder: Path) -> Iterator[Etcd]:
    """Yields when it is healthy; kills it at the end."""
    client, peer = _free_ports(2)
    urls = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    argv = [
        str(ensure(["etcd"])["etcd"]), f"--data-dir={folder / 'data'}", "--name=t", "--log-level=error",
        f"--listen-client-urls={urls[0]}", f"--advertise-client-urls={urls[0]}", f"--listen-peer-urls={urls[1]}",
        f"--initial-advertise-peer-urls={urls[1]}", f"--initial-cluster=t={urls[1]}", "--unsafe-no-fsync",
        "--max-txn-ops=10000",
    ]  # fmt: skip
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        wait_until(lambda: _healthy(client), within_s=20, what="etcd to be healthy")
        yield Etcd(("127.0.0.1", client), process)
    finally:
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def running_secure_etcd(folder: Path) -> Iterator[Etcd]:
    """The sandbox's own etcd with TLS, but for its ports; the certificates are in `folder / "pki"`."""
    (folder / "pki/etcd").mkdir(parents=True)
    for name, pair in pki.etcd_identities("sandbox", "172.30.0.1").items():
        pki.write_private(folder / f"pki/{name}.crt", pair.certificate)
        pki.write_private(folder / f"pki/{name}.key", pair.key)
    client, peer, metrics = _free_ports(3)
    ours = {components.ETCD_PORT: client, 2380: peer, components.ETCD_METRICS_PORT: metrics}
    argv = components.etcd(Path(ensure(["etcd"])["etcd"]), folder / "data", tls=folder / "pki")
    for its, free in ours.items():
        argv = [word.replace(f"127.0.0.1:{its}", f"127.0.0.1:{free}") for word in argv]
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        wait_until(lambda: _healthy(metrics), within_s=20, what="etcd to be healthy, asked without a certificate")
        yield Etcd(("127.0.0.1", client), process)
    finally:
        process.kill()
        process.wait(10)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
