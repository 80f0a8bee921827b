"""A recording: what passes in a workload's golden runs, so that a campaign can be planned without a cluster.

It holds, for one workload on one kind of cluster: of each channel in flight the messages of one exemplary run, with
their bytes, and how often each (object, operation, component, field) was seen in each of the runs; what was stored
before (for objects that the workload never touches, and faults at rest); and how long the runs took.

Values of Secrets, and the answers that carry tokens, are never in it: of these it has the paths and types of the fields
and nothing else.

The file (`NAME.recording`), history of the format: 1 (first).

    xz of   mutineer-recording 1 SHA256\\n      the format's number; the hash is of all that follows
            JSON\\n                            see _document
            the values, one behind the other   their lengths are in the JSON, each value is there once

The hash is of the content, so that the same recording has the same one whatever compressed it; a plan says by which
recording it was made.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from campaigns.spec.cluster_spec import ClusterSpec
from injector.channels.recording import Message, Recorded
from injector.codec import FieldValue, list_fields
from injector.errors import InjectionError, StoreError
from injector.rules import JSONValue
from injector.targets import Channel, plain_operation

__all__ = [
    "SCHEMA",
    "WHOLE",
    "Conversation",
    "RecordedMessage",
    "Recording",
    "Seen",
    "Subject",
    "Value",
    "build",
    "cluster_content",
    "counted_as",
    "read_recording",
    "recording_from_bytes",
    "recording_to_bytes",
    "write_recording",
]

SCHEMA = 1
_FORMAT = "mutineer-recording"
_HEAD = re.compile(rb"mutineer-recording (\d+) ([0-9a-f]{64})\n")
_SAME_TRAFFIC = ("component_channels", "audit", "etcd_tls")
"""Settings of a cluster that change nothing in what its components say to each other."""

_ON_NODE = re.compile(r"(kubelet-|kube-proxy-)")
_LONGEST = 80
"""Characters of a value that is kept among those that vary; longer ones by their hash. Arbitrary."""
_MOST_VALUES = 12
"""A field that had more different values than that in all runs has a new one each time. Arbitrary: more than a
workload's replicas or a sandbox's nodes, of which fields tell."""
_NOTHING = object()

WHOLE = ""
"""The path that stands for a message as a whole."""


class Subject(NamedTuple):
    """Whose messages: about one object, of one operation, of one component ("" between kube-apiserver and etcd).
    Occurrences are counted over such; `counted_as` says over which."""

    kind: str
    group: str
    identity: str
    namespace: str
    operation: str
    component: str


@dataclass(frozen=True, slots=True)
class Value:
    """What a message or a key holds. `content` None: it is secret; `fields` are then the paths and types of what is
    there, of the others they are in the bytes."""

    content: bytes | None
    size: int
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One message of the exemplary run. `value` None: it carries none."""

    subject: Subject
    value: Value | None


