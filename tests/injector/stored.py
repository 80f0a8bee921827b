"""The golden objects, and a second encoder and decoder for them: google.protobuf, fed with the same field table."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message as GoogleMessage

from injector.codec.table import SCALARS, Field, Message, shipped_table

GOLDEN = Path(__file__).parent / "golden"
KEYS: dict[str, str] = json.loads((GOLDEN / "keys.json").read_text())
WITH_JSON = sorted(path.stem for path in GOLDEN.glob("*.json") if path.stem != "keys")
PROTOBUF = sorted(name for name in KEYS if name not in {"apiservice", "box", "crd"})

KINDS = (
    ("apps/v1", "Deployment"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "Node"),
    ("v1", "Secret"),
    ("v1", "Event"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("policy/v1", "PodDisruptionBudget"),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"),
    ("networking.k8s.io/v1", "Ingress"),
)
_LEAVES = {"Time": "f1", "MicroTime": "f1", "Quantity": "f1", "FieldsV1": "f1", "RawExtension": "f1"}
_TYPES = descriptor_pb2.FieldDescriptorProto


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.bin").read_bytes()


def golden_cbor(name: str) -> bytes:
    return (GOLDEN / f"{name}.cbor").read_bytes()


def api_json(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def _mangled(name: str) -> str:
    return name.replace(".", "_")


def _set_type(field: Any, type_name: str) -> None:
    if type_name in SCALARS:
        field.type = getattr(_TYPES, f"TYPE_{type_name.upper()}")
    else:
        field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".{_mangled(type_name)}"


def _describe(message: Message, into: Any) -> None:
    into.name = _mangled(message.name)
    for field in message.fields.values():
        own = into.field.add(name=f"f{field.number}", number=field.number)
        own.label = _TYPES.LABEL_REPEATED if field.repeated or field.map_key else _TYPES.LABEL_OPTIONAL
        if field.map_key is None:
            _set_type(own, field.type)
            continue
        entry = into.nested_type.add(name=f"F{field.number}Entry")
        entry.options.map_entry = True
        _set_type(entry.field.add(name="key", number=1, label=_TYPES.LABEL_OPTIONAL), field.map_key)
        _set_type(entry.field.add(name="value", number=2, label=_TYPES.LABEL_OPTIONAL), field.type)
        own.type, own.type_name = _TYPES.TYPE_MESSAGE, f".{into.name}.{entry.name}"


@lru_cache(maxsize=1)
def _pool() -> descriptor_pool.DescriptorPool:
    """All messages of the table as descriptors (fields are called f1, f2, … after their numbers)."""
    table = shipped_table()
    file = descriptor_pb2.FileDescriptorProto(name="table.proto", syntax="proto2")
    for name in table.message_names():
        _describe(table.message(name), file.message_type.add())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def google_class(message_name: str) -> type[GoogleMessage]:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(_mangled(message_name)))


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    unknown = google_class("k8s.io.apimachinery.pkg.runtime.Unknown")()
    unknown.f1.f1, unknown.f1.f2, unknown.f2, unknown.f3, unknown.f4 = api_version, kind, raw, "", ""  # type: ignore[attr-defined]
    return b"k8s\x00" + unknown.SerializeToString()


def raw_of(value: bytes) -> bytes:
    unknown = google_class("k8s.io.apimachinery.pkg.runtime.Unknown")()
    unknown.ParseFromString(value[4:])
    raw: bytes = unknown.f2  # type: ignore[attr-defined]
    return raw


def parsed(value: bytes, api_version: str, kind: str) -> GoogleMessage:
    """A stored value's object, as google.protobuf reads it."""
    message = shipped_table().of_kind(api_version, kind)
    assert message is not None
    found = google_class(message.name)()
    found.ParseFromString(raw_of(value))
    return found


def random_scalar(random: Random, type_name: str) -> Any:
    if type_name == "string":
        return "".join(random.choice("abz-./09äñ漢🙂") for _ in range(random.choice((0, 1, 5, 130))))
    if type_name == "bytes":
        return random.randbytes(random.choice((0, 1, 9)))
    if type_name == "bool":
        return random.random() < 0.5
    if type_name == "double":
        return random.choice((0.0, -1.5, 1e300))
    bits = 31 if type_name == "int32" else 63
    return random.choice((0, 1, -1, 127, 128, 2**bits - 1, -(2**bits), random.randrange(2**bits)))


