"""What must fit together in a spec: a workload that exists, a model and its parameters, a kind, its identity, fields.

Works on the parsed document, not on the models of `campaign_spec`, so that these problems are found beside those of
form: whatever has the right type is checked, whatever has not is left to the models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from functools import cache

from campaigns.spec.problems import did_you_mean
from injector.codec import encode_scalar, integer_range
from injector.codec.nodes import INT_OR_STRING, LEAF_FIELDS
from injector.codec.paths import parse_path
from injector.codec.table import SCALARS, Field, shipped_table
from injector.conditions import parse_condition
from injector.errors import CodecError, FaultError, Problem
from injector.faults import MODELS, Scope
from injector.roles import check_role
from injector.rules import JSONValue
from injector.selectors import parse_selector
from injector.targets import Channel, fits_component, wrong_operation

__all__ = [
    "carried_kind",
    "check_document",
    "check_fault",
    "component_names",
    "groups_of",
    "kinds",
    "preferred_group",
    "scalar_type",
    "wrong_component",
]

_IDENTITY = re.compile(r"[A-Za-z]+(/[^/#\s]+){1,2}(#[1-9][0-9]*)?")

_MOST_NODES = 10
"""campaigns.spec.cluster_spec allows no more."""

Found = Iterator[tuple[str, str]]
"""(path below the fault, words)"""


def check_document(document: dict[str, JSONValue], *, file: str, workloads: Collection[str]) -> list[Problem]:
    """Every problem between values. Order: workloads, then fault by fault."""
    problems = []
    names = document.get("workloads")
    for i, name in enumerate(names if isinstance(names, list) else []):
        if not isinstance(name, str):
            continue  # the models' to refuse
        if name not in workloads:
            words = f"no workload {name!r}{did_you_mean(name, workloads)}"
            problems.append(Problem(file, f"workloads[{i}]", words))
        elif isinstance(names, list) and name in names[:i]:
            problems.append(Problem(file, f"workloads[{i}]", f"{name!r} is named twice"))
    faults = document.get("faults")
    seen: dict[str, int] = {}
    for i, fault in enumerate(faults if isinstance(faults, list) else []):
        if isinstance(fault, dict):
            problems += check_fault(fault, file=file, where=f"faults[{i}]", nodes=_nodes(document))
            same = _content(fault)
            if same in seen:
                problems.append(Problem(file, f"faults[{i}]", f"does the same as faults[{seen[same]}]"))
            seen.setdefault(same, i)
    return problems


def _nodes(document: dict[str, JSONValue]) -> int:
    """How many the campaign's cluster has, as far as that can be read."""
    cluster = document.get("cluster")
    nodes = cluster.get("nodes", _USUAL_NODES) if isinstance(cluster, dict) else _USUAL_NODES
    return nodes if type(nodes) is int and 1 <= nodes <= _MOST_NODES else _MOST_NODES


_USUAL_NODES = 3
"""campaigns.spec.cluster_spec's default."""


def groups_of(kind: str) -> tuple[str, ...]:
    """API groups that store this kind, "" for core, sorted; none for a kind that Kubernetes itself does not have."""
    return _groups().get(kind, ())


def kinds() -> tuple[str, ...]:
    """The kinds of Kubernetes itself, sorted."""
    return tuple(sorted(_groups()))


def preferred_group(kind: str) -> str:
    """The group where a spec names none: the one that the kind is stored in today (a few live on in old groups)."""
    groups = groups_of(kind)
    return next((g for g in groups if g not in _LEGACY), groups[0] if groups else "")


_LEGACY = ("extensions", "events.k8s.io")
"""Groups whose kinds are stored elsewhere: extensions/v1beta1 moved to apps, networking and policy (Kubernetes 1.16);
Events are stored as core."""


def check_fault(fault: dict[str, JSONValue], *, file: str, where: str, nodes: int = _MOST_NODES) -> list[Problem]:
    """Every problem of one fault; `where` is its path in `file`, `nodes` how many its cluster has."""
    problems = [Problem(file, f"{where}.{path}", words) for path, words in _between(fault, nodes)]
    model, parameters = fault.get("model"), fault.get("parameters", {})
    if isinstance(model, str) and model in MODELS and isinstance(parameters, dict):
        problems += MODELS[model].check_parameters(parameters, where=f"{where}.parameters", file=file)
    return problems


