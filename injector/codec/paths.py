"""Field paths: `spec.selector[app]`, `metadata.ownerReferences[0].uid`, `spec.containers[name=web].image`.

path    = step { "." step }
step    = name { "[" key "]" }
name    letters, digits, "_", "-", "$"
key     anything but "]": a map's key (dots and slashes are fine), a list's index from 0, or FIELD=VALUE for the
        first element of a list whose field has that value
"""

from __future__ import annotations

import re
from typing import NamedTuple

from injector.errors import FaultError

__all__ = ["Step", "join", "keyed", "parse_path"]

_STEP = re.compile(r"([\w$-]+)((?:\[[^\]]*\])*)(?:\.(?!$)|$)")
_KEY = re.compile(r"\[([^\]]*)\]")


class Step(NamedTuple):
    """One name with the keys in brackets behind it."""

    name: str
    keys: tuple[str, ...]


def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises FaultError, with the place, where it is none."""
    steps, position = [], 0
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            raise FaultError(
                f"field path {path!r} can't be read from character {position + 1} on ({path[position:]!r}): expected "
                "names with dots between them and keys in brackets, such as spec.selector[app]"
            )
        steps.append(Step(found.group(1), tuple(_KEY.findall(found.group(2)))))
        position = found.end()
    if not steps:
        raise FaultError("the field path is empty")
    return tuple(steps)


def join(path: str, name: str) -> str:
    """The path of a field below `path`, "" for the object itself."""
    return f"{path}.{name}" if path else name


def keyed(path: str, key: object) -> str:
    """The path of an element or entry of the list or map at `path`."""
    return f"{path}[{key}]"
