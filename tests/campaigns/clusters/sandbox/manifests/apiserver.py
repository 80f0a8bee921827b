"""A real kube-apiserver for tests: on loopback, on a free port, in front of a real etcd."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from campaigns.assets import ensure
from campaigns.clusters.sandbox import pki
from tests.campaigns.etcd import _free_ports, running_etcd
from tests.conftest import wait_until

__all__ = ["ApiServer", "running_apiserver"]

ISSUER = "https://kubernetes.default.svc.cluster.local"


class ApiServer:
    """`send` is the administrator; `folder` holds ca.crt."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self._tls.load_cert_chain(folder / "admin.crt", folder / "admin.key")

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._tls)
        with contextlib.closing(connection):
            try:
                headers = {"Content-Type": "application/json"} if body else {}
                connection.request(method, path, json.dumps(body) if body else None, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except OSError as error:
                return 0, str(error).encode()

    def get(self, path: str) -> dict[str, Any]:
        status, answer = self.send("GET", path)
        assert status == 200, answer
        document: dict[str, Any] = json.loads(answer)
        return document


@contextlib.contextmanager
def running_apiserver(folder: Path) -> Iterator[ApiServer]:
    """Yields when it is ready; kills it at the end."""
    _write_pki(folder)
    (port,) = _free_ports(1)
    with running_etcd(folder) as etcd, (folder / "kube-apiserver.log").open("wb") as log:
        flags = {
            "etcd-servers": f"http://127.0.0.1:{etcd.address[1]}",
            "secure-port": port,
            "bind-address": "127.0.0.1",
            "advertise-address": "172.30.0.1",  # of nobody; the endpoint `kubernetes` may not be loopback
            "tls-cert-file": folder / "apiserver.crt",
            "tls-private-key-file": folder / "apiserver.key",
            "client-ca-file": folder / "ca.crt",
            "service-account-key-file": folder / "sa.pub",
            "service-account-signing-key-file": folder / "sa.key",
            "service-account-issuer": ISSUER,
            "service-cluster-ip-range": "10.96.0.0/12",
            "authorization-mode": "Node,RBAC",
            "allow-privileged": "true",
            "cert-dir": folder,
        }
        argv = [str(ensure(["kube-apiserver"])["kube-apiserver"]), *(f"--{k}={v}" for k, v in flags.items())]
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            server = ApiServer(folder, port)
            wait_until(lambda: server.send("GET", "/readyz")[0] == 200, within_s=60, what="kube-apiserver to be ready")
            yield server
        finally:
            process.kill()
            process.wait(10)


def _write_pki(folder: Path) -> None:
    authority = pki.Authority("kubernetes")
    pairs = {
        "ca": authority.identity,
        "apiserver": authority.issue("kube-apiserver", hosts=("localhost", "127.0.0.1", "172.30.0.1")),
        "admin": authority.issue("kubernetes-admin", organisations=("system:masters",)),
    }
    for name, pair in pairs.items():
        pki.write_private(folder / f"{name}.crt", pair.certificate)
        pki.write_private(folder / f"{name}.key", pair.key)
    signer = pki.Authority("service-accounts").identity.key
    pki.write_private(folder / "sa.key", signer)
    public = load_pem_private_key(signer, None).public_key()
    pki.write_private(folder / "sa.pub", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
