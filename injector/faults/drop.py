"""drop: the message never arrives.

`told`  what its sender is told: error (default), timeout, or success (an acknowledged write that is lost)

The model only declares it; the channel keeps the message back and answers. `after` is b"".
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, one_of
from injector.rules import Delivery, Told

__all__ = ["Drop"]


class Drop(Declared):
    name = "drop"
    scope = Scope.MESSAGE
    declared = (one_of("told", tuple(Told)),)
    in_flight = True
    causes = (
        Cause(Origin.NETWORK, "a connection that breaks, a partition, an overloaded member (error, timeout)"),
        Cause(
            Origin.MEMORY,
            "a write acknowledged before it is durable: a lying disk cache, a power cut, a restored snapshot (success)",
        ),
        Cause(Origin.SOFTWARE, "a component that logs an error and goes on as if it had written"),
    )
    incidents = (
        "etcd-32-missing-keys-after-rolling-replacement",
        "foreground-delete-lost-event-2023",
        "kcm-silent-after-lock-update-timeout",
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        told = Told(str(parameters.get("told", Told.ERROR)))
        return Change(after=b"", span=(0, len(value)), delivery=Delivery(told=told))
