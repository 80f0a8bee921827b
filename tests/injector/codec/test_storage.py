"""How a value is stored, and what can be said of an encrypted one."""

from __future__ import annotations

import pytest

from injector.codec import (
    Encryption,
    Storage,
    encryption_of,
    find,
    list_fields,
    locate,
    raw_span,
    read,
    read_meta,
    storage_of,
    to_tree,
)
from injector.corrupt import corrupt
from injector.errors import CodecError, FaultError
from injector.identity import IdentityTracker
from tests.injector.stored import golden, golden_cbor

ENCRYPTED = b"k8s:enc:aescbc:v1:key1:" + bytes(range(256))


def test_each_storage_is_told_by_its_first_bytes() -> None:
    values = (golden("pod"), golden("box"), golden_cbor("box"), ENCRYPTED)
    assert [storage_of(value) for value in values] == list(Storage)


@pytest.mark.parametrize("reader", [read, read_meta, to_tree, list_fields])
def test_an_encrypted_value_is_refused_with_who_encrypted_it(reader: object) -> None:
    with pytest.raises(CodecError, match=r"encrypted \(provider 'aescbc', key 'key1'\).*byte-flip, truncate, drop"):
        reader(ENCRYPTED)  # type: ignore[operator]


@pytest.mark.parametrize("finder", [locate, find])
def test_a_path_into_an_encrypted_value_leads_nowhere(finder: object) -> None:
    with pytest.raises(FaultError, match="the value is encrypted"):
        finder(ENCRYPTED, "metadata.name")  # type: ignore[operator]


def test_bytes_of_an_encrypted_value_are_flipped_in_the_ciphertext_or_the_prefix() -> None:
    assert raw_span(ENCRYPTED) == (23, len(ENCRYPTED))
    assert corrupt(ENCRYPTED, "byte-flip", {}, None).after == ENCRYPTED[:23] + b"\x01" + ENCRYPTED[24:]
    assert corrupt(ENCRYPTED, "byte-flip", {"part": "envelope", "offset": -1}, None).span == (22, 23)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"k8s:enc:kms:v2:plug-in:\x0a:\x01", Encryption("kms", "plug-in", 23)),
        (b"k8s:enc:secretbox:v1:k:", Encryption("secretbox", "k", 23)),
        (b"k8s:enc:aesgcm", Encryption("", "", 8)),
    ],
)
def test_the_prefix_says_who_encrypted_the_value(value: bytes, expected: Encryption) -> None:
    assert encryption_of(value) == expected


def test_an_encrypted_object_is_named_after_its_key() -> None:
    found = IdentityTracker().seen("/registry/secrets/default/s", ENCRYPTED)
    assert (found.identity, found.api_version) == ("Secret/default/s", "")
