"""delay: the message arrives later.

`seconds`  how much later, up to 600; default 5
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, number
from injector.rules import Delivery

__all__ = ["Delay"]

_MOST_S = 600.0
"""Longer than any experiment lasts."""


class Delay(Declared):
    name = "delay"
    scope = Scope.MESSAGE
    declared = (number("seconds", 0.001, _MOST_S),)
    in_flight = True
    causes = (
        Cause(Origin.NETWORK, "a link that queues or retransmits, a virtual machine that pauses"),
        Cause(Origin.MEMORY, "a slow disk: answers take as long as fsync does"),
        Cause(
            Origin.SOFTWARE,
            "a long collection of garbage, a client that limits its own rate, a component that is starved of CPU",
        ),
    )
    incidents = (
        "kcm-crash-loop-slow-etcd",
        "zalando-kubelet-qps-2019",
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        seconds = parameters.get("seconds", 5.0)
        assert isinstance(seconds, (int, float))
        return Change(after=value, span=(0, 0), delivery=Delivery(delay_s=float(seconds)))