def _between(fault: dict[str, JSONValue], nodes: int) -> Found:
    model, channel, target = fault.get("model"), fault.get("channel"), fault.get("target")
    if isinstance(model, str) and model not in MODELS:
        yield "model", f"no fault model {model!r}{did_you_mean(model, MODELS.names())}"
    at_rest = channel in set(Channel) and Channel(str(channel)).at_rest
    if at_rest and isinstance(model, str) and model in MODELS and MODELS[model].in_flight:
        yield "model", f"{model} is done to a message on its way; nothing is on its way at rest"
    if at_rest and fault.get("times", 1) != 1:
        yield "times", f"at rest a value is changed once: expected 1, got {fault['times']!r}"
    if fault.get("reread") and channel not in (Channel.AT_REST_SILENT, Channel.ETCD_TO_APISERVER):
        yield "reread", f"is for {Channel.AT_REST_SILENT} and {Channel.ETCD_TO_APISERVER}, got channel {channel!r}"
    if not isinstance(target, dict):
        return
    if at_rest and target.get("occurrence", 1) not in (1, None):
        yield "target.occurrence", f"at rest nothing occurs twice: expected 1, got {target['occurrence']!r}"
    yield from _check_operation(channel, target.get("operation"))
    yield from _check_component(channel, target.get("component"), nodes)
    if target.get("by") and channel == Channel.COMPONENT_TO_APISERVER:
        yield "target.by", "a request is its sender's: name it by `component`"
    kind, identity = target.get("kind"), target.get("identity")
    if kind in _REQUESTS:
        yield from _check_request(channel, str(kind), target)
    elif isinstance(kind, str):
        yield from _check_kind(kind, target.get("group"))
    if isinstance(identity, str) and kind not in _REQUESTS:
        yield from _check_identity(identity, kind)
    yield from _check_choice(target)
    if isinstance(model, str) and model in MODELS:
        yield from _check_scope(model, target.get("field"), target.get("role"))
    yield from _check_field(fault, target)


_REQUESTS = ("etcd:Compact", "etcd:LeaseGrant")
"""What kube-apiserver asks of etcd that is no object (injector.channels.etcd): kind and identity alike."""


def _check_request(channel: JSONValue, kind: str, target: dict[str, JSONValue]) -> Found:
    identity = target.get("identity")
    if channel != Channel.APISERVER_TO_ETCD:
        yield (
            "target.kind",
            f"{kind} is a request to etcd: expected channel {Channel.APISERVER_TO_ETCD}, got {channel!r}",
        )
    if identity != kind:
        yield "target.identity", f"expected {kind}, as the kind, got {identity!r}"
    for name in ("namespace", "labels", "role", "by"):
        if target.get(name) is not None:
            yield f"target.{name}", f"{kind} is a request and no object: expected none, got {target[name]!r}"


def _check_choice(target: dict[str, JSONValue]) -> Found:
    """What a target asks for besides kind and identity."""
    for name, read in _CHOICES.items():
        text = target.get(name)
        if isinstance(text, str) and text:
            try:
                read(text)
            except FaultError as error:
                yield f"target.{name}", str(error)
    for name in ("namespace", "labels"):
        if target.get("identity") and target.get(name):
            yield f"target.{name}", f"{target['identity']} is one object already: expected none, got {target[name]!r}"
    if target.get("field") is not None and target.get("role"):
        yield "target.role", f"the target names the field {target['field']}: expected none, got {target['role']!r}"


def _check_namespace(text: str) -> None:
    if not _NAMESPACE.fullmatch(text):
        raise FaultError(f"expected a namespace's name, such as default, got {text!r}")


_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CHOICES: dict[str, Callable[[str], object]] = {
    "namespace": _check_namespace,
    "labels": parse_selector,
    "role": check_role,
    "after": parse_condition,
}


def _check_operation(channel: JSONValue, operation: JSONValue) -> Found:
    if isinstance(operation, str) and channel in set(Channel):
        why = wrong_operation(Channel(str(channel)), operation)
        if why is not None:
            yield "target.operation", why


