"""Bodies of the Kubernetes API, cut into the objects that they carry, and put together again around a changed one.

    application/vnd.kubernetes.protobuf     `k8s\\0` and runtime.Unknown, as stored (injector.codec.envelope)
    …;stream=watch                          metav1.WatchEvent { 1 type, 2 object { 1 raw } }, raw is `k8s\\0` …; the
                                            event itself has no envelope
    application/json                        an object, a list { items: […] }, a watch's { type, object } a line
    application/merge-patch+json            a part of an object, without its kind
    application/strategic-merge-patch+json  the same, with directives such as `$setElementOrder/conditions`
    application/apply-patch+yaml            an object that names only what its manager wants; in JSON, YAML is bytes
    application/json-patch+json             a list of steps: bytes, no fields
    application/cbor                        single objects; lists and watches are not looked at

Sources: k8s.io/apimachinery v0.36.3, pkg/runtime/serializer/protobuf, pkg/apis/meta/v1/generated.proto; what a real
kube-apiserver 1.36.3 sent.

The codec takes stored values, which name their kind. Where a message leaves it out, a part's value has it added: items
of protobuf lists are put into an envelope of their own, JSON without a kind gets it at its end, so that every offset
and span in the value is one in the message. What was added must come out of a fault as it went in.

Tables (`as=Table`) are noted as not looked at. PartialObjectMetadata (`as=PartialObjectMetadata`, what the garbage
collector watches) is an object with metadata and no more.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from injector.channels.protobuf import Field, delimited, exchanged, fields_of, tagged
from injector.codec import StoredObject, encode_varint, read
from injector.codec.envelope import CBOR_MAGIC, MAGIC, open_envelope
from injector.codec.items import Item, members_by_name
from injector.codec.json_tokens import scan_json
from injector.errors import CodecError, FaultError, WireError
from injector.wire.exchange import HttpAnswer

__all__ = [
    "JSON",
    "PROTOBUF",
    "Event",
    "Part",
    "Status",
    "event_in",
    "media_type",
    "object_in",
    "objects_in",
    "replaced",
    "status_answer",
    "status_in",
    "without_part",
]

PROTOBUF, JSON = "application/vnd.kubernetes.protobuf", "application/json"

_PATCHES = frozenset({"merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"})
_EVENT = re.compile(rb'\{"type":"(\w+)","object":(?=\{)')
"""As Go writes an event; others are scanned."""

_TYPE, _OBJECT, _RAW = 0x0A, 0x12, 0x0A
_ITEMS, _UNKNOWN_TYPE, _UNKNOWN_RAW = 0x12, 0x0A, 0x12
_STATUS, _MESSAGE, _REASON, _CODE = 0x12, 0x1A, 0x22, 0x30


class Part(NamedTuple):
    """One object in a message.

    value    as the codec takes it, with what was added
    start, end   its own bytes in the message
    around   protobuf: the fields whose lengths depend on it, outermost first, its own the last
    head     what was added before its own bytes: an envelope's beginning, with the length of what follows
    tail     what was added behind them, in JSON in place of the last brace
    opaque   it is no object that could be read; only its bytes can be changed
    """

    value: bytes
    start: int
    end: int
    around: tuple[Field, ...] = ()
    head: bytes = b""
    tail: bytes = b""
    opaque: bool = False

    @property
    def wrapped(self) -> bool:
        return bool(self.head or self.tail)

    def own(self, after: bytes) -> bytes:
        """The part's own bytes, out of what a fault made of its value. FaultError where what was added is harmed."""
        if not self.wrapped:
            return after
        if len(after) < len(self.value) and self.value.startswith(after):  # cut
            kept = after[len(self.head) :]
            if len(after) > len(self.head) and len(kept) < self.end - self.start - (0 if self.head else 1):
                return kept
        elif self.head:
            return self._out_of_envelope(after)
        elif (at := after.rfind(self.tail[:-1])) >= 0:
            rest = after[at + len(self.tail) - 1 :]
            return after[:at] + (rest if self.tail.startswith(b",") else rest.removeprefix(b","))
        raise FaultError("the fault hits the object's kind, which this message does not carry")

    def _out_of_envelope(self, after: bytes) -> bytes:
        try:
            raw = open_envelope(after).raw
        except CodecError:
            raw = None
        kind_end = _kind_end(self.value)
        if raw is None or after[:kind_end] != self.value[:kind_end] or after[raw.end :] != self.tail:
            raise FaultError("the fault hits the object's envelope, which this message does not carry")
        return after[raw.start : raw.end]

    def shown(self, value: bytes) -> bytes:
        """The value, or what became of it, as a firing has it: the bytes of the message itself, but items of protobuf
        lists in their envelope, without which nobody can tell what they are."""
        return value if self.head and not self.opaque else self.own(value) if value else value

    def span(self, changed: tuple[int, int]) -> tuple[int, int]:
        """A span in the value as one in what is shown."""
        less = len(self.head) if self.opaque else 0
        most = len(self.value) if self.head and not self.opaque else self.end - self.start
        start, end = (max(0, min(most, at - less)) for at in changed)
        return start, end


