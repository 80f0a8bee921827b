"""The channel apiserver-to-etcd: kube-apiserver's writes on their way, one rule at a time.

Every Txn is looked at while the rule waits, because ordinals count objects in the order of their creation; once it has
fired (or can't any more) nothing is. Creations are numbered when they are sent; one that etcd then refuses gives its
number back, and a delete counts once etcd has accepted it.

An occurrence is a message: a write that etcd then refuses because its guard did not hold counts, and so does its retry.
For a target without a field all puts and deletes of the object count, with a field the puts that carry it (present in
the bytes). A rule fires at most once.

A dropped Txn is dropped whole (kube-apiserver's hold one write each). What the sender is told:

    error     UNAVAILABLE. It is what a client sees when its connection or its member is lost in mid-request, and what
              etcd itself answers when a proposal got lost; DEADLINE_EXCEEDED would be the client's own deadline, which
              `timeout` is for. etcd's client does not retry a Txn on it (clientv3 3.6.8, retry.go: only where nothing
              was sent yet), so kube-apiserver passes a 500 on
    timeout   nothing; the client waits until its own deadline
    success   a made-up TxnResponse with the revision after the last one seen
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable

from injector.channels.txn import Outcome, Write, made_up_success, outcome_of, with_value, writes_of
from injector.codec import locate
from injector.corrupt import Corruption, corrupt
from injector.errors import CodecError, FaultError, WireError
from injector.faults import MODELS
from injector.identity import Identified, IdentityTracker
from injector.rules import Delivery, Firing, NearMiss, Rule, Told
from injector.targets import Channel
from injector.wire.inspection import Answer, Decision, Drop, Replace

__all__ = ["EtcdChannel"]

_TXN = b"/etcdserverpb.KV/Txn"

UNAVAILABLE = 14
"""https://grpc.github.io/grpc/core/md_doc_statuscodes.html"""

_REFUSALS = frozenset({3, 5, 6, 7, 8, 9, 11, 12, 16})
"""gRPC statuses after which the write has certainly not happened: invalid, not found, exists, denied, exhausted,
precondition, range, unimplemented, unauthenticated. After all others (unavailable, deadline, …) it is unknown."""

_MOST_NEAR_MISSES = 100
"""Different ones that are kept; arbitrary, it only bounds memory."""


