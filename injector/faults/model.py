"""What a fault model is, and the registry that holds them. A stranger adds a model in one file beside this one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from injector.codec import Located, Place
from injector.errors import FaultError, Problem
from injector.rules import IN_TURN, Delivery, JSONValue

__all__ = [
    "ALONE",
    "Alone",
    "Cause",
    "Change",
    "Description",
    "FaultModel",
    "Origin",
    "Parameters",
    "Registry",
    "Scope",
    "Surroundings",
    "description_of",
]

Parameters = Mapping[str, JSONValue]


class Origin(StrEnum):
    """Where a fault comes from outside of laboratories."""

    MEMORY = "memory or disk"
    SOFTWARE = "software bug"
    HUMAN = "human"
    OPERATOR = "operator"
    """A controller that someone added to the cluster."""
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Cause:
    """How a fault comes about, in words."""

    origin: Origin
    words: str


class Scope(StrEnum):
    """What a model needs: a field with a single value, any part of the object, a whole message, or (EITHER) a field or
    the message, whichever the target names."""

    FIELD = "field"
    PART = "part"
    MESSAGE = "message"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a model made of one stored value.

    after   the whole value; b"" where nothing is to be written
    span    [start, end) in the value before: what was changed (empty where nothing of it was)
    field_before/field_after   the field's value as JSON, None for message faults
    delivery   how the message is to be delivered; the channel does it
    key     the etcd key that the value is to be stored under instead of its own
    """

    after: bytes
    span: tuple[int, int]
    field_before: JSONValue = None
    field_after: JSONValue = None
    delivery: Delivery = IN_TURN
    key: bytes | None = None


class Surroundings(Protocol):
    """What a channel knows besides the value at hand."""

    def previous(self) -> bytes | None:
        """The object's stored value before this one; None where there was none, or none was seen."""
        ...

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        """Key and stored value of another live object by its stable identity; None if there is none."""
        ...


class Alone:
    """Surroundings of a value of which nothing else is known."""

    def previous(self) -> bytes | None:
        return None

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        return None


ALONE = Alone()


class FaultModel(Protocol):
    """A way in which a stored value goes wrong. Pure: bytes in, bytes out. The docstring of its file is what users
    read: `NAME: what it does.`, then its parameters and what else is to be known."""

    @property
    def name(self) -> str:
        """As specs write it, e.g. `bit-flip`."""
        ...

    @property
    def scope(self) -> Scope: ...

    @property
    def in_flight(self) -> bool:
        """Whether it is done to how a message is delivered, so that there is nothing to do it to at rest."""
        ...

    @property
    def causes(self) -> tuple[Cause, ...]: ...

    @property
    def incidents(self) -> tuple[str, ...]:
        """Real ones, by their id in failure_db, in which this happened or whose error it makes."""
        ...

    def check_parameters(self, parameters: Parameters, *, where: str, file: str = "parameters") -> list[Problem]:
        """Everything wrong with the parameters, as far as it can be told without an object. `where` is the path of the
        parameters in `file`, e.g. `faults[2].parameters`."""
        ...

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        """The fault done to one stored value; `located` is None for a message fault, a Place for models of scope
        PART. The parameters have been checked.
        Raises FaultError where the model does not fit the field or the value."""
        ...


class Description(NamedTuple):
    """What users are told of a model: one line, and the rest."""

    summary: str
    details: str


def description_of(model: FaultModel) -> Description:
    """From the docstring of the model's file."""
    text = inspect.cleandoc(sys.modules[type(model).__module__].__doc__ or "")
    first, _, rest = text.partition("\n\n")
    summary = " ".join(first.removeprefix(f"{model.name}: ").split())
    return Description(summary.removesuffix("."), rest.strip())


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