@dataclass(frozen=True, slots=True)
class Seen:
    """How often a subject's messages carried these paths (WHOLE: any message) in each run."""

    counts: tuple[int, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One channel: the exemplary run's messages in their order, and what was seen in all `runs`, by what occurrences
    are counted over. `varying`: the values that a field had in any run, where they were not the same in each run each
    time; None: too many to tell (names, uids, times)."""

    runs: int
    messages: tuple[RecordedMessage, ...]
    seen: Mapping[Subject, tuple[Seen, ...]]
    varying: Mapping[Subject, Mapping[str, tuple[JSONValue, ...] | None]]


@dataclass(frozen=True, slots=True)
class Recording:
    """See the module. `cluster` is ClusterSpec.content without what does not change the traffic; `seconds` of each run
    with its reset; `baseline` by etcd key."""

    workload: str
    cluster: Mapping[str, JSONValue]
    versions: Mapping[str, str]
    seconds: tuple[float, ...]
    channels: Mapping[Channel, Conversation]
    baseline: Mapping[str, Value]
    sha256: str = field(default="", compare=False)

    @property
    def seconds_median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else 0.0


def cluster_content(cluster: ClusterSpec) -> dict[str, JSONValue]:
    """What of a cluster has to be the same for a recording to speak of it."""
    content = cluster.content()
    assert isinstance(content, dict)
    return {name: value for name, value in content.items() if name not in _SAME_TRAFFIC}


def counted_as(channel: Channel, subject: Subject) -> tuple[Subject, ...]:
    """Over what a message may be counted: of writes to etcd all about the object (operation ""), else those of its own
    operation, with its subresource or with any (`update` has `update/status` among it, as a rule does), and of its own
    component; or, of a component that every node has, of any of them (`kubelet-*`)."""
    if channel is Channel.APISERVER_TO_ETCD:
        return (subject._replace(operation=""),)
    plain = subject._replace(operation=plain_operation(subject.operation))
    own = dict.fromkeys((subject, plain))
    on_node = _ON_NODE.match(subject.component)
    any_node = (each._replace(component=f"{on_node[1]}*") for each in own) if on_node else ()
    return (*own, *any_node)


# Building


def build(
    workload: str,
    cluster: ClusterSpec,
    versions: Mapping[str, str],
    runs: Sequence[tuple[Mapping[Channel, Recorded], float]],
    baseline: Mapping[str, bytes],
) -> Recording:
    """Of golden runs: what was recorded in each (in one channel or more) and the seconds that it took."""
    channels = {}
    fields = _Fields()
    for channel in Channel:
        recorded = [told[channel] for told, _ in runs if channel in told]
        if recorded:
            channels[channel] = _conversation(channel, recorded, fields)
    made = Recording(
        workload,
        cluster_content(cluster),
        dict(versions),
        tuple(round(seconds, 3) for _, seconds in runs),
        channels,
        {key: _value(value, fields, secret="/secrets/" in key) for key, value in sorted(baseline.items())},
    )
    return recording_from_bytes(recording_to_bytes(made), name=workload)


class _Fields:
    """The fields of values, each looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[FieldValue]] = {}

    def __call__(self, value: bytes) -> list[FieldValue]:
        """None of bytes that are no object."""
        found = self._known.get(value)
        if found is None:
            try:
                found = list_fields(value)
            except InjectionError:
                found = []
            self._known[value] = found
        return found


def _value(content: bytes, fields: _Fields, *, secret: bool) -> Value:
    if not secret:
        return Value(content, len(content))
    return Value(None, len(content), tuple((item.path, item.type) for item in fields(content)))


def _is_secret(message: Message) -> bool:
    return message.kind == "Secret" or message.operation.endswith("/token")


def _subject(message: Message) -> Subject:
    return Subject(
        message.kind, message.group, message.identity, message.namespace, message.operation, message.component
    )


_Held = dict[Subject, dict[str, list[list[JSONValue]]]]
"""Subject → path → of each run what the field held, each time."""


def _conversation(channel: Channel, runs: Sequence[Recorded], fields: _Fields) -> Conversation:
    held: _Held = {}
    for number, run in enumerate(runs):
        for message in run.messages:
            present = fields(run.values[message.value]) if message.value is not None else []
            values: dict[str, JSONValue] = {WHOLE: None, **{item.path: item.value for item in present}}
            for subject in counted_as(channel, _subject(message)):
                paths = held.setdefault(subject, {})
                for path, value in values.items():
                    paths.setdefault(path, [[] for _ in runs])[number].append(_shortened(value))
    exemplary = max(runs, key=lambda run: _typical(channel, run, held))
    messages = tuple(_message(message, exemplary, fields) for message in exemplary.messages)
    secret = {_subject(message) for run in runs for message in run.messages if _is_secret(message)}
    hidden = {counted for subject in secret for counted in counted_as(channel, subject)}
    return Conversation(
        len(runs),
        messages,
        {subject: _seen(held[subject]) for subject in sorted(held)},
        {
            subject: varying
            for subject in sorted(held)
            if (varying := {} if subject in hidden else _varying(held[subject]))
        },
    )


def _shortened(value: JSONValue) -> JSONValue:
    """Long values differ from run to run, or are not compared."""
    return value if not isinstance(value, str) or len(value) <= _LONGEST else hashlib.sha256(value.encode()).hexdigest()


def _typical(channel: Channel, run: Recorded, held: _Held) -> int:
    """How many messages of all runs those of this one have a counterpart in."""
    own = Counter(subject for message in run.messages for subject in counted_as(channel, _subject(message)))
    return sum(min(len(run), own[subject]) for subject, paths in held.items() for run in paths[WHOLE])


