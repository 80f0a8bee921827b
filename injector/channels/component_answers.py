"""The channel apiserver-to-component: see injector.channels.components."""

from __future__ import annotations

from typing import Unpack

from injector.channels.bodies import Event, Part, objects_in, replaced, status_answer, without_part
from injector.channels.exchanges import ExchangeChannel, Followed, Options, revision_in
from injector.corrupt import Corruption
from injector.errors import CodecError, FaultError, WireError
from injector.identity import Identified
from injector.rules import Delivery, Rule, Told
from injector.targets import Channel
from injector.wire.exchange import Deny, Held, MessageDecision, RequestHead, header
from injector.wire.inspection import Aside, Gate, Replace, Several

__all__ = ["AnswersChannel"]

_UNAVAILABLE, _NOT_FOUND = 503, 404


class AnswersChannel(ExchangeChannel):
    """One rule about what components are told, and what came of it. `sender` is not needed: an answer can't be sent
    twice."""

    channel = Channel.APISERVER_TO_COMPONENT

    def __init__(self, rule: Rule, **options: Unpack[Options]) -> None:
        super().__init__(rule, **options)
        self._waiting: dict[Followed, None] = {}

    @property
    def done(self) -> bool:
        return self.spent and not self._waiting

    def disarmed(self) -> None:
        """Events that wait for others go now."""
        super().disarmed()
        waiting, self._waiting = self._waiting, {}
        for followed in waiting:
            passed, followed.passed = followed.passed, []
            for gate, _ in passed:
                gate.open()

    # What exchanges report

    def wants_answer(self, followed: Followed) -> bool:
        return not self.spent or bool(followed.passed)

    def told(self, followed: Followed, content: bytes, event: Event | None) -> MessageDecision:
        if event is not None and event.part is not None:
            self._pass(followed)
        if self.spent:
            return None
        if followed.about.verb == "watch":
            return self._event(followed, content, event) if event is not None and event.part is not None else None
        if followed.about.verb == "list":
            return self._list(followed, content)
        return self._answer(followed, content)

    def over(self, followed: Followed, status: int | None) -> None:
        self._waiting.pop(followed, None)
        number = followed.fired
        firing = self._evidence.firing(number) if number is not None else None
        if number is None or firing is None or followed.about.verb != "watch":
            return
        after_s = self._evidence.clock() - firing.at_s
        self._evidence.remark(number, f"the watch ended {after_s:.3f} s later")

    def _pass(self, followed: Followed) -> None:
        """An event went by; others may wait for that."""
        passed = [(gate, others - 1) for gate, others in followed.passed]
        followed.passed = [(gate, others) for gate, others in passed if others > 0]
        if passed and not followed.passed:
            self._waiting.pop(followed)
        for gate, others in passed:
            if others <= 0:
                gate.open()

    # Deciding

    def _event(self, followed: Followed, content: bytes, event: Event) -> MessageDecision:
        part = event.part
        assert part is not None
        identified = followed.seen
        if identified is None or not self._matches(followed.head, identified, followed.about.operation, part):
            return None
        corruption = self._fire(followed, identified, part, "watch")
        if corruption is None:
            return None
        delivery = corruption.delivery
        if delivery.told is not None:
            return Several(())
        changed = content if corruption.after == part.value else replaced(content, part, corruption.after)
        if delivery.behind > 0:
            gate = Gate()
            followed.passed.append((gate, delivery.behind))
            self._waiting[followed] = None
            return Aside(gate, (changed,))
        return _late(delivery, _then(content, changed, delivery.copies))

    def _list(self, followed: Followed, content: bytes) -> MessageDecision:
        try:
            parts = objects_in(content, followed.content_type)
        except (CodecError, WireError) as error:
            followed.unread(str(error))
            return None
        changed, number, delivery = content, 0, Delivery()
        while number < len(parts):
            part = parts[number]
            number += 1
            identified = self.roster.saw(followed.about, part)
            if identified is None or not self._matches(followed.head, identified, followed.about.operation, part):
                continue
            corruption = self._fire(followed, identified, part, "list")
            if corruption is None:
                continue
            if corruption.delivery.told in (Told.ERROR, Told.TIMEOUT):
                return self._denied(followed.head, corruption.delivery.told)
            if corruption.delivery.told is not None:
                changed = without_part(changed, part)
                number -= 1
            elif corruption.after != part.value:
                changed = replaced(changed, part, corruption.after)
            delivery = max(delivery, corruption.delivery, key=lambda each: each.delay_s)
            try:
                parts = objects_in(changed, followed.content_type)
            except (CodecError, WireError):
                break  # bytes were changed, and it is no list any more
        return _late(delivery, _then(content, changed))

    def _answer(self, followed: Followed, content: bytes) -> MessageDecision:
        """A get's answer, or that to a write."""
        about = followed.about
        part = followed.answer_part(content) if content else None
        if about.name:
            identified = self.roster.named(about)
        elif followed.creation is not None:
            identified = self.roster.who(followed.creation)
        else:
            return None
        kind = "answer" if about.writes else about.verb
        operation = f"{kind}/{about.subresource}" if about.subresource else kind
        if not self._matches(followed.head, identified, operation, part):
            return None
        corruption = self._fire(followed, identified, part, operation)
        if corruption is None:
            return None
        told = corruption.delivery.told
        if told is not None:
            return self._denied(followed.head, told, followed.about.name)
        if part is None or corruption.after == part.value:
            return _late(corruption.delivery, None)
        return _late(corruption.delivery, _then(content, replaced(content, part, corruption.after)))

    def _fire(self, followed: Followed, identified: Identified, part: Part | None, operation: str) -> Corruption | None:
        about = followed.about
        key = about.key(namespace=identified.namespace, name=identified.name)
        revision = revision_in(part) if part is not None else None
        try:
            corruption = self._corrupted(key, part, revision or 0, f"this {operation} has no body")
            _check(corruption, operation)
        except (FaultError, CodecError) as error:
            self._evidence.misfit(identified.identity, str(error))
            return None
        followed.fired = self._fires(
            followed.head, key, identified.identity, operation, part, corruption, revision=revision
        )
        return corruption

    def _denied(self, head: RequestHead, told: Told, name: str = "") -> Deny:
        if told is Told.TIMEOUT:
            return Deny(None)
        accept = header(head.headers, "accept")
        if told is Told.SUCCESS:
            return Deny(status_answer(_NOT_FOUND, accept, reason="NotFound", message=f'"{name}" not found'))
        words = f"mutineer: the answer was dropped by rule {self.rule.id}"
        return Deny(status_answer(_UNAVAILABLE, accept, reason="ServiceUnavailable", message=words))


def _check(corruption: Corruption, operation: str) -> None:
    delivery, plain = corruption.delivery, operation.partition("/")[0]
    if corruption.key is not None:
        raise FaultError("what a component is told lies under no key but in the object's own name; set that instead")
    if plain != "watch" and (delivery.copies > 1 or delivery.behind > 0):
        raise FaultError(f"a {plain} is one answer to one question: it can't come twice or be overtaken")
    if plain == "answer" and delivery.told is Told.SUCCESS:
        raise FaultError("the answer to a write can't be left out and told as a success; told: error or timeout")


def _then(content: bytes, changed: bytes, copies: int = 1) -> Replace | Several | None:
    if copies > 1:
        return Several((changed,) * copies)
    return Replace(changed) if changed != content else None


def _late(delivery: Delivery, then: Replace | Several | None) -> MessageDecision:
    return Held(Gate(delivery.delay_s), then) if delivery.delay_s > 0 else then
