"""What the codec says of one field or node of a stored object, however the object is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from injector.codec.envelope import Span, Storage
from injector.rules import JSONValue

__all__ = ["ANY", "Cut", "FieldValue", "Located", "Place"]

ANY = "any"
"""The type of a field that is absent from JSON or CBOR: nothing says what it would hold, any single value fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """One field of one stored object: where it lies and what it is.

    path             as asked for
    type             protobuf: scalar type on the wire (`string`, `bytes`, `bool`, `int32`, `int64`, `double`, …).
                     JSON and CBOR: what the token is, `string`, `int64`, `double`, `bool`, `null`, `bytes` (CBOR alone;
                     JSON has them as text), or `any` where it is absent
    kubernetes_type  what the API calls it: `IntOrString`, `Quantity`, `Time`, … or the same as `type`
    wire_type        protobuf's, 0, 1, 2 or 5; None in JSON and CBOR
    present          False for a single value that is not there; `span` is then empty and says where it belongs
    span             [start, end) of the payload in the stored value: protobuf's without tag and length, JSON's whole
                     token with its quotes, CBOR's whole item with its head (without tags)
    payload          the bytes in `span`
    value            the payload as JSON; None where it is absent
    enclosing        protobuf: spans whose lengths depend on it, outermost first; a length-delimited field's own is the
                     last
    tag              what has to be written before the payload if the field is absent (protobuf: its tag; JSON: comma
                     and name; CBOR: name), else b""
    storage          how the object is stored
    counted          CBOR: [start, end) of the head that counts an absent field's siblings, None in one without a count
    """

    path: str
    type: str
    kubernetes_type: str
    wire_type: int | None
    present: bool
    span: tuple[int, int]
    payload: bytes
    value: JSONValue
    enclosing: tuple[Span, ...]
    tag: bytes = b""
    storage: Storage = Storage.PROTOBUF
    counted: tuple[int, int] | None = None


class FieldValue(NamedTuple):
    """One leaf field that is present: a path that `locate` takes, and what it finds there (see Located)."""

    path: str
    type: str
    value: JSONValue
    kubernetes_type: str
    wire_type: int | None
    span: tuple[int, int]


class Cut(NamedTuple):
    """Bytes [start, end) whose removal takes one occurrence away.

    enclosing  protobuf: the spans whose lengths depend on it
    counted    CBOR: [start, end) of the head that counts it
    """

    start: int
    end: int
    enclosing: tuple[Span, ...] = ()
    counted: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Any node of a stored object: a single value, a message, an element, a map's entry, or a list or map as a whole.

    type    the scalar type, or the message's short name; JSON and CBOR: also `object` and `array`
    value   the node as JSON
    cuts    what to remove so that the object lacks the node and nothing else, in the order of the bytes
    size    of the stored value, in bytes
    """

    path: str
    type: str
    value: JSONValue
    storage: Storage
    cuts: tuple[Cut, ...]
    size: int

    @property
    def span(self) -> tuple[int, int]:
        """[start, end) from the first byte to the last that belongs to the node; others may lie between."""
        return self.cuts[0].start, self.cuts[-1].end