def _varying(paths: Mapping[str, Sequence[Sequence[JSONValue]]]) -> dict[str, tuple[JSONValue, ...] | None]:
    found: dict[str, tuple[JSONValue, ...] | None] = {}
    for path, runs in sorted(paths.items()):
        together = zip_longest(*runs, fillvalue=_NOTHING)
        if any(len({repr(value) for value in each if value is not _NOTHING}) > 1 for each in together):
            values = {repr(value): value for run in runs for value in run}
            found[path] = tuple(values[key] for key in sorted(values)) if len(values) <= _MOST_VALUES else None
    return found


def _message(message: Message, run: Recorded, fields: _Fields) -> RecordedMessage:
    if message.value is None:
        return RecordedMessage(_subject(message), None)
    value = _value(run.values[message.value], fields, secret=_is_secret(message))
    return RecordedMessage(_subject(message), value)


def _seen(paths: Mapping[str, Sequence[Sequence[JSONValue]]]) -> tuple[Seen, ...]:
    by_counts: dict[tuple[int, ...], list[str]] = {}
    for path, runs in sorted(paths.items()):
        by_counts.setdefault(tuple(len(run) for run in runs), []).append(path)
    return tuple(Seen(counts, tuple(by_counts[counts])) for counts in sorted(by_counts))


# Writing


class _Table:
    """Things that are written once and named by their number."""

    def __init__(self) -> None:
        self.numbers: dict[object, int] = {}

    def __call__(self, thing: object) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))


def recording_to_bytes(recording: Recording) -> bytes:
    """The file's content."""
    values, paths, subjects = _Table(), _Table(), _Table()
    document = _document(recording, values, paths, subjects)
    blobs = [value for value in values.numbers if isinstance(value, bytes)]
    document["lengths"] = [len(blob) for blob in blobs]
    document["paths"] = [str(path) for path in paths.numbers]
    document["subjects"] = [list(subject) for subject in subjects.numbers if isinstance(subject, tuple)]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    content = text.encode() + b"\n" + b"".join(blobs)
    digest = hashlib.sha256(content).hexdigest()
    return lzma.compress(f"{_FORMAT} {SCHEMA} {digest}\n".encode() + content, preset=6)


def write_recording(recording: Recording, path: Path) -> None:
    """Whole or not at all. OSError as it comes."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(recording_to_bytes(recording))
    partial.rename(path)


def _document(recording: Recording, values: _Table, paths: _Table, subjects: _Table) -> dict[str, JSONValue]:
    """Values, paths and subjects are told by their number; a value is null, a number, or of a secret {size, fields}."""

    def value(held: Value | None) -> JSONValue:
        if held is None:
            return None
        if held.content is not None:
            return values(held.content)
        return {"size": held.size, "fields": [[paths(path), kind] for path, kind in held.fields]}

    def conversation(told: Conversation) -> JSONValue:
        return {
            "runs": told.runs,
            "messages": [[subjects(m.subject), value(m.value)] for m in told.messages],
            "seen": [
                [subjects(subject), [[list(each.counts), [paths(path) for path in each.paths]] for each in seen]]
                for subject, seen in told.seen.items()
            ],
            "varying": [
                [subjects(subject), [[paths(path), None if v is None else list(v)] for path, v in varying.items()]]
                for subject, varying in told.varying.items()
            ],
        }

    return {
        "workload": recording.workload,
        "cluster": dict(recording.cluster),
        "versions": dict(recording.versions),
        "seconds": list(recording.seconds),
        "channels": {channel.value: conversation(told) for channel, told in recording.channels.items()},
        "baseline": {key: value(held) for key, held in recording.baseline.items()},
    }


# Reading


def read_recording(path: Path) -> Recording:
    """The recording in a file. StoreError, which says what is wrong with it, if it can't be read, is none, is newer
    than this program, or was damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from error
    return recording_from_bytes(data, name=str(path))


