"""What models have in common: those that change one field, and those that are done to a whole message."""

from __future__ import annotations

from injector.codec import Located, Place, decode_value, replace
from injector.errors import FaultError
from injector.faults.model import Change

__all__ = ["change_field", "need_field", "need_message"]


def need_field(located: Located | Place | None, model: str, *, present: bool = True) -> Located:
    """The field, or FaultError where there is none, or where it is absent and has to be there."""
    if not isinstance(located, Located):
        raise FaultError(f"{model} changes a field; the target names none")
    if present and not located.present:
        raise FaultError(f"{located.path} is absent from this object; {model} needs a value to change")
    return located


def need_message(located: Located | Place | None, model: str) -> None:
    """FaultError where the target names a field."""
    if located is not None:
        raise FaultError(f"{model} is done to a whole message; the target names the field {located.path}")


def change_field(value: bytes, located: Located, payload: bytes) -> Change:
    """The value with the field's payload exchanged."""
    return Change(
        after=replace(value, located, payload),
        span=located.span,
        field_before=located.value,
        field_after=decode_value(located, payload),
    )
