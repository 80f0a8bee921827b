"""The channel at-rest-write: one stored value is changed in etcd itself, past kube-apiserver.

The edit is a put, so it makes a revision and every watcher sees it. The undo record is on disk before it happens:

    UNDO/RULE-ID.json   {"schema": 1, "rule_id", "key", "mod_revision", "value"}, key and value in base64:
                        the key's value before, and the revision that had written it

(or RULE-ID-2.json, … where there are records of the same rule already). The put is guarded by that mod_revision; where
another writer was faster it is all done again with what is there now. The model `drop` is refused: there is no message
to drop at rest, and a deleted key is another fault.

History of the record's schema: 1 (first).
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import time
import urllib.parse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import grpc

from injector.corrupt import corrupt
from injector.errors import FaultError, HarnessError
from injector.etcd_tls import EtcdTls, etcd3_arguments
from injector.identity import Identified, IdentityTracker
from injector.rules import Firing, Rule
from injector.targets import Channel, Target

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import etcd3
    from etcd3 import etcdrpc

__all__ = ["AtRest", "Undone"]

SCHEMA = 1

_PREFIX, _PREFIX_END = b"/registry/", b"/registry0"
"""Where kube-apiserver keeps objects (its --etcd-prefix), and the first key after them."""

_ATTEMPTS = 20
"""A writer faster than us this often in a row is not a race but a loop; arbitrary."""


class Undone(StrEnum):
    """What `AtRest.undo` found and did."""

    RESTORED = "restored"
    UNCHANGED = "unchanged"
    """The key has its old value: the edit never happened, or someone else mended it."""
    GONE = "gone"
    """The key has been deleted since; it stays deleted."""


@dataclass(frozen=True, slots=True)
class _Stored:
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


class AtRest:
    """Edits in one etcd. `undo` is the folder of the undo records; it is made (0700) if need be. `tls` is for an etcd
    that asks for certificates.

    Methods raise HarnessError if etcd does not answer within `timeout_s` or a record can't be written or read.
    """

    def __init__(
        self, address: tuple[str, int], undo: Path, tls: EtcdTls | None = None, *, timeout_s: float = 10.0
    ) -> None:
        self._address, self._folder, self._tls, self._timeout_s = address, undo, tls, timeout_s

    def inject(self, rule: Rule, *, r0: int | None = None) -> Firing:
        """Find the target, write the undo record, corrupt and put.

        r0   the etcd revision at which the experiment began. Objects older than that are numbered as the baseline is
             (by key), younger ones by their creation; without it all are numbered by their creation

        Raises FaultError where no object has the target's identity, or the model does not fit it.
        """
        _check(rule)
        with self._connected() as etcd:
            stored, identified = _find(etcd.range(_PREFIX, _PREFIX_END), rule.target, r0)
            for _ in range(_ATTEMPTS):
                corruption = corrupt(stored.value, rule.model, rule.parameters, rule.target.field)
                record = self._record(rule, stored)
                at_s = time.monotonic()
                revision = etcd.put_if(stored.key, corruption.after, mod_revision=stored.mod_revision)
                if revision is not None:
                    return Firing(
                        rule_id=rule.id,
                        at_s=at_s,
                        key=stored.key.decode(errors="backslashreplace"),
                        identity=identified.identity,
                        operation="put",
                        before=stored.value,
                        after=corruption.after,
                        span=corruption.span,
                        field_before=corruption.field_before,
                        field_after=corruption.field_after,
                        accepted=True,
                        revision=revision,
                    )
                record.unlink()
                again = etcd.range(stored.key)
                if not again:
                    raise FaultError(f"{identified.identity} was deleted before it could be changed")
                stored = again[0]
        raise HarnessError(
            f"{identified.identity} was written by others {_ATTEMPTS} times in a row; nothing was changed"
        )

    def pending(self) -> tuple[Path, ...]:
        """Undo records of edits that have not been undone."""
        return tuple(sorted(self._folder.glob("*.json")))

    def undo(self, record: Path) -> Undone:
        """Put the recorded value back, whatever was written to the key since, and remove the record."""
        key, value = _read(record)
        with self._connected() as etcd:
            outcome = _put_back(etcd, key, value)
        record.unlink()
        return outcome

    def _record(self, rule: Rule, stored: _Stored) -> Path:
        """Written whole or not at all: a temporary file, synced and renamed, then the folder synced."""
        path = self._free_path(urllib.parse.quote(rule.id, safe=""))
        content = {
            "schema": SCHEMA,
            "rule_id": rule.id,
            "key": base64.b64encode(stored.key).decode(),
            "mod_revision": stored.mod_revision,
            "value": base64.b64encode(stored.value).decode(),
        }
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            _sync_folder(self._folder)
        except OSError as error:
            raise HarnessError(f"the undo record {path} can't be written: {error}; nothing was changed") from error
        return path

    def _free_path(self, stem: str) -> Path:
        names = itertools.chain((stem,), (f"{stem}-{number}" for number in itertools.count(2)))
        return next(path for name in names if not (path := self._folder / f"{name}.json").exists())

    @contextmanager
    def _connected(self) -> Iterator[_Etcd]:
        host, port = self._address
        options = {"grpc.max_receive_message_length": -1}  # the whole key space in one answer
        tls = etcd3_arguments(self._tls)
        with etcd3.client(host=host, port=port, timeout=self._timeout_s, grpc_options=options.items(), **tls) as client:
            try:
                yield _Etcd(client, self._timeout_s)
            except grpc.RpcError as error:
                raise HarnessError(f"etcd at {host}:{port} does not do as asked: {error}") from error


class _Etcd:
    """The two calls that are needed, on etcd3's messages: its own methods do not tell the revision of a write."""

    def __init__(self, client: Any, timeout_s: float) -> None:
        self._kv, self._timeout_s = client.kvstub, timeout_s

    def range(self, key: bytes, end: bytes = b"") -> list[_Stored]:
        answer = self._kv.Range(etcdrpc.RangeRequest(key=key, range_end=end), self._timeout_s)
        return [_Stored(kv.key, kv.value, kv.create_revision, kv.mod_revision) for kv in answer.kvs]

    def put_if(self, key: bytes, value: bytes, *, mod_revision: int) -> int | None:
        """The put's revision; None if the key is not at `mod_revision` any more."""
        guard = etcdrpc.Compare(
            result=etcdrpc.Compare.EQUAL, target=etcdrpc.Compare.MOD, key=key, mod_revision=mod_revision
        )
        put = etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key, value=value))
        answer = self._kv.Txn(etcdrpc.TxnRequest(compare=[guard], success=[put]), self._timeout_s)
        return int(answer.header.revision) if answer.succeeded else None


