"""A stored value as an object: kind at once, metadata and tree when asked for."""

from __future__ import annotations

from injector.codec.documents import parse_document
from injector.codec.envelope import Storage, open_envelope, storage_of
from injector.codec.meta import Meta, read_meta
from injector.codec.tree import to_tree
from injector.rules import JSONValue

__all__ = ["StoredObject", "read"]


class StoredObject:
    """One stored value. `meta` and `tree` are decoded on first use and raise CodecError then."""

    __slots__ = ("_meta", "_tree", "api_version", "kind", "storage", "value")

    def __init__(self, value: bytes, *, api_version: str, kind: str, storage: Storage) -> None:
        self.value, self.api_version, self.kind, self.storage = value, api_version, kind, storage
        self._meta: Meta | None = None
        self._tree: dict[str, JSONValue] | None = None

    @property
    def group(self) -> str:
        """The API group, "" for core."""
        return self.api_version.rpartition("/")[0]

    @property
    def meta(self) -> Meta:
        if self._meta is None:
            self._meta = read_meta(self.value)
        return self._meta

    @property
    def tree(self) -> dict[str, JSONValue]:
        if self._tree is None:
            self._tree = to_tree(self.value)
        return self._tree


def read(value: bytes) -> StoredObject:
    """The object in a stored value. Raises CodecError where the envelope (or the JSON or CBOR) can't be read, or the
    value is encrypted."""
    storage = storage_of(value)
    if storage is not Storage.PROTOBUF:
        tree = parse_document(value, storage)
        return StoredObject(value, api_version=str(tree["apiVersion"]), kind=str(tree["kind"]), storage=storage)
    envelope = open_envelope(value)
    return StoredObject(value, api_version=envelope.api_version, kind=envelope.kind, storage=storage)
