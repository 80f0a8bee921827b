"""What a fault model is, and the registry that holds them. A stranger adds a model in one file beside this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from injector.codec import Located
from injector.errors import FaultError, Problem
from injector.rules import JSONValue, Told

__all__ = ["Change", "FaultModel", "Parameters", "Registry", "Scope"]

Parameters = Mapping[str, JSONValue]


class Scope(StrEnum):
    """What a model needs: a field, a whole message, or whichever the target names."""

    FIELD = "field"
    MESSAGE = "message"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a model made of one stored value.

    after   the whole value; b"" where nothing is to be written
    span    [start, end) in the value before: what was changed
    field_before/field_after   the field's value as JSON, None for message faults
    told    for a message that is not to arrive, what its sender is told; the channel does it
    """

    after: bytes
    span: tuple[int, int]
    field_before: JSONValue = None
    field_after: JSONValue = None
    told: Told | None = None


class FaultModel(Protocol):
    """A way in which a stored value goes wrong. Pure: bytes in, bytes out."""

    @property
    def name(self) -> str:
        """As specs write it, e.g. `bit-flip`."""
        ...

    @property
    def scope(self) -> Scope: ...

    @property
    def causes(self) -> tuple[str, ...]:
        """How this happens outside of laboratories, in words."""
        ...

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        """Everything wrong with the parameters, as far as it can be told without an object. `where` is the path of the
        parameters in `file`, e.g. `faults[2].parameters`."""
        ...

    def apply(self, value: bytes, located: Located | None, parameters: Parameters) -> Change:
        """The fault done to one stored value; `located` is None for a message fault. The parameters have been checked.
        Raises FaultError where the model does not fit the field or the value."""
        ...


class Registry:
    """Fault models by name."""

    def __init__(self, models: tuple[FaultModel, ...] = ()) -> None:
        self._models: dict[str, FaultModel] = {}
        for model in models:
            self.add(model)

    def add(self, model: FaultModel) -> None:
        """Raises ValueError where the name is taken."""
        if model.name in self._models:
            raise ValueError(f"fault model {model.name!r} is already registered by {self._models[model.name]!r}")
        self._models[model.name] = model

    def __getitem__(self, name: str) -> FaultModel:
        """Raises FaultError, naming the models there are, for a name that is none of them."""
        if name not in self._models:
            raise FaultError(f"no fault model {name!r}; there are: {', '.join(self.names())}")
        return self._models[name]

    def __contains__(self, name: object) -> bool:
        return name in self._models

    def __iter__(self) -> Iterator[FaultModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._models))
