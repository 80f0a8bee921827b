"""Stored Kubernetes objects: read what etcd holds, find one field, change it and nothing else.

A value in etcd is either `k8s\\0` + runtime.Unknown (protobuf; nearly everything) or JSON (objects of custom resources,
CustomResourceDefinitions, APIServices). All functions here take and give whole stored values, do no I/O but loading the
shipped field table once, and raise `CodecError` for bytes that are not a stored object, `FaultError` for a path that
leads nowhere.

    meta = read_meta(value)                                     # cheap: the forwarder asks this for every put
    tree = to_tree(value)                                       # the API's own JSON shape
    found = locate(value, "spec.template.metadata.labels[app]")
    after = replace(value, found, b"other")                     # lengths around it are put right
"""

from __future__ import annotations

from injector.codec.edit import replace
from injector.codec.encoding import decode_scalar, encode_scalar, encode_varint, integer_range
from injector.codec.envelope import Span, Storage, is_protobuf_object, raw_span
from injector.codec.locate import FieldValue, Located, list_fields, locate
from injector.codec.meta import Meta, Owner, read_meta
from injector.codec.objects import StoredObject, read
from injector.codec.tree import to_tree

__all__ = [
    "FieldValue",
    "Located",
    "Meta",
    "Owner",
    "Span",
    "Storage",
    "StoredObject",
    "decode_scalar",
    "encode_scalar",
    "encode_varint",
    "integer_range",
    "is_protobuf_object",
    "list_fields",
    "locate",
    "raw_span",
    "read",
    "read_meta",
    "replace",
    "to_tree",
]
