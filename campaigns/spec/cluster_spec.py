"""The cluster that one asks for: `cluster:` of a campaign spec, and the whole file of `mutineer sandbox up --config`.

    kind: sandbox
    nodes: 3                                # 1-10
    profile: fast                           # fast | kubeadm
    images:                                 # image name → what is run; nothing is ever pulled
      example.com/operator:1: ["./bin/manager", "--leader-elect=false"]
      example.com/site:2:
        command: [python3, -m, http.server, "8080"]
        files: {/srv: ./public}             # path in the container → file or folder here, read-only
    encryption: false                       # Secrets encrypted at rest
    etcd_tls: false                         # TLS between kube-apiserver and etcd
    feature_gates: {}                       # e.g. {CBORServingAndStorage: true}, for every component
    component_channels: false               # a forwarder between each component and kube-apiserver
    audit: false                            # kube-apiserver's audit log, in logs/audit.log
    furniture: [quota, webhook]             # what else real clusters have; [all] for everything

A container sees this machine's /usr, read-only, and nothing else of its files. So a command that is a path below /usr,
or a bare name, is taken as it is; any other path is a file of this machine, relative to the YAML file, that is shown in
the container as /NAME, where an operator's own manifests expect it (kubebuilder's say `command: [/manager]`).

The model holds what was written, so that plan ids are the same on every machine; `to_sandbox_settings` resolves it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from campaigns.spec.problems import in_document_order, to_problems
from campaigns.spec.yaml_input import parse_yaml
from injector.errors import InputError, Problem
from injector.rules import JSONValue

if TYPE_CHECKING:  # what a spec says is read without loading what runs it
    from campaigns.clusters.sandbox.config import ImageConfig
    from campaigns.clusters.sandbox.outside import Settings

__all__ = ["FURNITURE", "ClusterSpec", "ImageSpec", "Model", "load_cluster", "parse_cluster"]

Furniture = Literal[
    "pod-disruption-budget", "quota", "admission-policy", "webhook", "operator", "volumes", "metrics", "all"
]
FURNITURE = tuple(name for name in get_args(Furniture) if name != "all")

_HOST_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
"""What a container sees of this machine (below /usr or a link into it)."""
_CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAKEN_WHOLE = frozenset(("bin", "dev", "lib", "lib64", "proc", "sbin", "sys", "usr"))
"""Folders of a container in which nothing of the user's can be shown: this machine's /usr, and the kernel's."""
_TAKEN = _TAKEN_WHOLE | {"etc", "run", "tmp", "var"}
"""Names that a container's root has already."""


class Model(BaseModel):
    """Of every part of a spec: unknown keys are refused, nothing is converted, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _container_path(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not path.startswith("/") or len(parts) < 2 or ".." in parts:
        raise ValueError(f"expected an absolute path in the container, got {path!r}")
    if parts[1] in _TAKEN_WHOLE and parts[1:] != ("usr",):  # another /usr is a whole system's
        raise ValueError(f"/{parts[1]} is the container's own; expected a path elsewhere, e.g. /srv, got {path!r}")
    return path


def _host_path(path: str, info: ValidationInfo) -> str:
    if (folder := _folder(info)) is not None and not (there := _here(path, folder)).exists():
        raise ValueError(f"expected a file or folder of this machine, got {path!r}: there is no {there}")
    return path


def _folder(info: ValidationInfo) -> Path | None:
    """The YAML file's folder; None where files are not to be looked at: a spec is planned on any machine."""
    context: object = info.context
    return context.get("folder") if isinstance(context, dict) else None


Word = Annotated[str, Field(min_length=1)]
FeatureGate = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$")]
ImageName = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$")]
"""Roughly what Kubernetes takes for an image; the rest is refused by the kubelet (InvalidImageName)."""


class ImageSpec(Model):
    """What is run for an image's name: a command, or a mapping with command and files."""

    files: dict[Annotated[str, AfterValidator(_container_path)], Annotated[Word, AfterValidator(_host_path)]] = Field(
        default_factory=dict, description="Path in the container → file or folder of this machine, shown read-only"
    )
    command: list[Word] = Field(
        min_length=1, description="The image's ENTRYPOINT; a pod's command and args replace and follow it"
    )

    @model_validator(mode="before")
    @classmethod
    def _command_alone(cls, value: object) -> object:
        return {"command": value} if isinstance(value, list) else value

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if (folder := _folder(info)) is not None:
            _check_command(value[0], tuple(info.data.get("files", ())), folder)
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(core)
        shared = handler.resolve_ref_schema(reference)
        mapping = dict(shared)
        shared.clear()
        shared.update(
            title=mapping.pop("title"),
            description=mapping.pop("description"),
            anyOf=[{**mapping["properties"]["command"], "title": "Command alone"}, mapping],
        )
        return reference

    def resolved(self, folder: Path) -> ImageConfig:
        """With this machine's paths; `folder` is the one that relative paths start from."""
        from campaigns.clusters.sandbox.config import ImageConfig

        files = {path: str(_here(host, folder)) for path, host in self.files.items()}
        first, *rest = self.command
        if _is_of_this_machine(first, self.files):
            inside = f"/{PurePosixPath(first).name}"
            files[inside] = str(_here(first, folder))
            first = inside
        return ImageConfig(command=(first, *rest), files=files)


