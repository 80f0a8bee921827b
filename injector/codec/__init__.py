"""Stored Kubernetes objects: read what etcd holds, find one field, change or remove it and nothing else.

A value in etcd is `k8s\\0` + runtime.Unknown (protobuf; nearly everything), JSON (objects of custom resources,
CustomResourceDefinitions, APIServices), CBOR (the same, with the feature CBORServingAndStorage) or encrypted, and then
only its bytes can be changed. All functions here take and give whole stored values, do no I/O but loading the shipped
field table once, and raise `CodecError` for bytes that are not a stored object, `FaultError` for a path that leads
nowhere.

    meta = read_meta(value)                                     # cheap: the forwarder asks this for every put
    tree = to_tree(value)                                       # the API's own JSON shape
    for item in list_fields(value): ...                         # path, types, value and place of every field
    found = locate(value, "spec.template.metadata.labels[app]")
    after = replace(value, found, encode_value(found, "other")) # lengths around it are put right
    after = remove(value, find(value, "spec.template.spec.volumes"))
    same = to_bytes(tree)                                       # as Kubernetes would write it
    after = rewrite(value, tree)                                # what was edited in the tree, and nothing else
"""

from __future__ import annotations

from injector.codec.edit import remove, replace
from injector.codec.encoding import decode_scalar, encode_scalar, encode_varint, integer_range
from injector.codec.envelope import (
    Encryption,
    Span,
    Storage,
    encryption_of,
    is_protobuf_object,
    raw_span,
    storage_of,
)
from injector.codec.listing import list_fields
from injector.codec.locate import find, locate
from injector.codec.located import ANY, Cut, FieldValue, Located, Place
from injector.codec.meta import Meta, Owner, read_meta
from injector.codec.objects import StoredObject, read
from injector.codec.rewrite import rewrite
from injector.codec.tree import to_tree
from injector.codec.values import content_of, decode_value, encode_value, payload_of
from injector.codec.write import to_bytes

__all__ = [
    "ANY",
    "Cut",
    "Encryption",
    "FieldValue",
    "Located",
    "Meta",
    "Owner",
    "Place",
    "Span",
    "Storage",
    "StoredObject",
    "content_of",
    "decode_scalar",
    "decode_value",
    "encode_scalar",
    "encode_value",
    "encode_varint",
    "encryption_of",
    "find",
    "integer_range",
    "is_protobuf_object",
    "list_fields",
    "locate",
    "payload_of",
    "raw_span",
    "read",
    "read_meta",
    "remove",
    "replace",
    "rewrite",
    "storage_of",
    "to_bytes",
    "to_tree",
]
