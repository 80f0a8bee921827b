"""Pydantic's errors in our words: `faults[2].target.occurrence: expected a whole number >= 1, got 0`."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from injector.errors import Problem
from injector.rules import JSONValue

__all__ = ["did_you_mean", "in_document_order", "to_path", "to_problems"]

_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_too_short": "a text that is not empty",
}
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_LIMITS = {"greater_than_equal": (">=", "ge"), "greater_than": (">", "gt"), "less_than_equal": ("<=", "le")}


def to_problems(error: ValidationError, *, file: str, model: type[BaseModel]) -> list[Problem]:
    """One Problem for each error; `model` tells which keys exist where one is unknown."""
    return [Problem(file, to_path(e["loc"]), _words(e, model)) for e in error.errors(include_url=False)]


def to_path(loc: Sequence[int | str]) -> str:
    """`("faults", 2, "why")` as `faults[2].why`; keys that are no plain words in brackets, as in field paths."""
    steps = loc[:-1] if loc and loc[-1] == "[key]" else loc  # pydantic's mark of a key that is wrong itself
    return "".join(f".{s}" if isinstance(s, str) and _WORD.fullmatch(s) else f"[{s}]" for s in steps).removeprefix(".")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'deploy'?`, or what there is."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are: {', '.join(choices)}" if 0 < len(choices) <= 16 else ""


def in_document_order(problems: Iterable[Problem], document: JSONValue) -> list[Problem]:
    """Without repetitions, in the order in which a reader meets them in the file; missing keys come last in theirs."""
    return sorted(dict.fromkeys(problems), key=lambda p: _position(p.path, document))


def _words(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(error['loc'][-1]), _keys(model, error['loc'][:-1]))}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {_shown(got)}"
    if kind in _LIMITS:
        sign, name = _LIMITS[kind]
        return f"expected a number {sign} {context[name]}, got {_shown(got)}"
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        near = difflib.get_close_matches(str(got), re.split(r", | or ", expected), 1)
        return f"expected {expected}, got {_shown(got)}" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind == "string_pattern_mismatch":
        return f"expected a text that matches {context['pattern']}, got {_shown(got)}"
    if kind == "too_short":
        return "expected at least one entry, got none"
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    return f"{error['msg']}, got {_shown(got)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Keys of the model at `loc` under `model`; none where it is no model."""
    here: object = model
    for step in loc:
        if typing.get_origin(here) in (list, dict):
            here = typing.get_args(here)[-1]
        elif isinstance(here, type) and issubclass(here, BaseModel) and step in here.model_fields:
            here = here.model_fields[step].annotation
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _position(path: str, document: JSONValue) -> tuple[int, ...]:
    position: list[int] = []
    here = document
    for word, bracketed in re.findall(r"([^.\[\]]+)|\[([^\]]*)\]", path):
        name = word or bracketed
        if name.isdigit() and isinstance(here, list):
            position.append(int(name))
            here = here[int(name)] if int(name) < len(here) else None
        elif isinstance(here, dict):
            keys = list(here)
            position.append(keys.index(name) if name in here else len(keys))
            here = here.get(name)
    return tuple(position)
