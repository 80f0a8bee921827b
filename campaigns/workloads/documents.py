"""A workload as a document: what `workload.yaml` says, what travels into a sandbox, what `mutineer workloads --json`
prints. All that the values of steps and goals can say, and no more.

    name: shop                        # small letters, digits, dashes; left out, the folder's name
    summary: One sentence
    prepare:                          # before the fault is armed; see below
    - create: site.yaml               # a file of the folder, or a manifest
    ready: [{rollout: Deployment/shop/front}]
    steps:                            # while it is armed
    - apply: larger.yaml              # server-side; the same forms as create
    - patch: Site/shop/blog           # KIND/NAMESPACE/NAME, or KIND/NAME where there is no namespace
      with: {spec: {replicas: 3}}
      type: merge                     # strategic (default), merge (custom resources need it) or json
      subresource: status             # left out: the object itself
      why: more readers
    - scale: Deployment/shop/front
      to: 4
    - delete: Site/shop/old
    - node: node-2
      do: kill                        # kill, stop, start, pause, resume, restart
    - component: kube-scheduler
      do: restart
    - wait: {condition: Node/node-2 Ready=Unknown}
      within_s: 20                    # left out: as long as the workload has
    done:                             # goals: each of these forms, here, in `ready` and in a `wait`
    - {pods: 4, namespace: shop, selector: app=front, not_on: node-2}   # but for `pods` all may be left out
    - condition: Job/shop/import Complete
    - rollout: Deployment/shop/front
    - gone: Site/shop/old
    - {field: status.phase, of: PersistentVolumeClaim/shop/data, is: Bound}
    services: [shop/front]            # NAMESPACE/NAME: what clients probe
    namespaces: [shop]                # what is counted; left out: [default]
    wanted_pods: 4                    # what the user asks for in the end; wanted_pods_per_node besides
    furniture: [metrics]
    nodes: 2                          # least number of nodes

`patch`, `scale` and `delete` take `api_version` where it follows neither from the folder's manifests nor from the kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationError

from campaigns.clusters.actions import Action
from campaigns.spec.cluster_spec import Furniture, Model
from campaigns.spec.fault_checks import preferred_group
from campaigns.spec.problems import did_you_mean, in_document_order, to_problems
from campaigns.workloads.goals import Condition, Goal, Gone, PodsReady, RolledOut
from campaigns.workloads.goals import Field as FieldGoal
from campaigns.workloads.steps import (
    Apply,
    Create,
    Delete,
    Manifest,
    ObjectName,
    Patch,
    PatchType,
    Step,
    ToComponent,
    ToNode,
    Wait,
    scale,
)
from campaigns.workloads.workload import ServiceName, Workload
from injector.codec.paths import parse_path
from injector.codec.table import shipped_table
from injector.conditions import parse_condition
from injector.errors import FaultError, InputError, Problem
from injector.rules import JSONValue
from injector.selectors import parse_selector

__all__ = ["parse_workload", "workload_to_document"]

_OBJECT = r"^[A-Z][A-Za-z0-9]*(/[^/\s]+){1,2}$"
Object = Annotated[str, Field(pattern=_OBJECT)]
Do = Literal["kill", "stop", "start", "pause", "resume", "restart"]


# Steps and goals as they are written: the first key tells which


class _Create(Model):
    create: JsonValue


class _Apply(Model):
    apply: JsonValue


class _Patch(Model):
    patch: Object
    value: JsonValue = Field(alias="with")
    type: Literal["strategic", "merge", "json"] = "strategic"
    subresource: str = ""
    why: str = ""
    api_version: str | None = None


class _Scale(Model):
    scale: Object
    to: int = Field(ge=0)
    api_version: str | None = None


class _Delete(Model):
    delete: Object
    api_version: str | None = None


class _Node(Model):
    node: str = Field(min_length=1)
    do: Do


class _Component(Model):
    component: str = Field(min_length=1)
    do: Do


class _Wait(Model):
    wait: JsonValue
    within_s: float | None = Field(None, gt=0, strict=False)


class _Pods(Model):
    pods: int = Field(ge=0)
    namespace: str = "default"
    selector: str = ""
    not_on: str = ""


class _Condition(Model):
    condition: str


class _Rollout(Model):
    rollout: str = Field(pattern=r"^(Deployment|StatefulSet|DaemonSet)/[^/\s]+/[^/\s]+$")


class _Gone(Model):
    gone: Object


class _Field(Model):
    field: str = Field(min_length=1)
    of: Object
    value: JsonValue = Field(alias="is")


_STEPS: Mapping[str, type[Model]] = {
    "create": _Create,
    "apply": _Apply,
    "patch": _Patch,
    "scale": _Scale,
    "delete": _Delete,
    "node": _Node,
    "component": _Component,
    "wait": _Wait,
}
_GOALS: Mapping[str, type[Model]] = {
    "pods": _Pods,
    "condition": _Condition,
    "rollout": _Rollout,
    "gone": _Gone,
    "field": _Field,
}


class _Document(Model):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}(@[0-9a-f]+)?$")
    summary: str = ""
    prepare: list[JsonValue] = Field(default_factory=list)
    ready: list[JsonValue] = Field(default_factory=list)
    steps: list[JsonValue] = Field(min_length=1)
    done: list[JsonValue] = Field(min_length=1)
    services: list[Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]] = Field(default_factory=list)
    namespaces: list[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]] = Field(default=["default"], min_length=1)
    wanted_pods: int = Field(0, ge=0)
    wanted_pods_per_node: int = Field(0, ge=0)
    furniture: list[Furniture] = Field(default_factory=list)
    nodes: int = Field(1, ge=1, le=10)


class _Reading:
    """Turns what is written into values, and collects what is wrong. `files`: the manifests of the folder's files."""

    def __init__(self, file: str, files: Mapping[str, Sequence[Manifest]]) -> None:
        self._file, self._files = file, files
        self.problems: list[Problem] = []
        self._kinds = {str(m["kind"]): str(m["apiVersion"]) for found in files.values() for m in found}

    def wrong(self, path: str, words: str) -> None:
        self.problems.append(Problem(self._file, path, words))

    def steps(self, written: JSONValue, path: str) -> list[Step]:
        found: list[Step] = []
        for i, each in enumerate(written if isinstance(written, list) else []):
            if (model := self._one_of(each, _STEPS, f"{path}[{i}]")) is not None:
                found += self._step(model, f"{path}[{i}]")
        return found

    def goals(self, written: JSONValue, path: str) -> list[Goal]:
        entries = enumerate(written if isinstance(written, list) else [])
        found = (self.goal(each, f"{path}[{i}]") for i, each in entries)
        return [goal for goal in found if goal is not None]

    def goal(self, written: JSONValue, path: str) -> Goal | None:
        match self._one_of(written, _GOALS, path):
            case _Pods() as m:
                self._try(parse_selector, m.selector, f"{path}.selector")
                return PodsReady(m.pods, m.namespace, m.selector, m.not_on)
            case _Condition() as m:
                self._try(parse_condition, m.condition, f"{path}.condition")
                return Condition(m.condition)
            case _Rollout() as m:
                return RolledOut(m.rollout)
            case _Gone() as m:
                return Gone(m.gone)
            case _Field() as m:
                self._try(parse_path, m.field, f"{path}.field")
                return FieldGoal(m.of, m.field, m.value)
        return None

    def _one_of(self, written: JSONValue, models: Mapping[str, type[Model]], path: str) -> Model | None:
        choices = ", ".join(models)
        if not isinstance(written, dict):
            self.wrong(path, f"expected a mapping with one of {choices}, got {written!r:.60}")
            return None
        which = [name for name in models if name in written]
        if len(which) != 1:
            near = "".join(did_you_mean(key, models) for key in written) if len(written) == 1 else ""
            self.wrong(path, f"expected exactly one of {choices}, got {', '.join(which or written) or 'none'}{near}")
            return None
        try:
            return models[which[0]].model_validate(written)
        except ValidationError as error:
            for problem in to_problems(error, file=self._file, model=models[which[0]]):
                self.wrong(f"{path}.{problem.path}", problem.message)
            return None

    def _step(self, model: Model, path: str) -> list[Step]:
        match model:
            case _Create():
                return [Create(manifest) for manifest in self._manifests(model.create, f"{path}.create")]
            case _Apply():
                return [Apply(manifest) for manifest in self._manifests(model.apply, f"{path}.apply")]
            case _Patch():
                name = self._object(model.patch, model.api_version, f"{path}.patch")
                return [Patch(name, model.value, PatchType(model.type), model.subresource, model.why)]
            case _Scale():
                return [scale(self._object(model.scale, model.api_version, f"{path}.scale"), model.to)]
            case _Delete():
                return [Delete(self._object(model.delete, model.api_version, f"{path}.delete"))]
            case _Node():
                return [ToNode(model.node, Action(model.do))]
            case _Component():
                return [ToComponent(model.component, Action(model.do))]
            case _Wait():
                goal = self.goal(model.wait, f"{path}.wait")
                return [Wait(goal, model.within_s)] if goal is not None else []
        raise AssertionError(model)

    def _manifests(self, written: JSONValue, path: str) -> Sequence[Manifest]:
        if isinstance(written, dict):
            if (why := manifest_problem(written)) is not None:
                self.wrong(f"{path}.{why[0]}", why[1])
                return ()
            return [written]
        if isinstance(written, str) and written in self._files:
            return self._files[written]
        there = did_you_mean(str(written), self._files) or f"; there are: {', '.join(self._files) or 'none'}"
        self.wrong(path, f"expected a manifest or one of the folder's files of manifests, got {written!r:.60}{there}")
        return ()

    def _object(self, written: str, api_version: str | None, path: str) -> ObjectName:
        kind, *middle, name = written.split("/")
        version = api_version or self._kinds.get(kind) or newest_version(kind)
        if version is None:
            self.wrong(path, f"no manifest of the folder is a {kind}, nor is it of Kubernetes: expected an api_version")
        return ObjectName(version or "", kind, middle[0] if middle else "", name)

    def _try(self, check: Callable[[str], object], text: str, path: str) -> None:
        try:
            if text:
                check(text)
        except FaultError as error:
            self.wrong(path, str(error))


