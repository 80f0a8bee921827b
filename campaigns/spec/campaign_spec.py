"""The campaign spec: a YAML file that says which cluster, which workloads, which faults on which targets.

    name: my-first                     # folder name of the run unless the user names one
    cluster: {kind: sandbox, nodes: 3, profile: fast}   # and more: campaigns.spec.cluster_spec
    workloads: [deploy, {manifests: ./shop}]   # names, and folders of one's own (campaigns.workloads.manifests)
    golden: 20                         # golden runs per workload
    seed: 1                            # fixes the order of the experiments
    parallelism: auto                  # sandboxes side by side, or a number
    time_limits: {settle_s: 20}        # see TimeLimits
    stop: {after: 8h, errors: 10}      # and confirm: see campaigns.spec.policies
    heal: false                        # true: what does the cluster need to come back once the fault is removed?
    faults:
      - why: the Service points at pods that do not exist
        channel: apiserver-to-etcd
        model: value-set
        parameters: {value: wax}
        target: {kind: Service, identity: Service/default/web, field: "spec.selector[app]", occurrence: 1}
      - why: the third pod that is bound once the Deployment was there is lost
        channel: apiserver-to-etcd
        model: drop
        target: {kind: Pod, namespace: default, labels: "app=web", after: "Deployment/default/web Available",
                 by: kubelet, occurrence: 3}   # all but kind may be left out
    sample: {budget: 9000}             # beside or instead of faults: drawn by seed, see campaigns.spec.sample_spec
    golden_every: 20                   # one golden run in twenty experiments, where that is more than `golden`

Unknown keys are refused; all problems are reported at once, each with file and path. The models hold what can be said
of one value; what needs two of them (a model and its parameters, a kind and its fields) is in `fault_checks`.
The JSON Schema of the file ships: `mutineer schema spec`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from campaigns.record import Limits
from campaigns.spec.cluster_spec import FURNITURE, ClusterSpec, Model
from campaigns.spec.fault_checks import check_document
from campaigns.spec.policies import ConfirmPolicy, StopRules
from campaigns.spec.problems import in_document_order, to_problems
from campaigns.spec.sample_spec import SampleSpec, SampleTargets
from campaigns.spec.yaml_input import parse_yaml
from campaigns.workloads import WORKLOADS, Workload
from campaigns.workloads.documents import parse_workload, workload_to_document
from campaigns.workloads.manifests import load_folder
from classifiers import numbers
from classifiers.numbers import MIN_GOLDENS
from injector.errors import InputError, Problem
from injector.rules import JSONValue
from injector.targets import Channel

if TYPE_CHECKING:
    from campaigns.clusters.sandbox.outside import Settings

__all__ = [
    "CampaignSpec",
    "ClusterSpec",
    "FaultSpec",
    "SampleSpec",
    "SampleTargets",
    "TargetSpec",
    "TimeLimits",
    "load_preset",
    "load_spec",
    "parse_spec",
    "presets",
    "spec_to_json",
]

_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_PRESETS = Path(__file__).parents[1] / "presets"

_OVERHEAD_S = 30.0
"""Of an experiment besides its waits: a rollback takes 2 s, at most 12; a user's request at most 10."""

Seconds = Annotated[float, Field(gt=0, le=3600, strict=False)]


