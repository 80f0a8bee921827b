"""duplicate: the message arrives more than once.

`copies`  how often in all, 2 to 100; default 2

A write of kube-apiserver's is guarded by the revision that it has read, so its copy changes nothing in etcd; the firing
says what etcd answered it.
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, integer
from injector.rules import Delivery

__all__ = ["Duplicate"]


class Duplicate(Declared):
    name = "duplicate"
    scope = Scope.MESSAGE
    declared = (integer("copies", 2, 100),)
    in_flight = True
    causes = (
        Cause(Origin.NETWORK, "the answer, not the request, was lost, and a client or a proxy sends again"),
        Cause(Origin.SOFTWARE, "a watch that is opened again a little too early and repeats what was told already"),
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        copies = parameters.get("copies", 2)
        assert isinstance(copies, int)
        return Change(after=value, span=(0, 0), delivery=Delivery(copies=copies))