class ClusterSpec(Model):
    """What the experiments run on."""

    kind: Literal["sandbox"] = Field("sandbox", description="Kubernetes as plain processes in namespaces of its own")
    nodes: int = Field(3, ge=1, le=10, description="Nodes, each with a real kubelet (10: as `sandbox up` allows)")
    profile: Literal["fast", "kubeadm"] = Field(
        "fast", description="fast: timers shortened so that an experiment takes seconds; kubeadm: kubeadm's defaults"
    )
    images: dict[ImageName, ImageSpec] = Field(
        default_factory=dict, description="Image name → what is run for it, beside the built-in images"
    )
    encryption: bool = Field(False, description="Secrets are encrypted at rest")
    etcd_tls: bool = Field(False, description="TLS between kube-apiserver and etcd")
    feature_gates: dict[FeatureGate, bool] = Field(
        default_factory=dict, description="Kubernetes feature gate → on or off, for every component"
    )
    component_channels: bool = Field(
        False, description="Components reach kube-apiserver through forwarders; set by itself where a fault needs them"
    )
    audit: bool = Field(False, description="kube-apiserver writes an audit log")
    furniture: list[Furniture] = Field(
        default_factory=list, description="What else real clusters have, each of it real; all: everything"
    )

    @field_validator("furniture")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if twice := sorted({name for name in value if value.count(name) > 1}):
            raise ValueError(f"{', '.join(map(repr, twice))} named twice")
        return value

    def content(self) -> JSONValue:
        """What plan ids are made of. Keys that came after the first runs enter only where they are used, so that the
        ids of experiments that do not use them stay; paths enter as written."""
        document: dict[str, JSONValue] = self.model_dump(mode="json")
        document["furniture"] = list(self.wanted_furniture)
        changed = {*self.model_dump(exclude_defaults=True), "kind", "nodes", "profile"}
        return {key: value for key, value in document.items() if key in changed}

    @property
    def wanted_furniture(self) -> tuple[str, ...]:
        """Without `all`, in the order of FURNITURE."""
        return FURNITURE if "all" in self.furniture else tuple(n for n in FURNITURE if n in self.furniture)

    def to_sandbox_settings(self, folder: Path) -> Settings:
        """Keyword arguments of `outside.prepare`; relative host paths start from `folder`, the YAML file's."""
        from campaigns.clusters.sandbox.components import Profile
        from campaigns.clusters.sandbox.outside import Settings

        return Settings(
            nodes=self.nodes,
            profile=Profile(self.profile),
            images={_tagged(name): image.resolved(folder) for name, image in self.images.items()},
            encryption=self.encryption,
            etcd_tls=self.etcd_tls,
            feature_gates=self.feature_gates,
            component_channels=self.component_channels,
            audit=self.audit,
            furniture=self.wanted_furniture,
        )


def parse_cluster(text: str, *, file: str, folder: Path | None = None) -> ClusterSpec:
    """The cluster in `text`. InputError with every problem, each with `file` and path; with `folder` also those of
    the files that it names."""
    document = parse_yaml(text, file=file)
    if not isinstance(document, dict):
        raise InputError(
            [Problem(file, "", f"expected a mapping with nodes, profile, images, …, got {document!r:.60}")]
        )
    try:
        return ClusterSpec.model_validate(document, context={"folder": folder})
    except ValidationError as error:
        raise InputError(in_document_order(to_problems(error, file=file, model=ClusterSpec), document)) from None


def load_cluster(path: Path) -> ClusterSpec:
    """The cluster in a file. InputError as parse_cluster, or if it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(str(path), "", f"can't be read: {error}")]) from error
    return parse_cluster(text, file=str(path), folder=path.parent)


def _tagged(image: str) -> str:
    """As the kubelet asks for it: `:latest` where there is neither tag nor digest (pkg/kubelet/images, v1.36)."""
    last = image.rsplit("/", 1)[-1]
    return image if ":" in last or "@" in last else f"{image}:latest"


def _here(path: str, folder: Path) -> Path:
    """A path of this machine, absolute and without links: it is shown in containers by a bind mount."""
    return (folder / Path(path).expanduser()).resolve()


def _is_of_this_machine(first: str, files: Iterable[str]) -> bool:
    """Whether a command's first word is a file here that the container would not have by itself."""
    if "/" not in first:
        return False
    return not any(PurePosixPath(first).is_relative_to(path) for path in (*_HOST_FOLDERS, *files))


def _check_command(first: str, files: Sequence[str], folder: Path) -> None:
    """ValueError where the command can't be run in the container, as far as can be told from here."""
    if "/" not in first:
        if not files and shutil.which(first, path=_CONTAINER_PATH) is None:
            raise ValueError(
                f"no command {first!r} below /usr, which is all that a container sees of this machine; "
                f"a file of yours is named by its path: ./{first}"
            )
        return
    if any(PurePosixPath(first).is_relative_to(path) for path in files):
        return  # what is in the files' folders is the user's to know
    if "/usr" in files and any(PurePosixPath(first).is_relative_to(path) for path in _HOST_FOLDERS):
        return  # likewise
    there = _here(first, folder)
    if _is_of_this_machine(first, files) and ((name := PurePosixPath(first).name) in _TAKEN or f"/{name}" in files):
        raise ValueError(f"{first!r} would be /{name} in the container, which has that already; name it otherwise")
    if not there.exists():
        raise ValueError(f"expected an executable, got {first!r}: there is no {there}; is it built?")
    if there.is_dir():
        raise ValueError(f"expected an executable, got {first!r}: {there} is a folder")
    if not os.access(there, os.X_OK):
        raise ValueError(f"{first!r} is not executable: chmod +x {there}")
