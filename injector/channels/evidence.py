"""What a channel in flight keeps of its one rule: whether a message is the one it waits for, how often it fired, what
came of it, and what almost matched."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

from injector.aim import Aim
from injector.corrupt import carries, carries_role
from injector.errors import CodecError, FaultError
from injector.faults import Registry, Scope
from injector.identity import Identified
from injector.rules import Firing, NearMiss, Rule
from injector.targets import Channel, fits_component, fits_operation, wrong_operation

__all__ = ["Evidence", "check_rule"]

_MOST_NEAR_MISSES = 100
"""Different ones that are kept; arbitrary, it only bounds memory."""

_MOST_FIRINGS = 1000
"""Firings of a rule without limit whose bytes are kept, the first ones; arbitrary, it only bounds memory."""


def _unknown() -> bytes | None:
    return None


class Evidence:
    """`fired_out`: the rule has fired as often as it may, or can't any more. `waits`: for its target's condition."""

    def __init__(self, rule: Rule, clock: Callable[[], float], models: Registry) -> None:
        self._models = models
        self.rule, self.clock = rule, clock
        self.fired_out = False
        self._aim = Aim(rule.target)
        self.waits = self._aim.condition is not None
        self._matched = self._fired = 0
        self._near: Counter[tuple[str, str]] = Counter()
        self._firings: list[Firing] = []

    def firings(self) -> tuple[Firing, ...]:
        return tuple(self._firings)

    def near_misses(self) -> tuple[NearMiss, ...]:
        """What almost matched, most frequent first; empty once the rule has fired."""
        if self._firings:
            return ()
        target, near = self.rule.target, Counter(self._near)
        if self.waits:
            near[target.named, f"the rule waits for {target.after}, which never came"] = 1
        if 0 < self._matched < target.occurrence:
            near[target.named, f"matched, but the rule waits for occurrence {target.occurrence}"] = self._matched
        return tuple(NearMiss(identity=identity, why=why, times=n) for (identity, why), n in near.most_common())

    def note(self, identity: str, why: str) -> None:
        """Counts a near miss."""
        if (identity, why) in self._near or len(self._near) < _MOST_NEAR_MISSES:
            self._near[identity, why] += 1

    def concerns(self, identified: Identified) -> bool:
        """Whether what is stored of that object may matter later: the target may mean it, or waits for it."""
        return self._aim.named(identified) or (self.waits and self._is_awaited(identified))

    def saw(self, identified: Identified, value: bytes) -> None:
        """That is stored, or told: the condition that the rule waits for may have come with it."""
        if self.waits and self._is_awaited(identified) and self._aim.condition is not None:
            self.waits = not self._aim.condition.holds(value)

    def _is_awaited(self, identified: Identified) -> bool:
        return self._aim.condition is not None and identified.identity == self._aim.condition.identity

    def matches(
        self,
        identified: Identified,
        operation: str,
        value: bytes | None,
        earlier: Callable[[], bytes | None] = _unknown,
        *,
        known: bytes | None = None,
        component: str = "",
    ) -> bool:
        """Whether the rule fires on this message of that object; `value` is what it carries, None if it has none;
        `earlier` gives the version before, of a delete the one that is deleted; `known` is what the object is known
        to be where a message has only a part of it; `component`: whose message it is. Counts the occurrence."""
        target = self.rule.target
        if self.fired_out or (identified.kind, identified.group) != (target.kind, target.group):
            return False
        labelled = known or (earlier() if value is None and target.labels else value)
        why = self._aim.misses(identified, labelled)
        if why is None and target.component and not fits_component(target.component, component):
            why = f"of {component}, but the rule waits for {target.component}"
        if why is None and not fits_operation(target.operation, operation):
            why = f"{_a(operation)}, but the rule waits for {_a(target.operation)}"
        if why is None and self.waits:
            why = f"came before {target.after}"
        if why is None and target.by:
            why = self._aim.not_by(value, earlier())
        if why is None and (target.field is not None or target.role):
            why = self._carries_not(value)
        if why:
            self.note(identified.identity, why)
        return why is None and self.occurs()

    def occurs(self) -> bool:
        """Counts an occurrence; whether the rule fires on it."""
        if self.fired_out:
            return False
        self._matched += 1
        return self._matched >= self.rule.target.occurrence

    def _carries_not(self, value: bytes | None) -> str | None:
        """Why the message does not carry what the fault is done to, None if it does; "" of one that carries nothing."""
        target = self.rule.target
        if value is None:
            return ""
        try:
            if target.field is None:
                there = carries_role(value, target.kind, target.role)
                return None if there else f"carries no field with the role {target.role}"
            there = carries(value, self.rule.model, target.field, models=self._models)
            return None if there else f"does not carry {target.field}"
        except (FaultError, CodecError) as error:
            return f"does not carry {target.field or target.role}: {error}"

    def misfit(self, identity: str, why: str) -> None:
        """The fault does not fit this message. A rule that fires once has had its chance, but for one that is about
        any field of a role: another message may carry another one."""
        self.note(identity, why)
        if not self.rule.target.role and self.rule.times is not None and self.rule.times <= 1:
            self.fired_out = True

    @property
    def fired_count(self) -> int:
        """How often the rule has fired."""
        return self._fired

    def fired(self, firing: Firing) -> int:
        """Keeps a firing; returns its number for `amend`."""
        self._fired += 1
        if self.rule.times is not None and self._fired >= self.rule.times:
            self.fired_out = True
        if len(self._firings) < _MOST_FIRINGS:
            self._firings.append(firing)
        return self._fired - 1

    def amend(self, number: int, **changes: Any) -> None:
        """More became known of a firing."""
        if number < len(self._firings):
            self._firings[number] = dataclasses.replace(self._firings[number], **changes)

    def firing(self, number: int) -> Firing | None:
        """A firing by its number, None if it was not kept."""
        return self._firings[number] if number < len(self._firings) else None

    def remark(self, number: int, words: str) -> None:
        """Adds to a firing's note."""
        firing = self.firing(number)
        if firing is not None:
            self.amend(number, note=f"{firing.note}; {words}" if firing.note else words)


def _a(word: str | None) -> str:
    return f"{'an' if str(word)[0] in 'aeiou' else 'a'} {word}"


def check_rule(rule: Rule, channel: Channel, models: Registry) -> None:
    """FaultError for a rule that can never fire in `channel`."""
    if rule.channel is not channel:
        raise FaultError(f"rule {rule.id!r}: expected channel {channel}, got {rule.channel}")
    if rule.target.occurrence < 1:
        raise FaultError(f"rule {rule.id!r}: occurrence: expected at least 1, got {rule.target.occurrence}")
    operation = rule.target.operation
    if operation is not None and (why := wrong_operation(channel, operation)) is not None:
        raise FaultError(f"rule {rule.id!r}: operation: {why}")
    if rule.times is not None and rule.times < 1:
        raise FaultError(f"rule {rule.id!r}: times: expected at least 1, or none for until disarmed, got {rule.times}")
    try:
        Aim(rule.target)
    except FaultError as error:
        raise FaultError(f"rule {rule.id!r}: {error}") from error
    if rule.target.role and models[rule.model].scope is Scope.MESSAGE:
        raise FaultError(f"rule {rule.id!r}: {rule.model} is done to a whole message; the target names a role")
    problems = models[rule.model].check_parameters(rule.parameters, where="parameters")
    if problems:
        raise FaultError(f"rule {rule.id!r}: " + "; ".join(str(problem) for problem in problems))
