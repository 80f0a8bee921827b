"""reorder: the message is overtaken by those that come after it.

`behind`  by how many messages that go the same way, 1 to 1000; default 1
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, integer
from injector.rules import Delivery

__all__ = ["Reorder"]


class Reorder(Declared):
    name = "reorder"
    scope = Scope.MESSAGE
    declared = (integer("behind", 1, 1000),)
    in_flight = True
    causes = (
        Cause(Origin.NETWORK, "two connections race: what was sent first arrives second"),
        Cause(
            Origin.SOFTWARE,
            "a work queue that hands out keys in another order than they changed, a cache that is "
            "filled by a list while a watch runs",
        ),
    )
    incidents = ("ravelin-endpoint-removal-race-2019",)

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        behind = parameters.get("behind", 1)
        assert isinstance(behind, int)
        return Change(after=value, span=(0, 0), delivery=Delivery(behind=behind))
