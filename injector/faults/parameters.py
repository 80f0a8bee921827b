"""Parameters of fault models, declared and checked without an object at hand; all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from injector.errors import Problem
from injector.faults.model import Parameters
from injector.rules import JSONValue

__all__ = ["Declared", "Parameter", "integer", "number", "one_of", "text"]

Test = Callable[[JSONValue], bool]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, what is expected in words, and whether a value is that."""

    name: str
    expected: str
    test: Test


def integer(name: str, least: int | None = None, greatest: int | None = None) -> Parameter:
    """A whole number; limits are inclusive."""
    limits = "" if least is None else f" from {least} to {greatest}" if greatest is not None else f" >= {least}"

    def fits(value: JSONValue) -> bool:
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and (least is None or value >= least)
            and (greatest is None or value <= greatest)
        )

    return Parameter(name, f"a whole number{limits}", fits)


def number(name: str, least: float, greatest: float) -> Parameter:
    """A number, whole or not; limits are inclusive."""

    def fits(value: JSONValue) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= greatest

    return Parameter(name, f"a number from {least:g} to {greatest:g}", fits)


def text(name: str) -> Parameter:
    """A text that is not empty."""
    return Parameter(name, "a text", lambda value: isinstance(value, str) and bool(value))


def one_of(name: str, choices: Sequence[str]) -> Parameter:
    """One of a few words."""
    return Parameter(name, f"one of {', '.join(choices)}", lambda value: value in choices)


class Declared:
    """What a model has that is like most of them: parameters that are declared, and checked here.

    declared    the parameters that there are
    exclusive   names of which at most one may be given
    in_flight, incidents   as injector.faults.model.FaultModel has them
    """

    declared: tuple[Parameter, ...] = ()
    exclusive: tuple[str, ...] = ()
    in_flight: bool = False
    incidents: tuple[str, ...] = ()

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        """Unknown names, wrong values, and names that are given together but exclude each other."""
        known = {parameter.name: parameter for parameter in self.declared}
        problems = []
        for name, value in parameters.items():
            path = f"{where}.{name}" if where else name
            if name not in known:
                problems.append(Problem(file, path, _unknown(name, tuple(known))))
            elif not known[name].test(value):
                problems.append(Problem(file, path, f"expected {known[name].expected}, got {value!r}"))
        given = [name for name in self.exclusive if name in parameters]
        if len(given) > 1:
            problems.append(Problem(file, where, f"{' and '.join(given)} can't be given together"))
        return problems


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"unknown parameter {name!r}; did you mean {near[0]!r}?"
    return f"unknown parameter {name!r}; " + (f"there are: {', '.join(known)}" if known else "this model takes none")
