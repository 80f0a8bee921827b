"""The outermost layer of a stored value: JSON, or `k8s\\0` and a runtime.Unknown around the object's own bytes.

    Unknown  { 1 typeMeta { 1 apiVersion, 2 kind }, 2 raw, 3 contentEncoding, 4 contentType }

Source: k8s.io/apimachinery v0.36.3, pkg/runtime/generated.proto and pkg/runtime/serializer/protobuf.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from injector.codec.encoding import RawField, scan, text_of
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = [
    "MAGIC",
    "Envelope",
    "Span",
    "Storage",
    "is_protobuf_object",
    "open_envelope",
    "parse_json",
    "raw_span",
    "storage_of",
]

MAGIC = b"k8s\x00"
_SHOWN_BYTES = 12
"""How much of a foreign value an error shows (arbitrary: enough to recognise a file type)."""


class Storage(StrEnum):
    """How a value is stored."""

    PROTOBUF = "protobuf"
    JSON = "json"


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


def is_protobuf_object(value: bytes) -> bool:
    """Whether the value claims to be a protobuf object; says nothing of whether it can be decoded."""
    return value.startswith(MAGIC)


def storage_of(value: bytes) -> Storage:
    """How the value is stored. Raises CodecError where it is neither."""
    if value.startswith(MAGIC):
        return Storage.PROTOBUF
    if value[:1] == b"{":
        return Storage.JSON
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


def raw_span(value: bytes) -> tuple[int, int]:
    """[start, end) of the object's own bytes: inside the envelope, or all of it for JSON. Raises CodecError."""
    if storage_of(value) is Storage.JSON:
        return 0, len(value)
    raw = open_envelope(value).raw
    if raw is None:
        raise CodecError("the envelope has no object in it")
    return raw.start, raw.end


def parse_json(value: bytes) -> dict[str, JSONValue]:
    """An object stored as JSON. Raises CodecError where it is none, or has no apiVersion or kind."""
    try:
        tree = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"stored as JSON, but can't be parsed: {error}") from error
    if (
        not isinstance(tree, dict)
        or not isinstance(tree.get("kind"), str)
        or not isinstance(tree.get("apiVersion"), str)
    ):
        raise CodecError("stored as JSON, but without apiVersion and kind")
    return tree