class TimeLimits(Model):
    """How long things may take, in seconds. Defaults of those by which classes are told, and why, are in
    classifiers.numbers."""

    prepare_s: Seconds = Field(30.0, description="For what the workload prepares before the fault is armed")
    settle_s: Seconds = Field(
        numbers.SETTLE_S, description="From the start, or from a fault at rest, until the workload is quiet"
    )
    quiet_s: Seconds = Field(
        numbers.QUIET_S, description="Without a write but volatile ones; so long is quiet once all is there"
    )
    stuck_s: Seconds = Field(
        numbers.STUCK_S, description="The same while something is missing: controllers back off between tries"
    )
    unspoken_s: Seconds = Field(
        numbers.UNSPOKEN_S,
        description="The same while a kubelet has told nothing of a pod bound to its node: one that was refused "
        "tries again after 10 s",
    )
    dormant_s: Seconds = Field(
        numbers.DORMANT_S,
        description="No rest sooner after a fault at rest, or one in a Lease: who can't renew the Lease that it leads "
        "by gives up 10 s later",
    )
    steady_s: Seconds = Field(
        numbers.STEADY_S, description="Clients go on for so long before the canary, to see how it stays"
    )
    canary_s: Seconds = Field(
        numbers.CANARY_S, description="From the canary's start until it must answer; golden runs take about 3 s"
    )
    experiment_s: Seconds = Field(
        120.0, description="For one experiment with its reset; past it the sandbox is given up, the experiment an error"
    )

    heal_s: Seconds = Field(
        numbers.HEAL_S,
        description="With `heal`: to come back once the fault is removed, and once more after a restart",
    )

    def of_experiment(self, *, heal: bool = False) -> Limits:
        """Those that an experiment itself keeps."""
        kept = self.model_dump(exclude={"experiment_s", "heal_s"})
        return Limits(**kept, heal_s=self.heal_s if heal else 0.0)

    def deadline_s(self, *, heal: bool = False) -> float:
        """For one experiment with its reset, and with its healing."""
        looks = 2 * (self.heal_s + self.steady_s + self.canary_s + _OVERHEAD_S) if heal else 0.0
        return self.experiment_s + looks

    @model_validator(mode="after")
    def _one_experiment_fits(self) -> TimeLimits:
        least = self.prepare_s + 2 * self.settle_s + self.steady_s + self.canary_s + _OVERHEAD_S
        if self.experiment_s < least:
            raise ValueError(
                f"expected experiment_s >= {least:g} (prepare_s + 2 * settle_s + steady_s + canary_s + "
                f"{_OVERHEAD_S:g}), got {self.experiment_s:g}"
            )
        return self


class TargetSpec(Model):
    """What a fault is done to (injector.targets.Target)."""

    kind: str = Field(min_length=1, description="Kind of the object, as the API spells it")
    group: str | None = Field(None, description="API group; left out, it is found from the kind")
    identity: str | None = Field(
        None,
        min_length=1,
        description="KIND/NAMESPACE/NAME, KIND/NAME without namespace, #N for the n-th of its owner; null: any object "
        "of the kind that namespace and labels fit",
    )
    namespace: str | None = Field(None, min_length=1, description="Without identity: only objects in it, e.g. default")
    labels: str | None = Field(
        None, min_length=1, description="Without identity: only objects that this selector fits, e.g. app=web,tier!=db"
    )
    field: str | None = Field(None, description="Path of the field, e.g. spec.selector[app]; null: the whole message")
    role: str | None = Field(
        None,
        min_length=1,
        description="Instead of field: the first of that role that the model fits, e.g. replicas or owner-reference",
    )
    by: str | None = Field(
        None,
        min_length=1,
        description="Only what a field manager wrote whose name begins so, e.g. kube-controller-manager",
    )
    after: str | None = Field(
        None,
        min_length=1,
        description="Count only from when this held, e.g. Deployment/default/web Available, Node/node-1 Ready=False",
    )
    operation: str | None = Field(
        None,
        description="Only messages that do this: writes put, delete; reads range, watch, txn-range; requests create, "
        "update, patch, delete, bind; answers get, list, watch, answer (update/status: that subresource); null: any",
    )
    component: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+\*?$",
        description="Component channels: whose messages, e.g. kube-scheduler or kubelet-*; null: any component's",
    )
    occurrence: int = Field(1, ge=1, description="The n-th message about the object that carries the field, from 1")


class FaultSpec(Model):
    """One fault on one target."""

    why: str = Field(min_length=1, description="One sentence for the reader of the report")
    channel: Literal[
        "apiserver-to-etcd",
        "etcd-to-apiserver",
        "component-to-apiserver",
        "apiserver-to-component",
        "at-rest-write",
        "at-rest-silent",
    ]
    model: str = Field(min_length=1, description="Fault model, see `mutineer schema spec` and injector.faults")
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="The model's own parameters")
    target: TargetSpec
    times: Literal["always"] | int = Field(
        1, description="How often it fires, from that occurrence on; always: for as long as the experiment lasts"
    )
    reread: bool = Field(
        False,
        description="at-rest-silent: restart kube-apiserver around the edit, so that what is stored is read anew; "
        "etcd-to-apiserver: arm the fault once all is at rest, and restart kube-apiserver, which lists everything then",
    )

    @field_validator("times", mode="before")
    @classmethod
    def _always_or_number(cls, value: object) -> object:
        if value == "always" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError(f"expected always or a whole number >= 1, got {value!r}")


_WORKLOAD: dict[str, object] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"manifests": {"type": "string", "minLength": 1}},
            "required": ["manifests"],
            "additionalProperties": False,
        },
    ]
}
"""As it is written; a folder is read, and its name with a hash of its content stands in the model."""


