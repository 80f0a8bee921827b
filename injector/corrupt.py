"""One fault done to one stored value: the single entrance for channels and for edits at rest."""

from __future__ import annotations

from dataclasses import dataclass

from injector.codec import locate
from injector.errors import FaultError
from injector.faults import MODELS, Parameters, Registry, Scope
from injector.rules import JSONValue, Told

__all__ = ["Corruption", "corrupt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """What became of a stored value.

    after   the whole value to write; b"" where nothing is to be written (`told` is then set)
    span    [start, end) in the value before: the bytes that were changed (empty where a field was inserted); the
            lengths around them changed too if the size did
    field_before/field_after   the field's value as JSON (None if absent), None for message faults
    told    set for a dropped message: what the channel tells its sender
    """

    after: bytes
    span: tuple[int, int]
    field_before: JSONValue = None
    field_after: JSONValue = None
    told: Told | None = None


def corrupt(
    value: bytes, model: str, parameters: Parameters, field: str | None, *, models: Registry = MODELS
) -> Corruption:
    """The fault `model` with `parameters` done to `field` of a stored value, or to the whole message if it is None.

    Pure. Never returns the bytes it was given. Raises FaultError where the model, its parameters, the field and the
    value do not fit each other (all wrong parameters at once), CodecError where the bytes are no stored object.
    """
    chosen = models[model]
    problems = chosen.check_parameters(parameters, where="")
    if problems:
        raise FaultError("; ".join(str(problem) for problem in problems))
    if chosen.scope is Scope.MESSAGE and field is not None:
        raise FaultError(f"{model} is done to a whole message; the target names the field {field}")
    if chosen.scope is Scope.FIELD and field is None:
        raise FaultError(f"{model} is done to a field; the target names none")
    located = locate(value, field) if field is not None else None
    change = chosen.apply(value, located, parameters)
    if change.after == value:
        raise FaultError(f"{model} on {field or 'the message'} changes nothing")
    return Corruption(
        after=change.after,
        span=change.span,
        field_before=change.field_before,
        field_after=change.field_after,
        told=change.told,
    )
