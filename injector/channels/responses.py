"""etcd's RangeResponse, WatchResponse and TxnResponse, as far as kube-apiserver uses them (etcd 3.6.8, api/etcdserverpb
rpc.proto, api/mvccpb kv.proto).

    RangeResponse   header 1 · kvs 2 · more 3 · count 4
    WatchResponse   header 1 · watch_id 2 · created 3 · canceled 4 · compact_revision 5 · events 11
    TxnResponse     header 1 · succeeded 2 · responses 3, each a ResponseOp: response_range 1
    Event           type 1 (0 put, 1 delete) · kv 2 · prev_kv 3
    KeyValue        key 1 · create_revision 2 · mod_revision 3 · version 4 · value 5 · lease 6
    WatchRequest    cancel_request 2 (watch_id 1)

RangeStream, which newer etcds than 3.6 have, is not in this etcd's API, and kube-apiserver 1.36 does not ask for it.
"""

from __future__ import annotations

from typing import NamedTuple

from injector.channels.protobuf import Field, exchanged, fields_of, number_in, read_varint, with_number

__all__ = [
    "Event",
    "Pair",
    "cancelled_watch",
    "doubled",
    "events_of",
    "only_event",
    "pairs_of",
    "txn_pairs_of",
    "watch_id_of",
    "with_key",
    "with_value",
    "without",
    "without_pair",
]

_KVS, _COUNT = 0x12, 0x20
_EVENTS, _WATCH_ID = 0x5A, 0x10
_TYPE, _KV, _PREV_KV = 0x08, 0x12, 0x1A
_KEY, _CREATED, _MODIFIED, _VALUE = 0x0A, 0x10, 0x18, 0x2A
_RESPONSES, _RESPONSE_RANGE = 0x1A, 0x0A
_CANCEL_REQUEST, _CANCELLED_ID = 0x12, 0x08


class Pair(NamedTuple):
    """One KeyValue. `parents` are the messages that it lies in, outermost first (none for a list's); `field` is its
    own; `key_field` and `value_field` are None where it has none."""

    parents: tuple[Field, ...]
    field: Field
    key: bytes
    value: bytes
    created: int
    modified: int
    key_field: Field | None
    value_field: Field | None


class Event(NamedTuple):
    """One event of a WatchResponse. `before` is there where the watch asked for it and there was one."""

    field: Field
    deleted: bool
    pair: Pair
    before: Pair | None


def pairs_of(response: bytes) -> list[Pair]:
    """Of a RangeResponse. Raises WireError, as all of these do, for bytes that are no protobuf message."""
    return [_pair(response, (), f) for f in fields_of(response, 0, len(response)) if f.tag == _KVS]


def txn_pairs_of(response: bytes) -> list[Pair]:
    """What a TxnResponse tells of the objects as they are, because the comparison failed."""
    found: list[Pair] = []
    for operation in fields_of(response, 0, len(response)):
        if operation.tag != _RESPONSES:
            continue
        for inner in fields_of(response, operation.start, operation.end):
            if inner.tag == _RESPONSE_RANGE:
                kvs = [f for f in fields_of(response, inner.start, inner.end) if f.tag == _KVS]
                found += [_pair(response, (operation, inner), f) for f in kvs]
    return found


def events_of(response: bytes) -> list[Event]:
    """Of a WatchResponse."""
    events: list[Event] = []
    for field in fields_of(response, 0, len(response)):
        if field.tag != _EVENTS:
            continue
        parts = {part.tag: part for part in fields_of(response, field.start, field.end)}
        if _KV not in parts:
            continue
        deleted = _TYPE in parts and read_varint(response, parts[_TYPE].start)[0] == 1
        before = _pair(response, (field,), parts[_PREV_KV]) if _PREV_KV in parts else None
        events.append(Event(field, deleted, _pair(response, (field,), parts[_KV]), before))
    return events


def _pair(response: bytes, parents: tuple[Field, ...], field: Field) -> Pair:
    parts = {part.tag: part for part in fields_of(response, field.start, field.end)}
    key, value = parts.get(_KEY), parts.get(_VALUE)
    created, modified = (read_varint(response, parts[t].start)[0] if t in parts else 0 for t in (_CREATED, _MODIFIED))
    return Pair(
        parents,
        field,
        response[key.start : key.end] if key else b"",
        response[value.start : value.end] if value else b"",
        created,
        modified,
        key,
        value,
    )


def watch_id_of(response: bytes) -> int:
    return number_in(response, _WATCH_ID)


def cancelled_watch(request: bytes) -> int | None:
    """The watch that a WatchRequest cancels, None for other requests."""
    for field in fields_of(request, 0, len(request)):
        if field.tag == _CANCEL_REQUEST:
            return number_in(request[field.start : field.end], _CANCELLED_ID)
    return None


def with_value(response: bytes, pair: Pair, value: bytes) -> bytes:
    """The response with another value in `pair`, which has one."""
    assert pair.value_field is not None
    return exchanged(response, (*pair.parents, pair.field, pair.value_field), value)


def with_key(response: bytes, pair: Pair, key: bytes) -> bytes:
    """The response with another key in `pair`."""
    assert pair.key_field is not None
    return exchanged(response, (*pair.parents, pair.field, pair.key_field), key)


def without(response: bytes, field: Field) -> bytes:
    """A WatchResponse without one of its events."""
    return response[: field.at] + response[field.end :]


def without_pair(response: bytes, pair: Pair) -> bytes:
    """A range without one of its objects: as if it did not exist, so the count is less by one."""
    if not pair.parents:
        less = without(response, pair.field)
        return with_number(less, _COUNT, max(0, number_in(less, _COUNT) - 1))
    around = pair.parents[-1]
    content = response[around.start : pair.field.at] + response[pair.field.end : around.end]
    return exchanged(response, pair.parents, with_number(content, _COUNT, max(0, number_in(content, _COUNT) - 1)))


def doubled(response: bytes, field: Field, copies: int) -> bytes:
    """A WatchResponse with one of its events `copies` times, one right behind the other."""
    return response[: field.end] + response[field.at : field.end] * (copies - 1) + response[field.end :]


def only_event(response: bytes, field: Field) -> bytes:
    """A WatchResponse with that one of its events alone."""
    others = [f for f in fields_of(response, 0, len(response)) if f.tag != _EVENTS or f.at == field.at]
    return b"".join(response[f.at : f.end] for f in others)