def parse_workload(
    document: JSONValue, *, file: str, files: Mapping[str, Sequence[Manifest]] | None = None
) -> Workload:
    """The workload that a document describes. InputError with every problem, each with `file` and path."""
    if not isinstance(document, dict):
        raise InputError([Problem(file, "", f"expected a mapping with steps, done, …, got {document!r:.60}")])
    reading = _Reading(file, files or {})
    model = None
    try:
        model = _Document.model_validate(document)
    except ValidationError as error:
        reading.problems += to_problems(error, file=file, model=_Document)
    prepare, steps = (reading.steps(document.get(key), key) for key in ("prepare", "steps"))
    ready, done = (reading.goals(document.get(key), key) for key in ("ready", "done"))
    if reading.problems or model is None:
        raise InputError(in_document_order(reading.problems, document))
    return Workload(
        name=model.name,
        summary=model.summary,
        prepare=tuple(prepare),
        ready=tuple(ready),
        steps=tuple(steps),
        done=tuple(done),
        services=tuple(ServiceName(*service.split("/")) for service in model.services),
        namespaces=tuple(model.namespaces),
        wanted_pods=model.wanted_pods,
        wanted_pods_per_node=model.wanted_pods_per_node,
        furniture=tuple(model.furniture),
        nodes=model.nodes,
    )


