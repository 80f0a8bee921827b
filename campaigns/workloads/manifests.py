"""A user's own workload: a folder of manifests, and a `workload.yaml` that says what is done with them (documents).

    shop/
      workload.yaml       steps, goals, services, …
      crd.yaml, operator.yaml, site.yaml, …   any names; one document or several in a file, JSON too; `kind: List` is
                                               taken apart. Files of folders in it go by their path below it

Without `prepare` all files that no step names are created in it, in the order of their names: namespaces and
CustomResourceDefinitions first, which are waited for, then the rest. Without `ready` it ends when every Deployment,
StatefulSet and DaemonSet among them is rolled out.

The workload's name gets a hash of all that it says, `shop@3f2a9c01`: what has another content is another workload, and
has other plan ids, wherever the folder lies.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from campaigns.spec.yaml_input import parse_documents, parse_yaml
from campaigns.workloads.documents import manifest_problem, parse_workload, workload_to_document
from campaigns.workloads.goals import Condition, RolledOut
from campaigns.workloads.steps import Create, Manifest, ObjectName, Step, Wait
from campaigns.workloads.workload import Workload
from injector.errors import InputError, Problem
from injector.rules import JSONValue

__all__ = ["WORKLOAD_FILE", "load_folder"]

WORKLOAD_FILE = "workload.yaml"
_SUFFIXES = (".yaml", ".yml", ".json")
_HASH_DIGITS = 8
"""Hexadecimal digits, 32 bits: two contents of one name are told apart, which is all that they are for."""
_FIRST = ("Namespace", "CustomResourceDefinition")
_ROLLED_OUT = ("Deployment", "StatefulSet", "DaemonSet")
_CLUSTER_SCOPED = frozenset(
    {
        "APIService", "CSIDriver", "CSINode", "CertificateSigningRequest",
        "ClusterRole", "ClusterRoleBinding", "ClusterTrustBundle", "CustomResourceDefinition",
        "DeviceClass", "FlowSchema", "IPAddress", "IngressClass",
        "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "Namespace",
        "Node", "PersistentVolume", "PriorityClass", "PriorityLevelConfiguration",
        "ResourceSlice", "RuntimeClass", "ServiceCIDR", "StorageClass",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)  # fmt: skip
"""Kinds of Kubernetes without a namespace (kubectl api-resources --namespaced=false, 1.36, what can be created)."""


def load_folder(folder: Path) -> Workload:
    """The workload in a folder. InputError with every problem of all its files, each with file and path."""
    described = folder / WORKLOAD_FILE
    if not described.is_file():
        raise InputError([Problem(str(folder), "", f"expected a folder with a {WORKLOAD_FILE}")])
    problems: list[Problem] = []
    files = _read_files(folder, problems)
    document: JSONValue = None
    try:
        document = parse_yaml(_text(described), file=str(described))
    except InputError as error:
        problems += error.problems
    else:
        document = _completed(document, folder, files)
        try:
            made = parse_workload(document, file=str(described), files=files)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return _named(made)


def _named(workload: Workload) -> Workload:
    content = json.dumps(workload_to_document(workload), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(content.encode()).hexdigest()[:_HASH_DIGITS]
    return dataclasses.replace(workload, name=f"{workload.name}@{digest}")


def _read_files(folder: Path, problems: list[Problem]) -> dict[str, list[Manifest]]:
    """Path below the folder → manifests, in order of the paths."""
    found: dict[str, list[Manifest]] = {}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    for path in paths:
        if path == folder / WORKLOAD_FILE:
            continue
        try:
            documents = parse_documents(_text(path), file=str(path))
        except InputError as error:
            problems += error.problems
            continue
        found[path.relative_to(folder).as_posix()] = [
            manifest for i, each in enumerate(documents) for manifest in _taken_apart(each, str(path), i, problems)
        ]
    scopes = _own_scopes(found)
    return {name: [_placed(manifest, scopes) for manifest in manifests] for name, manifests in found.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(str(path), "", f"can't be read: {error}")]) from error


def _taken_apart(document: JSONValue, file: str, number: int, problems: list[Problem]) -> list[dict[str, JSONValue]]:
    where = f"document {number + 1}"
    if not isinstance(document, dict):
        problems.append(Problem(file, where, f"expected a manifest, got {document!r:.60}"))
        return []
    items = document.get("items")
    if document.get("kind") == "List" and isinstance(items, list):
        return [m for item in items for m in _taken_apart(item, file, number, problems)]
    if (why := manifest_problem(document)) is not None:
        problems.append(Problem(file, f"{where}.{why[0]}", why[1]))
        return []
    return [document]


def _own_scopes(files: Mapping[str, Sequence[Manifest]]) -> dict[str, bool]:
    """Kind → whether it has a namespace, of kinds that the folder itself defines."""
    scopes = {}
    for manifests in files.values():
        for manifest in manifests:
            spec = manifest.get("spec")
            names = spec.get("names") if isinstance(spec, dict) else None
            if manifest["kind"] == "CustomResourceDefinition" and isinstance(spec, dict) and isinstance(names, dict):
                scopes[str(names.get("kind"))] = spec.get("scope") != "Cluster"
    return scopes


def _placed(manifest: Manifest, scopes: Mapping[str, bool]) -> Manifest:
    """With the namespace that kubectl would give it: `default` where it names none and its kind has one."""
    kind, metadata = str(manifest["kind"]), manifest["metadata"]
    assert isinstance(metadata, dict)
    if metadata.get("namespace") or not scopes.get(kind, kind not in _CLUSTER_SCOPED):
        return manifest
    return {**manifest, "metadata": {**metadata, "namespace": "default"}}


def _completed(document: JSONValue, folder: Path, files: Mapping[str, Sequence[Manifest]]) -> JSONValue:
    """With what may be left out: name, `prepare` and `ready`."""
    if not isinstance(document, dict):
        return document
    made: dict[str, JSONValue] = {"name": folder.resolve().name.lower().replace("_", "-"), **document}
    if "prepare" not in document:
        named = _files_named(document.get("steps"))
        manifests = [m for name, found in files.items() if name not in named for m in found]
        steps = _prepared(manifests)
        whole = workload_to_document(Workload(name="", summary="", steps=steps, done=_ready(manifests)))
        made["prepare"] = whole["steps"]
        made.setdefault("ready", whole["done"])
    return made


def _files_named(steps: JSONValue) -> set[str]:
    written = [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    named = [step.get(verb) for step in written for verb in ("create", "apply")]
    return {name for name in named if isinstance(name, str)}


def _prepared(manifests: Sequence[Manifest]) -> tuple[Step, ...]:
    first = sorted((m for m in manifests if m["kind"] in _FIRST), key=lambda m: _FIRST.index(str(m["kind"])))
    waits = [Wait(Condition(f"{ObjectName.of(m)} Established")) for m in first if m["kind"] == _FIRST[1]]
    rest = [m for m in manifests if m["kind"] not in _FIRST]
    return (*map(Create, first), *waits, *map(Create, rest))


def _ready(manifests: Sequence[Manifest]) -> tuple[RolledOut, ...]:
    return tuple(RolledOut(str(ObjectName.of(m))) for m in manifests if m["kind"] in _ROLLED_OUT)