class EtcdChannel:
    """One rule and what came of it. An `injector.wire.inspection.Inspector`.

    baseline   stored (key, value) pairs from before the rule was armed: names and owners that later writes refer to
    clock      seconds, monotonic

    Raises FaultError if the rule is not for this channel or its parameters do not fit its model.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        baseline: Iterable[tuple[bytes, bytes]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(rule)
        self.rule = rule
        self.done = False
        self._clock = clock
        self._tracker = IdentityTracker()
        self._tracker.seed((_text(key), value) for key, value in baseline)
        self._matched = 0
        self._near: Counter[tuple[str, str]] = Counter()
        self._firing: Firing | None = None
        self._last: Outcome | None = None
        self.follows = rule.model == "drop" and rule.parameters.get("told") == Told.SUCCESS

    def call(self, path: bytes) -> _TxnCall | None:
        return None if path != _TXN or self.done else _TxnCall(self)

    def firings(self) -> tuple[Firing, ...]:
        return () if self._firing is None else (self._firing,)

    def near_misses(self) -> tuple[NearMiss, ...]:
        """What almost matched, most frequent first; empty once the rule has fired."""
        if self._firing is not None:
            return ()
        target, near = self.rule.target, Counter(self._near)
        if 0 < self._matched < target.occurrence:
            near[target.identity, f"matched, but the rule waits for occurrence {target.occurrence}"] = self._matched
        return tuple(NearMiss(identity=identity, why=why, times=n) for (identity, why), n in near.most_common())

    # What calls report

    def requested(self, call: _TxnCall, message: bytes) -> Decision:
        """One TxnRequest on its way."""
        if self.done:
            return None
        try:
            writes = writes_of(message)
        except WireError as error:
            self.note("", f"a Txn that can't be read: {error}")
            return None
        for write in writes:
            identified = self._identify(call, write)
            if self._matches(identified, write):
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
        if call.fired and self._firing is not None:
            revision = outcome.revision if outcome.succeeded else None
            self._firing = dataclasses.replace(self._firing, accepted=outcome.succeeded, revision=revision)

    def ended(self, call: _TxnCall, status: int | None) -> None:
        """The call is over."""
        if status in _REFUSALS:
            self._settle(call, accepted=False)
        if call.fired and self._firing is not None and self._firing.accepted is None and status in _REFUSALS:
            self._firing = dataclasses.replace(self._firing, accepted=False)

    def _settle(self, call: _TxnCall, *, accepted: bool) -> None:
        """The tracker learns what became of a call's creations and deletes."""
        for key in call.creates:
            if not accepted:
                self._tracker.retract(key)
        for key in call.deletes:
            if accepted:
                self._tracker.seen(key, None)
        call.creates = call.deletes = ()

    def note(self, identity: str, why: str) -> None:
        """Counts a near miss."""
        if (identity, why) in self._near or len(self._near) < _MOST_NEAR_MISSES:
            self._near[identity, why] += 1

    # Deciding

    def _identify(self, call: _TxnCall, write: Write) -> Identified:
        key = _text(write.key)
        known = self._tracker.get(key)
        if write.operation == "delete":
            call.deletes += (key,)
            return known or self._tracker.seen(key, None)  # of an unknown one only the key tells; nothing is forgotten
        if known is None:
            call.creates += (key,)
        return known or self._tracker.seen(key, write.value)

    def _matches(self, identified: Identified, write: Write) -> bool:
        """Whether this is the write that the rule waits for."""
        target = self.rule.target
        if identified.kind != target.kind or identified.group != target.group:
            return False
        if identified.identity != target.identity:
            if _stem(identified.identity) == _stem(target.identity):
                self.note(identified.identity, f"same name, but the rule waits for {target.identity}")
            return False
        if target.field is not None and not self._carries(identified, write, target.field):
            return False
        self._matched += 1
        return self._matched == target.occurrence

    def _carries(self, identified: Identified, write: Write, field: str) -> bool:
        if write.operation == "delete":
            return False
        try:
            if locate(write.value, field).present:
                return True
            why = f"does not carry {field}"
        except (FaultError, CodecError) as error:
            why = f"does not carry {field}: {error}"
        self.note(identified.identity, why)
        return False

    def _fire(
        self, call: _TxnCall, message: bytes, writes: list[Write], write: Write, identified: Identified
    ) -> Decision:
        self.done = True
        try:
            corruption = _corrupted(self.rule, write)
        except (FaultError, CodecError) as error:
            self.note(identified.identity, str(error))
            return None
        told = corruption.delivery.told
        self._firing = Firing(
            rule_id=self.rule.id,
            at_s=self._clock(),
            key=_text(write.key),
            identity=identified.identity,
            operation="drop" if told is not None else write.operation,
            before=write.value,
            after=corruption.after,
            span=corruption.span,
            field_before=corruption.field_before,
            field_after=corruption.field_after,
            accepted=None if told is None else False,
            told=told,
        )
        call.fired = True
        if told is not None:
            return Drop(self._answer(told, message, writes))
        return Replace(with_value(message, write, corruption.after))

    def _answer(self, told: Told, message: bytes, writes: list[Write]) -> Answer | None:
        if told is Told.TIMEOUT:
            return None
        if told is Told.SUCCESS:
            return Answer(0, message=made_up_success(message, writes, self._last))
        return Answer(UNAVAILABLE, f"mutineer: the request was dropped by rule {self.rule.id}")


class _TxnCall:
    """One Txn. An `injector.wire.inspection.Call`."""

    __slots__ = ("channel", "creates", "deletes", "fired")

    def __init__(self, channel: EtcdChannel) -> None:
        self.channel, self.fired = channel, False
        self.creates: tuple[str, ...] = ()
        self.deletes: tuple[str, ...] = ()

    @property
    def listening(self) -> bool:
        if self.channel.done:
            return self.fired
        return self.channel.follows or bool(self.creates or self.deletes)

    def request(self, message: bytes) -> Decision:
        return self.channel.requested(self, message)

    def unread(self, why: str) -> None:
        self.channel.note("", f"a Txn that was not looked at: {why}")

    def response(self, message: bytes) -> None:
        self.channel.answered(self, message)

    def ended(self, status: int | None) -> None:
        self.channel.ended(self, status)


def _check(rule: Rule) -> None:
    if rule.channel is not Channel.APISERVER_TO_ETCD:
        raise FaultError(f"rule {rule.id!r}: expected channel {Channel.APISERVER_TO_ETCD}, got {rule.channel}")
    if rule.target.occurrence < 1:
        raise FaultError(f"rule {rule.id!r}: occurrence: expected at least 1, got {rule.target.occurrence}")
    problems = MODELS[rule.model].check_parameters(rule.parameters, where="parameters")
    if problems:
        raise FaultError(f"rule {rule.id!r}: " + "; ".join(str(problem) for problem in problems))


def _corrupted(rule: Rule, write: Write) -> Corruption:
    if not write.around and rule.model != "drop":
        raise FaultError(f"this write is a {write.operation} without a value; {rule.model} needs one")
    if not write.around:  # the model needs bytes to lose; a delete has none
        told = Told(str(rule.parameters.get("told", Told.ERROR)))
        return Corruption(after=b"", span=(0, 0), delivery=Delivery(told=told))
    return corrupt(write.value, rule.model, rule.parameters, rule.target.field)


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")


def _stem(identity: str) -> str:
    return identity.partition("#")[0]