class CampaignSpec(Model):
    """The whole file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Small letters, digits and dashes")
    cluster: ClusterSpec = Field(default_factory=ClusterSpec)  # type: ignore[arg-type]
    workloads: list[Annotated[str, WithJsonSchema(_WORKLOAD)]] = Field(
        default=["deploy"],
        min_length=1,
        description="Names (`mutineer workloads` lists them), and folders of manifests: {manifests: ./folder}",
    )
    golden: int = Field(
        20,
        ge=MIN_GOLDENS + 1,
        le=1000,
        description="Golden runs per workload: 4 at least, for each is judged by the others, and a baseline takes 3",
    )
    golden_every: int = Field(
        20, ge=2, le=1000, description="One golden run in so many experiments of a workload, where that is more"
    )
    seed: int = Field(1, ge=0, description="Fixes the sample, and the order of the experiments")
    parallelism: Literal["auto"] | int = Field("auto", description="Sandboxes side by side; auto: by CPU and memory")
    time_limits: TimeLimits = Field(default_factory=TimeLimits)  # type: ignore[arg-type]
    stop: StopRules = Field(default_factory=StopRules)  # type: ignore[arg-type]
    confirm: ConfirmPolicy | None = Field(None, description="Findings that are done again; null: none")
    heal: bool = Field(
        False, description="Afterwards the fault is removed, and it is watched what the cluster needs to come back"
    )
    faults: list[FaultSpec] = Field(default_factory=list, description="Named one at a time")
    sample: SampleSpec | None = Field(None, description="Drawn from what the workloads' recordings allow")
    _own: dict[str, Workload] = PrivateAttr(default_factory=dict)
    _paths: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("parallelism", mode="before")
    @classmethod
    def _auto_or_number(cls, value: object) -> object:
        if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64):
            return value
        raise ValueError(f"expected auto or a whole number from 1 to 64, got {value!r}")

    @model_validator(mode="after")
    def _takes_folders(self, info: ValidationInfo) -> CampaignSpec:
        own: dict[str, Workload] = (info.context or {}).get("own", {})
        self._paths.update({path: workload.name for path, workload in own.items()})
        self._own.update({workload.name: workload for workload in own.values()})
        return self

    @model_validator(mode="after")
    def _has_what_workloads_name(self) -> CampaignSpec:
        short = [f"{w.name} needs {w.nodes}" for w in self.known_workloads if w.nodes > self.cluster.nodes]
        if short:
            raise ValueError(f"cluster.nodes is {self.cluster.nodes}, but {', '.join(short)}")
        there = {f"node-{number}" for number in range(1, self.cluster.nodes + 1)}
        other = [f"{w.name} names {node}" for w in self.known_workloads for node in w.named_nodes if node not in there]
        if other:
            raise ValueError(f"the cluster has node-1 to node-{self.cluster.nodes}, but {', '.join(other)}")
        known = (*_CONTROL_PLANE, *(f"kubelet-{node}" for node in sorted(there)))
        other = [
            f"{w.name} names {name}" for w in self.known_workloads for name in w.named_components if name not in known
        ]
        if other:
            raise ValueError(f"a step can be about {', '.join(known)}, but {', '.join(other)}")
        return self

    @model_validator(mode="after")
    def _what_is_needed(self) -> CampaignSpec:
        """Switched on by itself, in golden runs too: the components' forwarders where a fault needs them, furniture
        where a workload does."""
        changes: dict[str, object] = {}
        sampled = self.sample.channels if self.sample is not None else []
        if any(Channel(channel).of_components for channel in (*(f.channel for f in self.faults), *sampled)):
            changes["component_channels"] = True
        needed = {name for workload in self.known_workloads for name in workload.furniture}
        if more := needed - set(self.cluster.wanted_furniture):
            changes["furniture"] = [name for name in FURNITURE if name in more or name in self.cluster.furniture]
        if changes:
            return self.model_copy(update={"cluster": self.cluster.model_copy(update=changes)})
        return self

    @property
    def known_workloads(self) -> tuple[Workload, ...]:
        """The workloads that are meant, as far as there are such."""
        own = self._own
        return tuple(own.get(n) or WORKLOADS[n] for n in self.workloads if n in own or n in WORKLOADS)

    def alone(self, workload: str) -> CampaignSpec:
        """The same for that workload only, without the furniture that is there only because others need it."""
        needs = {each.name: set(each.furniture) for each in self.known_workloads}
        own = needs.pop(workload, set())
        others = {name for furniture in needs.values() for name in furniture}
        furniture = [name for name in self.cluster.wanted_furniture if name in own or name not in others]
        cluster = self.cluster.model_copy(update={"furniture": furniture})
        return self.model_copy(update={"workloads": [workload], "cluster": cluster})

    @property
    def own_workloads(self) -> dict[str, JSONValue]:
        """The user's own, read from their folders: path as written → document (workloads.documents). With it
        `parse_spec` reads the same spec again where the folders are not, or have changed meanwhile."""
        return {path: workload_to_document(self._own[name]) for path, name in self._paths.items()}

    def to_sandbox_settings(self, folder: Path) -> Settings:
        """As ClusterSpec.to_sandbox_settings, with the user's own workloads."""
        settings = self.cluster.to_sandbox_settings(folder)
        settings["workloads"] = tuple(workload_to_document(workload) for workload in self._own.values())
        return settings


