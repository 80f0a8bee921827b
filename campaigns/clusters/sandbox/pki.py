"""The cluster's certificate authority, its certificates and kubeconfigs, made anew for every sandbox.

Names and groups are kubeadm's (kubernetes/cmd/kubeadm/app/phases/certs, v1.36). ECDSA P-256 instead of kubeadm's
RSA-2048: a whole set takes milliseconds. Keys are 0600 in a 0700 folder and die with the sandbox's tmpfs.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from injector.etcd_tls import EtcdTls

__all__ = ["Authority", "Identity", "etcd_client", "etcd_identities", "kubeconfig", "write_private"]

_LIFETIME = datetime.timedelta(days=365)
"""kubeadm's for leaf certificates; a sandbox lives hours."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


def write_private(path: Path, content: bytes) -> Path:
    """Writes a file that only its owner can read, never readable to others even for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return path


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # kube-apiserver's service-account signer reads "EC PRIVATE KEY" and PKCS#8 alike.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


class Authority:
    """A certificate authority; `issue` makes client and server certificates below it."""

    def __init__(self, common_name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=True, crl_sign=False, content_commitment=False,
                    key_encipherment=True, data_encipherment=False, key_agreement=False, encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip

    @property
    def identity(self) -> Identity:
        return Identity(self._certificate.public_bytes(serialization.Encoding.PEM), _pem(self._key))

    def issue(self, common_name: str, *, organisations: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Identity:
        """A client certificate, or one for serving too where `hosts` (DNS names and addresses) are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organisations]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # Python 3.13 asks for it (ssl.VERIFY_X509_STRICT is its default)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(h) for h in hosts]), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Identity(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def etcd_identities(node: str, address: str) -> dict[str, Identity]:
    """Path below the pki folder, without .crt and .key → what kubeadm puts there for an etcd on `node` that advertises
    `address`. etcd has an authority of its own; that one's clients may read and write everything."""
    ca = Authority("etcd-ca")
    hosts = (node, "localhost", address, "127.0.0.1", "::1")
    return {
        "etcd/ca": ca.identity,
        "etcd/server": ca.issue(node, hosts=hosts),
        "etcd/peer": ca.issue(node, hosts=hosts),
        "etcd/healthcheck-client": ca.issue("kube-etcd-healthcheck-client"),
        "apiserver-etcd-client": ca.issue("kube-apiserver-etcd-client"),
    }


def etcd_client(folder: Path) -> EtcdTls:
    """How the harness itself goes to etcd, with the pki folder that holds `etcd_identities`."""
    etcd = folder / "etcd"
    return EtcdTls(ca=etcd / "ca.crt", cert=etcd / "healthcheck-client.crt", key=etcd / "healthcheck-client.key")


def kubeconfig(server: str, authority: bytes, user: str, identity: Identity) -> bytes:
    """A kubeconfig with everything inside it, so that the file is all that has to be handed on."""

    def encoded(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "mutineer", "cluster": {"server": server, "certificate-authority-data": encoded(authority)}}
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(identity.certificate),
                    "client-key-data": encoded(identity.key),
                },
            }
        ],
        "contexts": [{"name": "mutineer", "context": {"cluster": "mutineer", "user": user}}],
        "current-context": "mutineer",
    }
    return yaml.safe_dump(document, sort_keys=False).encode()