def workload_to_document(workload: Workload) -> dict[str, JSONValue]:
    """The document that `parse_workload` makes the same workload of."""
    return {
        "name": workload.name,
        "summary": workload.summary,
        "prepare": [_step_to_document(step) for step in workload.prepare],
        "ready": [_goal_to_document(goal) for goal in workload.ready],
        "steps": [_step_to_document(step) for step in workload.steps],
        "done": [_goal_to_document(goal) for goal in workload.done],
        "services": ["/".join(service) for service in workload.services],
        "namespaces": list(workload.namespaces),
        "wanted_pods": workload.wanted_pods,
        "wanted_pods_per_node": workload.wanted_pods_per_node,
        "furniture": list(workload.furniture),
        "nodes": workload.nodes,
    }


def _step_to_document(step: Step) -> JSONValue:
    match step:
        case Create():
            return {"create": dict(step.manifest)}
        case Apply():
            return {"apply": dict(step.manifest)}
        case Patch():
            return {
                "patch": str(step.target),
                "with": step.patch,
                "type": step.type.value,
                "subresource": step.subresource,
                "why": step.why,
                "api_version": step.target.api_version,
            }
        case Delete():
            return {"delete": str(step.target), "api_version": step.target.api_version}
        case ToNode():
            return {"node": step.node, "do": step.action.value}
        case ToComponent():
            return {"component": step.component, "do": step.action.value}
        case Wait():
            return {"wait": _goal_to_document(step.goal), "within_s": step.within_s}


def _goal_to_document(goal: Goal) -> JSONValue:
    match goal:
        case PodsReady():
            return {"pods": goal.pods, "namespace": goal.namespace, "selector": goal.selector, "not_on": goal.not_on}
        case Condition():
            return {"condition": goal.text}
        case RolledOut():
            return {"rollout": goal.object}
        case Gone():
            return {"gone": goal.object}
        case FieldGoal():
            return {"field": goal.field, "of": goal.object, "is": goal.value}


def manifest_problem(manifest: Mapping[str, JSONValue]) -> tuple[str, str] | None:
    """What keeps a mapping from being a manifest of one object, as path and words; None if it is one."""
    for key in ("apiVersion", "kind"):
        if not isinstance(manifest.get(key), str) or not manifest[key]:
            return key, f"expected a text, got {manifest.get(key)!r:.60}" if key in manifest else "is missing"
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        return "metadata.name", "is missing: each object must have a name of its own"
    return None


@cache
def newest_version(kind: str) -> str | None:
    """apiVersion of a kind of Kubernetes: of the group that it is stored in today, the newest stable version."""
    group = preferred_group(kind)
    versions = [version for version, name in shipped_table().kinds() if name == kind and _group(version) == group]
    return max(versions, key=_stability, default=None)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _stability(api_version: str) -> tuple[int, int, int]:
    """v2 > v1 > v1beta2 > v1beta1 > v1alpha1 (apimachinery v0.36.3, pkg/version/helpers.go)."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", api_version.rpartition("/")[2])
    if found is None:
        return (-1, 0, 0)
    return ({"alpha": 0, "beta": 1}.get(found[2], 2), int(found[1]), int(found[3] or 0))
