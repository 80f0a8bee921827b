"""The policy of a gate: a YAML file that says which findings of a run are too many.

    limits:                            # each: which findings of which experiments, and how many of them are allowed
      - {class: stall, at_most: 0}
      - class: network                 # orchestrator class: this one or a graver one (classifiers.verdict)
        client: unreachable            # and, or instead, the clients' class; again this one or a graver one
        role: dependency               # only experiments on a field of that role (injector.roles), or whole-message
        workload: [deploy, scale]      # only in these workloads
        channel: at-rest-write         # only through this channel
        at_most: 5%                    # of the selected ones that were judged; or a number, e.g. 3
        judged_at_least: 10            # with fewer judged ones, the limit says nothing: inconclusive
        why: Our Services have two replicas of everything they depend on
    judged: {at_least: 20}             # of the whole run; a gate over nothing never passes
    inconclusive: {at_most: 5%}        # of the finished experiments; a fault that did not fire is one
    errors: {at_most: 0}               # of the finished experiments: our harness failed
    unfinished: {at_most: 0}           # of the planned experiments
    known:                             # findings that do not count, until when, and why
      - {id: e0123456789ab, until: 2026-12-31, why: tracked as OPS-12}

Unknown keys are refused; all problems are reported at once, as for a campaign's spec. The JSON Schema ships: `mutineer
schema gate`. How a run is held against it: campaigns.judging.gate.
"""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, field_validator, model_validator

from campaigns.spec.cluster_spec import Model
from campaigns.spec.problems import did_you_mean, in_document_order, to_problems
from campaigns.spec.yaml_input import parse_yaml
from classifiers.verdict import ClientFailure, OrchestratorFailure
from injector.errors import InputError, Problem
from injector.roles import roles
from injector.targets import Channel

__all__ = [
    "DEFAULT_POLICY",
    "WHOLE_MESSAGE",
    "AtLeast",
    "AtMost",
    "GatePolicy",
    "Known",
    "Limit",
    "load_policy",
    "parse_policy",
]

WHOLE_MESSAGE = "whole-message"
"""In place of a role, for faults that hit no field."""

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%")
_EXPECTED = "expected a whole number >= 0 or a share such as 5%"


def _bound(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found is None or Decimal(found[1]) > 100:
        raise ValueError(f"{_EXPECTED}, got {value!r:.60}")
    return f"{found[1]}%"


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_or_more(item: dict[str, object]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


Bound = Annotated[
    int | str,
    BeforeValidator(_bound),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)? ?%$"}]}),
]
"""A number, or a share as a text with a percent sign."""

OrchestratorWord = Literal["outage", "stall", "network", "more-resources", "less-resources", "timing"]
ClientWord = Literal["unreachable", "intermittent", "slower"]

Classes = Annotated[
    list[OrchestratorWord],
    Field(min_length=1),
    BeforeValidator(_listed),
    _one_or_more({"enum": [c.value for c in OrchestratorFailure if c is not OrchestratorFailure.NONE]}),
]
ClientClasses = Annotated[
    list[ClientWord],
    Field(min_length=1),
    BeforeValidator(_listed),
    _one_or_more({"enum": [c.value for c in ClientFailure if c is not ClientFailure.NONE]}),
]
Words = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(min_length=1),
    BeforeValidator(_listed),
    _one_or_more({"type": "string"}),
]


class AtMost(Model):
    """A budget."""

    at_most: Bound = Field(description="How many are allowed: a number, or a share such as 5%")

    def allows(self, found: int, of: int) -> bool:
        """Whether `found` of `of` are few enough. A share of nothing allows nothing."""
        if isinstance(self.at_most, int):
            return found <= self.at_most
        return found * 100 <= Decimal(self.at_most.removesuffix("%")) * of


class AtLeast(Model):
    """A minimum."""

    at_least: int = Field(ge=1, description="How many there must be")


