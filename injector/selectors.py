"""Label selectors as kubectl writes them: `app=web,tier!=db`, `env in (a,b)`, `env notin (a)`, `app`, `!app`.

The grammar is that of k8s.io/apimachinery v0.36.3, pkg/labels/selector.go (`Parse`), without `>` and `<`, which kubectl
takes and nobody uses. As there, `!=` and `notin` also fit an object without the label, a comma means and, and a value
may be empty (`app=`). Keys and values are checked as the API checks them (util/validation: IsQualifiedName,
IsValidLabelValue). All that is wrong is told with the character (1-based) at which it stands. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from injector.codec import find
from injector.errors import CodecError, FaultError

__all__ = ["Operator", "Requirement", "Selector", "labels_of", "labels_text", "parse_selector"]


class Operator(StrEnum):
    """What a requirement asks of one label."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "!"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of the things that a selector asks for. `=` is IN one value, `!=` NOT_IN one."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels has it."""
        if self.operator is Operator.IN:
            return labels.get(self.key) in self.values
        if self.operator is Operator.NOT_IN:
            return labels.get(self.key) not in self.values
        return (self.key in labels) is (self.operator is Operator.EXISTS)


@dataclass(frozen=True, slots=True)
class Selector:
    """All of these have to hold."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        return all(requirement.holds(labels) for requirement in self.requirements)


_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+|$)")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_MAX_PREFIX = 253
_MARKS = frozenset({"", "=", "==", "!=", "!", "(", ")", ",", "<", ">"})


def parse_selector(text: str) -> Selector:
    """The selector in `text`. FaultError with the character at which it is wrong, and what was expected there."""
    return _Parser(text).selector()


def labels_of(value: bytes) -> dict[str, str]:
    """The labels of a stored object; none where it has none, or can't be read."""
    try:
        found = find(value, "metadata.labels").value
    except (FaultError, CodecError):
        return {}
    return {key: str(label) for key, label in found.items()} if isinstance(found, dict) else {}


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as a selector would have them, sorted; `no labels`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"


class _Parser:
    """Reads a selector from left to right. `part` is the one at hand, "" at the end; `at` its character, 1-based."""

    def __init__(self, text: str) -> None:
        self._text, self._next = text, 0
        self.part, self.at = "", 1
        self._advance()

    def selector(self) -> Selector:
        if not self.part:
            raise self._wrong("a label's key")
        requirements = [self._requirement()]
        while self.part == ",":
            self._advance()
            requirements.append(self._requirement())
        if self.part:
            raise self._wrong("a comma or the end")
        return Selector(tuple(requirements))

    def _requirement(self) -> Requirement:
        absent = self.part == "!"
        if absent:
            self._advance()
        key = self._key()
        if absent:
            return Requirement(key, Operator.ABSENT)
        if self.part in ("", ","):
            return Requirement(key, Operator.EXISTS)
        operator = self.part
        if operator in ("=", "==", "!="):
            self._advance()
            return Requirement(key, Operator.NOT_IN if operator == "!=" else Operator.IN, (self._value(),))
        if operator in (Operator.IN, Operator.NOT_IN):
            self._advance()
            return Requirement(key, Operator(operator), self._values())
        raise self._wrong("=, ==, !=, in, notin, a comma or the end")

    def _key(self) -> str:
        key = self.part
        prefix, slash, name = key.rpartition("/")
        if key in _MARKS or not _NAME.fullmatch(name):
            raise self._wrong("a label's key")
        if slash and (not _PREFIX.fullmatch(prefix) or len(prefix) > _MAX_PREFIX):
            raise self._wrong("a domain name before the key's slash")
        self._advance()
        return key

    def _value(self) -> str:
        """A value; none before a comma, a bracket or the end is the empty one."""
        if self.part in ("", ",", ")"):
            return ""
        value = self.part
        if value in _MARKS or not _NAME.fullmatch(value):
            raise self._wrong("a label's value")
        self._advance()
        return value

    def _values(self) -> tuple[str, ...]:
        if self.part != "(":
            raise self._wrong("( before the values")
        self._advance()
        values = [self._value()]
        while self.part == ",":
            self._advance()
            values.append(self._value())
        if self.part != ")":
            raise self._wrong(", or ) after a value")
        self._advance()
        return tuple(dict.fromkeys(values))

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._next)
        assert found is not None
        self.part, self.at, self._next = found[1], found.start(1) + 1, found.end()

    def _wrong(self, expected: str) -> FaultError:
        got = repr(self.part) if self.part else "the end"
        return FaultError(f"{self._text!r}, character {self.at}: expected {expected}, got {got}")
