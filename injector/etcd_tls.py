"""What a client of etcd needs where etcd asks for certificates, as kubeadm's does (--client-cert-auth).

A plain value: files, named. Who reads them is python3-etcd3's client, here and in the rooms above.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from injector.errors import HarnessError

__all__ = ["EtcdTls", "etcd3_arguments"]


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """PEM files.

    ca    authorities that etcd's own certificate is checked against
    cert  the client's certificate
    key   its key
    """

    ca: Path
    cert: Path
    key: Path


def etcd3_arguments(tls: EtcdTls | None) -> dict[str, str]:
    """What etcd3.client takes for it; nothing where `tls` is None, which is plain text. HarnessError naming every file
    that can't be read."""
    if tls is None:
        return {}
    if unreadable := [str(path) for path in (tls.ca, tls.cert, tls.key) if not os.access(path, os.R_OK)]:
        raise HarnessError(f"TLS to etcd: {', '.join(unreadable)} can't be read")
    return {"ca_cert": str(tls.ca), "cert_cert": str(tls.cert), "cert_key": str(tls.key)}