def fill(message: Any, name: str, random: Random, depth: int = 0) -> None:
    """Gives a google message some of its fields, at random, to a depth of five."""
    if name.endswith(".Quantity"):  # another text would make the whole object undecodable
        message.f1 = random.choice(("1", "100m", "1.5Gi"))
        return
    fields = list(shipped_table().message(name).fields.values())
    for field in random.sample(fields, min(len(fields), random.randint(1, 6))):
        scalar = field.type in SCALARS
        if not scalar and depth > 5:
            continue
        attribute = getattr(message, f"f{field.number}")
        for _ in range(random.randint(1, 3) if field.repeated or field.map_key else 1):
            if field.map_key is not None:
                key = random.choice(("a", "app.kubernetes.io/name", "b.c", "ü"))
                if scalar:
                    attribute[key] = random_scalar(random, field.type)
                else:
                    fill(attribute[key], field.type, random, depth + 1)
            elif scalar and field.repeated:
                attribute.append(random_scalar(random, field.type))
            elif scalar:
                setattr(message, f"f{field.number}", random_scalar(random, field.type))
            else:
                child = attribute.add() if field.repeated else attribute
                child.SetInParent()
                fill(child, field.type, random, depth + 1)


def random_object(random: Random) -> tuple[str, str, Any]:
    """(apiVersion, kind, google message)."""
    api_version, kind = random.choice(KINDS)
    message = shipped_table().of_kind(api_version, kind)
    assert message is not None
    found = google_class(message.name)()
    fill(found, message.name, random)
    return api_version, kind, found


UNKNOWN = b"\xc2\xa9\x07\x06strang"
"""Field 15,000, six bytes of text: no message has it."""


def add_unknown(message: Any, random: Random) -> None:
    """Gives some of a google message's messages, at any depth, a field that the table does not have."""
    if random.random() < 0.5:
        message.MergeFromString(UNKNOWN)
    for descriptor, value in message.ListFields():
        if descriptor.type != _TYPES.TYPE_MESSAGE:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            children = value.values() if descriptor.message_type.fields_by_name["value"].message_type else []
        else:
            children = value if descriptor.is_repeated else [value]
        for child in children:
            add_unknown(child, random)


Leaf = tuple[Any, Any, Any]
"""(owner, attribute name, index or map key or None) of one scalar in a google message."""


def _json(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def leaves(message: Any, name: str, path: str = "") -> dict[str, tuple[Leaf, str, Any]]:
    """path → (where it is, scalar type, value as JSON): what `list_fields` must find, walked by google's reflection."""
    found: dict[str, tuple[Leaf, str, Any]] = {}
    for descriptor, value in message.ListFields():
        field = shipped_table().message(name).fields[descriptor.number]
        step = path if field.inline or field.alias else f"{path}.{field.name}" if path else field.name
        if field.map_key is not None:
            items = [(f"{step}[{key}]", value[key], key) for key in value]
        elif field.repeated:
            items = [(f"{step}[{i}]", item, i) for i, item in enumerate(value)]
        else:
            items = [(step, value, None)]
        for where, item, place in items:
            found.update(_leaf(message, descriptor.name, place, field, where, item))
    return found


def _leaf(owner: Any, name: str, place: Any, field: Field, path: str, value: Any) -> dict[str, tuple[Leaf, str, Any]]:
    if field.type in SCALARS:
        return {path: ((owner, name, place), field.type, _json(value))}
    short = field.type.rpartition(".")[2]
    inner = ("f3" if value.f1 == 1 else "f2") if short == "IntOrString" else _LEAVES.get(short)
    if inner is None:
        return leaves(value, field.type, path)
    if not value.HasField(inner):
        return {}
    number = int(inner[1:])
    type_name = shipped_table().message(field.type).fields[number].type
    return {path: ((value, inner, None), type_name, _json(getattr(value, inner)))}
