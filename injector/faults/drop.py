"""drop: the message never arrives.

`told`  what its sender is told: error (default), timeout, or success (an acknowledged write that is lost)

The model only declares it; the channel keeps the message back and answers. `after` is b"".
"""

from __future__ import annotations

from injector.codec import Located
from injector.errors import FaultError, Problem
from injector.faults.model import Change, Parameters, Scope
from injector.faults.parameters import check, one_of
from injector.rules import Told

__all__ = ["Drop"]

_DECLARED = (one_of("told", tuple(Told)),)


class Drop:
    name = "drop"
    scope = Scope.MESSAGE
    causes = (
        "a connection that breaks between kube-apiserver and etcd, a partition, an overloaded member (error, timeout)",
        "a write acknowledged before it is durable: a lying disk cache, a power cut, a restored snapshot (success)",
        "a component that logs an error and goes on as if it had written",
    )

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        return check(parameters, _DECLARED, where=where, file=file)

    def apply(self, value: bytes, located: Located | None, parameters: Parameters) -> Change:
        if located is not None:
            raise FaultError(f"drop loses the whole message; the target names the field {located.path}")
        return Change(after=b"", span=(0, len(value)), told=Told(str(parameters.get("told", Told.ERROR))))
