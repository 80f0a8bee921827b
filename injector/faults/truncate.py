"""truncate: the end is missing.

`keep`  how many bytes are left; without it and without `lose` it is half of them
`lose`  instead: how many bytes are missing

Of a text or `bytes` field its value is cut (a text between two characters), and the object stays decodable. Of the
whole message the stored bytes are cut, and it hardly ever does.
"""

from __future__ import annotations

from injector.codec import Located, Place, content_of, payload_of
from injector.errors import FaultError
from injector.faults.field_change import change_field, need_field
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared, integer

__all__ = ["Truncate"]


class Truncate(Declared):
    name = "truncate"
    scope = Scope.EITHER
    declared = (integer("keep", 0), integer("lose", 1))
    exclusive = ("keep", "lose")
    causes = (
        Cause(
            Origin.MEMORY,
            "a write that is cut short: a full disk, a power cut, a process that is killed in mid-write",
        ),
        Cause(
            Origin.SOFTWARE,
            "a buffer or column that is too small, a length that is counted in characters instead of bytes",
        ),
        Cause(Origin.HUMAN, "a template or a shell that cuts at a special character"),
    )
    incidents = ("etcd-node-invalid-json-blocks-list",)

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        if located is None:
            kept = _kept(len(value), parameters, "the message")
            return Change(after=value[:kept], span=(kept, len(value)))
        field = need_field(located, self.name)
        if field.type not in ("string", "bytes"):
            raise FaultError(f"{field.path} is of type {field.type}; truncate is for strings and bytes")
        content = content_of(field)
        kept = _kept(len(content), parameters, field.path)
        if field.type == "string":
            while kept and content[kept] & 0xC0 == 0x80:  # inside a character of UTF-8
                kept -= 1
        return change_field(value, field, payload_of(field, content[:kept]))


def _kept(size: int, parameters: Parameters, what: str) -> int:
    lose = parameters.get("lose")
    keep = size - lose if isinstance(lose, int) else parameters.get("keep", size // 2)
    assert isinstance(keep, int)
    if not 0 <= keep < size:
        raise FaultError(f"{what} has {size} bytes; it can't be cut to {keep}")
    return keep
