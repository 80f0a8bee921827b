"""The channel component-to-apiserver: see injector.channels.components."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Unpack

from injector.channels.bodies import JSON, PROTOBUF, Event, Part, Status, replaced, status_answer, status_in
from injector.channels.exchanges import ExchangeChannel, Followed, Options, revision_in
from injector.channels.resources import api_request
from injector.codec import Storage, storage_of
from injector.corrupt import Corruption
from injector.errors import CodecError, FaultError
from injector.identity import Identified
from injector.rules import Delivery, Rule, Told
from injector.targets import Channel
from injector.wire.exchange import (
    Deny,
    Forward,
    Held,
    HttpAnswer,
    MessageDecision,
    RequestDecision,
    RequestHead,
    header,
)
from injector.wire.inspection import Gate, Replace

__all__ = ["RequestsChannel"]

_UNAVAILABLE = 503
_KEPT = ("resourceVersion", "uid", "creationTimestamp")
"""What kube-apiserver would have added to an object that it creates."""


@dataclass(slots=True)
class _Behind:
    """A request that waits until others of its component have been answered."""

    gate: Gate
    component: str
    others: int


class RequestsChannel(ExchangeChannel):
    """One rule about what components ask for, and what came of it. `sender` makes requests of our own, for copies."""

    channel = Channel.COMPONENT_TO_APISERVER

    def __init__(self, rule: Rule, **options: Unpack[Options]) -> None:
        super().__init__(rule, **options)
        self._behind: list[_Behind] = []

    @property
    def done(self) -> bool:
        return self.spent and not self._behind

    def exchange(self, head: RequestHead) -> Followed | None:
        if self.spent:
            return self._counted(head)
        found = super().exchange(head)
        return found if found is not None and (self.listens or found.about.writes) else self._counted(head)

    def _counted(self, head: RequestHead) -> Followed | None:
        """One that is looked at only because others wait for its end."""
        if not any(waiting.component == head.component for waiting in self._behind):
            return None
        about = api_request(head.method, head.target)
        return Followed(self, head, about) if about is not None and about.writes else None

    def disarmed(self) -> None:
        """What waits for others goes now."""
        super().disarmed()
        behind, self._behind = self._behind, []
        for waiting in behind:
            waiting.gate.open()

    # What exchanges report

    def requested(self, followed: Followed, body: bytes) -> RequestDecision:
        about = followed.about
        if not about.writes or self._evidence.fired_out or not self.roster.follows(about.resource):
            return None
        if about.name:
            identified = self.roster.named(about)
        elif followed.creation is not None:
            identified = followed.creation.identified
        else:
            if about.resource.kind == self.rule.target.kind:
                self.note(about.resource.kind, f"a {about.operation} that names no object")
            return None
        part = followed.part_of(body) if body else None
        if self._matches(followed.head, identified, about.operation, part):
            return self._fire(followed, body, part, identified)
        return None

    def wants_answer(self, followed: Followed) -> bool:
        return followed.fired is not None

    def told(self, followed: Followed, content: bytes, event: Event | None) -> MessageDecision:
        number, status = followed.fired, followed.status
        if number is None or status is None or not 200 <= status < 300:
            return None
        revision = revision_in(followed.answer_part(content)) if content else None
        self._evidence.amend(number, revision=revision)
        if followed.creation is not None and followed.creation.claimed is not None:
            self._evidence.amend(number, key=followed.creation.claimed)
        return None

    def over(self, followed: Followed, status: int | None) -> None:
        self._finish(followed, status)
        if followed.about.writes and followed.gate is None:
            self._count_other(followed.head.component)

    def _finish(self, followed: Followed, status: int | None) -> None:
        number = followed.fired
        firing = self._evidence.firing(number) if number is not None else None
        if number is None or firing is None or firing.told is not None:
            return
        if followed.gate is not None and not followed.gate.is_open:
            self._behind = [waiting for waiting in self._behind if waiting.gate is not followed.gate]
            self._evidence.remark(number, "the client gave up before the request went on: it never arrived")
            self._evidence.amend(number, accepted=False)
        elif status is None:
            self._evidence.remark(number, "there was no answer")
        else:
            accepted = 200 <= status < 300
            self._evidence.amend(number, accepted=accepted)
            if not accepted:
                self._evidence.remark(number, _said("kube-apiserver answered", status, followed.refusal))
            elif followed.copies:
                self._send_copies(followed, followed.copies)
                followed.copies = 0

    def _count_other(self, component: str) -> None:
        for waiting in [each for each in self._behind if each.component == component]:
            waiting.others -= 1
            if waiting.others <= 0:
                self._behind.remove(waiting)
                waiting.gate.open()

    # Deciding

    def _fire(self, followed: Followed, body: bytes, part: Part | None, identified: Identified) -> RequestDecision:
        about = followed.about
        key = about.key(name=identified.name or (followed.creation.generates if followed.creation else ""))
        try:
            revision = (revision_in(part) or 0) if part is not None else 0
            corruption = self._corrupted(key, part, revision, f"this {about.operation} has no body")
            target = self._target(followed, corruption)
            self._check_delivery(corruption.delivery)
            answer = self._answer(followed, part, corruption.delivery.told)
        except (FaultError, CodecError) as error:
            self._evidence.misfit(identified.identity, str(error))
            return None
        told = corruption.delivery.told
        accepted = False if told is not None else None
        followed.fired = number = self._fires(
            followed.head, key, identified.identity, about.operation, part, corruption,
            accepted=accepted, actor=_sender(followed.head),
        )  # fmt: skip
        if told is not None:
            if followed.creation is not None:
                self.roster.refused(followed.creation)
                followed.settled = True
            if told is Told.SUCCESS and about.verb in ("create", "update") and not about.subresource:
                self._evidence.remark(number, _missing(about.verb, identified))
            return Deny(answer)
        if corruption.key is not None:
            self._evidence.remark(number, f"sent to {target}")
        sent = replaced(body, part, corruption.after) if part is not None and corruption.after != part.value else body
        return self._delivered(followed, body, sent, target, corruption.delivery)

    def _delivered(
        self, followed: Followed, body: bytes, sent: bytes, target: str, delivery: Delivery
    ) -> RequestDecision:
        """The request on its way, later or more than once where the fault says so."""
        then: Replace | Forward | None = None if sent == body else Replace(sent)
        if target != followed.head.target:
            then = Forward(target, sent)
        if delivery.copies > 1:
            followed.head = dataclasses.replace(followed.head, target=target)
            followed.copies, followed.sent = delivery.copies - 1, sent
        if delivery.behind > 0:
            followed.gate = Gate()
            self._behind.append(_Behind(followed.gate, followed.head.component, delivery.behind))
            return Held(followed.gate, then)
        if delivery.delay_s > 0:
            followed.gate = Gate(delivery.delay_s)
            return Held(followed.gate, then)
        return then

    def _check_delivery(self, delivery: Delivery) -> None:
        if delivery.copies > 1 and self._sender is None:
            raise FaultError("nobody is there to send a copy")

    def _target(self, followed: Followed, corruption: Corruption) -> str:
        """Where the request goes: to another object's path where the fault gives its key."""
        if corruption.key is None:
            return followed.head.target
        key = corruption.key.decode(errors="replace")
        target = followed.about.about(key)
        if target is None:
            what = "names no object in its path" if not followed.about.name else f"can't be sent to {key}"
            raise FaultError(f"a {followed.about.operation} of {followed.about.resource.name} {what}")
        return target

    # Made-up answers

    def _answer(self, followed: Followed, part: Part | None, told: Told | None) -> HttpAnswer | None:
        """What the sender of a dropped request is told."""
        accept = header(followed.head.headers, "accept")
        if told is Told.ERROR:
            words = f"mutineer: the request was dropped by rule {self.rule.id}"
            return status_answer(_UNAVAILABLE, accept, reason="ServiceUnavailable", message=words)
        if told is not Told.SUCCESS:
            return None
        about = followed.about
        if about.operation in ("bind", "create/eviction"):
            return status_answer(201, accept)
        if about.verb == "delete":
            return status_answer(200, accept)
        if about.verb == "patch":
            return self._last_seen(followed)
        if part is None or part.opaque or part.wrapped or about.subresource == "token":
            raise FaultError(f"nothing is known that could be told as the success of this {about.operation}")
        return HttpAnswer(201 if about.verb == "create" else 200, _type_of(part.value), part.value)

    def _last_seen(self, followed: Followed) -> HttpAnswer:
        """A patch's success is the whole object."""
        other = self._memory.other(self.roster.named(followed.about).identity)
        value = other[1] if other is not None else b""
        if not value or revision_in(Part(value, 0, len(value))) is None:
            raise FaultError("the object as the API tells it was not seen yet; the success of a patch needs it")
        return HttpAnswer(200, _type_of(value), value)

    # Copies

    def _send_copies(self, followed: Followed, copies: int) -> None:
        number, head, body = followed.fired, followed.head, followed.sent
        assert self._sender is not None and number is not None

        def answered(status: int | None, answer: bytes) -> None:
            if status is None:
                words = "a copy was sent; kube-apiserver did not answer"
            else:
                words = _said("a copy was sent; kube-apiserver answered", status, status_in(answer))
            self._evidence.remark(number, words)
            if copies > 1:
                self._send_copies(followed, copies - 1)

        self._sender(head, body, answered)


def _said(before: str, status: int, said: Status | None) -> str:
    words = str(said) if said is not None and status >= 300 else ""
    return f"{before} {status} {words}".rstrip()


def _missing(verb: str, identified: Identified) -> str:
    """What a made-up answer lacks."""
    if verb == "update":
        return "the success that was told has the resourceVersion that the client sent, not a new one"
    name = () if identified.name else ("name",)
    return f"the success that was told lacks {', '.join((*name, *_KEPT))}"


def _type_of(value: bytes) -> str:
    storage = storage_of(value)
    if storage is Storage.CBOR:
        return "application/cbor"
    return PROTOBUF if storage is Storage.PROTOBUF else JSON


def _sender(head: RequestHead) -> str:
    """The component, and which of its parts, where its User-Agent ends so: `NAME/VERSION (…) kubernetes/COMMIT/PART`,
    of a controller that has an account of its own that account."""
    part = (header(head.headers, "user-agent") or "").partition(" kubernetes/")[2].partition("/")[2]
    name = part.rpartition(":")[2]
    return f"{head.component} ({name})" if name and name != head.component.removeprefix("kube-") else head.component
