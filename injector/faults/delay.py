"""delay: the message arrives later.

`seconds`  how much later, up to 600; default 5
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.errors import Problem
from injector.faults.field_change import need_message
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import check, number
from injector.rules import Delivery

__all__ = ["Delay"]

_MOST_S = 600.0
"""Longer than any experiment lasts."""
_DECLARED = (number("seconds", 0.001, _MOST_S),)


class Delay:
    name = "delay"
    scope = Scope.MESSAGE
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

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        return check(parameters, _DECLARED, where=where, file=file)

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        need_message(located, self.name)
        seconds = parameters.get("seconds", 5.0)
        assert isinstance(seconds, (int, float))
        return Change(after=value, span=(0, 0), delivery=Delivery(delay_s=float(seconds)))
