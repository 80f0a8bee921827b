"""The outermost layer of a stored value, by which it is told how it is stored.

    protobuf   `k8s\\0` Unknown { 1 typeMeta { 1 apiVersion, 2 kind }, 2 raw, 3 contentEncoding, 4 contentType }
    JSON       `{` …
    CBOR       d9 d9 f7 (self-described CBOR) item; where the feature CBORServingAndStorage is on
    encrypted  `k8s:enc:PROVIDER:VERSION:KEYNAME:` ciphertext

Source: k8s.io/apimachinery v0.36.3, pkg/runtime/generated.proto and pkg/runtime/serializer/{protobuf,cbor};
k8s.io/apiserver v0.36.3, pkg/server/options/encryptionconfig/config.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from injector.codec.encoding import RawField, scan, text_of
from injector.errors import CodecError

__all__ = [
    "CBOR_MAGIC",
    "MAGIC",
    "Encryption",
    "Envelope",
    "Span",
    "Storage",
    "encryption_of",
    "is_protobuf_object",
    "open_envelope",
    "raw_span",
    "refusal",
    "storage_of",
]

MAGIC = b"k8s\x00"
CBOR_MAGIC = b"\xd9\xd9\xf7"
ENCRYPTED_PREFIX = b"k8s:enc:"
_SHOWN_BYTES = 12
"""How much of a foreign value an error shows (arbitrary: enough to recognise a file type)."""


class Storage(StrEnum):
    """How a value is stored."""

    PROTOBUF = "protobuf"
    JSON = "json"
    CBOR = "cbor"
    ENCRYPTED = "encrypted"


class Span(NamedTuple):
    """A length-delimited payload [start, end) whose length prefix begins at `length_start`."""

    length_start: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """What Unknown says of a protobuf object. `raw` is where the object's own bytes lie, None where there are none
    (Kubernetes decodes that as an empty object)."""

    api_version: str
    kind: str
    raw: Span | None


class Encryption(NamedTuple):
    """Who encrypted a value: aescbc, aesgcm, secretbox or kms, and the key's (the plugin's) name; the ciphertext begins
    at `start`."""

    provider: str
    key_name: str
    start: int


def is_protobuf_object(value: bytes) -> bool:
    """Whether the value claims to be a protobuf object; says nothing of whether it can be decoded."""
    return value.startswith(MAGIC)


def storage_of(value: bytes) -> Storage:
    """How the value is stored. Raises CodecError where it is none of these."""
    if value.startswith(MAGIC):
        return Storage.PROTOBUF
    if value[:1] == b"{":
        return Storage.JSON
    if value.startswith(CBOR_MAGIC):
        return Storage.CBOR
    if value.startswith(ENCRYPTED_PREFIX):
        return Storage.ENCRYPTED
    raise CodecError(
        f"not a stored object: expected {MAGIC!r} or '{{' at the start, got {value[:_SHOWN_BYTES]!r} "
        f"({len(value)} bytes)"
    )


def _delimited(field: RawField, what: str) -> None:
    if field.wire_type != 2:
        raise CodecError(f"byte {field.tag_start}: {what} has wire type {field.wire_type}, expected 2")


@lru_cache(maxsize=256)
def _type_meta(data: bytes) -> tuple[str, str]:
    """(apiVersion, kind). Cached, because a cluster has some fifty kinds and the forwarder asks for every put."""
    texts = {1: "", 2: ""}
    for field in scan(data, 0, len(data)):
        if field.number in texts:
            _delimited(field, "a field of the envelope's typeMeta")
            texts[field.number] = text_of(data[field.start : field.end])
    return texts[1], texts[2]


def open_envelope(value: bytes) -> Envelope:
    """The envelope of a protobuf object. Raises CodecError where it can't be read or names no kind. Encoding and
    content type are not looked at, nor does Kubernetes."""
    api_version = kind = ""
    raw: Span | None = None
    for field in scan(value, len(MAGIC), len(value)):
        if field.number == 1:
            _delimited(field, "the envelope's typeMeta")
            found = _type_meta(value[field.start : field.end])
            api_version, kind = found[0] or api_version, found[1] or kind  # written twice, they are merged
        elif field.number == 2:
            _delimited(field, "the envelope's raw")
            raw = Span(field.value_start, field.start, field.end)
        elif field.number in (3, 4):
            _delimited(field, "a field of the envelope")
    if not kind:
        raise CodecError("the envelope names no kind")
    return Envelope(api_version, kind, raw)


def encryption_of(value: bytes) -> Encryption:
    """What the prefix of an encrypted value says. Never raises: what it does not say is ""."""
    parts = value.split(b":", 5)  # k8s, enc, PROVIDER, VERSION, KEY, ciphertext; a KMS plugin's name is its key's
    if len(parts) < 6:
        return Encryption("", "", len(ENCRYPTED_PREFIX))
    return Encryption(text_of(parts[2]), text_of(parts[4]), len(value) - len(parts[5]))


def refusal(value: bytes) -> str:
    """Why nothing can be read of an encrypted value, in words."""
    found = encryption_of(value)
    return (
        f"the value is encrypted (provider {found.provider!r}, key {found.key_name!r}): its fields can't be read; "
        "faults on its bytes work (byte-flip, truncate, drop)"
    )


def raw_span(value: bytes) -> tuple[int, int]:
    """[start, end) of the object's own bytes: inside protobuf's envelope, behind CBOR's magic, behind the prefix of an
    encrypted value, or all of it for JSON. Raises CodecError."""
    storage = storage_of(value)
    if storage is Storage.JSON:
        return 0, len(value)
    if storage is Storage.CBOR:
        return len(CBOR_MAGIC), len(value)
    if storage is Storage.ENCRYPTED:
        return encryption_of(value).start, len(value)
    raw = open_envelope(value).raw
    if raw is None:
        raise CodecError("the envelope has no object in it")
    return raw.start, raw.end