class Limit(AtMost):
    """Which findings of which experiments, and how many of them are allowed.

    A class stands for itself and for every graver one: who limits network failures has not allowed outages. Of several
    classes the mildest therefore counts. Selections that are left out select everything.
    """

    class_: Classes | None = Field(
        None, alias="class", description="Orchestrator class: experiments that ended in it, or in a graver one"
    )
    client: ClientClasses | None = Field(
        None, description="Client class: experiments whose clients saw it, or a graver one; with class: both"
    )
    role: Words | None = Field(
        None, description="Only experiments on a field of that role, e.g. dependency; whole-message: on no field"
    )
    workload: Words | None = Field(None, description="Only experiments in that workload")
    channel: Words | None = Field(None, description="Only experiments in that channel")
    judged_at_least: int = Field(
        1,
        ge=0,
        description="With fewer selected experiments that were judged, the limit is inconclusive; 0: it then holds",
    )
    why: str = Field("", description="For the reader of the gate's output")

    @field_validator("role")
    @classmethod
    def _roles(cls, value: list[str] | None) -> list[str] | None:
        return _known_words(value, (*roles(), WHOLE_MESSAGE))

    @field_validator("channel")
    @classmethod
    def _channels(cls, value: list[str] | None) -> list[str] | None:
        return _known_words(value, tuple(channel.value for channel in Channel))

    @model_validator(mode="after")
    def _says_what(self) -> Limit:
        if self.class_ is None and self.client is None:
            raise ValueError("expected class or client: which failures are limited?")
        return self

    @property
    def mildest(self) -> OrchestratorFailure | None:
        """The mildest orchestrator class that counts; None: whatever it is."""
        order = list(OrchestratorFailure)
        return max(map(OrchestratorFailure, self.class_), key=order.index) if self.class_ else None

    @property
    def mildest_client(self) -> ClientFailure | None:
        """The same of the client classes."""
        order = list(ClientFailure)
        return max(map(ClientFailure, self.client), key=order.index) if self.client else None


def _known_words(value: list[str] | None, known: tuple[str, ...]) -> list[str] | None:
    wrong = [f"no {word!r}{did_you_mean(word, known)}" for word in value or () if word not in known]
    if wrong:
        raise ValueError("; ".join(wrong))
    return value


class Known(Model):
    """A finding that is known and does not count, for a while."""

    id: str = Field(min_length=1, description="Of the experiment, in full; the same in every run")
    until: datetime.date = Field(description="The last day on which it does not count, e.g. 2026-12-31")
    why: str = Field(min_length=1, description="Why that is so, e.g. where it is tracked")

    @field_validator("until", mode="before")
    @classmethod
    def _is_a_date(cls, value: object) -> object:
        try:
            return datetime.date.fromisoformat(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError(f"expected a date such as 2026-12-31, got {value!r:.60}") from None


class GatePolicy(Model):
    """The whole file."""

    limits: list[Limit] = Field(min_length=1, description="All of them must hold")
    judged: AtLeast = Field(AtLeast(at_least=1), description="Experiments of the run that must have been judged")
    inconclusive: AtMost = Field(AtMost(at_most="5%"), description="Of the finished experiments")
    errors: AtMost = Field(AtMost(at_most=0), description="Experiments in which the harness failed, of the finished")
    unfinished: AtMost = Field(AtMost(at_most=0), description="Planned experiments that have no record, of the planned")
    known: list[Known] = Field(default_factory=list, description="Findings that do not count")

    @field_validator("known")
    @classmethod
    def _each_once(cls, value: list[Known]) -> list[Known]:
        ids = [known.id for known in value]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"{', '.join(map(repr, twice))} named twice")
        return value


DEFAULT_POLICY = GatePolicy.model_validate(
    {"limits": [{"class": "stall", "at_most": 0, "why": "no cluster-wide failure (no policy was given)"}]}
)
"""Where the user gives none: no fault may take the whole cluster down or bring it to a standstill. Stricter would fail
nearly every campaign, since faults that do nothing prove nothing."""


def parse_policy(text: str, *, file: str) -> GatePolicy:
    """The policy in `text`. InputError with every problem, each with `file` and path."""
    document = parse_yaml(text, file=file, dates_as_text=True)
    if not isinstance(document, dict):
        raise InputError([Problem(file, "", f"expected a mapping with limits, inconclusive, …, got {document!r:.60}")])
    try:
        return GatePolicy.model_validate(document)
    except ValidationError as error:
        raise InputError(in_document_order(to_problems(error, file=file, model=GatePolicy), document)) from None


def load_policy(path: Path) -> GatePolicy:
    """The policy in a file. InputError as parse_policy, or if it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(str(path), "", f"can't be read: {error}")]) from error
    return parse_policy(text, file=str(path))
