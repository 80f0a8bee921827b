"""Which stored object a rule at rest is about, among all that is stored, and what was done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from injector.aim import Aim
from injector.codec import read_meta
from injector.conditions import Condition
from injector.corrupt import Corruption, carries_role
from injector.errors import CodecError, FaultError
from injector.faults import MODELS
from injector.identity import Identified, IdentityTracker
from injector.rules import Firing, Rule
from injector.targets import Channel, Target

__all__ = ["REGISTRY", "AtRestSurroundings", "Census", "Stored", "check_at_rest", "firing_of", "key_text"]

REGISTRY = b"/registry/"
"""Where kube-apiserver keeps objects (its --etcd-prefix)."""

_SHOWN = 8
"""Objects that an error names; arbitrary: a line or two."""


class Stored(NamedTuple):
    """A key of etcd and what it holds."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


def check_at_rest(rule: Rule, channel: Channel) -> None:
    """FaultError for a rule that can't be carried out at rest in this channel."""
    if rule.channel is not channel:
        raise FaultError(f"rule {rule.id!r}: expected channel {channel}, got {rule.channel}")
    if MODELS[rule.model].in_flight:
        raise FaultError(f"there is no message at rest; {rule.model} is done to one on its way")
    if rule.target.occurrence != 1:
        raise FaultError(f"a stored value has no occurrence {rule.target.occurrence}; leave it out at rest")


class Census:
    """Everything that is stored, by identity.

    r0   the etcd revision at which the experiment began. Objects older than that are numbered as the baseline is (by
         key), younger ones by their creation; without it all are numbered by their creation
    """

    def __init__(self, everything: Sequence[Stored], r0: int | None) -> None:
        tracker = IdentityTracker()
        old = [stored for stored in everything if r0 is not None and stored.create_revision <= r0]
        tracker.seed((key_text(stored.key), stored.value) for stored in old)
        for stored in sorted(everything, key=lambda stored: (stored.create_revision, stored.key)):
            tracker.seen(key_text(stored.key), stored.value)
        known = ((stored, tracker.get(key_text(stored.key))) for stored in everything)
        self._known = [(stored, identified) for stored, identified in known if identified is not None]

    def find(
        self, target: Target, earlier: Callable[[Stored], bytes | None] = lambda _: None
    ) -> tuple[Stored, Identified]:
        """The object that the target means, of several the first by key; instead of its identity an object's own name
        will do (`Pod/default/web-6f7f9-abcde`). `earlier` gives the version before the one that is stored. FaultError,
        naming near ones, if none is meant, or the target's condition does not hold."""
        target = self.by_own_name(target)
        aim = Aim(target)
        self._check_condition(aim.condition)
        siblings, near = list[str](), list[str]()
        for stored, found in sorted(self._known, key=lambda known: known[0].key):
            why = aim.misses(found, stored.value)
            if why is None and target.by:
                why = aim.not_by(stored.value, earlier(stored))
            if why is None and target.role and not _has(stored, target):
                why = f"has no field with the role {target.role}"
            if why is None:
                return stored, found
            if not aim.named(found):
                siblings += [found.identity] if why else []
            else:
                near.append(f"{found.identity} ({why})")
        if not siblings and not near:
            siblings = [found.identity for found in self._kin(target).values()]
        hint = _listed("; there is ", siblings) + _listed("; nearest: ", near)
        raise FaultError(f"no stored {target.group or 'core'} object is {target.named}{hint}")

    def _kin(self, target: Target) -> dict[Stored, Identified]:
        kind = (target.kind, target.group)
        return {stored: found for stored, found in self._known if (found.kind, found.group) == kind}

    def by_own_name(self, target: Target) -> Target:
        """The target with the stable identity of the object that has its identity as own name; as it is where there is
        none, or where the identity is a stable one."""
        kin = self._kin(target)
        if not target.identity or any(found.identity == target.identity for found in kin.values()):
            return target
        named = (found for stored, found in kin.items() if _own_name(found.kind, stored.value) == target.identity)
        found = next(named, None)
        return replace(target, identity=found.identity) if found is not None else target

    def _check_condition(self, condition: Condition | None) -> None:
        if condition is None:
            return
        stored = self.other(condition.identity)
        if stored is None or not condition.holds(stored.value):
            found = condition.found(stored.value if stored is not None else None)
            raise FaultError(f"the rule waits for {condition.text}; {found}")

    def other(self, identity: str) -> Stored | None:
        """The object of that identity, of whichever group; None if there is none."""
        return next((stored for stored, found in self._known if found.identity == identity), None)


def _own_name(kind: str, value: bytes) -> str:
    """KIND/NAMESPACE/NAME as the object itself says it; "" where it can't be read."""
    try:
        meta = read_meta(value)
    except CodecError:
        return ""
    return "/".join(part for part in (kind, meta.namespace, meta.name) if part)


@dataclass(frozen=True, slots=True)
class AtRestSurroundings:
    """What a fault model may ask (injector.faults.Surroundings). `earlier` gives the version before the one at hand."""

    census: Census
    earlier: Callable[[], bytes | None]

    def previous(self) -> bytes | None:
        return self.earlier()

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        found = self.census.other(identity)
        return (found.key, found.value) if found is not None else None


def firing_of(
    rule: Rule,
    stored: Stored,
    identified: Identified,
    corruption: Corruption,
    *,
    operation: str,
    at_s: float,
    actor: str,
) -> Firing:
    """The evidence of what was done to what lay at that key; whether it was accepted is not said yet."""
    return Firing(
        rule_id=rule.id,
        at_s=at_s,
        key=key_text(stored.key),
        identity=identified.identity,
        operation=operation,
        before=stored.value,
        after=corruption.after,
        span=corruption.span,
        field_before=corruption.field_before,
        field_after=corruption.field_after,
        field=corruption.field,
        actor=actor,
    )


def _has(stored: Stored, target: Target) -> bool:
    try:
        return carries_role(stored.value, target.kind, target.role)
    except CodecError:
        return False


def _listed(words: str, names: list[str]) -> str:
    return words + ", ".join(sorted(names)[:_SHOWN]) + (", …" if len(names) > _SHOWN else "") if names else ""


def key_text(key: bytes) -> str:
    """An etcd key as text."""
    return key.decode(errors="backslashreplace")
