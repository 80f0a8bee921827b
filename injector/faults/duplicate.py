"""duplicate: the message arrives more than once.

`copies`  how often in all, 2 to 100; default 2

A write of kube-apiserver's is guarded by the revision that it has read, so its copy changes nothing in etcd; the firing
says what etcd answered it.
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.errors import Problem
from injector.faults.field_change import need_message
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import check, integer
from injector.rules import Delivery

__all__ = ["Duplicate"]

_DECLARED = (integer("copies", 2, 100),)


class Duplicate:
    name = "duplicate"
    scope = Scope.MESSAGE
    in_flight = True
    causes = (
        Cause(Origin.NETWORK, "the answer, not the request, was lost, and a client or a proxy sends again"),
        Cause(Origin.SOFTWARE, "a watch that is opened again a little too early and repeats what was told already"),
    )
    incidents: tuple[str, ...] = ()

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        return check(parameters, _DECLARED, where=where, file=file)

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        need_message(located, self.name)
        copies = parameters.get("copies", 2)
        assert isinstance(copies, int)
        return Change(after=value, span=(0, 0), delivery=Delivery(copies=copies))
