"""Where a fault can be put: every message of a recording that comes again in nearly every golden run, every field in
it; at rest, every object that is stored once the workload has settled. Pure.

A site is met the n-th time. It counts as coming again where at least LEAST_SEEN of the recorded golden runs met it so
often: of those that did not, the n-th message would often never come, and the fault not fire.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from campaigns.clusters.protocol import CANARY_NAMESPACE
from campaigns.planning.recording import WHOLE, Conversation, Recording, Subject, Value, counted_as
from injector.codec import list_fields
from injector.errors import InjectionError
from injector.identity import IdentityTracker, kind_of_key
from injector.rules import JSONValue
from injector.targets import Channel

__all__ = ["LEAST_SEEN", "Asked", "Leaf", "LeftOut", "Site", "Stored", "Surrounded", "Traffic"]

LEAST_SEEN = 0.9
"""Of the golden runs (the issue's; so that at least 97 % of all planned faults fire)."""

_OF_THE_HOST = ("Lease/kube-system/apiserver-",)
"""Objects whose name is made of the host's: on another machine they are others."""


Asked = Callable[[Subject], bool]


def _any(_: Subject) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field of a value. `told`: the value is known (a Secret's is not)."""

    path: str
    type: str
    value: JSONValue
    told: bool = True


@dataclass(frozen=True, slots=True)
class Site:
    """A field, or the whole (`leaf` None), of the n-th message of a subject; at rest, of what is stored.

    subject   what occurrences are counted over (campaigns.planning.recording.counted_as); operation "" where any counts
    operation what the message in the exemplary run does; "" at rest
    value     what it carries there, None if nothing
    before    the object's value in the message before it in this channel, if one was seen
    varying   the values that the field had in any run, if they were not the same each time; None: too many
    """

    channel: Channel
    subject: Subject
    operation: str
    occurrence: int
    leaf: Leaf | None
    value: Value | None
    before: Value | None = None
    varying: tuple[JSONValue, ...] | None = ()

    @property
    def path(self) -> str:
        return self.leaf.path if self.leaf is not None else WHOLE


@dataclass(slots=True)
class LeftOut:
    """What is not planned, by reason: how many messages, fields or faults."""

    counts: Counter[tuple[Channel, str]] = field(default_factory=Counter)

    def note(self, channel: Channel, why: str, number: int = 1) -> None:
        if number:
            self.counts[channel, why] += number


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is stored once the workload has settled. `idle`: the workload never wrote it."""

    subject: Subject
    key: str
    value: Value
    before: Value | None
    idle: bool


class Traffic:
    """A recording, read for planning."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._leaves: dict[bytes, tuple[Leaf, ...]] = {}

    def leaves(self, value: Value) -> tuple[Leaf, ...]:
        """The fields of a value, in the order in which the codec lists them; none of what it can't read."""
        if value.content is None:
            return tuple(Leaf(path, kind, None, told=False) for path, kind in value.fields)
        found = self._leaves.get(value.content)
        if found is None:
            try:
                found = tuple(Leaf(item.path, item.type, item.value) for item in list_fields(value.content))
            except InjectionError:
                found = ()
            self._leaves[value.content] = found
        return found

    @cached_property
    def baseline(self) -> Mapping[str, tuple[Subject, Value]]:
        """What was stored before, by key, with who it is (as a channel that is armed numbers it)."""
        tracker = IdentityTracker()
        stored = self.recording.baseline
        tracker.seed((key, value.content) for key, value in stored.items() if value.content is not None)
        found: dict[str, tuple[Subject, Value]] = {}
        for key, value in sorted(stored.items()):
            who = tracker.get(key)
            if who is not None:
                found[key] = Subject(who.kind, who.group, who.identity, who.namespace, "", ""), value
            else:  # a secret: it has the name that its key has
                group, kind, namespace, name = kind_of_key(key)
                identity = f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"
                found[key] = Subject(kind, group, identity, namespace, "", ""), value
        return found

    @cached_property
    def others(self) -> Mapping[tuple[str, str], tuple[tuple[str, Mapping[str, Leaf]], ...]]:
        """Objects that are there all the time, by kind and group: identity, and fields by path."""
        found: dict[tuple[str, str], dict[str, Mapping[str, Leaf]]] = defaultdict(dict)
        for subject, value in self.baseline.values():
            if value.content is not None and subject.namespace != CANARY_NAMESPACE:
                leaves = {leaf.path: leaf for leaf in self.leaves(value)}
                found[subject.kind, subject.group].setdefault(subject.identity, leaves)
        return {kind: tuple(sorted(objects.items())) for kind, objects in found.items()}

    def sites(self, channel: Channel, left_out: LeftOut, asked: Asked = _any) -> Iterator[Site]:
        """Every site of a channel, in the order of the exemplary run, of subjects that are `asked` for."""
        if channel.at_rest:
            yield from self._at_rest(channel, left_out, asked)
        elif channel in self.recording.channels:
            yield from self._in_flight(channel, self.recording.channels[channel], left_out, asked)

    def _in_flight(self, channel: Channel, told: Conversation, left_out: LeftOut, asked: Asked) -> Iterator[Site]:
        steady = _Steady(told)
        met: Counter[tuple[Subject, str]] = Counter()
        before: dict[tuple[str, str], Value] = {}
        for message in told.messages:
            subject, value = message.subject, message.value
            if not asked(subject):
                continue
            if _is_ours(subject):
                left_out.note(channel, "objects whose name is the host's, or that are the canary's", 1)
                continue
            counted = counted_as(channel, subject)
            leaves: tuple[Leaf | None, ...] = (None, *(self.leaves(value) if value is not None else ()))
            for leaf in leaves:
                path = leaf.path if leaf is not None else WHOLE
                for each in counted:
                    met[each, path] += 1
                who = next((each for each in counted if steady.comes(each, path, met[each, path])), None)
                if who is None:
                    left_out.note(channel, f"messages and fields that came in less than {LEAST_SEEN:.0%} of the runs")
                    continue
                yield Site(
                    channel, who, subject.operation, met[who, path], leaf, value,
                    before.get((subject.group, subject.identity)), steady.varying(who, path),
                )  # fmt: skip
            if value is not None:
                before[subject.group, subject.identity] = value

    def _at_rest(self, channel: Channel, left_out: LeftOut, asked: Asked) -> Iterator[Site]:
        told = self.recording.channels.get(Channel.APISERVER_TO_ETCD)
        steady = _Steady(told) if told is not None else None
        for stored in self.stored():
            if not asked(stored.subject):
                continue
            if _is_ours(stored.subject):
                left_out.note(channel, "objects whose name is the host's, or that are the canary's", 1)
                continue
            leaves: tuple[Leaf | None, ...] = (None, *self.leaves(stored.value))
            for leaf in leaves:
                path = leaf.path if leaf is not None else WHOLE
                if steady is not None and not stored.idle and not steady.comes(stored.subject, path, 1):
                    left_out.note(
                        channel, f"objects and fields that were there in less than {LEAST_SEEN:.0%} of the runs"
                    )
                    continue
                varying = steady.varying(stored.subject, path) if steady is not None else ()
                yield Site(channel, stored.subject, "", 1, leaf, stored.value, stored.before, varying)

    def subjects(self, channel: Channel) -> Iterator[Subject]:
        """Whom each message of a channel, or each stored object, is about."""
        if channel.at_rest:
            yield from (each.subject for each in self.stored())
        elif channel in self.recording.channels:
            yield from (message.subject for message in self.recording.channels[channel].messages)

    def stored(self) -> list[Stored]:
        """What is stored once the workload has settled, in order of identity: the baseline, and what the exemplary run
        wrote after it."""
        now: dict[tuple[str, str], Stored] = {}
        for key, (subject, value) in self.baseline.items():
            now[subject.group, subject.identity] = Stored(subject, key, value, None, idle=True)
        told = self.recording.channels.get(Channel.APISERVER_TO_ETCD)
        for message in told.messages if told is not None else ():
            subject = message.subject._replace(operation="")
            place = subject.group, subject.identity
            if message.value is None:
                now.pop(place, None)
            else:
                was = now.get(place)
                now[place] = Stored(
                    subject, was.key if was else "", message.value, was.value if was else None, idle=False
                )
        return [now[place] for place in sorted(now)]


@dataclass(frozen=True, slots=True)
class Surrounded:
    """What the recording knows around a value: injector.faults.Surroundings. `before`: the object's value before."""

    before: Value | None
    traffic: Traffic = field(repr=False)

    def previous(self) -> bytes | None:
        return self.before.content if self.before is not None else None

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        for key, (subject, value) in self.traffic.baseline.items():
            if subject.identity == identity and value.content is not None:
                return key.encode(), value.content
        return None


class _Steady:
    """What of a conversation came in nearly every run, and how its values varied."""

    def __init__(self, told: Conversation) -> None:
        self._told = told
        self._times: dict[Subject, dict[str, int]] = {}

    def comes(self, subject: Subject, path: str, occurrence: int) -> bool:
        """Whether it was met so often in LEAST_SEEN of the runs."""
        times = self._times.get(subject)
        if times is None:
            times = self._times[subject] = {
                path: self._steadily(seen.counts) for seen in self._told.seen.get(subject, ()) for path in seen.paths
            }
        return times.get(path, 0) >= occurrence

    def _steadily(self, counts: tuple[int, ...]) -> int:
        """How often at least, in all but as many runs as may lack it."""
        may_lack = int(len(counts) * (1 - LEAST_SEEN) + 1e-9)
        return sorted(counts)[may_lack]

    def varying(self, subject: Subject, path: str) -> tuple[JSONValue, ...] | None:
        return self._told.varying.get(subject, {}).get(path, ())


def _is_ours(subject: Subject) -> bool:
    return CANARY_NAMESPACE in (subject.namespace, subject.identity.rpartition("/")[2]) or subject.identity.startswith(
        _OF_THE_HOST
    )
