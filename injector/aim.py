"""Whether an object, and what was written of it, is what a target means; where it is not, why, as a near miss has it.

The same for messages on their way (injector.channels.evidence) and for what is stored (injector.finding).
"""

from __future__ import annotations

from injector.conditions import Condition, parse_condition
from injector.errors import FaultError
from injector.identity import Identified
from injector.roles import check_role
from injector.selectors import labels_of, labels_text, parse_selector
from injector.targets import Target
from injector.writers import writers_of

__all__ = ["Aim"]


class Aim:
    """A target's texts, read. Raises FaultError for one that says nothing that can be meant."""

    def __init__(self, target: Target) -> None:
        if target.identity and (target.labels or target.namespace):
            named = "labels" if target.labels else "namespace"
            raise FaultError(f"{target.identity} is one object already; leave out the {named}")
        if target.role:
            check_role(target.role)
            if target.field is not None:
                raise FaultError(f"expected a field or a role, got {target.field!r} and {target.role!r}")
        self._target = target
        self._selector = parse_selector(target.labels) if target.labels else None
        self.condition: Condition | None = parse_condition(target.after) if target.after else None

    def named(self, identified: Identified) -> bool:
        """Whether it may be that object, as far as its name says."""
        target = self._target
        if (identified.kind, identified.group) != (target.kind, target.group):
            return False
        if target.identity:
            return identified.identity == target.identity
        return target.namespace in ("", identified.namespace)

    def misses(self, identified: Identified, value: bytes | None) -> str | None:
        """Why it is another object, None if it is meant; "" where it is too far off to be told. `value` is what its
        labels are read from."""
        target = self._target
        if self.named(identified):
            if self._selector is None:
                return None
            labels = labels_of(value) if value is not None else {}
            return None if self._selector.matches(labels) else f"has {labels_text(labels)}, not {target.labels}"
        if not target.identity or (identified.kind, identified.group) != (target.kind, target.group):
            return ""
        same = identified.identity.partition("#")[0] == target.identity.partition("#")[0]
        return f"same name, but the rule waits for {target.identity}" if same else ""

    def not_by(self, value: bytes | None, before: bytes | None) -> str | None:
        """Why that was written by another than the target says, None if it was not. `value` None: a delete."""
        by = self._target.by
        if not by:
            return None
        writers = writers_of(value, before) if value is not None else ()
        if writers and all(writer.startswith(by) for writer in writers):
            return None
        who = f"written by {' or '.join(writers)}" if writers else "who wrote it is not known"
        return f"{who}; the rule waits for {by}"