def recording_from_bytes(data: bytes, *, name: str) -> Recording:
    """The recording in a file's content; `name` is what errors call it. StoreError as read_recording."""
    head, content = _opened(data, name)
    if int(head[1]) != SCHEMA:
        raise StoreError(f"{name}: a recording of schema {int(head[1])}; this program reads schema {SCHEMA}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != head[2].decode():
        raise StoreError(f"{name}: damaged: its content is not what was written (its hash differs); record anew")
    try:
        line, _, blobs = content.partition(b"\n")
        return _Reader(json.loads(line), blobs).recording(digest)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise StoreError(f"{name}: not a recording that this program wrote: {error!r:.120}") from error


def _opened(data: bytes, name: str) -> tuple[re.Match[bytes], bytes]:
    try:
        plain = lzma.decompress(data, format=lzma.FORMAT_XZ)
    except lzma.LZMAError as error:
        known = data.startswith(b"\xfd7zXZ\0")
        what = "damaged or cut off; record anew" if known else "not a recording: expected a .recording file"
        raise StoreError(f"{name}: {what} ({error})") from error
    head = _HEAD.match(plain)
    if head is None:
        raise StoreError(f"{name}: not a recording: it begins with {plain[:40]!r}")
    return head, plain[head.end() :]


class _Reader:
    """Turns the document's numbers into what they stand for. Errors are those of whatever is missing."""

    def __init__(self, document: dict[str, JSONValue], blobs: bytes) -> None:
        self._document = document
        self._paths = [str(path) for path in _list(document["paths"])]
        self._subjects = [Subject(*map(str, _list(row))) for row in _list(document["subjects"])]
        self._values: list[Value] = []
        at = 0
        for length in map(_whole, _list(document["lengths"])):
            self._values.append(Value(blobs[at : at + length], length))
            at += length
        if at != len(blobs):
            raise ValueError(f"expected {at} bytes of values, got {len(blobs)}")

    def recording(self, sha256: str) -> Recording:
        document = self._document
        channels = {
            Channel(name): self._conversation(_dict(told)) for name, told in _dict(document["channels"]).items()
        }
        return Recording(
            workload=str(document["workload"]),
            cluster=_dict(document["cluster"]),
            versions={name: str(version) for name, version in _dict(document["versions"]).items()},
            seconds=tuple(float(str(seconds)) for seconds in _list(document["seconds"])),
            channels={channel: channels[channel] for channel in Channel if channel in channels},
            baseline={key: held for key, told in _dict(document["baseline"]).items() if (held := self._value(told))},
            sha256=sha256,
        )

    def _value(self, told: JSONValue) -> Value | None:
        if told is None:
            return None
        if isinstance(told, int):
            return self._values[told]
        secret = _dict(told)
        rows = (_list(row) for row in _list(secret["fields"]))
        return Value(None, _whole(secret["size"]), tuple((self._paths[_whole(p)], str(kind)) for p, kind in rows))

    def _conversation(self, told: Mapping[str, JSONValue]) -> Conversation:
        rows = (_list(row) for row in _list(told["messages"]))
        messages = tuple(RecordedMessage(self._subjects[_whole(who)], self._value(value)) for who, value in rows)
        seen = {self._subjects[_whole(who)]: self._seen(_list(each)) for who, each in map(_list, _list(told["seen"]))}
        varying = {
            self._subjects[_whole(who)]: {self._paths[_whole(path)]: _values(v) for path, v in map(_list, _list(each))}
            for who, each in map(_list, _list(told["varying"]))
        }
        return Conversation(_whole(told["runs"]), messages, seen, varying)

    def _seen(self, told: Iterable[JSONValue]) -> tuple[Seen, ...]:
        return tuple(
            Seen(tuple(map(_whole, _list(counts))), tuple(self._paths[_whole(path)] for path in _list(paths)))
            for counts, paths in map(_list, told)
        )


def _values(told: JSONValue) -> tuple[JSONValue, ...] | None:
    return None if told is None else tuple(_list(told))


def _list(told: JSONValue) -> list[JSONValue]:
    if not isinstance(told, list):
        raise TypeError(f"expected a list, got {told!r:.40}")
    return told


def _dict(told: JSONValue) -> dict[str, JSONValue]:
    if not isinstance(told, dict):
        raise TypeError(f"expected an object, got {told!r:.40}")
    return told


def _whole(told: JSONValue) -> int:
    if type(told) is not int:
        raise TypeError(f"expected a whole number, got {told!r:.40}")
    return told
