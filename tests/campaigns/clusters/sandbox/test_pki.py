"""Certificates: proven by a handshake of two peers that trust nothing but the authority."""

from __future__ import annotations

import base64
import ipaddress
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from campaigns.clusters.sandbox import pki

HOSTS = ("localhost", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1")


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.Authority("kubernetes")


def loaded(identity: pki.Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate)


def context(folder: Path, purpose: ssl.Purpose, trusted: pki.Authority, own: pki.Identity) -> ssl.SSLContext:
    """Checks as strictly as Python 3.13 does by default."""
    made = ssl.create_default_context(purpose, cadata=trusted.identity.certificate.decode())
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_mode = ssl.CERT_REQUIRED
    certificate = pki.write_private(folder / f"{purpose.name}.crt", own.certificate)
    made.load_cert_chain(certificate, pki.write_private(folder / f"{purpose.name}.key", own.key))
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """The client's common name as the server saw it. SSLError as it comes to the client."""
    ours, theirs = socket.socketpair()
    names: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as connection:
                peer = connection.getpeercert() or {}
                names.extend(value for part in peer["subject"] for key, value in part if key == "commonName")  # type: ignore[misc]
                connection.sendall(b"ok")
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            assert connection.recv(2) == b"ok"
    finally:
        ours.close()
        thread.join()
    return names[0]


@pytest.mark.parametrize("host", HOSTS)
def test_a_server_and_a_client_of_one_authority_trust_each_other(
    authority: pki.Authority, tmp_path: Path, host: str
) -> None:
    server = context(tmp_path, ssl.Purpose.CLIENT_AUTH, authority, authority.issue("kube-apiserver", hosts=HOSTS))
    client = context(tmp_path, ssl.Purpose.SERVER_AUTH, authority, authority.issue("kubernetes-admin"))
    assert handshake(server, client, host) == "kubernetes-admin"


def test_another_authority_another_name_and_a_client_that_serves_are_refused(
    authority: pki.Authority, tmp_path: Path
) -> None:
    client = context(tmp_path, ssl.Purpose.SERVER_AUTH, authority, authority.issue("kubernetes-admin"))
    good = authority.issue("kube-apiserver", hosts=HOSTS)
    stranger = pki.Authority("kubernetes")
    for own, name, why in (
        (stranger.issue("kube-apiserver", hosts=HOSTS), "localhost", "unable to get local issuer|signature failure"),
        (good, "example.com", "mismatch"),
        (authority.issue("kubernetes-admin"), "localhost", "unsuitable certificate purpose|unsupported"),
    ):
        server = context(tmp_path, ssl.Purpose.CLIENT_AUTH, authority, own)
        with pytest.raises(ssl.SSLError, match=why):
            handshake(server, client, name)


def test_a_certificate_says_who_it_is_for_and_is_signed_by_its_authority(authority: pki.Authority) -> None:
    issued = authority.issue("system:node:node-1", organisations=("system:nodes",), hosts=HOSTS)
    certificate = loaded(issued)
    certificate.verify_directly_issued_by(loaded(authority.identity))
    subject = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert subject == {NameOID.ORGANIZATION_NAME: "system:nodes", NameOID.COMMON_NAME: "system:node:node-1"}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "kubernetes.default.svc"]
    addresses = [ipaddress.ip_address(each) for each in ("127.0.0.1", "10.96.0.1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    key = load_pem_private_key(issued.key, None)
    assert key.public_key() == certificate.public_key()


def test_only_certificates_with_hosts_may_serve(authority: pki.Authority) -> None:
    for hosts, serves in (((), False), (HOSTS, True)):
        usage = loaded(authority.issue("x", hosts=hosts)).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert (ExtendedKeyUsageOID.SERVER_AUTH in usage.value) is serves
        assert ExtendedKeyUsageOID.CLIENT_AUTH in usage.value


def test_etcd_has_an_authority_of_its_own_and_certificates_with_kubeadms_names() -> None:
    made = pki.etcd_identities("sandbox", "172.30.0.1")
    names = {path: loaded(identity).subject.rfc4514_string() for path, identity in made.items()}
    assert names == {
        "etcd/ca": "CN=etcd-ca",
        "etcd/server": "CN=sandbox",
        "etcd/peer": "CN=sandbox",
        "etcd/healthcheck-client": "CN=kube-etcd-healthcheck-client",
        "apiserver-etcd-client": "CN=kube-apiserver-etcd-client",
    }
    for path in names.keys() - {"etcd/ca"}:
        loaded(made[path]).verify_directly_issued_by(loaded(made["etcd/ca"]))
    for path in ("etcd/server", "etcd/peer"):
        found = loaded(made[path]).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.DNSName) == ["sandbox", "localhost"]
        addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)}
        assert addresses == {"172.30.0.1", "127.0.0.1", "::1"}


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = pki.write_private(tmp_path / "key", b"secret")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"secret", 0o600)
    assert pki.write_private(path, b"new").read_bytes() == b"new"


def test_a_kubeconfig_holds_all_that_a_client_needs(authority: pki.Authority) -> None:
    admin = authority.issue("kubernetes-admin")
    server = "https://127.0.0.1:6443"
    document = yaml.safe_load(pki.kubeconfig(server, authority.identity.certificate, "kubernetes-admin", admin))
    context = {each["name"]: each["context"] for each in document["contexts"]}[document["current-context"]]
    cluster = {each["name"]: each["cluster"] for each in document["clusters"]}[context["cluster"]]
    user = {each["name"]: each["user"] for each in document["users"]}[context["user"]]
    assert cluster["server"] == server
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.identity.certificate
    assert base64.b64decode(user["client-certificate-data"]) == admin.certificate
    assert base64.b64decode(user["client-key-data"]) == admin.key
