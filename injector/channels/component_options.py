"""What the components' forwarder is told: one JSON file, read, checked as a whole, every problem said at once.

    {"control": path of the control socket,
     "upstream": "127.0.0.1:6443", "upstream_ca": PEM file,
     "serve": {"cert": PEM file, "key": PEM file},
     "client_ca": PEM file,
     "components": [{"name": "kube-scheduler", "listen": "127.0.0.1:7001", "cert": PEM file, "key": PEM file}, …]}

`upstream_ca` is what kube-apiserver's certificate is checked against, `serve` what the components see in its place,
`client_ca` the authority of the components' own certificates. A component without `cert` and `key` has a bearer token.
One that has them may show a token instead on some of its connections: kube-controller-manager's controllers each have a
service account (--use-service-account-credentials). Several components may share a listener, since their configuration
is one (a DaemonSet's): `"peers": {"172.30.0.11": "kube-proxy-node-1", …}` names them by the address they come from.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from cryptography import x509
from cryptography.x509.oid import NameOID

from injector.channels.tls import Files, client_context, server_context
from injector.errors import InputError, Problem
from injector.rules import JSONValue

__all__ = ["HTTP1", "HTTP2", "Component", "ComponentOptions", "Subject", "read_options", "subject_of"]

HTTP1, HTTP2 = "http/1.1", "h2"
"""As ALPN names them."""

Address = tuple[str, int]
Subject = tuple[tuple[str, ...], tuple[str, ...]]
"""Common names and organisations, each sorted: who a certificate says that somebody is (user and groups)."""


@dataclass(frozen=True, slots=True)
class Component:
    """`tls` is served to it. `upstream_tls` speaks for it to upstream, by protocol, with its certificate if it has one;
    `token_tls` does without. `subject` is who it has to be where it shows a certificate, None for one that has none.
    `peers`: who it is that comes from an address, where several come here."""

    name: str
    listen: Address
    tls: ssl.SSLContext
    upstream_tls: Mapping[str, ssl.SSLContext]
    token_tls: Mapping[str, ssl.SSLContext]
    subject: Subject | None
    peers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ComponentOptions:
    control: Path
    upstream: Address
    components: tuple[Component, ...]


def read_options(path: Path) -> ComponentOptions:
    """InputError with everything that is wrong."""
    try:
        document: JSONValue = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError([Problem(str(path), "", f"expected a JSON file ({error})")]) from error
    reader = _Reader()
    options = reader.options(document)
    if reader.problems:
        raise InputError(Problem(str(path), where, what) for where, what in dict.fromkeys(reader.problems))
    return options


def subject_of(certificate: x509.Certificate) -> Subject:
    def values(oid: x509.ObjectIdentifier) -> tuple[str, ...]:
        return tuple(sorted(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)))

    return values(NameOID.COMMON_NAME), values(NameOID.ORGANIZATION_NAME)


_KEYS = ("control", "upstream", "upstream_ca", "serve", "client_ca", "components")
_COMPONENT_KEYS = ("name", "listen", "cert", "key", "peers")


class _Reader:
    """Collects problems: where in the file, and what."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []

    def options(self, document: JSONValue) -> ComponentOptions:
        given = self._object(document, "", _KEYS)
        serve = self._object(given.get("serve"), "serve", ("cert", "key"))
        names = ("serve.cert", "serve.key", "client_ca")
        ours = Files(
            names, self._path(serve, "cert", "serve.cert"), self._path(serve, "key", "serve.key"),
            self._path(given, "client_ca", "client_ca"),
        )  # fmt: skip
        upstream_ca = self._path(given, "upstream_ca", "upstream_ca")
        listed = given.get("components")
        if not isinstance(listed, list) or not listed:
            self._wrong("components", f"expected a list of at least one, got {listed!r:.80}")
            listed = []
        components = [self._component(item, f"components[{at}]", ours, upstream_ca) for at, item in enumerate(listed)]
        for what, found in (
            ("name", [component.name for component in components]),
            ("listen", [f"{host}:{port}" for host, port in (c.listen for c in components) if host]),
        ):
            for value in sorted({value for value in found if found.count(value) > 1}):
                self._wrong("components", f"{what} {value!r} stands there more than once")
        return ComponentOptions(
            control=self._path(given, "control", "control") or Path(),
            upstream=self._address(given, "upstream", "upstream"),
            components=tuple(components),
        )

    def _component(self, item: JSONValue, where: str, ours: Files, upstream_ca: Path | None) -> Component:
        given = self._object(item, where, _COMPONENT_KEYS)
        name = given.get("name")
        if not isinstance(name, str) or not name:
            self._wrong(f"{where}.name", f"expected a name, got {name!r:.80}")
        listen = self._address(given, "listen", f"{where}.listen")
        if listen[0] and not _is_closed(listen[0]):
            self._wrong(f"{where}.listen", f"expected a loopback or private address, got {listen[0]!r}")
        cert, key = (self._path(given, part, f"{where}.{part}") if part in given else None for part in ("cert", "key"))
        if ("cert" in given) is not ("key" in given):
            self._wrong(where, "expected both cert and key, or neither for a component with a bearer token")
        names = (f"{where}.cert", f"{where}.key", "upstream_ca")
        theirs, anyone = Files(names, cert, key, upstream_ca), Files(names, None, None, upstream_ca)
        return Component(
            name=str(name), listen=listen, tls=self._served(ours, asked=cert is not None),
            upstream_tls={protocol: self._spoken(theirs, protocol) for protocol in (HTTP1, HTTP2)},
            token_tls={protocol: self._spoken(anyone, protocol) for protocol in (HTTP1, HTTP2)},
            subject=self._subject(cert, f"{where}.cert"),
            peers=self._peers(given.get("peers", {}), f"{where}.peers"),
        )  # fmt: skip

    def _served(self, ours: Files, *, asked: bool) -> ssl.SSLContext:
        """`asked`: a client may show a certificate, which has to be of the authority."""
        found: list[str] = []
        context = server_context(ours, found) if ours.cert and ours.key and ours.ca else None
        self.problems += [("", problem) for problem in found]
        if context is None:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # that there is none is a problem already
        context.set_alpn_protocols([HTTP2, HTTP1])
        context.verify_mode = ssl.CERT_OPTIONAL if asked else ssl.CERT_NONE
        return context

    def _spoken(self, theirs: Files, protocol: str) -> ssl.SSLContext:
        found: list[str] = []
        context = None
        if theirs.cert and theirs.key and theirs.ca:
            context = client_context(theirs, found)
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(theirs.ca) if theirs.ca else None
            except (OSError, ssl.SSLError) as error:
                found.append(f"upstream_ca {str(theirs.ca)!r}: expected certificates of authorities, PEM ({error})")
        self.problems += [("", problem) for problem in found]
        context.set_alpn_protocols([protocol])
        return context

    def _subject(self, cert: Path | None, where: str) -> Subject | None:
        if cert is None:
            return None
        try:
            return subject_of(x509.load_pem_x509_certificate(cert.read_bytes()))
        except OSError:
            return None  # said where it is loaded
        except ValueError as error:
            self._wrong(where, f"expected a certificate, PEM ({error})")
            return None

    def _peers(self, value: JSONValue, where: str) -> dict[str, str]:
        if isinstance(value, dict):
            found = {address: name for address, name in value.items() if _is_text(name)}
            if len(found) == len(value):
                return found
        self._wrong(where, f"expected names by address, got {value!r:.80}")
        return {}

    def _object(self, value: JSONValue, where: str, keys: tuple[str, ...]) -> dict[str, JSONValue]:
        if not isinstance(value, dict):
            self._wrong(where, f"expected an object, got {value!r:.80}")
            return {}
        for key in value.keys() - set(keys):
            self._wrong(f"{where}.{key}" if where else key, f"expected one of {', '.join(keys)}")
        return value

    def _path(self, given: Mapping[str, JSONValue], key: str, where: str) -> Path | None:
        value = given.get(key)
        if not _is_text(value):
            self._wrong(where, f"expected a path, got {value!r:.80}")
            return None
        return Path(value)

    def _address(self, given: Mapping[str, JSONValue], key: str, where: str) -> Address:
        value = given.get(key)
        host, _, port = str(value).rpartition(":")
        if not _is_text(value) or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            self._wrong(where, f"expected HOST:PORT, got {value!r:.80}")
            return "", 0
        return host.strip("[]"), int(port)

    def _wrong(self, where: str, what: str) -> None:
        self.problems.append((where, what))


def _is_text(value: JSONValue) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""


def _is_closed(host: str) -> bool:
    """Loopback, or an address of a namespace of ours, where nodes have to reach it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (address.is_private and not address.is_unspecified)
