"""bit-flip: one bit of one field's value is inverted.

`bit`        which, counted from the lowest: 0-31 for int32, 0-63 for int64, 0-6 for a character of a string (0-7 for a
             byte of `bytes`); default 0
`character`  of a string: first (default), middle, or an index from 0; of `bytes`, the byte

Numbers are flipped in two's complement and written as Kubernetes writes them, so bit 31 of an int32 is its sign. A
character's low bits are flipped in its code point: the text stays valid UTF-8 and keeps its number of characters.
"""

from __future__ import annotations

from injector.codec import Located, Place, content_of, encode_value, integer_range, payload_of
from injector.errors import FaultError
from injector.faults.field_change import change_field, need_field
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, Parameter, integer
from injector.rules import JSONValue

__all__ = ["BitFlip"]

_STRING_BITS = 7
"""A code point's lowest seven bits: any of them flips without leaving its block of 128, so never into surrogates."""


def _is_character(value: JSONValue) -> bool:
    return value in ("first", "middle") if isinstance(value, str) else integer("", 0).test(value)


class BitFlip(Declared):
    name = "bit-flip"
    scope = Scope.FIELD
    declared = (
        integer("bit", 0, 63),
        Parameter("character", "first, middle or a whole number >= 0", _is_character),
    )
    causes = (
        Cause(
            Origin.MEMORY,
            "a bit flips in the component that computed or serialised the value (no ECC, or an "
            "error that it does not see)",
        ),
        Cause(
            Origin.NETWORK,
            "a bit flips in a network card's buffer or on disk, and the checksum is computed after it",
        ),
        Cause(Origin.SOFTWARE, "an off-by-one or sign error in a controller, as far as its effect goes"),
    )
    incidents = ("etcd-pod-bytes-flipped",)

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        field = need_field(located, self.name)
        bit = parameters.get("bit", 0)
        assert isinstance(bit, int)
        if field.type in ("string", "bytes"):
            return change_field(value, field, _flip_text(field, bit, parameters.get("character", "first")))
        if "character" in parameters:
            raise FaultError(f"{field.path} is of type {field.type}; `character` is for strings")
        if integer_range(field.type) is None:
            hint = "; boolean-invert is for booleans" if field.type == "bool" else ""
            raise FaultError(f"{field.path} is of type {field.type}; bit-flip is for integers, strings and bytes{hint}")
        return change_field(value, field, _flip_integer(field, bit))


def _flip_integer(field: Located, bit: int) -> bytes:
    limits = integer_range(field.type)
    assert limits is not None and isinstance(field.value, int)
    width = (limits[1] - limits[0]).bit_length()
    if bit >= width:
        raise FaultError(f"{field.path} is of type {field.type}; it has bits 0 to {width - 1}, got {bit}")
    flipped = (field.value & (1 << width) - 1) ^ (1 << bit)
    if limits[0] < 0 and flipped >> (width - 1):
        flipped -= 1 << width
    return encode_value(field, flipped)


def _flip_text(field: Located, bit: int, character: JSONValue) -> bytes:
    content = content_of(field)
    # Text that is not UTF-8 (an earlier fault) is flipped byte by byte, like bytes.
    try:
        text = None if field.type == "bytes" else content.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    length, bits = (len(content), 8) if text is None else (len(text), _STRING_BITS)
    if not length:
        raise FaultError(f"{field.path} is empty; there is no bit to flip")
    at = {"first": 0, "middle": length // 2}.get(character, 0) if isinstance(character, str) else character
    assert isinstance(at, int)
    if at >= length or bit >= bits:
        raise FaultError(
            f"{field.path} has characters 0 to {length - 1} with bits 0 to {bits - 1}; got character {at}, bit {bit}"
        )
    if text is None:
        return payload_of(field, content[:at] + bytes((content[at] ^ (1 << bit),)) + content[at + 1 :])
    return payload_of(field, (text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]).encode("utf-8"))
