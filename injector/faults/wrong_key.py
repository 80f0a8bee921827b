"""wrong-key: the value is stored under another object's key.

`identity`  the other object's stable identity, such as `Service/default/api`; it must exist then

What was to be written is not written, and the other object is overwritten with this one.
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.errors import FaultError, Problem
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, text

__all__ = ["WrongKey"]


class WrongKey(Declared):
    name = "wrong-key"
    scope = Scope.MESSAGE
    declared = (text("identity"),)
    causes = (
        Cause(Origin.MEMORY, "a bit of the key flips, and it is another object's key"),
        Cause(Origin.SOFTWARE, "a controller that mixes up names or namespaces"),
        Cause(
            Origin.HUMAN,
            "two machines or two applications with one name; a restore that writes to the wrong place",
        ),
    )
    incidents = (
        "duplicate-hostname-node-flap-2019",
        "k3s-same-hostname-replaces-node-2019",
    )

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        problems = super().check_parameters(parameters, where=where, file=file)
        if "identity" not in parameters:
            problems.append(Problem(file, where, "expected `identity`, the object whose key is used"))
        return problems

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        identity = str(parameters["identity"])
        other = around.other(identity)
        if other is None:
            raise FaultError(f"there is no {identity} whose key could be used")
        return Change(after=value, span=(0, 0), key=other[0])