def _check(rule: Rule) -> None:
    if rule.channel is not Channel.AT_REST_WRITE:
        raise FaultError(f"rule {rule.id!r}: expected channel {Channel.AT_REST_WRITE}, got {rule.channel}")
    if rule.model == "drop":
        raise FaultError("there is no message to drop at rest; drop is for apiserver-to-etcd")
    if rule.target.occurrence != 1:
        raise FaultError(f"a stored value has no occurrence {rule.target.occurrence}; leave it out at rest")


def _find(everything: list[_Stored], target: Target, r0: int | None) -> tuple[_Stored, Identified]:
    """The stored object that has the target's identity. FaultError, naming near ones, if none has."""
    tracker = IdentityTracker()
    old = [stored for stored in everything if r0 is not None and stored.create_revision <= r0]
    tracker.seed((_text(stored.key), stored.value) for stored in old)
    names = {_text(stored.key): stored for stored in everything}
    stem, near = target.identity.partition("#")[0], []
    for stored in sorted(everything, key=lambda stored: (stored.create_revision, stored.key)):
        tracker.seen(_text(stored.key), stored.value)
    for key, stored in names.items():
        found = tracker.get(key)
        if found is None or (found.kind, found.group) != (target.kind, target.group):
            continue
        if found.identity == target.identity:
            return stored, found
        if found.identity.partition("#")[0] == stem:
            near.append(found.identity)
    hint = f"; there is {', '.join(sorted(near))}" if near else ""
    raise FaultError(f"no stored {target.group or 'core'} object is {target.identity}{hint}")


def _put_back(etcd: _Etcd, key: bytes, value: bytes) -> Undone:
    for _ in range(_ATTEMPTS):
        now = etcd.range(key)
        if not now:
            return Undone.GONE
        if now[0].value == value:
            return Undone.UNCHANGED
        if etcd.put_if(key, value, mod_revision=now[0].mod_revision) is not None:
            return Undone.RESTORED
    raise HarnessError(f"{key!r} was written by others {_ATTEMPTS} times in a row; it is not restored")


def _read(record: Path) -> tuple[bytes, bytes]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise HarnessError(f"{record}: undo record of schema {content['schema']!r}, this program knows {SCHEMA}")
        return base64.b64decode(content["key"], validate=True), base64.b64decode(content["value"], validate=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{record}: not a readable undo record: {error!r}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
