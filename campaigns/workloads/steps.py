"""What a workload's user does: values, carried out by campaigns.workloads.driving.

Objects are named as the API has them: apiVersion, kind, namespace ("" where the kind has none) and name. What a
manifest or a patch holds is opaque here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from campaigns.clusters.actions import Action
from injector.rules import JSONValue

if TYPE_CHECKING:
    from campaigns.workloads.goals import Goal

__all__ = [
    "Apply",
    "Create",
    "Delete",
    "Manifest",
    "ObjectName",
    "Patch",
    "PatchType",
    "Step",
    "ToComponent",
    "ToNode",
    "Wait",
    "scale",
]

Manifest = Mapping[str, JSONValue]


@dataclass(frozen=True, slots=True)
class ObjectName:
    """One object of the API. `namespace` is "" for a kind without."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> ObjectName:
        """Whom a manifest makes. One that names no namespace is taken as of a kind that has none."""
        metadata = manifest["metadata"]
        assert isinstance(metadata, dict)
        return cls(
            str(manifest["apiVersion"]),
            str(manifest["kind"]),
            str(metadata.get("namespace", "")),
            str(metadata["name"]),
        )

    def __str__(self) -> str:
        """`KIND/NAMESPACE/NAME` or `KIND/NAME`: the identity of an object whose name was chosen (injector.identity)."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


class PatchType(StrEnum):
    """How the API takes a patch: kubectl's words (kubernetes.io/docs/reference/using-api/api-concepts)."""

    STRATEGIC = "strategic"
    """Lists merged by their keys; not for custom resources."""
    MERGE = "merge"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Create:
    """POST of a manifest, as `kubectl create`."""

    manifest: Manifest

    def __str__(self) -> str:
        return f"create {ObjectName.of(self.manifest)}"


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of a manifest: made if it is not there, its fields set if it is."""

    manifest: Manifest

    def __str__(self) -> str:
        return f"apply {ObjectName.of(self.manifest)}"


@dataclass(frozen=True, slots=True)
class Patch:
    """PATCH of an object, or of one of its subresources; `why` says in a few words what the user wants by it."""

    target: ObjectName
    patch: JSONValue
    type: PatchType = PatchType.STRATEGIC
    subresource: str = ""
    why: str = ""

    def __str__(self) -> str:
        what = f"{self.target}{f' ({self.subresource})' if self.subresource else ''}"
        return f"patch {what}{f': {self.why}' if self.why else ''}"


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE of an object, its dependents in the background, as `kubectl delete --wait=false`."""

    target: ObjectName

    def __str__(self) -> str:
        return f"delete {self.target}"


@dataclass(frozen=True, slots=True)
class ToNode:
    """Something that happens to a whole node; no user asks for it."""

    node: str
    action: Action

    def __str__(self) -> str:
        return f"{self.action} node {self.node}"


@dataclass(frozen=True, slots=True)
class ToComponent:
    """Something that happens to a component; no user asks for it."""

    component: str
    action: Action

    def __str__(self) -> str:
        return f"{self.action} {self.component}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on when the goal holds. Where it does not come in the time that the workload has (the campaign's settle_s
    from the first step on, or `within_s` if that is less), the user goes on all the same."""

    goal: Goal
    within_s: float | None = None

    def __str__(self) -> str:
        limit = f" for at most {self.within_s:g} s" if self.within_s is not None else ""
        return f"wait{limit} until {self.goal}"


Step = Create | Apply | Patch | Delete | ToNode | ToComponent | Wait


def scale(target: ObjectName, replicas: int) -> Patch:
    """What `kubectl scale` sends."""
    patch: JSONValue = {"spec": {"replicas": replicas}}
    return Patch(target, patch, PatchType.MERGE, "scale", f"{replicas} replicas")


def asked_for(steps: Sequence[Step]) -> tuple[str, ...]:
    """Identities of the objects that the steps name, each once, in their order."""
    found: dict[str, None] = {}
    for step in steps:
        if isinstance(step, (Create, Apply)):
            found[str(ObjectName.of(step.manifest))] = None
        elif isinstance(step, (Patch, Delete)):
            found[str(step.target)] = None
    return tuple(found)