def parse_spec(
    text: str,
    *,
    file: str,
    folder: Path | None = None,
    workloads: Collection[str] | None = None,
    own_workloads: Mapping[str, JSONValue] | None = None,
) -> CampaignSpec:
    """The spec in `text`. InputError with every problem, each with `file` and path; with `folder`, where the file's
    relative paths start, also those of the files that it names. `own_workloads`: CampaignSpec.own_workloads of the same
    spec, to be taken instead of what is in the folders now."""
    document = parse_yaml(text, file=file)
    if not isinstance(document, dict):
        raise InputError([Problem(file, "", f"expected a mapping with name, faults, …, got {document!r:.60}")])
    own, problems = _own_workloads(document, file, folder or Path(), own_workloads or {})
    named = {**document, "workloads": _named(document["workloads"], own)} if "workloads" in document else document
    known = [*(WORKLOADS.names() if workloads is None else workloads), *(w.name if w else p for p, w in own.items())]
    spec: CampaignSpec | None = None
    context = {"folder": folder, "own": {path: workload for path, workload in own.items() if workload}}
    try:
        spec = CampaignSpec.model_validate(named, context=context)
    except ValidationError as error:
        problems += to_problems(error, file=file, model=CampaignSpec)
    problems += check_document(named, file=file, workloads=known)
    if problems or spec is None:
        raise InputError(in_document_order(problems, document))
    return spec


def _own_workloads(
    document: Mapping[str, JSONValue], file: str, folder: Path, known: Mapping[str, JSONValue]
) -> tuple[dict[str, Workload | None], list[Problem]]:
    """The workloads in folders that a spec names (path as written → workload, None if it is not right), and every
    problem of theirs."""
    written = document.get("workloads")
    found: dict[str, Workload | None] = {}
    problems: list[Problem] = []
    for i, each in enumerate(written if isinstance(written, list) else []):
        path = each.get("manifests") if isinstance(each, dict) and len(each) == 1 else None
        if not isinstance(path, str) or not path:
            continue
        try:
            if path in known:
                found[path] = parse_workload(known[path], file=path)
            else:
                found[path] = load_folder(folder / Path(path).expanduser())
        except InputError as error:
            found[path] = None
            problems += [_of_spec(p, file, f"workloads[{i}].manifests") for p in error.problems]
    return found, problems


def _of_spec(problem: Problem, file: str, path: str) -> Problem:
    """A problem of a folder as a whole stands at the place that names it."""
    return problem if Path(problem.file).suffix else Problem(file, path, f"{problem.message}: {problem.file}")


def _named(written: JSONValue, own: Mapping[str, Workload | None]) -> JSONValue:
    """`workloads` with the names of those in folders."""

    def name(each: JSONValue) -> JSONValue:
        path = each.get("manifests") if isinstance(each, dict) and len(each) == 1 else None
        if not isinstance(path, str) or path not in own:
            return each
        workload = own[path]
        return path if workload is None else workload.name

    return [name(each) for each in written] if isinstance(written, list) else written


def load_spec(path: Path, *, workloads: Collection[str] | None = None) -> tuple[CampaignSpec, str]:
    """The spec in a file, and its text (which the run keeps). InputError as parse_spec, or if it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(str(path), "", f"can't be read: {error}")]) from error
    return parse_spec(text, file=str(path), folder=path.parent, workloads=workloads), text


def presets() -> tuple[str, ...]:
    """Names of the specs that ship."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


def load_preset(name: str) -> tuple[CampaignSpec, str]:
    """A spec that ships, and its text. InputError if there is none of that name."""
    if name not in presets():
        raise InputError(f"no preset {name!r}; there are: {', '.join(presets())}")
    return load_spec(_PRESETS / f"{name}.yaml")


def spec_to_json(spec: CampaignSpec) -> JSONValue:
    """The spec with all defaults filled in, as JSON."""
    document: JSONValue = spec.model_dump(mode="json")
    return document