def _check_component(channel: JSONValue, component: JSONValue, nodes: int) -> Found:
    if component is not None and channel in set(Channel) and not Channel(str(channel)).of_components:
        yield "target.component", f"is for the channels of components; got channel {channel!r}"
    elif isinstance(component, str) and (why := wrong_component(component, nodes)) is not None:
        yield "target.component", why


def wrong_component(component: str, nodes: int) -> str | None:
    """Why a target's `component` means none of a sandbox of so many nodes; None if it means one."""
    names = component_names(nodes)
    if any(fits_component(component, name) for name in names):
        return None
    each = ", ".join(f"{kind}-node-1" + (f" to node-{nodes}" if nodes > 1 else "") for kind in _ON_NODES)
    return f"expected one of {', '.join(_CONTROLLERS)}, {each}, or such as {_ON_NODES[0]}-*, got {component!r}"


_CONTROLLERS, _ON_NODES = ("kube-controller-manager", "kube-scheduler"), ("kubelet", "kube-proxy")


def component_names(nodes: int) -> tuple[str, ...]:
    """What has a channel of its own to kube-apiserver, in a sandbox of so many nodes."""
    return (*_CONTROLLERS, *(f"{kind}-node-{n + 1}" for kind in _ON_NODES for n in range(nodes)))


def _check_kind(kind: str, group: JSONValue) -> Found:
    if not groups_of(kind):
        if not group:  # a custom resource's kind is not in the table, but always has a group
            yield "target.kind", f"no kind {kind!r} in Kubernetes{did_you_mean(kind, _groups())}"
    elif isinstance(group, str) and group not in groups_of(kind):
        there = ", ".join(repr(g) for g in groups_of(kind))
        yield "target.group", f"{kind} is of group {there}, got {group!r}"


def _check_identity(identity: str, kind: JSONValue) -> Found:
    if not _IDENTITY.fullmatch(identity):
        yield (
            "target.identity",
            f"expected KIND/NAMESPACE/NAME, KIND/NAME or either with #N (N from 1), got {identity!r}",
        )
    elif isinstance(kind, str) and identity.split("/")[0] != kind:
        yield "target.identity", f"expected it to begin with {kind}/, got {identity!r}"


def _check_scope(model: str, field: JSONValue, role: JSONValue) -> Found:
    scope = MODELS[model].scope
    if scope in (Scope.FIELD, Scope.PART) and field is None and role is None:
        yield "target.field", f"is missing: {model} changes a field"
    if scope is Scope.MESSAGE and role is not None:
        yield "target.role", f"{model} is done to the whole message: expected no role, got {role!r}"
    if scope is Scope.MESSAGE and field is not None:
        yield "target.field", f"{model} is done to the whole message: expected no field, got {field!r}"


def _check_field(fault: dict[str, JSONValue], target: dict[str, JSONValue]) -> Found:
    field, kind, group = target.get("field"), target.get("kind"), target.get("group")
    if not isinstance(field, str):
        return
    try:
        parse_path(field)
    except FaultError as error:
        yield "target.field", str(error)
        return
    if not isinstance(kind, str) or not groups_of(kind):
        return
    model = fault.get("model")
    part = isinstance(model, str) and model in MODELS and MODELS[model].scope is Scope.PART
    group = group if isinstance(group, str) else preferred_group(kind)
    found = _type_of(*carried_kind(kind, group, target.get("operation")), field, part=part)
    if isinstance(found, Problem):
        yield "target.field", found.message
    elif found:
        yield from _check_type(fault, field, found)


def _check_type(fault: dict[str, JSONValue], field: str, type_name: str) -> Found:
    model, parameters = fault.get("model"), fault.get("parameters")
    if model == "boolean-invert" and type_name != "bool":
        yield "target.field", f"{field} is of type {type_name}; boolean-invert is for booleans"
    if model == "bit-flip" and type_name == "bool":
        yield "target.field", f"{field} is of type bool; boolean-invert is for booleans"
    if not isinstance(parameters, dict) or parameters.get("force") is True:
        return
    if model == "value-set" and "value" in parameters:
        try:
            encode_scalar(type_name, parameters["value"])
        except CodecError as error:
            beyond = integer_range(type_name) is not None and type(parameters["value"]) is int
            forced = "; `force: true` stores it as it would be cut" if beyond else ""
            yield "parameters.value", f"{field} is of type {type_name}: {error}{forced}"


