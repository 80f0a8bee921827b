"""What is done to a field, to a message, to a stored object: the paper's rules, and those for its other fault models.

Data. The paper (Mutiny!, DSN 2024, arXiv 2404.11169) flips bits of fields, sets them to wrong values of their type, and
drops messages; which bits and which values is design.md's reading of it ("Planning (after the paper)"):

    integers    several bit positions: the lowest, the fifth (16), the sign
    strings     the lowest bit of the first and of a middle character
    booleans    inverted
    by type     0, -1, the greatest; the empty string; the value that another object has there
    messages    dropped, its sender told an error, nothing, or success; random flips in the encoding

What can't do anything, or not what it says, is listed with its reason in NEVER; what is left out unless a spec asks for
it by name, in UNASKED. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from injector.rules import JSONValue
from injector.targets import Channel

__all__ = [
    "BYTE_FLIPS",
    "DEFAULT_MODELS",
    "ENCODING",
    "FAMILIES",
    "FIELD_VARIANTS",
    "MESSAGE_VARIANTS",
    "NEVER",
    "UNASKED",
    "Variant",
    "Where",
    "never",
]


@dataclass(frozen=True, slots=True)
class Variant:
    """One fault done to every field of a type, or to every message. `other`: the value is another object's; `words`
    tell what is done, for the plan's reader."""

    model: str
    words: str
    parameters: Mapping[str, JSONValue] = field(default_factory=dict)
    other: bool = False


_FLIP, _SET = "bit-flip", "value-set"
_REMOVE = Variant("field-remove", "is missing")
_OTHER = Variant(_SET, "has another object's value", other=True)
_TEXT = (
    Variant(_FLIP, "has one bit of its first character flipped", {"bit": 0, "character": "first"}),
    Variant(_FLIP, "has one bit of a middle character flipped", {"bit": 0, "character": "middle"}),
    Variant(_SET, "is empty", {"extreme": "empty"}),
    Variant("truncate", "loses its second half"),
    _REMOVE,
)


def _integer(sign_bit: int | None) -> tuple[Variant, ...]:
    flips = [(0, "its lowest bit"), (4, "bit 4"), *([(sign_bit, "its sign")] if sign_bit is not None else [])]
    return (
        *(Variant(_FLIP, f"has {what} flipped", {"bit": bit}) for bit, what in flips),
        Variant(_SET, "is 0", {"extreme": "zero"}),
        *([Variant(_SET, "is -1", {"extreme": "minus-one"})] if sign_bit is not None else []),
        Variant(_SET, "is the greatest that its type holds", {"extreme": "max"}),
        _OTHER,
        _REMOVE,
    )


FIELD_VARIANTS: Mapping[str, tuple[Variant, ...]] = {
    "string": (*_TEXT[:3], _OTHER, *_TEXT[3:]),
    "bytes": _TEXT,
    "bool": (Variant("boolean-invert", "is inverted"), _REMOVE),
    **{name: _integer(31) for name in ("int32", "sint32", "sfixed32")},
    **{name: _integer(63) for name in ("int64", "sint64", "sfixed64")},
    **{name: _integer(None) for name in ("uint32", "uint64", "fixed32", "fixed64")},
    "double": (_REMOVE,),
    "float": (_REMOVE,),
    "null": (_REMOVE,),
}
"""By the scalar type as the codec tells it."""

MESSAGE_VARIANTS: tuple[Variant, ...] = (
    Variant("drop", "is lost, and its sender is told of an error", {"told": "error"}),
    Variant("drop", "is lost, and its sender is told nothing", {"told": "timeout"}),
    Variant("drop", "is lost, and its sender is told that all is well", {"told": "success"}),
    Variant("truncate", "loses its second half"),
    Variant("delay", "is 5 s late", {"seconds": 5}),
    Variant("duplicate", "comes twice", {"copies": 2}),
    Variant("reorder", "is overtaken by the one behind it", {"behind": 1}),
    Variant("stale", "carries the version before"),
    Variant("wrong-key", "goes to another object's key", other=True),
)

