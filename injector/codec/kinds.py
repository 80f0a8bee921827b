"""What the field table has of a kind: which kind is meant by a name, and every path that its objects can have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from injector.codec.nodes import INT_OR_STRING, LEAF_FIELDS, short
from injector.codec.paths import join
from injector.codec.table import SCALARS, Field, shipped_table
from injector.errors import InputError, Problem

__all__ = ["FieldPath", "KindName", "find_kind", "find_kinds", "paths_of"]

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STAGES = {"alpha": 0, "beta": 1, None: 2}
_NEAR = 5


class KindName(NamedTuple):
    """One kind in one version."""

    api_version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


class FieldPath(NamedTuple):
    """One field that objects of a kind can have.

    path             lists as `[]`, maps as `[KEY]`
    type             scalar type of what is stored; `int32 or string` of an IntOrString; `message` where a path ends in
                     a message without fields, or in one that it has passed before (`recursive`)
    kubernetes_type  `IntOrString`, `Quantity`, `Time`, … or the scalar again, as in `Located`
    wire_type        of that scalar: 0, 1, 2 or 5; None where it depends on the value
    """

    path: str
    type: str
    kubernetes_type: str
    wire_type: int | None
    recursive: bool = False


def find_kinds(name: str) -> tuple[KindName, ...]:
    """Every kind of the table that `Deployment`, `Deployment.v1.apps`, `Pod.v1` or `apps/v1/Deployment` may mean, the
    likeliest first: the newest stable version, built-in groups before others. Case does not matter. Empty if none."""
    wanted = name.lower()
    found = [each for each in map(KindName._make, shipped_table().kinds()) if wanted in _spellings(each)]
    return tuple(sorted(found, key=_likelihood, reverse=True))


def find_kind(name: str) -> KindName:
    """The likeliest of `find_kinds`. Raises InputError with near names where there is none."""
    found = find_kinds(name)
    if found:
        return found[0]
    known = {
        spelling: str(each) for each in map(KindName._make, shipped_table().kinds()) for spelling in _spellings(each)
    }
    near = dict.fromkeys(known[each] for each in difflib.get_close_matches(name.lower(), known, _NEAR))
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "expected one such as Deployment, Pod.v1 or apps/v1/Deployment"
    )
    words = f"the field table has no kind {name!r}; {hint}"
    raise InputError([Problem("command line", "KIND", f"{words} (custom resources have no table: fields --from FILE)")])


def _spellings(found: KindName) -> tuple[str, ...]:
    group, _, version = found.api_version.rpartition("/")
    dotted = f"{found.kind}.{version}" + (f".{group}" if group else "")
    return tuple(each.lower() for each in (found.kind, dotted, str(found)))


def _likelihood(found: KindName) -> tuple[bool, int, int, int]:
    group, _, version = found.api_version.rpartition("/")
    match = _VERSION.fullmatch(version)
    assert match is not None, found
    return not group, _STAGES[match.group(2)], int(match.group(1)), int(match.group(3) or 0)


def paths_of(kind: KindName) -> list[FieldPath]:
    """Every field of a kind of the table, by number, depth first. Where a message comes back inside itself
    (JSONSchemaProps) the path ends and says so. KeyError for a kind that the table does not have."""
    message = shipped_table().of_kind(*kind)
    if message is None:
        raise KeyError(str(kind))
    return list(_below(message.name, "", (message.name,)))


def _below(type_name: str, path: str, above: tuple[str, ...]) -> Iterator[FieldPath]:
    message = shipped_table().message(type_name)
    for number in sorted(message.fields):
        field = message.fields[number]
        yield from _at(field, _path(field, path), above)


def _path(field: Field, path: str) -> str:
    if field.inline:
        return path
    own = path if field.alias else join(path, field.name)
    return own + ("[KEY]" if field.map_key is not None else "[]" if field.repeated else "")


def _at(field: Field, path: str, above: tuple[str, ...]) -> Iterator[FieldPath]:
    table, type_name = shipped_table(), field.type
    if type_name in SCALARS:
        yield FieldPath(path, type_name, type_name, SCALARS[type_name])
    elif type_name == INT_OR_STRING:
        yield FieldPath(path, "int32 or string", short(type_name), None)
    elif type_name in LEAF_FIELDS:
        scalar = table.message(type_name).fields[LEAF_FIELDS[type_name]].type
        yield FieldPath(path, scalar, short(type_name), SCALARS[scalar])
    elif type_name in above:
        yield FieldPath(path, "message", short(type_name), 2, recursive=True)
    elif not table.message(type_name).fields:
        yield FieldPath(path, "message", short(type_name), 2)
    else:
        yield from _below(type_name, path, (*above, type_name))
