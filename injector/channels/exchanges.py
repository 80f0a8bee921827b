"""What both component channels do: follow the exchanges that tell who is who, and hand on what the rule may be about.

Exchanges about the target's kind, and about the kinds that name it, are followed whatever their direction. See
injector.channels.components for what the channels mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypedDict

from injector.channels.bodies import Event, Part, Status, event_in, object_in, objects_in, status_in
from injector.channels.channel import RuleChannel
from injector.channels.evidence import Evidence
from injector.channels.memory import Around
from injector.channels.resources import ApiRequest, api_request
from injector.channels.roster import Creation, Roster, revision_of
from injector.codec import read_meta, storage_of
from injector.corrupt import Corruption, corrupt_for
from injector.errors import CodecError, FaultError, WireError
from injector.faults import MODELS, Registry
from injector.identity import Identified
from injector.rules import Rule, Told
from injector.targets import fits_component
from injector.wire.exchange import (
    AnswerHead,
    Cut,
    HttpSender,
    MessageDecision,
    RequestDecision,
    RequestHead,
    cut_of,
    header,
)
from injector.wire.inspection import Gate, Place

__all__ = ["ExchangeChannel", "Followed", "Options", "revision_in"]

_ALONE = frozenset(
    {"bit-flip", "boolean-invert", "byte-flip", "truncate", "field-remove", "delay", "duplicate", "reorder"}
)
"""Models that ask nothing of what was told before. (A drop may have to make up an answer.)"""


class Options(TypedDict, total=False):
    """What an ExchangeChannel takes besides its rule."""

    baseline: Iterable[tuple[bytes, bytes]]
    clock: Callable[[], float]
    sender: HttpSender | None
    models: Registry
    evidence: type[Evidence]


class ExchangeChannel(RuleChannel):
    """One rule and what came of it (injector.channels.channel). An `injector.wire.exchange.ExchangeInspector`. `sender`
    makes requests of our own, for copies."""

    def __init__(
        self,
        rule: Rule,
        *,
        baseline: Iterable[tuple[bytes, bytes]] = (),
        clock: Callable[[], float] = time.monotonic,
        sender: HttpSender | None = None,
        models: Registry = MODELS,
        evidence: type[Evidence] = Evidence,
    ) -> None:
        pairs = list(baseline)
        super().__init__(rule, baseline=pairs, clock=clock, models=models, evidence=evidence)
        if rule.target.kind.startswith("etcd:"):
            raise FaultError(f"rule {rule.id!r}: {rule.target.kind} goes to etcd; its channel is apiserver-to-etcd")
        self._sender = sender
        self.roster = Roster(
            self._tracker, self._memory, pairs, kind=rule.target.kind, group=rule.target.group,
            awaited=rule.target.after.partition("/")[0], told=self._evidence.saw,
        )  # fmt: skip
        self._over = False
        lost = rule.model == "drop" and rule.parameters.get("told") != Told.SUCCESS
        chosen = not rule.target.identity or "#" in rule.target.identity or rule.target.after
        self._listens = bool(chosen) or not (lost or rule.model in _ALONE)

    @property
    def spent(self) -> bool:
        """Whether it will not fire any more."""
        return self._over or self._evidence.fired_out

    @property
    def done(self) -> bool:
        """Whether nothing needs to be looked at any more: it is spent, and no message waits for others to go by."""
        return self.spent

    def exchange(self, head: RequestHead) -> Followed | None:
        if self.spent:
            return None
        request = api_request(head.method, head.target)
        if request is None or not self.roster.follows(request.resource):
            return None
        return Followed(self, head, request)

    def disarmed(self) -> None:
        """The rule was disarmed."""
        self._over = True

    # What exchanges report; a direction looks at its own

    def requested(self, followed: Followed, body: bytes) -> RequestDecision:
        """A request on its way."""
        return None

    def wants_answer(self, followed: Followed) -> bool:
        """Whether the answer matters, beside who is who."""
        return False

    def told(self, followed: Followed, content: bytes, event: Event | None) -> MessageDecision:
        """A message of an answer on its way; `event`: what it is, if it is a watch's. Its objects are known by now."""
        return None

    def over(self, followed: Followed, status: int | None) -> None:
        """The exchange is over."""

    @property
    def listens(self) -> bool:
        """Whether it matters who is who, or what was told."""
        return self._listens and not self.spent

    def is_ours(self, head: RequestHead) -> bool:
        """Whether the rule is about that component."""
        wanted = self.rule.target.component
        return not wanted or fits_component(wanted, head.component)

    # Deciding

    def _matches(self, head: RequestHead, identified: Identified, operation: str, part: Part | None) -> bool:
        """Whether the rule fires on this message."""
        target = self.rule.target
        opaque = part is not None and part.opaque and self.is_ours(head)
        if target.field is not None and opaque and identified.identity == target.identity:
            self.note(identified.identity, f"does not carry {target.field}: its body is no object that can be read")
            return False
        value = part.value if part is not None else None
        known = self._known(identified)
        return self._evidence.matches(identified, operation, value, known=known, component=head.component)

    def _known(self, identified: Identified) -> bytes | None:
        """The object as it was last told: a patch, a binding or a delete has none of its labels."""
        found = self._memory.other(identified.identity) if self.rule.target.labels else None
        return found[1] if found is not None else None

    def _corrupted(self, key: str, part: Part | None, revision: int, what: str) -> Corruption:
        rule = self.rule
        if part is None:
            return self._without_value(what)
        around = _Around(self._memory, key.encode(), part.value, revision)
        corruption = corrupt_for(rule, part.value, around=around, models=self._models)
        if corruption.delivery.copies < 1 and corruption.delivery.told is None:
            raise FaultError(f"a message can't be delivered {corruption.delivery.copies} times; drop it instead")
        if corruption.after:
            part.own(corruption.after)  # or it is said now that this can't be sent
        return corruption

    def _fires(
        self, head: RequestHead, key: str, identity: str, operation: str, part: Part | None, corruption: Corruption,
        *, accepted: bool | None = None, revision: int | None = None, actor: str | None = None,
    ) -> int:  # fmt: skip
        """Keeps the firing, with the bytes as they stand in the message. `actor`: None for whoever wrote them last."""
        before = part.shown(part.value) if part is not None else b""
        if part is not None and corruption.after:
            after, span = part.shown(corruption.after), part.span(corruption.span)
            corruption = replace(corruption, after=after, span=span)
        stream = f"{head.component}, {Place(head.connection, head.stream)}"
        firing = self._firing(
            key, identity, operation, before, corruption, accepted=accepted, revision=revision, stream=stream
        )
        return self._evidence.fired(firing if actor is None else replace(firing, actor=actor))


