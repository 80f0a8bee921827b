"""What a rule may wait for before it counts: `Deployment/default/web Available`, `Node/node-1 Ready=False`.

    IDENTITY CONDITION[=STATUS]    an entry of status.conditions, its status True unless another is named
    IDENTITY exists                the object is there

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from injector.codec import to_tree
from injector.errors import FaultError, InjectionError
from injector.rules import JSONValue

__all__ = ["Condition", "parse_condition"]

_FORM = re.compile(
    r"(?P<identity>[A-Za-z]+(?:/[^/#\s]+){1,2}(?:#[1-9][0-9]*)?)\s+(?P<type>[\w./-]+)(?:=(?P<status>\w+))?"
)
_EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Condition:
    """`type` is "exists" or a condition's; `status` is that condition's."""

    text: str
    identity: str
    type: str
    status: str

    def holds(self, value: bytes) -> bool:
        """Whether an object stored so has it. One that can't be read exists, and no more."""
        return self.type == _EXISTS or (self.type, self.status) in set(_conditions(value))

    def found(self, value: bytes | None) -> str:
        """What is there instead, in words; None is no object."""
        if value is None:
            return f"there is no {self.identity}"
        there = ", ".join(f"{kind}={status}" for kind, status in _conditions(value))
        return f"{self.identity} has {there or 'no conditions'}"


def parse_condition(text: str) -> Condition:
    """The condition in `text`. FaultError if it is none."""
    found = _FORM.fullmatch(text)
    if found is None or (found["type"] == _EXISTS and found["status"]):
        raise FaultError(
            f"expected KIND/NAMESPACE/NAME and a condition, such as 'Deployment/default/web Available', 'Node/node-1 "
            f"Ready=False' or 'Service/default/web exists', got {text!r}"
        )
    return Condition(text, found["identity"], found["type"], found["status"] or "True")


def _conditions(value: bytes) -> Iterator[tuple[str, str]]:
    """(type, status) of each."""
    try:
        status = to_tree(value).get("status")
    except InjectionError:
        return
    conditions: JSONValue = status.get("conditions") if isinstance(status, dict) else None
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict):
            yield str(condition.get("type", "")), str(condition.get("status", ""))