_CARRIED = {
    "bind": ("Binding", ""),
    "eviction": ("Eviction", "policy"),
    "scale": ("Scale", "autoscaling"),
    "token": ("TokenRequest", "authentication.k8s.io"),
}
"""What messages carry that are about an object but do not hold it: kind and group, by operation or subresource."""


def carried_kind(kind: str, group: str, operation: JSONValue) -> tuple[str, str]:
    """Kind and group of what a message of that operation about such an object carries."""
    plain, _, subresource = str(operation or "").partition("/")
    return _CARRIED.get(subresource or plain, (kind, group))


def scalar_type(kind: str, group: str, path: str) -> str | None:
    """Scalar type of a field; None where there is none, or it depends on the object."""
    try:
        found = _type_of(kind, group, path)
    except FaultError:
        return None
    return found if isinstance(found, str) else None


def _type_of(kind: str, group: str, path: str, *, part: bool = False) -> str | Problem | None:
    """Scalar type of the field at `path`, None where it depends on the object (an IntOrString) or is a whole `part` of
    it; a Problem where the path leads nowhere in any version of that kind."""
    table = shipped_table()
    messages = [table.of_kind(v, k) for v, k in table.kinds() if k == kind and _group(v) == group]
    found = [_walk(message.name, kind, path, part=part) for message in messages if message is not None]
    fitting = [f for f in found if not isinstance(f, Problem)]
    return fitting[0] if fitting else found[0] if found else None


def _walk(message: str, kind: str, path: str, *, part: bool) -> str | Problem | None:
    type_name, so_far = message, kind
    for step in (steps := parse_path(path)):
        if _is_value(type_name):
            return Problem("", "", f"{so_far} is a value; it has no {step.name!r}")
        own = _fields(type_name)
        if step.name not in own:
            return Problem("", "", f"{so_far} has no field {step.name!r}{did_you_mean(step.name, own)}")
        field = own[step.name]
        so_far = f"{so_far}.{step.name}"
        wanted = 1 if field.repeated or field.map_key is not None else 0
        if part and step is steps[-1] and not step.keys:
            return None
        if len(step.keys) != wanted:
            what = "a map: name one key" if field.map_key is not None else "a list: name one element"
            return Problem("", "", f"{so_far} is {what} in brackets" if wanted else f"{so_far} takes no brackets")
        type_name = field.type
    if not _is_value(type_name) and not part:
        return Problem(
            "", "", f"{so_far} is an object; name one of its fields: {', '.join(sorted(_fields(type_name)))}"
        )
    return type_name if type_name in SCALARS else None


def _is_value(type_name: str) -> bool:
    return type_name in SCALARS or type_name in LEAF_FIELDS or type_name == INT_OR_STRING


@cache
def _fields(type_name: str) -> dict[str, Field]:
    """Fields by their JSON name; those of inlined messages among them."""
    found: dict[str, Field] = {}
    for field in shipped_table().message(type_name).fields.values():
        found.update(_fields(field.type) if field.inline else {field.name: field})
    return found


@cache
def _groups() -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for version, kind in shipped_table().kinds():
        found.setdefault(kind, set()).add(_group(version))
    return {kind: tuple(sorted(groups)) for kind, groups in found.items()}


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _content(fault: dict[str, JSONValue]) -> str:
    """What a fault does, without its reason, as text that two faults share only if they do the same."""
    target = fault.get("target")
    told = {"times": 1, "reread": False, "parameters": {}} | {k: v for k, v in fault.items() if k != "why"}
    if isinstance(target, dict):
        kind = target.get("kind")
        usual: dict[str, JSONValue] = {
            "group": preferred_group(kind) if isinstance(kind, str) else "",
            "field": None,
            "occurrence": 1,
        }
        told["target"] = usual | {k: v for k, v in target.items() if v is not None}
    return json.dumps(told, sort_keys=True, default=str)
