"""YAML that a person wrote: parsed once, safely, with every problem of its form located. No meaning here.

Refused beyond what YAML itself refuses: a key given twice in one mapping (YAML 1.2.2, section 3.2.1.3: keys are unique;
PyYAML would silently take the last), keys that are not strings, and, where one document is asked for, more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import yaml

from injector.errors import InputError, Problem
from injector.rules import JSONValue

__all__ = ["parse_documents", "parse_yaml"]


def parse_yaml(text: str, *, file: str, dates_as_text: bool = False) -> JSONValue:
    """The document as plain values. InputError with file, line and column (both from 1) of everything that is wrong:
    all duplicate keys at once, or the one place where it stops being YAML. An empty text is None. `dates_as_text`: a
    date that is not quoted is no mistake, but the text that it was written as."""
    kind = _DatesAsText if dates_as_text else _Loader
    (value,) = _read(text, file, kind, lambda loader: [loader.get_single_data()])
    return value


def parse_documents(text: str, *, file: str) -> list[JSONValue]:
    """All documents of a file, without empty ones; else as parse_yaml."""

    def each(loader: _Loader) -> list[object]:
        found = []
        while loader.check_data():  # type: ignore[no-untyped-call]
            found.append(loader.get_data())
        return found

    return [value for value in _read(text, file, _Loader, each) if value is not None]


def _read(text: str, file: str, kind: type[_Loader], get: Callable[[_Loader], list[object]]) -> list[JSONValue]:
    try:
        loader = kind(text)
        try:
            values = get(loader)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError([Problem(file, *_where(error))]) from error
    except (ValueError, RecursionError) as error:  # SafeLoader on `2024-13-45`, on thousands of open brackets
        raise InputError([Problem(file, "", f"can't be read as YAML: {error}")]) from error
    if loader.problems:
        raise InputError(Problem(file, place, words) for place, words in loader.problems)
    return [_plain(value, file, "") for value in values]


class _Loader(yaml.SafeLoader):
    """SafeLoader that notes duplicate keys and goes on."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[tuple[str, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and key.tag != "tag:yaml.org,2002:merge":
                if name in seen:
                    first = seen[name].start_mark.line + 1
                    self.problems.append(
                        (_mark(key.start_mark), f"key {name!r} is given twice (first in line {first})")
                    )
                seen.setdefault(name, key)
        return super().construct_mapping(node, deep=deep)


class _DatesAsText(_Loader):
    """What looks like a date is a text."""


def _as_text(loader: _DatesAsText, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_DatesAsText.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


def _where(error: yaml.YAMLError) -> tuple[str, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None)))) or str(error)
    return (_mark(mark) if mark is not None else ""), f"not valid YAML: {words}"


def _mark(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _plain(value: object, file: str, path: str) -> JSONValue:
    """JSON's types only. YAML has more (dates, sets, keys of any type): a spec needs none of them."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_plain(v, file, f"{path}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, dict):
        odd = [k for k in value if not isinstance(k, str)]
        if odd:
            raise InputError(Problem(file, path, f"expected keys that are strings, got {k!r}: quote it") for k in odd)
        return {k: _plain(v, file, f"{path}.{k}" if path else k) for k, v in value.items()}
    raise InputError([Problem(file, path, f"expected a plain value, got {value!r} ({type(value).__name__}): quote it")])