@dataclass(frozen=True, slots=True)
class _Around(Around):
    """As Around; an earlier version counts only if it is written in the same form (a patch has none at all)."""

    def previous(self) -> bytes | None:
        found = Around.previous(self)
        if found is None:
            return None
        try:
            alike = storage_of(found) is storage_of(self.value)
            alike = alike and read_meta(found).kind == read_meta(self.value).kind
        except CodecError:
            alike = False
        if not alike:
            raise FaultError("the earlier version is known in another form than this message has")
        return found


class Followed:
    """One exchange. An `injector.wire.exchange.Exchange`.

    about       what the request says
    creation    what it creates
    status      upstream's; content_type and cut of its answer
    fired       the number of the last firing
    refusal     what upstream said, if it refused
    gate        what the request waits for
    copies, sent   how many copies are to be sent yet, and of what
    seen        the object of the event at hand
    passed      gates of what later messages of the answer are to overtake, and how many yet
    """

    __slots__ = (
        "about", "channel", "content_type", "copies", "creation", "cut", "fired", "gate", "head", "passed", "refusal",
        "seen", "sent", "settled", "status",
    )  # fmt: skip

    def __init__(self, channel: ExchangeChannel, head: RequestHead, request: ApiRequest) -> None:
        self.channel, self.head, self.about = channel, head, request
        self.creation: Creation | None = None
        self.status: int | None = None
        self.content_type: str | None = None
        self.cut = Cut.WHOLE
        self.fired: int | None = None
        self.gate: Gate | None = None
        self.copies, self.sent = 0, b""
        self.refusal: Status | None = None
        self.seen: Identified | None = None
        self.passed: list[tuple[Gate, int]] = []
        self.settled = False

    def request(self, body: bytes) -> RequestDecision:
        request, channel = self.about, self.channel
        if channel.listens or request.writes:
            self._create(body)
        return channel.requested(self, body)

    def _create(self, body: bytes) -> None:
        request, roster = self.about, self.channel.roster
        if request.verb != "create" or request.subresource or not roster.follows(request.resource):
            return
        self.creation = roster.creating(request, self.part_of(body))

    def part_of(self, body: bytes) -> Part:
        """The object in the request's body."""
        request = self.about
        kind = request.resource.kind
        content_type = header(self.head.headers, "content-type")
        return object_in(body, content_type, api_version=request.api_version, kind=kind)

    def answered(self, head: AnswerHead) -> bool:
        self.status, self.content_type = head.status, header(head.headers, "content-type")
        self.cut = cut_of(self.head, head)
        if self.fired is not None or self.channel.wants_answer(self):
            return True
        if not 200 <= head.status < 300:
            self._settle()
            return False
        return self.creation is not None or self.channel.listens

    def message(self, content: bytes) -> MessageDecision:
        if self.channel.spent and self.creation is None and not self.channel.wants_answer(self) and self.fired is None:
            return None
        try:
            event = self._learn(content)
        except (CodecError, WireError) as error:
            self.unread(str(error))
            return None
        return self.channel.told(self, content, event)

    def _learn(self, content: bytes) -> Event | None:
        """Who is who, of a message."""
        request, roster = self.about, self.channel.roster
        if self.status is not None and not 200 <= self.status < 300:
            self.refusal = status_in(content)
            self._settle()
            return None
        if request.verb == "watch":
            event = event_in(content)
            if event.part is not None and roster.follows(request.resource):
                self.seen = roster.saw(request, event.part, gone=event.type == "DELETED")
            return event
        if not roster.follows(request.resource):
            return None
        if request.verb == "list":
            parts = objects_in(content, self.content_type)
            for part in sorted(parts, key=lambda part: revision_in(part) or 0):
                roster.saw(request, part)
        elif self.creation is not None:
            roster.created(self.creation, request, self.answer_part(content))
            self.settled = True
        elif request.verb != "deletecollection" and content:
            roster.saw(request, self.answer_part(content))
        return None

    def answer_part(self, content: bytes) -> Part:
        """The object in an answer that holds one."""
        request = self.about
        kind = request.resource.kind
        return object_in(content, self.content_type, api_version=request.api_version, kind=kind)

    def unread(self, why: str) -> None:
        operation = self.about.operation
        self.channel.note("", f"a {operation} that was not looked at: {why}")

    def ended(self, status: int | None) -> None:
        self._settle()
        self.channel.over(self, status)

    def _settle(self) -> None:
        """A creation that no answer has confirmed."""
        if self.creation is not None and not self.settled:
            self.channel.roster.refused(self.creation)
        self.settled = True


def revision_in(part: Part) -> int | None:
    """The resourceVersion of an object, None where it has none."""
    try:
        return revision_of(read_meta(part.value)) or None
    except CodecError:
        return None
