"""byte-flip: bits of one byte of the encoding are inverted, whatever that byte means. The result need not decode.

`offset`  which byte, from 0; negative counts from the end; default 0
`part`    counted within raw (default; the object's own bytes, all of an object stored as JSON, the ciphertext of an
          encrypted one) or envelope (what comes before them: magic, apiVersion, kind, lengths, an encrypted value's
          prefix; empty for JSON). With a field: within the field's value, without `part`
`bit`     0-7 (default 0), or `xor`: a mask of 1-255
"""

from __future__ import annotations

from injector.codec import Located, Place, decode_value, raw_span
from injector.errors import CodecError, FaultError
from injector.faults.field_change import need_field
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, integer, one_of
from injector.rules import JSONValue

__all__ = ["ByteFlip"]


class ByteFlip(Declared):
    name = "byte-flip"
    scope = Scope.EITHER
    declared = (
        integer("offset"),
        integer("bit", 0, 7),
        integer("xor", 1, 255),
        one_of("part", ("raw", "envelope")),
    )
    exclusive = ("bit", "xor")
    causes = (
        Cause(
            Origin.MEMORY,
            "a byte goes bad between serialisation and disk: memory, a buffer, the page cache "
            "(bbolt does not checksum values)",
        ),
        Cause(Origin.NETWORK, "a proxy or a network card's offload corrupts what it passes on"),
        Cause(Origin.SOFTWARE, "a serialiser writes a wrong tag or length"),
    )
    incidents = (
        "etcd-pod-bytes-flipped",
        "etcd-node-invalid-json-blocks-list",
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        if located is not None and "part" in parameters:
            raise FaultError(f"`part` is for faults on the whole message; the target names the field {located.path}")
        part = str(parameters.get("part", "raw"))
        field = need_field(located, self.name) if located is not None else None
        start, end = field.span if field is not None else _part(value, part)
        offset, mask = parameters.get("offset", 0), parameters.get("xor", 0)
        bit = parameters.get("bit", 0)
        assert isinstance(offset, int) and isinstance(mask, int) and isinstance(bit, int)
        position = (end if offset < 0 else start) + offset
        if not start <= position < end:
            where = field.path if field is not None else f"the message's {part}"
            raise FaultError(f"{where} has {end - start} bytes; there is no byte {offset}")
        flipped = bytes((value[position] ^ (mask or 1 << bit),))
        after = value[:position] + flipped + value[position + 1 :]
        if field is None:
            return Change(after=after, span=(position, position + 1))
        return Change(
            after=after,
            span=(position, position + 1),
            field_before=field.value,
            field_after=_shown(after[start:end], field),
        )


def _part(value: bytes, part: str) -> tuple[int, int]:
    """Where the part lies. Raises CodecError for a value that is no stored object."""
    start, end = raw_span(value)
    return (start, end) if part == "raw" else (0, start)


def _shown(payload: bytes, located: Located) -> JSONValue:
    """The field's value after the flip; its bytes in words where they are no value of its type any more."""
    try:
        return decode_value(located, payload)
    except CodecError:
        return f"bytes {payload.hex()}"
