"""Fault models for channel tests: deliveries, and another key, as rules' parameters say."""

from __future__ import annotations

from injector.codec import Located
from injector.errors import Problem
from injector.faults import MODELS, Change, Parameters, Registry, Scope
from injector.rules import Delivery, Told


class Delivering:
    """Parameters are Delivery's own fields, and `key`."""

    name, scope, causes = "delivering", Scope.MESSAGE, ()

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        return []

    def apply(self, value: bytes, located: Located | None, parameters: Parameters, *_: object, **__: object) -> Change:
        given = dict(parameters)
        key = given.pop("key", None)
        told = given.pop("told", None)
        delay_s, copies, behind = (
            given.pop(name, none) for name, none in (("delay_s", 0), ("copies", 1), ("behind", 0))
        )
        assert isinstance(delay_s, (int, float)) and isinstance(copies, int) and isinstance(behind, int) and not given
        return Change(
            after=value,
            span=(0, len(value)),
            delivery=Delivery(told=Told(str(told)) if told else None, delay_s=delay_s, copies=copies, behind=behind),
            key=str(key).encode() if key else None,
        )


WITH_DELIVERING = Registry((*MODELS, Delivering()))
