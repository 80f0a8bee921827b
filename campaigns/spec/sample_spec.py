"""The part of a campaign spec that asks for a sample of all the faults that a recording allows.

sample:
  budget: 9000                            # experiments with a fault, over all workloads
  channels: [apiserver-to-etcd]
  models: [bit-flip, boolean-invert, value-set, drop]
  targets:                                # all of it may be left out: everything
    kinds: [Pod, Service]
    roles: [dependency, addresses]        # also owner-reference, label-or-selector, …; message: whole messages
    paths: ["spec.*", "metadata.ownerReferences*"]     # * stands for anything
    namespaces: [default]                 # "" is that of cluster-scoped objects
    exclude: {kinds: [Lease], paths: ["metadata.managedFields*"]}
  strata: [workload, channel, model, role]
  at_least: 1                             # of each stratum, where the budget is enough
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from campaigns.planning.generation import DEFAULT_MODELS
from campaigns.spec.cluster_spec import Model
from campaigns.spec.fault_checks import groups_of, kinds
from campaigns.spec.problems import did_you_mean
from injector.faults import MODELS
from injector.roles import roles

__all__ = ["Choice", "SampleSpec", "SampleTargets"]

ChannelName = Literal[
    "apiserver-to-etcd",
    "etcd-to-apiserver",
    "component-to-apiserver",
    "apiserver-to-component",
    "at-rest-write",
    "at-rest-silent",
]
Dimension = Literal["workload", "channel", "model", "role", "dependency", "kind", "operation"]
Word = Annotated[str, Field(min_length=1)]

MESSAGE_ROLE = "message"
"""What stands for a role where a fault is done to a whole message."""


class Choice(Model):
    """Objects and fields by what they are; nothing said is anything."""

    kinds: list[Word] = Field(default_factory=list, description="Kinds as the API spells them")
    roles: list[Word] = Field(
        default_factory=list, description="Of fields, e.g. dependency or owner-reference; message: whole messages"
    )
    paths: list[Word] = Field(default_factory=list, description="Of fields; * stands for anything")
    namespaces: list[str] = Field(default_factory=list, description='"" is that of cluster-scoped objects')

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, value: list[str]) -> list[str]:
        for kind in value:  # one that is like none of Kubernetes' own may be a custom resource's
            if not groups_of(kind) and (near := did_you_mean(kind, kinds())):
                raise ValueError(f"no kind {kind!r} in Kubernetes{near}")
        return value

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, value: list[str]) -> list[str]:
        known = (*roles(), MESSAGE_ROLE)
        for role in value:
            if role not in known:
                raise ValueError(f"no role {role!r}{did_you_mean(role, known)}")
        return value


class SampleTargets(Choice):
    """What faults are done to."""

    exclude: Choice = Field(default_factory=Choice, description="Of that, what they are not done to")

    @property
    def include(self) -> Choice:
        return self


class SampleSpec(Model):
    """A sample of the faults that the recordings of the workloads allow."""

    budget: int = Field(ge=1, le=1_000_000, description="Experiments with a fault, over all workloads")
    channels: list[ChannelName] = Field(default=["apiserver-to-etcd"], min_length=1)
    models: list[Word] = Field(default=list(DEFAULT_MODELS), min_length=1, description="See `mutineer faults list`")
    targets: SampleTargets = Field(default_factory=SampleTargets)
    strata: list[Dimension] = Field(
        default=["workload", "channel", "model", "role"],
        min_length=1,
        description="What faults of one stratum share; an inverted boolean counts as a bit-flip; dependency: a role, "
        "but of dependencies by what they tie (owner-reference, …)",
    )
    at_least: int = Field(1, ge=0, description="Of each stratum, where the budget is enough for that")

    @field_validator("models")
    @classmethod
    def _known_models(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in MODELS:
                raise ValueError(f"no fault model {name!r}{did_you_mean(name, MODELS.names())}")
        return value

    @field_validator("channels", "models", "strata")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if twice := sorted({name for name in value if value.count(name) > 1}):
            raise ValueError(f"{', '.join(map(repr, twice))} named twice")
        return value
