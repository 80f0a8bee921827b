"""value-set: a field gets another value of its own type.

`value`    the new value as JSON: text for strings and quantities, a whole number for integers and (in seconds) times,
           true or false, base64 for bytes
`extreme`  instead of a value: zero, minus-one, max (integers; zero is false for a boolean) or empty (strings and bytes)

Exactly one of them. An optional scalar that is absent can be set: it is inserted where Kubernetes would write it.
"""

from __future__ import annotations

from injector.codec import Located, encode_scalar, integer_range
from injector.errors import CodecError, FaultError, Problem
from injector.faults.field_change import change_field, need_field
from injector.faults.model import Change, Parameters, Scope
from injector.faults.parameters import Parameter, check, one_of
from injector.rules import JSONValue

__all__ = ["ValueSet"]

_EXTREMES = ("zero", "minus-one", "max", "empty")
_DECLARED = (
    Parameter("value", "a text, number, true or false", lambda v: isinstance(v, (str, int, float, bool))),
    one_of("extreme", _EXTREMES),
)


class ValueSet:
    name = "value-set"
    scope = Scope.FIELD
    causes = (
        "a controller with a bug writes a wrong but well-formed value",
        "a human's mistake, or a template's, that passes validation",
        "an older or newer component that gives the field another meaning or default",
        "a migration or restore that mixes up two objects' values",
    )

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        problems = check(parameters, _DECLARED, where=where, file=file, exclusive=("value", "extreme"))
        if not {"value", "extreme"} & set(parameters):
            problems.append(Problem(file, where, "expected `value` or `extreme`"))
        return problems

    def apply(self, value: bytes, located: Located | None, parameters: Parameters) -> Change:
        field = need_field(located, self.name, present=False)
        wanted = _extreme(field, str(parameters["extreme"])) if "extreme" in parameters else parameters["value"]
        try:
            payload = encode_scalar(field.type, wanted)
        except CodecError as error:
            raise FaultError(_misfit(field, wanted)) from error
        if field.present and payload == field.payload:
            raise FaultError(f"{field.path} already has the value {wanted!r}; setting it changes nothing")
        return change_field(value, field, payload)


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
