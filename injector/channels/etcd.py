"""The channel apiserver-to-etcd: kube-apiserver's writes on their way, one rule at a time.

Every Txn is looked at while the rule waits, because ordinals count objects in the order of their creation; once it has
fired (or can't any more) nothing is. Creations are numbered when they are sent; one that etcd then refuses gives its
number back, and a delete counts once etcd has accepted it.

An occurrence is a message: a write that etcd then refuses because its guard did not hold counts, and so does its retry.
For a target without a field all puts and deletes of the object count, with a field the puts that carry it (present in
the bytes). A rule fires once, as many `times` as it says from its occurrence on, or until it is disarmed.

A dropped Txn is dropped whole (kube-apiserver's hold one write each). What the sender is told:

    error     UNAVAILABLE. It is what a client sees when its connection or its member is lost in mid-request, and what
              etcd itself answers when a proposal got lost; DEADLINE_EXCEEDED would be the client's own deadline, which
              `timeout` is for. etcd's client does not retry a Txn on it (clientv3 3.6.8, retry.go: only where nothing
              was sent yet), so kube-apiserver passes a 500 on
    timeout   nothing; the client waits until its own deadline
    success   a made-up TxnResponse with the revision after the last one seen

Other deliveries:

    delay     the Txn waits here, its HEADERS at etcd; if the client's deadline passes meanwhile it resets the call, and
              the write never arrives (the firing says so)
    copies    a call carries one request, so the copies go on a connection of the forwarder's own, each after etcd has
              answered the one before. A Txn that is guarded by a revision does nothing the second time: its guard does
              not hold any more. What etcd said of each copy stands in the firing's note
    behind    the Txn waits until so many others, of whatever object, have been answered; if the rule is disarmed before
              that it goes then

Wrong key: the put's key is exchanged, the comparison's is not. So the guard still asks for the object that the client
means and holds, and the value lands under the other key, whatever is there. With the key exchanged in both, the guard
would fail on any object that exists, and nothing would be written at all.

Once it has fired, who reads what was written is listened to for a while (injector.channels.listening): kube-apiserver's
watch of that key, and its reads.

Two messages to etcd that are no writes can be targets of whole-message models, as kind and identity alike (the group is
""): `etcd:Compact` and `etcd:LeaseGrant`. Their bytes are etcd's own request; occurrences are calls. They can't be put
`behind` others. A lease that is granted with `success` is one that etcd does not know.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from injector.channels.channel import NOWHERE, RuleChannel
from injector.channels.evidence import Evidence
from injector.channels.listening import RANGE, WATCH, Listening, in_words
from injector.channels.memory import Around, text
from injector.channels.protobuf import delimited, number_in, tagged
from injector.channels.txn import (
    Outcome,
    Write,
    is_guarded,
    made_up_success,
    outcome_of,
    with_value,
    writes_of,
)
from injector.corrupt import Corruption, corrupt, corrupt_for
from injector.errors import CodecError, FaultError, WireError
from injector.faults import MODELS, Registry
from injector.identity import Identified
from injector.rules import Delivery, Firing, Rule, Told
from injector.targets import Channel
from injector.wire.inspection import Answer, Call, Decision, Drop, Gate, Hold, Place, Replace

__all__ = ["UNAVAILABLE", "EtcdChannel", "Sender"]

_TXN = b"/etcdserverpb.KV/Txn"
_MESSAGES = {
    b"/etcdserverpb.KV/Compact": ("etcd:Compact", "compact"),
    b"/etcdserverpb.Lease/LeaseGrant": ("etcd:LeaseGrant", "lease-grant"),
}
"""Requests that are no writes, the kinds that rules name them by, and their operations in firings."""

UNAVAILABLE = 14
"""https://grpc.github.io/grpc/core/md_doc_statuscodes.html"""

