"""etcd's whole key space, read and written past the forwarder: dumps, revisions, history, rollback.

Through python3-etcd3. A dump is a consistent read of one revision.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from injector.errors import ClusterError
from injector.etcd_tls import EtcdTls, etcd3_arguments

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import etcd3

__all__ = ["Change", "KeySpace", "Stored"]

_EVERYTHING = "/"
"""kube-apiserver's keys are all below /registry; `compact_rev_key` is its compactor's own."""
_OPERATIONS_PER_TXN = 500
"""Below etcd's --max-txn-ops in the sandbox."""
_BYTES_PER_TXN = 1 << 20
"""Below etcd's --max-request-bytes (1.5 MiB), with room for keys and framing; a larger object goes alone."""
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Stored:
    """A value and the revision of its last write."""

    value: bytes
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the history. `value` is None for a delete; `created` tells a create from an update."""

    key: str
    value: bytes | None
    revision: int
    created: bool


class KeySpace:
    """A connection to etcd itself, with `tls` to one that asks for certificates. ClusterError where etcd does not
    answer, HarnessError where a file of `tls` can't be read."""

    def __init__(self, address: tuple[str, int], tls: EtcdTls | None = None) -> None:
        host, port = address
        options = {"grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1}
        self._client: Any = etcd3.client(
            host=host, port=port, timeout=_TIMEOUT_S, grpc_options=options.items(), **etcd3_arguments(tls)
        )
        # After one failed call etcd3 answers nothing for 300 s, although etcd is started again at once.
        self._client.endpoint_in_use.time_retry = 0

    def close(self) -> None:
        self._client.close()

    def revision(self) -> int:
        """etcd's current revision."""
        return int(self._asked(lambda: self._client.get_response("/")).header.revision)

    def full(self) -> bool:
        """Whether etcd has raised its NOSPACE alarm: the quota is used up and it takes no more writes."""
        return bool(self._asked(lambda: list(self._client.list_alarms())))

    def dump(self, prefix: str = _EVERYTHING) -> dict[str, Stored]:
        """Every key below `prefix`, read at one revision."""
        response = self._asked(lambda: self._client.get_prefix_response(prefix))
        return {_text(kv.key): Stored(kv.value, kv.mod_revision) for kv in response.kvs}

    def value(self, key: str) -> bytes | None:
        """The value of one key, None where there is none."""
        kvs = self._asked(lambda: self._client.get_response(_bytes(key))).kvs
        return bytes(kvs[0].value) if kvs else None

    def value_at(self, key: str, revision: int) -> bytes | None:
        """The value of one key as it was at `revision`; None where there was none, or it is compacted away."""
        asked = etcd3.etcdrpc.RangeRequest(key=_bytes(key), revision=revision)
        try:
            kvs = self._client.kvstub.Range(asked, _TIMEOUT_S).kvs
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                return None
            raise ClusterError(f"etcd refused: {error.code().name}: {error.details()}") from error
        return bytes(kvs[0].value) if kvs else None

    def keys(self, prefix: str = _EVERYTHING) -> list[str]:
        """The keys that begin with `prefix`, sorted."""
        response = self._asked(lambda: self._client.get_prefix_response(prefix, keys_only=True))
        return sorted(_text(kv.key) for kv in response.kvs)

    def write(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """Puts and deletes in as few transactions as fit."""
        transactions = self._client.transactions
        part: list[Any] = []
        size = 0
        for key, value in [*((key, None) for key in deletes), *puts.items()]:
            length = len(key) + len(value or b"")
            if part and (len(part) == _OPERATIONS_PER_TXN or size + length > _BYTES_PER_TXN):
                self._transact(part)
                part, size = [], 0
            part.append(transactions.delete(_bytes(key)) if value is None else transactions.put(_bytes(key), value))
            size += length
        if part:
            self._transact(part)

    def _transact(self, operations: list[Any]) -> None:
        self._asked(lambda: self._client.transaction(compare=[], success=operations, failure=[]))

    def watch(
        self, since: int, told: Callable[[list[Change]], None], failed: Callable[[str], None]
    ) -> Callable[[], None]:
        """Calls `told` from a thread with every change from revision `since` on, and `failed` once, in words, should
        the watch break; the function returned ends it.

        On etcd3's channel and messages, but not its Watcher, whose thread dies of a NameError (`six`) when the stream
        breaks, without a word to anyone (python3-etcd3 0.13, watch.py line 156)."""
        rpc = etcd3.etcdrpc
        create = rpc.WatchCreateRequest(key=b"/", range_end=b"0", start_revision=since)
        ended = threading.Event()

        def requests() -> Iterator[Any]:
            yield rpc.WatchRequest(create_request=create)
            ended.wait()

        stream = rpc.WatchStub(self._client.channel).Watch(requests())

        def run() -> None:
            try:
                for response in stream:
                    if response.canceled:
                        compacted = f"it is compacted up to revision {response.compact_revision}"
                        reason = compacted if response.compact_revision else "no reason given"
                        failed(f"etcd ended the watch: {response.cancel_reason or reason}")
                        return
                    if response.events:
                        told([_change(event) for event in response.events])
                why = "etcd closed it"
            except grpc.RpcError as error:
                why = error.details() or error.code().name
            if not ended.is_set():
                failed(f"etcd's watch broke: {why}")

        thread = threading.Thread(target=run, name="etcd-history", daemon=True)
        thread.start()

        def end() -> None:
            ended.set()
            stream.cancel()
            thread.join(5)

        return end

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except etcd3.exceptions.Etcd3Exception as error:
            raise ClusterError(f"etcd does not answer: {error!r}") from error
        except grpc.RpcError as error:  # codes that etcd3 passes on as they are: no space left, request too large, …
            raise ClusterError(f"etcd refused: {error.code().name}: {error.details()}") from error


def _change(event: Any) -> Change:
    put = event.type == 0  # mvccpb.Event.PUT
    stored = event.kv
    return Change(_text(stored.key), stored.value if put else None, stored.mod_revision, put and stored.version == 1)


def _text(key: bytes) -> str:
    return key.decode(errors="surrogateescape")


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogateescape")
