"""The channel at-rest-write: one stored value is changed in etcd itself, past kube-apiserver.

The edit is a put, so it makes a revision and every watcher sees it. The undo record (injector.undo) is on disk before
it happens. The put is guarded by the mod_revision that the record names; where another writer was faster it is all done
again with what is there now. Models of delivery (drop, delay, …) are refused: there is no message at rest. `stale`
takes the version before this one from etcd's history; `wrong-key` puts the value over another object, whose old value
is what is recorded and told as before.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from injector.corrupt import Corruption, corrupt_for
from injector.errors import FaultError, HarnessError
from injector.etcd_tls import EtcdTls, etcd3_arguments
from injector.finding import REGISTRY, AtRestSurroundings, Census, Stored, check_at_rest, firing_of, key_text
from injector.rules import Firing, Rule
from injector.targets import Channel
from injector.undo import UndoFolder, Undone
from injector.writers import writer_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import etcd3
    from etcd3 import etcdrpc

__all__ = ["AtRest", "Undone"]

_PREFIX_END = b"/registry0"
"""The first key after those below `REGISTRY`."""

_ATTEMPTS = 20
"""A writer faster than us this often in a row is not a race but a loop; arbitrary."""


class AtRest:
    """Edits in one etcd. `undo` is the folder of the undo records; it is made (0700) if need be. `tls` is for an etcd
    that asks for certificates.

    Methods raise HarnessError if etcd does not answer within `timeout_s` or a record can't be written or read.
    """

    def __init__(
        self, address: tuple[str, int], undo: Path, tls: EtcdTls | None = None, *, timeout_s: float = 10.0
    ) -> None:
        self._address, self._tls, self._timeout_s = address, tls, timeout_s
        self._records = UndoFolder(undo, Channel.AT_REST_WRITE)

    def inject(self, rule: Rule, *, r0: int | None = None, listen: Callable[[bytes], None] | None = None) -> Firing:
        """Find the target, write the undo record, corrupt and put.

        r0   the etcd revision at which the experiment began. Objects older than that are numbered as the baseline is
             (by key), younger ones by their creation; without it all are numbered by their creation

        listen   told the key before it is written, for whoever wants to know who reads it

        Raises FaultError where the target means no object, or the model does not fit it.
        """
        check_at_rest(rule, Channel.AT_REST_WRITE)
        with self._connected() as etcd:
            census = Census(etcd.range(REGISTRY, _PREFIX_END), r0)
            stored, identified = census.find(rule.target, etcd.before)
            for _ in range(_ATTEMPTS):
                corruption = _corrupted(rule, stored, census, etcd)
                goes_to = stored if corruption.key is None else _only(etcd.range(corruption.key), corruption.key)
                if listen is not None:
                    listen(goes_to.key)
                record = self._records.write(
                    rule, key=goes_to.key, mod_revision=goes_to.mod_revision, value=goes_to.value
                )
                actor = writer_of(stored.value, etcd.before(stored))
                at_s = time.monotonic()
                revision = etcd.put_if(goes_to.key, corruption.after, mod_revision=goes_to.mod_revision)
                if revision is not None:
                    done = firing_of(rule, goes_to, identified, corruption, operation="put", at_s=at_s, actor=actor)
                    span = corruption.span if goes_to is stored else (0, len(goes_to.value))
                    return replace(done, span=span, accepted=True, revision=revision)
                record.unlink()
                stored = _only(etcd.range(stored.key), stored.key)
        raise HarnessError(
            f"{identified.identity} was written by others {_ATTEMPTS} times in a row; nothing was changed"
        )

    def preview(self, rule: Rule, *, r0: int | None = None) -> Firing:
        """What the rule, of whichever channel, would do to the object as it is stored now; nothing is done. The
        firing's operation is `preview`. Raises as `inject` does."""
        with self._connected() as etcd:
            census = Census(etcd.range(REGISTRY, _PREFIX_END), r0)
            stored, identified = census.find(rule.target, etcd.before)
            corruption = _corrupted(rule, stored, census, etcd)
            actor = writer_of(stored.value, etcd.before(stored))
        at_s = time.monotonic()
        shown = firing_of(rule, stored, identified, corruption, operation="preview", at_s=at_s, actor=actor)
        note = "" if corruption.key is None else f"it would be written under {key_text(corruption.key)}"
        return replace(shown, told=corruption.delivery.told, note=note)

    def pending(self) -> tuple[Path, ...]:
        """Undo records of edits that have not been undone."""
        return self._records.pending()

    def undo(self, record: Path) -> Undone:
        """Put the recorded value back, whatever was written to the key since, and remove the record."""
        found = self._records.read(record)
        with self._connected() as etcd:
            outcome = _put_back(etcd, found.key, found.value)
        record.unlink()
        return outcome

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


def _corrupted(rule: Rule, stored: Stored, census: Census, etcd: _Etcd) -> Corruption:
    around = AtRestSurroundings(census, partial(etcd.before, stored))
    return corrupt_for(rule, stored.value, around=around)


def _only(found: list[Stored], key: bytes) -> Stored:
    if not found:
        raise FaultError(f"{key_text(key)} was deleted before it could be changed")
    return found[0]


class _Etcd:
    """The calls that are needed, on etcd3's messages: its own methods do not tell the revision of a write."""

    def __init__(self, client: Any, timeout_s: float) -> None:
        self._kv, self._timeout_s = client.kvstub, timeout_s

    def range(self, key: bytes, end: bytes = b"") -> list[Stored]:
        answer = self._kv.Range(etcdrpc.RangeRequest(key=key, range_end=end), self._timeout_s)
        return [Stored(kv.key, kv.value, kv.create_revision, kv.mod_revision) for kv in answer.kvs]

    def before(self, stored: Stored) -> bytes | None:
        """The key's value before that version; None if there was none, or it is compacted away."""
        earlier = etcdrpc.RangeRequest(key=stored.key, revision=stored.mod_revision - 1)
        try:
            answer = self._kv.Range(earlier, self._timeout_s)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:  # compacted
                return None
            raise
        return bytes(answer.kvs[0].value) if answer.kvs else None

    def put_if(self, key: bytes, value: bytes, *, mod_revision: int) -> int | None:
        """The put's revision; None if the key is not at `mod_revision` any more."""
        guard = etcdrpc.Compare(
            result=etcdrpc.Compare.EQUAL, target=etcdrpc.Compare.MOD, key=key, mod_revision=mod_revision
        )
        put = etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key, value=value))
        answer = self._kv.Txn(etcdrpc.TxnRequest(compare=[guard], success=[put]), self._timeout_s)
        return int(answer.header.revision) if answer.succeeded else None


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