_REFUSALS = frozenset({3, 5, 6, 7, 8, 9, 11, 12, 16})
"""gRPC statuses after which the write has certainly not happened: invalid, not found, exists, denied, exhausted,
precondition, range, unimplemented, unauthenticated. After all others (unavailable, deadline, …) it is unknown."""

_ALONE = frozenset({"bit-flip", "boolean-invert", "byte-flip", "truncate", "field-remove", "drop", "delay"})
"""Models that ask nothing but the value itself, so that no answer has to be listened to for `Surroundings`."""

_LEASE_TTL, _LEASE_ID, _GRANTED_ID, _GRANTED_TTL, _HEADER = 0x08, 0x10, 0x10, 0x18, 0x0A
_UNKNOWN_LEASE = 0x6D7574696E656572
"""A lease that etcd never granted ("mutineer")."""

Answered = Callable[[bytes | None, int | None], None]
Sender = Callable[[bytes, bytes, Answered], None]
"""(path, message, answered): makes a call of our own and tells its answer and status; None where there was none."""


@dataclass(slots=True)
class _Behind:
    """A Txn that waits until others have been answered."""

    gate: Gate
    others: int


class EtcdChannel(RuleChannel):
    """One rule and what came of it (injector.channels.channel). An `injector.wire.inspection.Inspector`. `sender` makes
    calls of our own, for copies."""

    channel = Channel.APISERVER_TO_ETCD

    def __init__(
        self,
        rule: Rule,
        *,
        baseline: Iterable[tuple[bytes, bytes]] = (),
        clock: Callable[[], float] = time.monotonic,
        sender: Sender | None = None,
        models: Registry = MODELS,
        evidence: type[Evidence] = Evidence,
    ) -> None:
        super().__init__(rule, baseline=baseline, clock=clock, models=models, evidence=evidence)
        self._sender = sender
        self._behind: list[_Behind] = []
        self._listening = Listening(clock)
        self._written: dict[int, bytes] = {}
        self._last: Outcome | None = None
        lost = rule.model == "drop" and rule.parameters.get("told") == Told.SUCCESS
        self._follows = lost or rule.model not in _ALONE

    @property
    def done(self) -> bool:
        """Whether nothing needs to be looked at any more."""
        return self.decided and self._listening.over

    @property
    def decided(self) -> bool:
        """Whether no request needs to be looked at any more; who reads what was written is listened to a while on."""
        return self._evidence.fired_out and not self._behind

    def firings(self) -> tuple[Firing, ...]:
        found = super().firings()
        return tuple(self._with_readers(number, firing) for number, firing in enumerate(found))

    def _with_readers(self, number: int, firing: Firing) -> Firing:
        key = self._written.get(number)
        if key is None or firing.revision is None:
            return firing
        said = in_words(self._listening.heard(key), revision=firing.revision, since_s=firing.at_s)
        return dataclasses.replace(firing, consumed=said)

    def call(self, path: bytes, place: Place = NOWHERE, /) -> Call | None:
        if path in (WATCH, RANGE):
            return None if self.done or self.rule.target.kind.startswith("etcd:") else self._listening.call(path)
        if self.decided:
            return None
        if path == _TXN:
            return None if self.rule.target.kind.startswith("etcd:") else _TxnCall(self, place)
        kind, operation = _MESSAGES.get(path, ("", ""))
        return _MessageCall(self, path, operation, place) if kind == self.rule.target.kind else None

    def disarmed(self) -> None:
        """What waits for others goes now."""
        behind, self._behind = self._behind, []
        for waiting in behind:
            waiting.gate.open()

    # What calls report

    def requested(self, call: _TxnCall, message: bytes) -> Decision:
        """One TxnRequest on its way."""
        if self._evidence.fired_out:
            return None
        try:
            writes = writes_of(message)
        except WireError as error:
            self.note("", f"a Txn that can't be read: {error}")
            return None
        for write in writes:
            identified = self._identify(call, write)
            if write.operation == "put" and (self._follows or self._evidence.concerns(identified)):
                call.puts += ((write.key, write.value),)
            value = write.value if write.operation == "put" else None
            earlier = partial(self._memory.before, write.key, write.value)
            if self._evidence.matches(identified, write.operation, value, earlier):
                return self._fire(call, message, writes, write, identified)
        return None

    def answered(self, call: _TxnCall, message: bytes) -> None:
        """One TxnResponse on its way back."""
        try:
            outcome = outcome_of(message)
        except WireError:
            return  # not for us to judge; the client will
        if self._last is None or outcome.revision > self._last.revision:
            self._last = outcome
        self._settle(call, accepted=outcome.succeeded)
        if call.fired is not None:
            revision = outcome.revision if outcome.succeeded else None
            self._evidence.amend(call.fired, accepted=outcome.succeeded, revision=revision)

    def ended(self, call: _TxnCall, status: int | None) -> None:
        """The call is over."""
        if status in _REFUSALS:
            self._settle(call, accepted=False)
        self.finished(call, status)
        if call.fired is None or call.gate is None:
            self._count_other()

    def finished(self, call: _TxnCall | _MessageCall, status: int | None) -> None:
        """What the end of a call says of its firing."""
        if call.fired is None:
            return
        firing = self._evidence.firing(call.fired)
        if firing is not None and firing.accepted is None and status in _REFUSALS:
            self._evidence.amend(call.fired, accepted=False)
        if call.gate is not None and not call.gate.is_open:
            self._evidence.remark(call.fired, "the call ended before the message went on: it never arrived")
            self._evidence.amend(call.fired, accepted=False)
        if call.copies and status == 0:
            self._send_copies(call, call.copies)
            call.copies = 0

    def _settle(self, call: _TxnCall, *, accepted: bool) -> None:
        """The tracker learns what became of a call's creations and deletes, the memory of its puts."""
        for key in call.creates:
            if not accepted:
                self._tracker.retract(key)
        for key in call.deletes:
            if accepted:
                self._tracker.seen(key, None)
                self._memory.forget(key.encode())
        for put, value in call.puts:
            if accepted:
                self._memory.saw(put, value)
                identified = self._tracker.get(text(put))
                if identified is not None:
                    self._evidence.saw(identified, value)
        call.creates = call.deletes = ()
        call.puts = ()

    def _count_other(self) -> None:
        """A Txn was answered; others may have waited for it."""
        for waiting in list(self._behind):
            waiting.others -= 1
            if waiting.others <= 0:
                self._behind.remove(waiting)
                waiting.gate.open()

    @property
    def follows(self) -> bool:
        """Whether every answer matters."""
        return bool(self._behind) or (self._follows and not self._evidence.fired_out)

    # Deciding

    def _identify(self, call: _TxnCall, write: Write) -> Identified:
        key = text(write.key)
        known = self._tracker.get(key)
        if write.operation == "delete":
            call.deletes += (key,)
            return known or self._tracker.seen(key, None)  # of an unknown one only the key tells; nothing is forgotten
        if known is None:
            call.creates += (key,)
        return known or self._tracker.seen(key, write.value)

    def _fire(
        self, call: _TxnCall, message: bytes, writes: list[Write], write: Write, identified: Identified
    ) -> Decision:
        try:
            corruption = self._corrupted(write)
            self._check_delivery(corruption.delivery)
        except (FaultError, CodecError) as error:
            self._evidence.misfit(identified.identity, str(error))
            return None
        told = corruption.delivery.told
        call.fired = number = self._fired(
            call, write.key, identified.identity, write.operation, write.value, corruption
        )
        if told is None and self._evidence.firing(number) is not None:
            self._written[number] = key = write.key if corruption.key is None else corruption.key
            self._listening.listen(key)
        if told is not None:
            return Drop(self._answer(told, lambda: made_up_success(message, writes, self._last)))
        if corruption.key is not None:
            self._evidence.remark(call.fired, f"written under {text(corruption.key)}")
        sent = message
        if write.around and (corruption.after != write.value or corruption.key is not None):
            sent = with_value(message, write, corruption.after, key=corruption.key)
            call.puts = tuple((k, corruption.after if k == write.key else v) for k, v in call.puts)
        return self._delivered(call, message, sent, corruption.delivery)

    def _fired(
        self,
        call: _TxnCall | _MessageCall,
        key: bytes,
        identity: str,
        operation: str,
        before: bytes,
        corruption: Corruption,
    ) -> int:
        dropped = corruption.delivery.told is not None
        return self._evidence.fired(
            self._firing(
                text(key),
                identity,
                "drop" if dropped else operation,
                before,
                corruption,
                accepted=False if dropped else None,
                stream=str(call.place),
                earlier=self._memory.before(key, before) if key else None,
            )
        )

    def _delivered(self, call: _TxnCall | _MessageCall, message: bytes, sent: bytes, delivery: Delivery) -> Decision:
        """The message on its way, later or more than once where the fault says so."""
        then = None if sent is message else Replace(sent)
        if delivery.copies > 1:
            call.copies, call.sent = delivery.copies - 1, sent
        if delivery.behind > 0:
            call.gate = Gate()
            self._behind.append(_Behind(call.gate, delivery.behind))
            return Hold(call.gate, then)
        if delivery.delay_s > 0:
            call.gate = Gate(delivery.delay_s)
            return Hold(call.gate, then)
        return then

    def _check_delivery(self, delivery: Delivery) -> None:
        if delivery.copies > 1 and self._sender is None:
            raise FaultError("nobody is there to send a copy")
        if delivery.copies < 1 and delivery.told is None:
            raise FaultError(f"a message can't be delivered {delivery.copies} times; drop it instead")

    def _corrupted(self, write: Write) -> Corruption:
        rule, value = self.rule, write.value
        if write.around:
            around = Around(self._memory, write.key, value)
            return corrupt_for(rule, value, around=around, models=self._models)
        return self._without_value(f"this write is a {write.operation} without a value")

    def _answer(self, told: Told, success: Callable[[], bytes]) -> Answer | None:
        if told is Told.TIMEOUT:
            return None
        if told is Told.SUCCESS:
            return Answer(0, message=success())
        return Answer(UNAVAILABLE, f"mutineer: the request was dropped by rule {self.rule.id}")

    # Copies

    def _send_copies(self, call: _TxnCall | _MessageCall, copies: int) -> None:
        number, path, message = call.fired, call.path, call.sent
        assert self._sender is not None and number is not None

        def answered(response: bytes | None, status: int | None) -> None:
            self._evidence.remark(number, _said_of_copy(path, message, response, status))
            if copies > 1:
                self._send_copies(call, copies - 1)

        self._sender(path, message, answered)

    # Messages that are no writes

    def asked(self, call: _MessageCall, message: bytes) -> Decision:
        """One request that is no write."""
        identity = self.rule.target.kind
        if self.rule.target.identity != identity:
            self.note(identity, f"the rule waits for {self.rule.target.identity}")
            return None
        if not self._evidence.occurs():
            return None
        try:
            corruption = _message_corrupted(self.rule, message, self._models)
            self._check_delivery(corruption.delivery)
            if corruption.delivery.behind or corruption.key is not None:
                raise FaultError(f"{self.rule.model} is not done to {identity}")
        except (FaultError, CodecError) as error:
            self._evidence.misfit(identity, str(error))
            return None
        call.fired = self._fired(call, b"", identity, call.operation, message, corruption)
        told = corruption.delivery.told
        if told is not None:
            return Drop(self._answer(told, lambda: _granted(message) if call.operation == "lease-grant" else b""))
        sent = message if corruption.after == message else corruption.after
        return self._delivered(call, message, sent, corruption.delivery)

    def responded(self, call: _MessageCall) -> None:
        """etcd did what the message asked for."""
        if call.fired is not None:
            self._evidence.amend(call.fired, accepted=True)


