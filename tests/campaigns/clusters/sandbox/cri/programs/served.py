"""A program of ours as a process on loopback, as its pod would start it, and what its certificates are."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox import pki
from tests.campaigns.clusters.sandbox.manifests.apiserver import ApiServer
from tests.conftest import wait_until

__all__ = ["Asking", "free_port", "service_account", "serving", "write_tls"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def write_tls(folder: Path, authority: pki.Authority) -> Path:
    """As a Secret of type kubernetes.io/tls is mounted."""
    own = authority.issue("server", hosts=("127.0.0.1",))
    folder.mkdir()
    pki.write_private(folder / "tls.crt", own.certificate)
    pki.write_private(folder / "tls.key", own.key)
    return folder


def service_account(server: ApiServer, folder: Path, namespace: str, name: str) -> Path:
    """What the kubelet would mount for it, with a token of its own."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    status, answer = server.send("POST", path, request)
    assert status == 201, answer
    folder.mkdir()
    (folder / "ca.crt").write_bytes((server.folder / "ca.crt").read_bytes())
    (folder / "token").write_text(json.loads(answer)["status"]["token"])
    return folder


@contextlib.contextmanager
def serving(name: str, *arguments: str, log: Path, api_port: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """Program `name` until the block ends: by SIGTERM, as the kubelet would, with exit code 0."""
    module = f"campaigns.clusters.sandbox.cri.programs.{name}"
    env = {**os.environ, "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=output, stderr=output, env=env)
    try:
        wait_until(lambda: bool(log.read_text()), within_s=20, what=f"{name} to say something")
        yield process
        process.terminate()
        assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(10)


class Asking:
    """An HTTPS client of a server on loopback that `authority` has certified, with a certificate of its own or none."""

    def __init__(self, port: int, authority: pki.Authority, identity: pki.Identity | None, folder: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cadata=authority.identity.certificate.decode())
        if identity is not None:
            file = pki.write_private(folder / f"client-{id(self)}.pem", identity.certificate + identity.key)
            self._context.load_cert_chain(file)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and answer, parsed where it is JSON."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self._context)
        with contextlib.closing(connection):
            sent: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, dict(sent))
            response = connection.getresponse()
            answer = response.read()
            is_json = response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(answer) if is_json else answer
