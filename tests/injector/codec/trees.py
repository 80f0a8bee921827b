"""Random objects in the API's own JSON shape, of any kind of the field table."""

from __future__ import annotations

import base64
from random import Random

from injector.codec.nodes import short
from injector.codec.table import SCALARS, Field, shipped_table
from injector.rules import JSONValue

_TEXT = (
    "",
    "a",
    "web",
    "app.kubernetes.io/name",
    "<&>\u2028",
    "ü 漢 🙂",
    "x" * 130,
    "true",
    "1",
    "two\nlines\n",
    " \t",
)
_QUANTITIES = ("0", "1", "500m", "2Gi", "1500m", "3k", "100Mi", "-5", "7n")
"""As Kubernetes spells them (resource.Quantity.String): others it writes in its own way."""
_RAW: tuple[JSONValue, ...] = ({"a": [1, 2.5, "x<", None, True]}, {"": {}}, {"f:metadata": {"f:labels": {".": {}}}})
_INTEGERS = (0, 1, -1, 127, 128, 2**31 - 1, -(2**31))
_DEEPEST = 7


def random_tree(random: Random, api_version: str, kind: str) -> dict[str, JSONValue]:
    """Every field is there with a chance of 60 % (40 % far down), so that zeros and absences of all types come up."""
    message = shipped_table().of_kind(api_version, kind)
    assert message is not None
    return {"apiVersion": api_version, "kind": kind, **_message(random, message.name, 0)}


def _message(random: Random, type_name: str, depth: int) -> dict[str, JSONValue]:
    found: dict[str, JSONValue] = {}
    for field in shipped_table().message(type_name).fields.values():
        if field.inline:
            found.update(_message(random, field.type, depth + 1))
        elif random.random() < (0.6 if depth < 4 else 0.4) and (depth < _DEEPEST or field.type in SCALARS):
            found[field.name] = _field(random, field, depth)
    return found


def _field(random: Random, field: Field, depth: int) -> JSONValue:
    if field.map_key is not None:
        return {key: _value(random, field.type, depth) for key in random.sample(_TEXT, random.randint(1, 3))}
    if field.repeated:
        return [_value(random, field.type, depth) for _ in range(random.randint(1, 3))]
    return _value(random, field.type, depth)


def _value(random: Random, type_name: str, depth: int) -> JSONValue:
    match short(type_name):
        case "string":
            return random.choice(_TEXT)
        case "bytes":
            return base64.b64encode(random.randbytes(random.choice((1, 9)))).decode()
        case "bool":
            return random.random() < 0.5
        case "double":
            return random.choice((0.5, -1.5, 1e300))
        case "int32":
            return random.choice(_INTEGERS)
        case "int64":
            return random.choice((*_INTEGERS, 2**63 - 1, -(2**63)))
        case "Time":
            return f"{random.randint(1900, 2200)}-02-2{random.randint(0, 8)}T23:59:5{random.randint(0, 9)}Z"
        case "MicroTime":
            return f"{random.randint(1900, 2200)}-12-31T00:00:00.{random.randint(0, 999999):06}Z"
        case "Quantity":
            return random.choice(_QUANTITIES)
        case "IntOrString":
            return random.choice((0, 8080, -(2**31), "http", "25%", ""))
        case "FieldsV1" | "RawExtension" | "JSON":
            return random.choice(_RAW)
    message = shipped_table().message(type_name)
    if message.alias:
        (field,) = message.fields.values()
        return _field(random, field, depth)
    return _message(random, type_name, depth + 1)