class _TxnCall:
    """One Txn. An `injector.wire.inspection.Call`."""

    __slots__ = ("channel", "copies", "creates", "deletes", "fired", "gate", "place", "puts", "sent")
    path = _TXN

    def __init__(self, channel: EtcdChannel, place: Place) -> None:
        self.channel, self.place = channel, place
        self.fired: int | None = None
        self.gate: Gate | None = None
        self.copies, self.sent = 0, b""
        self.creates: tuple[str, ...] = ()
        self.deletes: tuple[str, ...] = ()
        self.puts: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def listening(self) -> bool:
        if self.channel.decided:
            return self.fired is not None
        return self.fired is not None or self.channel.follows or bool(self.creates or self.deletes or self.puts)

    def request(self, message: bytes) -> Decision:
        return self.channel.requested(self, message)

    def unread(self, why: str) -> None:
        self.channel.note("", f"a Txn that was not looked at: {why}")

    def response(self, message: bytes) -> Decision:
        self.channel.answered(self, message)
        return None

    def ended(self, status: int | None) -> None:
        self.channel.ended(self, status)


class _MessageCall:
    """One Compact or LeaseGrant. An `injector.wire.inspection.Call`."""

    __slots__ = ("channel", "copies", "fired", "gate", "operation", "path", "place", "sent")

    def __init__(self, channel: EtcdChannel, path: bytes, operation: str, place: Place) -> None:
        self.channel, self.path, self.operation, self.place = channel, path, operation, place
        self.fired: int | None = None
        self.gate: Gate | None = None
        self.copies, self.sent = 0, b""

    @property
    def listening(self) -> bool:
        return self.fired is not None

    def request(self, message: bytes) -> Decision:
        return self.channel.asked(self, message)

    def unread(self, why: str) -> None:
        self.channel.note(self.channel.rule.target.kind, f"a message that was not looked at: {why}")

    def response(self, message: bytes) -> Decision:
        self.channel.responded(self)
        return None

    def ended(self, status: int | None) -> None:
        self.channel.finished(self, status)