class Event(NamedTuple):
    """One event of a watch: ADDED, MODIFIED or DELETED with its object; BOOKMARK and ERROR have none (`part` None)."""

    type: str
    part: Part | None


class Status(NamedTuple):
    """A metav1.Status: `Success` or `Failure`, why in one word and in a sentence."""

    status: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.reason and self.message else self.reason or self.message


def media_type(content_type: str | None) -> str:
    """`application/json` of `application/json;as=Table;…`."""
    return (content_type or "").partition(";")[0].strip().lower()


def object_in(body: bytes, content_type: str | None, *, api_version: str, kind: str) -> Part:
    """The one object of a request's body or of an answer. A patch is taken for one of `kind`. What can't be read as an
    object is opaque."""
    form = media_type(content_type).removeprefix("application/")
    if form in _PATCHES or (form == "json" and body.lstrip()[:1] == b"{"):
        try:
            return _document(body, scan_json(body), api_version, kind)
        except CodecError:
            return _opaque(body)
    return Part(body, 0, len(body)) if body.startswith((MAGIC, CBOR_MAGIC)) else _opaque(body)


def objects_in(body: bytes, content_type: str | None) -> list[Part]:
    """The items of a list, in order; of what is no list, the object itself. Raises CodecError where it can't be read or
    is a Table."""
    if body.startswith(MAGIC):
        return _protobuf_items(body)
    if body.startswith(CBOR_MAGIC) or not body.lstrip().startswith(b"{"):
        raise CodecError(f"a list in {media_type(content_type) or 'no format'} is not looked at")
    top = scan_json(body)
    members = members_by_name(top)
    kind, version = (str(members[name].item.value) if name in members else "" for name in ("kind", "apiVersion"))
    if kind == "Table":
        raise CodecError("a Table is not looked at")
    if "items" not in members or not kind.endswith("List"):
        return [_document(body, top, version, kind)]
    items = members["items"].item.members
    return [_document(body, item.item, version, kind.removesuffix("List")) for item in items]


def event_in(message: bytes) -> Event:
    """Raises CodecError or WireError for what is no event of a watch."""
    if message[:1] != b"{":
        return _protobuf_event(message)
    if (found := _EVENT.match(message)) and message.endswith(b"}}"):
        kind, span = found[1].decode(), (found.end(), len(message) - 1)
    else:
        members = members_by_name(scan_json(message))
        if "type" not in members or "object" not in members:
            raise CodecError("a line that is no event of a watch")
        item = members["object"].item
        kind, span = str(members["type"].item.value), (item.start, item.end)
    return Event(kind, Part(message[slice(*span)], *span) if kind in _WITH_OBJECT else None)


_WITH_OBJECT = ("ADDED", "MODIFIED", "DELETED")


def replaced(message: bytes, part: Part, after: bytes) -> bytes:
    """The message with another value in the part; every other byte but the lengths around it stays. FaultError as of
    `Part.own`."""
    content = part.own(after)
    if part.around:
        return exchanged(message, part.around, content)
    return message[: part.start] + content + message[part.end :]


def without_part(message: bytes, part: Part) -> bytes:
    """A list without one of its items."""
    if part.around:
        *around, own = part.around
        list_field = around[-1]
        content = message[list_field.start : own.at] + message[own.end : list_field.end]
        return exchanged(message, around, content)
    before, after = message[: part.start].rstrip(), message[part.end :].lstrip()
    if after.startswith(b","):
        return before + after[1:]
    return before.removesuffix(b",") + after


def status_in(body: bytes) -> Status | None:
    """The Status that a body is, None where it is none."""
    try:
        found = read(body)
        if found.kind != "Status":
            return None
        return _protobuf_status(body) if body.startswith(MAGIC) else _json_status(found)
    except (CodecError, WireError):
        return None


