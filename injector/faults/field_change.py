"""What models have in common that change one field."""

from __future__ import annotations

from injector.codec import Located, Place, decode_value, replace
from injector.errors import FaultError
from injector.faults.model import Change

__all__ = ["change_field", "need_field"]


def need_field(located: Located | Place | None, model: str, *, present: bool = True) -> Located:
    """The field, or FaultError where there is none, or where it is absent and has to be there."""
    if not isinstance(located, Located):
        raise FaultError(f"{model} changes a field; the target names none")
    if present and not located.present:
        raise FaultError(f"{located.path} is absent from this object; {model} needs a value to change")
    return located


def change_field(value: bytes, located: Located, payload: bytes) -> Change:
    """The value with the field's payload exchanged."""
    return Change(
        after=replace(value, located, payload),
        span=located.span,
        field_before=located.value,
        field_after=decode_value(located, payload),
    )
