"""One fault done to one stored value: the single entrance for channels and for edits at rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from injector.codec import find, list_fields, locate
from injector.errors import FaultError
from injector.faults import ALONE, MODELS, Parameters, Registry, Scope, Surroundings
from injector.roles import has_role
from injector.rules import IN_TURN, Delivery, JSONValue, Rule

__all__ = ["Corruption", "carries", "carries_role", "corrupt", "corrupt_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """What became of a stored value.

    after   the whole value to write; b"" where nothing is to be written (`delivery.told` is then set)
    span    [start, end) in the value before: the bytes that were changed (empty where a field was inserted); the
            lengths around them changed too if the size did
    field_before/field_after   the field's value as JSON (None if absent), None for message faults
    delivery   how the message is to be delivered
    key     the etcd key that the value is to be stored under instead of its own
    field   the path that a target's role led to
    """

    after: bytes
    span: tuple[int, int]
    field_before: JSONValue = None
    field_after: JSONValue = None
    delivery: Delivery = IN_TURN
    key: bytes | None = None
    field: str | None = None


def carries(value: bytes, model: str, field: str, *, models: Registry = MODELS) -> bool:
    """Whether a stored value has what the model is done to. FaultError, which says what is there instead, for a path
    that leads nowhere; CodecError where the bytes are no stored object."""
    if models[model].scope is Scope.PART:
        find(value, field)
        return True
    return locate(value, field).present


def carries_role(value: bytes, kind: str, role: str) -> bool:
    """Whether a stored value has a field of that role. CodecError where the bytes can't be read as an object."""
    return any(has_role(kind, item.path, role) for item in list_fields(value))


def corrupt_for(rule: Rule, value: bytes, *, around: Surroundings = ALONE, models: Registry = MODELS) -> Corruption:
    """What `rule` does to a stored value: to its target's field, to the first field of its target's role that the model
    fits (in the order in which they are listed), or to the whole message. Raises as `corrupt`."""
    target = rule.target
    if not target.role:
        return corrupt(value, rule.model, rule.parameters, target.field, around=around, models=models)
    refused = ""
    for item in list_fields(value):
        if not has_role(target.kind, item.path, target.role):
            continue
        try:
            done = corrupt(value, rule.model, rule.parameters, item.path, around=around, models=models)
        except FaultError as error:
            refused = refused or f"; of {item.path}: {error}"
            continue
        return replace(done, field=item.path)
    raise FaultError(f"{rule.model} fits no field with the role {target.role}{refused}")


def corrupt(
    value: bytes,
    model: str,
    parameters: Parameters,
    field: str | None,
    *,
    around: Surroundings = ALONE,
    models: Registry = MODELS,
) -> Corruption:
    """The fault `model` with `parameters` done to `field` of a stored value, or to the whole message if it is None.

    Pure. Never returns a message as it was: value, key or delivery differ. Raises FaultError where the model, its
    parameters, the field and the value do not fit each other (all wrong parameters at once), CodecError where the bytes
    are no stored object.
    """
    chosen = models[model]
    problems = chosen.check_parameters(parameters, where="")
    if problems:
        raise FaultError("; ".join(str(problem) for problem in problems))
    if chosen.scope is Scope.MESSAGE and field is not None:
        raise FaultError(f"{model} is done to a whole message; the target names the field {field}")
    if chosen.scope in (Scope.FIELD, Scope.PART) and field is None:
        raise FaultError(f"{model} is done to a field; the target names none")
    look = find if chosen.scope is Scope.PART else locate
    located = look(value, field) if field is not None else None
    change = chosen.apply(value, located, parameters, around)
    if change.after == value and change.key is None and change.delivery == IN_TURN:
        raise FaultError(f"{model} on {field or 'the message'} changes nothing")
    return Corruption(
        after=change.after,
        span=change.span,
        field_before=change.field_before,
        field_after=change.field_after,
        delivery=change.delivery,
        key=change.key,
    )
