"""What both etcd channels keep of their one rule: whether a message is the one it waits for, how often it fired, what
came of it, and what almost matched."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

from injector.corrupt import carries
from injector.errors import CodecError, FaultError
from injector.faults import Registry
from injector.identity import Identified
from injector.rules import Firing, NearMiss, Rule
from injector.targets import Channel

__all__ = ["Evidence", "check_rule"]

_MOST_NEAR_MISSES = 100
"""Different ones that are kept; arbitrary, it only bounds memory."""

_MOST_FIRINGS = 1000
"""Firings of a rule without limit whose bytes are kept, the first ones; arbitrary, it only bounds memory."""


class Evidence:
    """`fired_out`: the rule has fired as often as it may, or can't any more."""

    def __init__(self, rule: Rule, clock: Callable[[], float], models: Registry) -> None:
        self._models = models
        self.rule, self.clock = rule, clock
        self.fired_out = False
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
        if 0 < self._matched < target.occurrence:
            near[target.identity, f"matched, but the rule waits for occurrence {target.occurrence}"] = self._matched
        return tuple(NearMiss(identity=identity, why=why, times=n) for (identity, why), n in near.most_common())

    def note(self, identity: str, why: str) -> None:
        """Counts a near miss."""
        if (identity, why) in self._near or len(self._near) < _MOST_NEAR_MISSES:
            self._near[identity, why] += 1

    def matches(self, identified: Identified, operation: str, value: bytes | None) -> bool:
        """Whether the rule fires on this message of that object; `value` is what it carries, None if it has none.
        Counts the occurrence."""
        target = self.rule.target
        if self.fired_out or identified.kind != target.kind or identified.group != target.group:
            return False
        if identified.identity != target.identity:
            if _stem(identified.identity) == _stem(target.identity):
                self.note(identified.identity, f"same name, but the rule waits for {target.identity}")
            return False
        if target.operation not in (None, operation):
            self.note(identified.identity, f"a {operation}, but the rule waits for a {target.operation}")
            return False
        if target.field is not None and (value is None or not self._carries(identified, value, target.field)):
            return False
        return self.occurs()

    def occurs(self) -> bool:
        """Counts an occurrence; whether the rule fires on it."""
        if self.fired_out:
            return False
        self._matched += 1
        return self._matched >= self.rule.target.occurrence

    def _carries(self, identified: Identified, value: bytes, field: str) -> bool:
        try:
            if carries(value, self.rule.model, field, models=self._models):
                return True
            why = f"does not carry {field}"
        except (FaultError, CodecError) as error:
            why = f"does not carry {field}: {error}"
        self.note(identified.identity, why)
        return False

    def misfit(self, identity: str, why: str) -> None:
        """The fault does not fit this message. A rule that fires once has had its chance."""
        self.note(identity, why)
        if self.rule.times is not None and self.rule.times <= 1:
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


def check_rule(rule: Rule, channel: Channel, models: Registry, operations: tuple[str, ...]) -> None:
    """FaultError for a rule that can never fire in `channel`, which knows these `operations`."""
    if rule.channel is not channel:
        raise FaultError(f"rule {rule.id!r}: expected channel {channel}, got {rule.channel}")
    if rule.target.occurrence < 1:
        raise FaultError(f"rule {rule.id!r}: occurrence: expected at least 1, got {rule.target.occurrence}")
    if rule.target.operation not in (None, *operations):
        expected = ", ".join(operations)
        raise FaultError(f"rule {rule.id!r}: operation: expected one of {expected}, got {rule.target.operation!r}")
    if rule.times is not None and rule.times < 1:
        raise FaultError(f"rule {rule.id!r}: times: expected at least 1, or none for until disarmed, got {rule.times}")
    problems = models[rule.model].check_parameters(rule.parameters, where="parameters")
    if problems:
        raise FaultError(f"rule {rule.id!r}: " + "; ".join(str(problem) for problem in problems))


def _stem(identity: str) -> str:
    return identity.partition("#")[0]
