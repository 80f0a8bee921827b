"""boolean-invert: true becomes false, false becomes true.

No parameters.
"""

from __future__ import annotations

from injector.codec import Located, Place, encode_value
from injector.errors import FaultError
from injector.faults.field_change import change_field, need_field
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared

__all__ = ["BooleanInvert"]


class BooleanInvert(Declared):
    name = "boolean-invert"
    scope = Scope.FIELD
    causes = (
        Cause(
            Origin.SOFTWARE,
            "a condition that is the wrong way round in a controller, or a default that differs between two versions",
        ),
        Cause(Origin.MEMORY, "a bit flips in the one byte that holds a boolean"),
        Cause(Origin.HUMAN, "a switch in a manifest or chart that is read as its opposite"),
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        field = need_field(located, self.name)
        if field.type != "bool":
            raise FaultError(f"{field.path} is of type {field.type}; boolean-invert is for booleans")
        return change_field(value, field, encode_value(field, not field.value))
