"""The field table: which fields a stored message has, by number, name and type.

`fields.json` beside this file is drawn by tools/field_table.py from the Go modules' `generated.proto` and struct tags;
nobody edits it by hand. Its form (format 2; the first had no flag `p`):

    {"format": 2,
     "modules":  {module: version},
     "kinds":    {apiVersion: {"package": P, "kinds": [Kind, …]}},
     "packages": {P: {Message: [[number, name, type] or [number, name, type, flags], …]}}}

`name` is the API's JSON name. `type` is a protobuf scalar, `map<key,value>`, a message of the same package (bare) or of
another (with its package). `flags`: r repeated; i inlined in JSON (its fields stand beside its siblings); a the message
is nothing but this list in JSON (`ExtraValue`); z left out of JSON when zero; p stored only if it is set (a pointer or
bytes in Go; all else that is single is stored even if zero).

Loading takes about 5 ms, once a process; messages are built when first asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

__all__ = ["SCALARS", "Field", "FieldTable", "Message", "shipped_table"]

SCALARS: Mapping[str, int] = {
    "bool": 0, "int32": 0, "int64": 0, "uint32": 0, "uint64": 0,
    "double": 1, "string": 2, "bytes": 2, "float": 5,
}  # fmt: skip
"""Scalar types that the table has, with their wire types (protobuf.dev/programming-guides/encoding)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message. `type` is a scalar or a full message name; of the value where `map_key` is set.
    `wire_type`: of one unpacked occurrence; a map's entry is a message."""

    number: int
    name: str
    type: str
    repeated: bool = False
    map_key: str | None = None
    inline: bool = False
    alias: bool = False
    omit_zero: bool = False
    optional: bool = False
    wire_type: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wire_type = 2 if self.map_key is not None else SCALARS.get(self.type, 2)
        object.__setattr__(self, "wire_type", wire_type)


@dataclass(frozen=True, slots=True)
class Message:
    """One message by its full name, with its fields by number."""

    name: str
    fields: Mapping[int, Field]

    @property
    def alias(self) -> bool:
        return any(field.alias for field in self.fields.values())


Row = list[int | str]


class FieldTable:
    """Messages by full name, and by apiVersion and kind."""

    def __init__(self, text: str) -> None:
        data = json.loads(text)
        if data.get("format") != 2:
            raise ValueError(f"field table has format {data.get('format')!r}, this program reads 2")
        self.modules: Mapping[str, str] = data["modules"]
        self._packages: Mapping[str, Mapping[str, list[Row]]] = data["packages"]
        self._kinds: dict[tuple[str, str], str] = {
            (api_version, kind): f"{entry['package']}.{kind}"
            for api_version, entry in data["kinds"].items()
            for kind in entry["kinds"]
        }
        self._built: dict[str, Message] = {}

    def message(self, name: str) -> Message:
        """A message by its full name, e.g. `k8s.io.api.core.v1.PodSpec`. Raises KeyError if there is none."""
        found = self._built.get(name)
        if found is None:
            package, _, short = name.rpartition(".")
            rows = self._packages[package][short]
            fields = {int(row[0]): _field(row, package) for row in rows}
            found = self._built[name] = Message(name, fields)
        return found

    def of_kind(self, api_version: str, kind: str) -> Message | None:
        """The message that stores a kind, None where the table has none (custom resources)."""
        name = self._kinds.get((api_version, kind))
        return self.message(name) if name is not None else None

    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Every (apiVersion, kind), sorted."""
        return tuple(sorted(self._kinds))

    def message_names(self) -> tuple[str, ...]:
        """Full names of all messages, sorted."""
        return tuple(sorted(f"{package}.{short}" for package, own in self._packages.items() for short in own))


def _full_name(declared: str, package: str) -> str:
    return declared if declared in SCALARS or "." in declared else f"{package}.{declared}"


def _field(row: Row, package: str) -> Field:
    number, name, declared, *rest = row
    flags, type_name, map_key = str(rest[0]) if rest else "", str(declared), None
    if type_name.startswith("map<"):
        map_key, type_name = type_name[4:-1].split(",")
    return Field(
        number=int(number),
        name=str(name),
        type=_full_name(type_name, package),
        repeated="r" in flags,
        map_key=map_key,
        inline="i" in flags,
        alias="a" in flags,
        omit_zero="z" in flags,
        optional="p" in flags,
    )


@lru_cache(maxsize=1)
def shipped_table() -> FieldTable:
    """The table that ships with the package."""
    return FieldTable(files("injector.codec").joinpath("fields.json").read_text(encoding="utf-8"))
