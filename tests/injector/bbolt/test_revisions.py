"""What etcd keeps in its bucket `key`, against protobuf's own encoder of the same message."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.bbolt import KeyValue, Revision, read_key_value, with_value
from injector.bbolt.revisions import read_key
from injector.errors import CodecError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from etcd3.etcdrpc import kv_pb2

numbers = st.integers(0, 2**63 - 1)
key_values = st.builds(
    KeyValue, st.binary(min_size=1, max_size=40), numbers, numbers, numbers, st.binary(max_size=300), numbers
)


def encoded(kv: KeyValue) -> bytes:
    message: bytes = kv_pb2.KeyValue(**kv._asdict()).SerializeToString()
    return message


@given(kv=key_values, value=st.binary(max_size=300))
def test_a_key_value_is_read_and_given_another_value_as_protobuf_would_write_it(kv: KeyValue, value: bytes) -> None:
    assert read_key_value(encoded(kv)) == kv and read_key(encoded(kv)) == kv.key
    assert with_value(encoded(kv), value) == encoded(kv._replace(value=value))


def test_fields_of_a_later_etcd_survive_a_change_of_the_value() -> None:
    unknown = b"\x7a\x03new"
    kv = KeyValue(b"/k", 1, 2, 3, b"v", 4)
    assert with_value(encoded(kv) + unknown, b"longer") == encoded(kv._replace(value=b"longer")) + unknown
    assert read_key_value(encoded(kv) + unknown) == kv


@given(main=numbers, sub=numbers, tombstone=st.booleans())
def test_a_revision_is_read_back_and_their_bytes_sort_as_they_do(main: int, sub: int, tombstone: bool) -> None:
    revision = Revision(main, sub, tombstone)
    assert Revision.read(revision.packed()) == revision
    assert len(revision.packed()) == (18 if tombstone else 17)
    assert (revision.packed() < Revision(2**62, 0, tombstone=False).packed()) == ((main, sub) < (2**62, 0))


@pytest.mark.parametrize("entry", [b"", b"x" * 16, b"x" * 17, b"\0" * 8 + b"_" + b"\0" * 8 + b"u", b"_" * 19])
def test_what_is_no_revision_is_refused(entry: bytes) -> None:
    with pytest.raises(CodecError, match="expected a revision"):
        Revision.read(entry)


@pytest.mark.parametrize("entry", [b"", b"\x10\x01", b"\x0a\xff", b"\x0a\x00"])
def test_what_is_no_key_value_is_refused(entry: bytes) -> None:
    with pytest.raises(CodecError):
        read_key_value(entry)