ENCODING = "byte-flip"
BYTE_FLIPS = 2
"""Random flips in the encoding of each message: one bit of one byte, both from the seed."""

FAMILIES: Mapping[str, str] = {"boolean-invert": _FLIP}
"""Models that are counted as another in a stratum: an inverted boolean is a flipped bit."""

DEFAULT_MODELS = (_FLIP, "boolean-invert", _SET, "drop", ENCODING)
"""Where a spec names none: the paper's, and flips in the encoding."""


@dataclass(frozen=True, slots=True)
class Where:
    """Faults that are left out: where all that is said here holds, and why. An operation stands for its subresources
    as well."""

    model: str
    why: str
    channel: Channel | None = None
    operations: tuple[str, ...] = ()
    told: str | None = None


_WRITES, _READS = Channel.APISERVER_TO_ETCD, Channel.ETCD_TO_APISERVER
_REQUESTS, _ANSWERS = Channel.COMPONENT_TO_APISERVER, Channel.APISERVER_TO_COMPONENT
_ONE_ANSWER = "one answer to one question can't come twice or be overtaken"

NEVER: tuple[Where, ...] = (
    Where("duplicate", "a write is guarded by its revision: the copy does nothing", _WRITES),
    Where("duplicate", "a copy of it is refused: it has the name or revision of the first", _REQUESTS),
    Where("duplicate", _ONE_ANSWER, _READS, ("range", "txn-range")),
    Where("duplicate", _ONE_ANSWER, _ANSWERS, ("get", "list", "answer")),
    Where("reorder", _ONE_ANSWER, _READS, ("range", "txn-range")),
    Where("reorder", _ONE_ANSWER, _ANSWERS, ("get", "list", "answer")),
    Where("reorder", "a client waits for one write before the next of the same object", _WRITES),
    Where("drop", "a lost event of a watch is told to nobody: it is planned once", _READS, ("watch",), "timeout"),
    Where("drop", "a lost event of a watch is told to nobody: it is planned once", _READS, ("watch",), "success"),
    Where("drop", "a lost event of a watch is told to nobody: it is planned once", _ANSWERS, ("watch",), "timeout"),
    Where("drop", "a lost event of a watch is told to nobody: it is planned once", _ANSWERS, ("watch",), "success"),
    Where("drop", "an answer to a write can't be told as a success without it", _ANSWERS, ("answer",), "success"),
    Where("drop", "the success of a patch or of this subresource can't be made up", _REQUESTS, ("patch",), "success"),
    Where("wrong-key", "in the file a value stays under its key", Channel.AT_REST_SILENT),
    Where("stale", "no version before it is known", Channel.AT_REST_SILENT),
    Where("wrong-key", "what is read has no key but its own name", _ANSWERS),
    Where("wrong-key", "a request names its object: kube-apiserver refuses another path", _REQUESTS),
    Where("stale", "what a component read before has its own revision: kube-apiserver refuses it", _REQUESTS),
    *(
        Where(model, "at rest nothing is on its way", channel)
        for model in ("drop", "delay", "duplicate", "reorder")
        for channel in (Channel.AT_REST_WRITE, Channel.AT_REST_SILENT)
    ),
)

UNASKED: Mapping[str, str] = {
    "Event": "nothing decides by an Event (`targets: {kinds: [Event]}` plans them)",
}
"""Kinds that are left out unless a spec names them."""


def never(model: str, channel: Channel, operation: str, told: JSONValue) -> str | None:
    """Why that fault is left out; None if it is not."""
    plain = operation.partition("/")[0]
    for where in NEVER:
        if where.model != model or where.channel not in (None, channel):
            continue
        if (not where.operations or plain in where.operations) and where.told in (None, told):
            return where.why
    return None
