"""etcd's TxnRequest and TxnResponse, as far as kube-apiserver uses them (etcd 3.6.8, api/etcdserverpb/rpc.proto).

    TxnRequest   compare 1 (mod_revision 6) · success 2 · failure 3, both RequestOp
    RequestOp    request_put 2 (key 1, value 2) · request_delete_range 3 (key 1, range_end 2)
    TxnResponse  header 1 (cluster_id 1, member_id 2, revision 3, raft_term 4) · succeeded 2 · responses 3
    ResponseOp   response_put 2 (header 1) · response_delete_range 3 (header 1, deleted 2)

kube-apiserver compares the object's mod_revision, puts or deletes on success and ranges on failure. A changed value
alters its own bytes and the lengths around it, nothing else (injector.channels.protobuf).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from injector.channels.protobuf import (
    Field,
    delimited,
    exchanged,
    fields_of,
    number_in,
    read_varint,
    tagged,
    with_number,
)

__all__ = ["Outcome", "Write", "is_guarded", "made_up_success", "outcome_of", "with_value", "writes_of"]

_COMPARE, _SUCCESS = 0x0A, 0x12  # tags: number << 3 | wire type
_OP_PUT, _OP_DELETE = 0x12, 0x1A
_KEY, _VALUE, _RANGE_END = 0x0A, 0x12, 0x12
_COMPARE_MOD_REVISION = 0x30
_HEADER, _SUCCEEDED, _RESPONSES, _DELETED = 0x0A, 0x10, 0x1A, 0x10
_HEADER_REVISION = 0x18


class Write(NamedTuple):
    """One put or delete of a Txn's success branch. `around` are the fields whose lengths depend on the value: the
    operation, the put, the value itself; empty if it has no value. `around_key`: the same for the key."""

    operation: str
    key: bytes
    value: bytes
    around: tuple[Field, ...]
    around_key: tuple[Field, ...] = ()


class Outcome(NamedTuple):
    """What etcd answered: did the comparisons hold, and the revision of the store then. `header` as it came."""

    succeeded: bool
    revision: int
    header: bytes


def writes_of(request: bytes) -> list[Write]:
    """The puts and deletes of single keys in the success branch, in order. Raises WireError for bytes that are no
    protobuf message."""
    writes: list[Write] = []
    for operation in fields_of(request, 0, len(request)):
        if operation.tag != _SUCCESS:
            continue
        for inner in fields_of(request, operation.start, operation.end):
            if inner.tag == _OP_PUT:
                writes.append(_put(request, operation, inner))
            elif inner.tag == _OP_DELETE:
                parts = {
                    field.tag: request[field.start : field.end] for field in fields_of(request, inner.start, inner.end)
                }
                if not parts.get(_RANGE_END):
                    writes.append(Write("delete", parts.get(_KEY, b""), b"", ()))
    return writes


def _put(request: bytes, operation: Field, put: Field) -> Write:
    key = value = b""
    around: tuple[Field, ...] = ()
    around_key: tuple[Field, ...] = ()
    for field in fields_of(request, put.start, put.end):
        if field.tag == _KEY:
            key = request[field.start : field.end]
            around_key = (operation, put, field)
        elif field.tag == _VALUE:
            value = request[field.start : field.end]
            around = (operation, put, field)
    return Write("put", key, value, around, around_key)


def with_value(request: bytes, write: Write, value: bytes, *, key: bytes | None = None) -> bytes:
    """The request with another value in `write`, put under `key` if that is given. What the request is guarded by
    stays as it is."""
    request = exchanged(request, write.around, value)
    if key is None:
        return request
    again = next(w for w in writes_of(request) if w.around_key and w.around_key[0].at == write.around_key[0].at)
    return exchanged(request, again.around_key, key)


def is_guarded(request: bytes) -> bool:
    """Whether the request does anything only if a comparison holds."""
    return any(field.tag == _COMPARE for field in fields_of(request, 0, len(request)))


def outcome_of(response: bytes) -> Outcome:
    """Raises WireError for bytes that are no protobuf message."""
    succeeded, revision, header = False, 0, b""
    for field in fields_of(response, 0, len(response)):
        if field.tag == _HEADER:
            header = response[field.start : field.end]
            revision = number_in(header, _HEADER_REVISION)
        elif field.tag == _SUCCEEDED:
            succeeded = read_varint(response, field.start)[0] != 0
    return Outcome(succeeded, revision, header)


def made_up_success(request: bytes, writes: Sequence[Write], last: Outcome | None) -> bytes:
    """The TxnResponse that etcd would have given had it done `writes`. Its revision is the one after the `last` that
    was seen or, where none was, the one after the revision that the request was guarded by."""
    revision = 1 + (last.revision if last is not None else _guard(request))
    own = tagged(_HEADER_REVISION, revision)
    inner = delimited(_HEADER, own)
    deleted = inner + tagged(_DELETED, 1)
    operations = [(_OP_PUT, inner) if write.operation == "put" else (_OP_DELETE, deleted) for write in writes]
    responses = b"".join(delimited(_RESPONSES, delimited(tag, content)) for tag, content in operations)
    header = own if last is None else with_number(last.header, _HEADER_REVISION, revision)
    return delimited(_HEADER, header) + tagged(_SUCCEEDED, 1) + responses


def _guard(request: bytes) -> int:
    compares = [field for field in fields_of(request, 0, len(request)) if field.tag == _COMPARE]
    return max((number_in(request[c.start : c.end], _COMPARE_MOD_REVISION) for c in compares), default=0)
