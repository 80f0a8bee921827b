"""The channel etcd-to-apiserver: what etcd tells kube-apiserver, one rule at a time.

Three kinds of messages carry stored values that way, and are the `operation` of a firing:

    range      the objects of a list or of one get (RangeResponse). In steady state kube-apiserver reads lists and gets
               from its watch cache; it asks etcd when it starts or a watch breaks (a list of each resource, in pages),
               before it writes (a get, if what it has in the cache turned out too old), and for resources without cache
               (events)
    watch      one event (WatchResponse), from watches that were under way when the rule was armed too: kube-apiserver
               opens one for each resource when it starts. A deletion's event carries what the object was (prev_kv),
               and that is what kube-apiserver tells its own watchers, so that is what is changed; a put's prev_kv is
               left alone, kube-apiserver does not read it for its cache
    txn-range  the object as it is, told when a guarded write failed (TxnResponse)

An occurrence is an object in such a message, in the order seen, on all connections; for a target with a field, one that
carries it. Objects are numbered by the creations that the channel sees, lists in order of creation, after those of the
baseline, which is the order of etcd's revisions; for dependents that a controller makes after it read their owner,
owners are known first. The same deletion seen by several watches counts once for the numbers and each time as an
occurrence.

What is changed, here, is only what kube-apiserver is told: etcd holds the true value. `stale` gives it an earlier value
under the new revision, wrong-key the right one under another key. Deliveries:

    drop       watch: the event is taken out; a response that has no other is swallowed, not turned into one without
               events. That one would be a progress notification: kube-apiserver would believe to have all up to its
               revision, and etcd's client would begin after it when it has to open the watch again. So, the lost event
               comes again if the watch breaks before a later event came, as it would for a message lost on its way.
               What the sender is told can't matter; it is etcd.
               range, txn-range: error ends the call with UNAVAILABLE, timeout with nothing at all, success takes the
               object out of an answer that is right otherwise: it seems not to exist
    delay      the call stands still from this message on, as a slow connection would let it: later events of the watch
               come later as well, in their order
    copies     watch only: the event again, right behind itself
    behind     watch only: the event comes after the response that brings the n-th one after it on the same watch.
               Revisions then go down and up again, which etcd promises never to do

A unary answer can't come twice or be overtaken; such a rule does not fire on it, and says so.

`accepted` stays None: a gRPC client does not say what it made of an answer. Where it cancels the watch afterwards, as
kube-apiserver does when it can't decode an event, or the stream breaks off, the firing's note says so. `revision` is
that of the object told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from injector.channels import responses
from injector.channels.channel import NOWHERE, RuleChannel
from injector.channels.etcd import UNAVAILABLE
from injector.channels.evidence import Evidence
from injector.channels.listening import RANGE, WATCH
from injector.channels.memory import Around, text
from injector.channels.responses import Event, Pair
from injector.corrupt import Corruption, corrupt_for
from injector.errors import CodecError, FaultError, WireError
from injector.faults import MODELS, Registry
from injector.identity import Identified
from injector.rules import Delivery, Rule, Told
from injector.targets import Channel
from injector.wire.inspection import Answer, Aside, Call, Decision, Drop, Gate, Hold, Place, Replace, Several

__all__ = ["WATCH", "ReadsChannel"]

_TXN = b"/etcdserverpb.KV/Txn"


@dataclass(slots=True)
class _Overtaken:
    """An event that waits until so many others of its watch have passed."""

    gate: Gate
    watch_id: int
    others: int


@dataclass(slots=True)
class _Edit:
    """A response on its way: how it is now, and how it is delivered."""

    message: bytes
    emptied: bool = False
    delay_s: float = 0.0
    asides: list[tuple[bytes, int]] = field(default_factory=list)


class ReadsChannel(RuleChannel):
    """One rule and what came of it (injector.channels.channel). An `injector.wire.inspection.Inspector`."""

    channel = Channel.ETCD_TO_APISERVER

    def __init__(
        self,
        rule: Rule,
        *,
        baseline: Iterable[tuple[bytes, bytes]] = (),
        clock: Callable[[], float] = time.monotonic,
        models: Registry = MODELS,
        evidence: type[Evidence] = Evidence,
    ) -> None:
        super().__init__(rule, baseline=baseline, clock=clock, models=models, evidence=evidence)
        if rule.target.kind.startswith("etcd:"):
            raise FaultError(f"rule {rule.id!r}: {rule.target.kind} goes to etcd; its channel is apiserver-to-etcd")
        self._created: dict[bytes, int] = {}
        self._gone: dict[bytes, tuple[int, Identified]] = {}
        self._overtaken: list[_Overtaken] = []
        self._over = False

    @property
    def done(self) -> bool:
        """Whether nothing needs to be looked at any more."""
        return self._over or self._evidence.fired_out

    def call(self, path: bytes, place: Place = NOWHERE, /) -> Call | None:
        if self.done:
            return None
        if path == WATCH:
            return _WatchCall(self, place)
        if path == RANGE:
            return _AnswerCall(self, "range", responses.pairs_of, place)
        return _AnswerCall(self, "txn-range", responses.txn_pairs_of, place) if path == _TXN else None

    def disarmed(self) -> None:
        """Events that wait for others go now."""
        self._over = True
        overtaken, self._overtaken = self._overtaken, []
        for event in overtaken:
            event.gate.open()

    # Answers

    def answered(self, call: _AnswerCall, message: bytes) -> Decision:
        """One RangeResponse or TxnResponse."""
        operation, pairs_of = call.operation, call.pairs_of
        if self.done:
            return None
        try:
            pairs = pairs_of(message)
        except WireError as error:
            self.note("", f"a {operation} that can't be read: {error}")
            return None
        for pair in sorted(pairs, key=lambda pair: pair.created):  # numbered as they were created
            if pair.value_field is not None:
                self._present(pair)
        edit, number = _Edit(message), 0
        while number < len(pairs):
            pair = pairs[number]
            number += 1
            if pair.value_field is None:
                continue
            identified, around = self._present(pair), self._around(pair, None)
            if not self._evidence.matches(identified, operation, pair.value, around.previous):
                self._evidence.saw(identified, pair.value)
                continue
            fired = self._fire(call, edit, pair, None, identified)
            if isinstance(fired, Drop):
                return fired
            if edit.message is not message:
                number -= len(pairs) - len(pairs := pairs_of(edit.message))
        return _decision(edit, message)

    # Watches

    def watched(self, call: _WatchCall, message: bytes) -> Decision:
        """One WatchResponse."""
        if self.done and not call.waiting:
            return None
        try:
            events = responses.events_of(message)
            watch_id = responses.watch_id_of(message) if events else 0
        except WireError as error:
            self.note("", f"a watch response that can't be read: {error}")
            return None
        self._pass(call, watch_id, len(events))
        if self.done:
            return None
        edit, number = _Edit(message), 0
        while number < len(events):
            event = events[number]
            number += 1
            pair = (event.before or event.pair) if event.deleted else event.pair
            identified = self._deleted(event) if event.deleted else self._present(event.pair, event.before)
            value = pair.value if pair.value_field is not None else None
            if not self._evidence.matches(identified, "watch", value, self._around(pair, event).previous):
                if not event.deleted:
                    self._evidence.saw(identified, pair.value)
                continue
            before, fired = len(events), self._evidence.fired_count
            self._fire(call, edit, pair, event, identified)
            if self._evidence.fired_count > fired:
                call.fired[watch_id] = fired
            events = responses.events_of(edit.message)
            number += len(events) - before  # taken out, or doubled
        edit.emptied = not events
        decision = _decision(edit, message)
        if isinstance(decision, Aside):
            self._overtaken += [_Overtaken(decision.gate, watch_id, max(n for _, n in edit.asides))]
            call.waiting = True
        return decision

    def _pass(self, call: _WatchCall, watch_id: int, events: int) -> None:
        """Events went by; others may wait for that."""
        if not call.waiting or not events:
            return
        for overtaken in [waiting for waiting in self._overtaken if waiting.watch_id == watch_id]:
            overtaken.others -= events
            if overtaken.others <= 0:
                self._overtaken.remove(overtaken)
                overtaken.gate.open()

    def cancelled(self, call: _WatchCall, watch_id: int) -> None:
        """kube-apiserver does not want that watch any more."""
        number = call.fired.pop(watch_id, None)
        if number is not None:
            self._later(number, "the watch was cancelled")

    def stream_ended(self, call: _WatchCall, status: int | None) -> None:
        """The stream of all its watches is over: told while the rule is armed. Afterwards it may be somebody else who
        looks at it now, and what becomes of it is nothing that the fault did."""
        numbers, call.fired = sorted(set(call.fired.values())), {}
        how = "was reset" if status is None else f"was ended by etcd with status {status}"
        for number in [] if self._over else numbers:
            self._later(number, f"the watch stream {how}")

    def _later(self, number: int, words: str) -> None:
        firing = self._evidence.firing(number)
        if firing is not None:
            self._evidence.remark(number, f"{words} {self._evidence.clock() - firing.at_s:.3f} s later")

    # Deciding

    def _fire(
        self, call: _AnswerCall | _WatchCall, edit: _Edit, pair: Pair, event: Event | None, identified: Identified
    ) -> Drop | None:
        """Do the fault to one object in the response."""
        operation = call.operation
        try:
            corruption = self._corrupted(pair, event)
            _check_delivery(corruption.delivery, operation)
        except (FaultError, CodecError) as error:
            self._evidence.misfit(identified.identity, str(error))
            return None
        delivery = corruption.delivery
        number = self._evidence.fired(
            self._firing(
                text(pair.key),
                identified.identity,
                operation,
                pair.value,
                corruption,
                revision=pair.modified or None,
                stream=str(call.place),
                earlier=self._around(pair, event).previous(),
            )
        )
        if delivery.told is not None:
            if event is not None:
                edit.message = responses.without(edit.message, event.field)
            elif delivery.told is Told.SUCCESS:
                edit.message = responses.without_pair(edit.message, pair)
            else:
                words = f"mutineer: the answer was dropped by rule {self.rule.id}"
                return Drop(Answer(UNAVAILABLE, words) if delivery.told is Told.ERROR else None)
            return None
        self._change(edit, pair, corruption, number)
        edit.delay_s = max(edit.delay_s, delivery.delay_s)
        if event is not None and delivery.behind > 0:
            now = next(e for e in responses.events_of(edit.message) if e.field.at == event.field.at)
            edit.asides.append((responses.only_event(edit.message, now.field), delivery.behind))
            edit.message = responses.without(edit.message, now.field)
        elif event is not None and delivery.copies > 1:
            now = next(e for e in responses.events_of(edit.message) if e.field.at == event.field.at)
            edit.message = responses.doubled(edit.message, now.field, delivery.copies)
        return None

    def _change(self, edit: _Edit, pair: Pair, corruption: Corruption, number: int) -> None:
        if pair.value_field is None:
            return
        if corruption.after != pair.value:
            edit.message = responses.with_value(edit.message, pair, corruption.after)
        if corruption.key is not None and pair.key_field is not None:
            # the key stands before the value, but within the same lengths: they have to be read anew
            found = _again(edit.message, pair)
            edit.message = responses.with_key(edit.message, found, corruption.key)
            self._evidence.remark(number, f"told under {text(corruption.key)}")

    def _corrupted(self, pair: Pair, event: Event | None) -> Corruption:
        rule = self.rule
        if pair.value_field is None:  # a deletion without what was there: it can only be delivered otherwise
            return self._without_value("this event has no value")
        return corrupt_for(rule, pair.value, around=self._around(pair, event), models=self._models)

    def _around(self, pair: Pair, event: Event | None) -> Around:
        before = event.before.value if event is not None and event.before is not None and not event.deleted else None
        return Around(self._memory, pair.key, pair.value, pair.modified, before)

    # Who is who

    def _present(self, pair: Pair, before: Pair | None = None) -> Identified:
        """An object that exists, as of this message."""
        key = text(pair.key)
        gone = self._gone.get(pair.key)
        if gone is not None and pair.modified <= gone[0]:
            return gone[1]  # told late, by another watch
        created = self._created.get(pair.key, 0)
        if created and pair.created > created:  # its end was not seen
            self._tracker.seen(key, None)
        self._created[pair.key] = max(created, pair.created)
        identified = self._tracker.get(key) or self._tracker.seen(key, pair.value)
        if before is not None:
            self._memory.saw(pair.key, before.value, before.modified)
        self._memory.saw(pair.key, pair.value, pair.modified)
        return identified

    def _deleted(self, event: Event) -> Identified:
        """An object that exists no more."""
        key, revision = event.pair.key, event.pair.modified
        gone = self._gone.get(key)
        if gone is not None and revision <= gone[0]:
            return gone[1]
        identified = self._tracker.seen(text(key), None)
        self._gone[key] = revision, identified
        self._created.pop(key, None)
        self._memory.forget(key)
        return identified


class _AnswerCall:
    """One Range or Txn. An `injector.wire.inspection.Call`."""

    __slots__ = ("channel", "operation", "pairs_of", "place")
    listening = True

    def __init__(
        self, channel: ReadsChannel, operation: str, pairs_of: Callable[[bytes], list[Pair]], place: Place
    ) -> None:
        self.channel, self.operation, self.pairs_of, self.place = channel, operation, pairs_of, place

    def request(self, message: bytes) -> Decision:
        return None

    def unread(self, why: str) -> None:
        self.channel.note("", f"a {self.operation} that was not looked at: {why}")

    def response(self, message: bytes) -> Decision:
        return self.channel.answered(self, message)

    def ended(self, status: int | None) -> None: ...


class _WatchCall:
    """One Watch stream with all its watches. An `injector.wire.inspection.Call`. `fired`: by watch, the number of the
    last firing; such a call is listened to on, for a cancelled watch or the stream's end."""

    __slots__ = ("channel", "fired", "place", "waiting")
    operation = "watch"

    def __init__(self, channel: ReadsChannel, place: Place) -> None:
        self.channel, self.place, self.waiting = channel, place, False
        self.fired: dict[int, int] = {}

    @property
    def listening(self) -> bool:
        return not self.channel.done or self.waiting or bool(self.fired)

    def request(self, message: bytes) -> Decision:
        try:
            watch_id = responses.cancelled_watch(message) if self.fired else None
        except WireError:
            return None  # not for us to judge; etcd will
        if watch_id is not None:
            self.channel.cancelled(self, watch_id)
        return None

    def unread(self, why: str) -> None:
        self.channel.note("", f"a watch response that was not looked at: {why}")

    def response(self, message: bytes) -> Decision:
        return self.channel.watched(self, message)

    def ended(self, status: int | None) -> None:
        self.channel.stream_ended(self, status)


def _decision(edit: _Edit, message: bytes) -> Decision:
    if edit.asides:
        later = tuple(aside for aside, _ in edit.asides)
        return Aside(Gate(), later, () if edit.emptied else (edit.message,))
    then = None if edit.message is message else Several() if edit.emptied else Replace(edit.message)
    return Hold(Gate(edit.delay_s), then) if edit.delay_s > 0 else then


def _check_delivery(delivery: Delivery, operation: str) -> None:
    if operation != "watch" and (delivery.copies > 1 or delivery.behind > 0):
        raise FaultError(f"a {operation} is one answer to one question: it can't come twice or be overtaken")
    if delivery.copies < 1 and delivery.told is None:
        raise FaultError(f"a message can't be delivered {delivery.copies} times; drop it instead")


def _again(message: bytes, pair: Pair) -> Pair:
    """The same pair in a message of which only its value was changed."""
    found = [*responses.pairs_of(message)] if not pair.parents else []
    if pair.parents:
        found = [p for e in responses.events_of(message) for p in (e.pair, e.before) if p is not None]
        found = found or responses.txn_pairs_of(message)
    return next(p for p in found if p.key == pair.key and p.created == pair.created)
