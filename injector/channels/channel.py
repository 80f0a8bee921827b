"""What every channel in flight has: its one rule, who is who, which values it has seen, and the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from injector.channels.evidence import Evidence, check_rule
from injector.channels.memory import Memory, text
from injector.corrupt import Corruption, corrupt
from injector.errors import CodecError, FaultError
from injector.faults import Registry
from injector.identity import IdentityTracker
from injector.rules import Delivery, Firing, NearMiss, Rule
from injector.targets import Channel
from injector.wire.inspection import Place
from injector.writers import writer_of

__all__ = ["NOWHERE", "RuleChannel"]

NOWHERE = Place()
"""Of a call that is not told where it is."""


class RuleChannel:
    """One rule and what came of it, whatever the messages are.

    baseline    stored (key, value) pairs from before the rule was armed: they are numbered first, and later messages
                refer to them
    clock       seconds, monotonic
    models      the fault models that there are
    evidence    what decides on messages and keeps what came of it; a recorder's notes all and decides nothing

    Raises FaultError if the rule is not for this channel or its parameters do not fit its model.
    """

    channel: ClassVar[Channel]

    def __init__(
        self,
        rule: Rule,
        *,
        baseline: Iterable[tuple[bytes, bytes]],
        clock: Callable[[], float],
        models: Registry,
        evidence: type[Evidence] = Evidence,
    ) -> None:
        check_rule(rule, self.channel, models)
        self.rule = rule
        self._evidence, self._models = evidence(rule, clock, models), models
        self._tracker = IdentityTracker()
        pairs = list(baseline)
        self._tracker.seed((text(key), value) for key, value in pairs)
        self._memory = Memory(self._tracker, pairs)
        for key, value in pairs:
            identified = self._tracker.get(text(key))
            if identified is not None and self._evidence.waits:
                self._evidence.saw(identified, value)

    @property
    def evidence(self) -> Evidence:
        return self._evidence

    def firings(self) -> tuple[Firing, ...]:
        return self._evidence.firings()

    def near_misses(self) -> tuple[NearMiss, ...]:
        """What almost matched, most frequent first; empty once the rule has fired."""
        return self._evidence.near_misses()

    def note(self, identity: str, why: str) -> None:
        """Counts a near miss."""
        self._evidence.note(identity, why)

    def _without_value(self, why: str) -> Corruption:
        """The fault done to a message that carries no value: it can be lost, late or doubled, but not changed. `why`
        says so."""
        words = f"{why}; {self.rule.model} needs one"
        try:
            corruption = corrupt(b"{}", self.rule.model, self.rule.parameters, None, models=self._models)
        except (FaultError, CodecError) as error:
            raise FaultError(words) from error
        if corruption.delivery == Delivery() or corruption.key is not None:
            raise FaultError(words)
        return Corruption(after=b"", span=(0, 0), delivery=corruption.delivery)

    def _firing(
        self,
        key: str,
        identity: str,
        operation: str,
        before: bytes,
        corruption: Corruption,
        *,
        accepted: bool | None = None,
        revision: int | None = None,
        stream: str = "",
        earlier: bytes | None = None,
    ) -> Firing:
        """A firing that happens now. `earlier` is the version before `before`, by which its author is known."""
        return Firing(
            rule_id=self.rule.id,
            at_s=self._evidence.clock(),
            key=key,
            identity=identity,
            operation=operation,
            before=before,
            after=corruption.after,
            span=corruption.span,
            field_before=corruption.field_before,
            field_after=corruption.field_after,
            accepted=accepted,
            revision=revision,
            told=None if operation == "watch" else corruption.delivery.told,  # nobody is told of a lost event
            field=corruption.field,
            stream=stream,
            actor=writer_of(before, earlier) if before else "",
        )
