"""value-set: a field gets another value of its own type.

`value`    the new value as JSON: text for strings and quantities, a whole number for integers and (in seconds) times,
           true or false, base64 for bytes
`extreme`  instead of a value: zero, minus-one, max (integers; zero is false for a boolean) or empty (strings and bytes)
`object`   instead: the value that another live object has, by its stable identity, such as `Service/default/api`;
           `object_field` is the path there, if it is not the same one
`force`    true: a whole number beyond the type's range is stored all the same, as Kubernetes' decoder would cut it

Exactly one of the first three. An optional scalar that is absent can be set: it is inserted where Kubernetes
would write it.
"""

from __future__ import annotations

from typing import TypeGuard

from injector.codec import Located, Place, Storage, decode_scalar, encode_value, encode_varint, integer_range, locate
from injector.errors import CodecError, FaultError, Problem
from injector.faults.field_change import change_field, need_field
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, Parameter, one_of, text
from injector.rules import JSONValue

__all__ = ["ValueSet"]

_EXTREMES = ("zero", "minus-one", "max", "empty")
_SOURCES = ("value", "extreme", "object")


class ValueSet(Declared):
    name = "value-set"
    scope = Scope.FIELD
    declared = (
        Parameter("value", "a text, number, true or false", lambda v: isinstance(v, (str, int, float, bool))),
        one_of("extreme", _EXTREMES),
        text("object"),
        text("object_field"),
        Parameter("force", "true or false", lambda v: isinstance(v, bool)),
    )
    exclusive = _SOURCES
    causes = (
        Cause(
            Origin.SOFTWARE,
            "a controller writes a wrong but well-formed value, or gives the field the meaning "
            "that it had in another version",
        ),
        Cause(Origin.HUMAN, "a mistake, or a template's, that passes validation"),
        Cause(Origin.OPERATOR, "an operator or GitOps tool that reconciles from the wrong source"),
        Cause(Origin.MEMORY, "several bits flip"),
    )
    incidents = (
        "same-pod-cidr-pasted-on-all-workers",
        "duplicate-clusterip-api-service-2022",
        "rc-shared-labels-fight",
        "default-endpoints-keep-dead-master",
    )

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        problems = super().check_parameters(parameters, where=where, file=file)
        if not {*_SOURCES} & set(parameters):
            problems.append(Problem(file, where, "expected `value`, `extreme` or `object`"))
        if "object_field" in parameters and "object" not in parameters:
            problems.append(Problem(file, where, "`object_field` needs `object`, the one that has the field"))
        return problems

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        field = need_field(located, self.name, present=False)
        wanted = _wanted(field, parameters, around)
        try:
            payload = encode_value(field, wanted)
        except CodecError as error:
            if field.storage is not Storage.PROTOBUF or integer_range(field.type) is None or not _whole(wanted):
                raise FaultError(_misfit(field, wanted)) from error
            payload = _cut(field, wanted, forced=parameters.get("force") is True)
        if field.present and payload == field.payload:
            raise FaultError(f"{field.path} already has the value {wanted!r}; setting it changes nothing")
        return change_field(value, field, payload)


def _wanted(field: Located, parameters: Parameters, around: Surroundings) -> JSONValue:
    if "extreme" in parameters:
        return _extreme(field, str(parameters["extreme"]))
    if "object" not in parameters:
        return parameters["value"]
    identity, path = str(parameters["object"]), str(parameters.get("object_field", field.path))
    other = around.other(identity)
    if other is None:
        raise FaultError(f"there is no {identity} whose {path} could be taken")
    try:
        found = locate(other[1], path)
    except FaultError as error:
        raise FaultError(f"{identity}: {error}") from error
    if not found.present:
        raise FaultError(f"{identity} has no {path}")
    return found.value


def _whole(value: JSONValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _cut(field: Located, wanted: int, *, forced: bool) -> bytes:
    """A number that the type does not hold, as protobuf writes it all the same; FaultError unless it is forced."""
    payload = encode_varint(wanted)
    read = decode_scalar(field.type, payload, 0, len(payload))
    if not forced:
        raise FaultError(f"{_misfit(field, wanted)}; `force: true` stores it, and it is read as {read}")
    return payload


def _extreme(field: Located, name: str) -> JSONValue:
    limits = integer_range(field.type)
    if limits is not None:
        found: JSONValue = {"zero": 0, "minus-one": -1, "max": limits[1]}.get(name)
    elif field.type == "bool":
        found = False if name == "zero" else None
    else:
        found = "" if name == "empty" and field.type in ("string", "bytes") else None
    if found is None:
        raise FaultError(f"{field.path} is of type {field.type}; it has no extreme {name!r}")
    return found


def _misfit(field: Located, wanted: JSONValue) -> str:
    limits = integer_range(field.type)
    expected = {"string": "a text", "bytes": "bytes in base64", "bool": "true or false"}.get(field.type, "a number")
    if limits is not None:
        expected = f"a whole number from {limits[0]} to {limits[1]}"
    extra = f" ({field.kubernetes_type})" if field.kubernetes_type != field.type else ""
    return f"{field.path} is of type {field.type}{extra}: expected {expected}, got {wanted!r}"