def _message_corrupted(rule: Rule, message: bytes, models: Registry) -> Corruption:
    """The fault done to the bytes of a message that is no stored object: as if it were the object in an envelope, so
    that models count its bytes as they count an object's own."""
    named = delimited(0x0A, b"etcd") + delimited(0x12, rule.target.kind.encode())
    envelope = b"k8s\0" + delimited(0x0A, named) + delimited(0x12, message)
    start = len(envelope) - len(message)
    found = corrupt(envelope, rule.model, rule.parameters, rule.target.field, models=models)
    if found.delivery.told is None and found.after[:start] != envelope[:start]:
        raise FaultError(f"{rule.target.kind} has no envelope; {rule.model} would change nothing in it")
    return Corruption(
        after=found.after[start:],
        span=(max(0, found.span[0] - start), found.span[1] - start),
        delivery=found.delivery,
        key=found.key,
    )


def _granted(request: bytes) -> bytes:
    """The LeaseGrantResponse for a lease that nobody granted."""
    lease = number_in(request, _LEASE_ID) or _UNKNOWN_LEASE
    header = delimited(_HEADER, b"")
    return header + tagged(_GRANTED_ID, lease) + tagged(_GRANTED_TTL, number_in(request, _LEASE_TTL))


def _said_of_copy(path: bytes, message: bytes, response: bytes | None, status: int | None) -> str:
    if status is None:
        return "a copy was sent; etcd did not answer"
    if status != 0 or response is None:
        return f"a copy was sent; etcd refused it with status {status}"
    if path != _TXN:
        return "a copy was sent; etcd did it"
    outcome = outcome_of(response)
    if outcome.succeeded:
        return f"a copy was sent; etcd did it at revision {outcome.revision}"
    guarded = "its guard did not hold any more" if is_guarded(message) else "it did not succeed"
    return f"a copy was sent; etcd did nothing: {guarded}"