def status_answer(code: int, accept: str | None, *, reason: str = "", message: str = "") -> HttpAnswer:
    """A Status as kube-apiserver makes one, in protobuf where the client asked for it first, else in JSON."""
    status = "Success" if code < 400 else "Failure"
    if media_type((accept or "").partition(",")[0]) != PROTOBUF:
        tree = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status}
        told = {"message": message, "reason": reason, "code": code}
        text = json.dumps(tree | {key: value for key, value in told.items() if value}, separators=(",", ":"))
        return HttpAnswer(code, JSON, text.encode() + b"\n")
    raw = delimited(0x0A, _NO_LIST) + delimited(_STATUS, status.encode()) + delimited(_MESSAGE, message.encode())
    raw += delimited(_REASON, reason.encode()) + tagged(_CODE, code)
    return HttpAnswer(code, PROTOBUF, _envelope_head("v1", "Status", len(raw)) + raw + _TAIL)


def _protobuf_status(body: bytes) -> Status:
    raw = open_envelope(body).raw
    texts: dict[int, str] = {}
    for field in fields_of(body, raw.start, raw.end) if raw is not None else ():
        if field.tag in (_STATUS, _MESSAGE, _REASON):
            texts[field.tag] = body[field.start : field.end].decode(errors="backslashreplace")
    return Status(texts.get(_STATUS, ""), texts.get(_REASON, ""), texts.get(_MESSAGE, ""))


def _json_status(found: StoredObject) -> Status:
    status, reason, message = (str(found.tree.get(name) or "") for name in ("status", "reason", "message"))
    return Status(status, reason, message)


_NO_LIST = b"".join(delimited(tag, b"") for tag in (0x0A, 0x12, 0x1A))
"""ListMeta: selfLink, resourceVersion, continue; written though they are empty."""

_TAIL = delimited(0x1A, b"") + delimited(0x22, b"")
"""contentEncoding and contentType, which Kubernetes writes though they are empty."""


def _envelope_head(api_version: str, kind: str, size: int) -> bytes:
    named = delimited(0x0A, api_version.encode()) + delimited(0x12, kind.encode())
    return MAGIC + delimited(_UNKNOWN_TYPE, named) + bytes((_UNKNOWN_RAW,)) + encode_varint(size)


def _kind_end(value: bytes) -> int:
    """Where the envelope's typeMeta ends."""
    return fields_of(value, len(MAGIC), len(value))[0].end


def _opaque(body: bytes) -> Part:
    """Bytes that are no object, as if they were one in an envelope, so that models count them as they count its own."""
    head = _envelope_head("mutineer", "Bytes", len(body))
    return Part(head + body, 0, len(body), head=head, opaque=True)


def _document(body: bytes, item: Item, api_version: str, kind: str) -> Part:
    """A JSON object within `body`; its kind is added where it lacks it."""
    own = body[item.start : item.end]
    if item.type != "object":
        raise CodecError(f"byte {item.start}: expected an object, got {item.type}")
    members = members_by_name(item)
    wanted = {"apiVersion": api_version, "kind": kind}
    lacking = {name: text for name, text in wanted.items() if name not in members and text}
    if not lacking:
        return Part(own, item.start, item.end)
    added = json.dumps(lacking, separators=(",", ":")).encode()[1:]
    tail = (b"," if item.members else b"") + added
    return Part(own[:-1] + tail, item.start, item.end, tail=tail)


def _protobuf_items(body: bytes) -> list[Part]:
    envelope = open_envelope(body)
    raw = envelope.raw
    if raw is None:
        return []
    if not envelope.kind.endswith("List"):
        return [Part(body, 0, len(body))]
    kind = envelope.kind.removesuffix("List")
    field = next(f for f in fields_of(body, len(MAGIC), len(body)) if f.tag == _UNKNOWN_RAW and f.end == raw.end)
    found = []
    for item in fields_of(body, raw.start, raw.end):
        if item.tag == _ITEMS:
            head = _envelope_head(envelope.api_version, kind, item.end - item.start)
            value = head + body[item.start : item.end] + _TAIL
            found.append(Part(value, item.start, item.end, (field, item), head, _TAIL))
    return found


def _protobuf_event(message: bytes) -> Event:
    top = {field.tag: field for field in fields_of(message, 0, len(message))}
    if _TYPE not in top or _OBJECT not in top:
        raise CodecError("a message that is no event of a watch")
    kind, around = message[top[_TYPE].start : top[_TYPE].end].decode(errors="replace"), top[_OBJECT]
    raw = next((f for f in fields_of(message, around.start, around.end) if f.tag == _RAW), None)
    if kind not in _WITH_OBJECT or raw is None:
        return Event(kind, None)
    return Event(kind, Part(message[raw.start : raw.end], raw.start, raw.end, (around, raw)))
