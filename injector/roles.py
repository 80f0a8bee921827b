"""What a field is for: its role. The question of a campaign is which roles are fragile.

The roles are those of design.md ("Planning"). The paper (Mutiny!, DSN 2024, arXiv 2404.11169) found that fields which
track dependencies between objects cause half of the cluster-wide failures, so that role is told apart once more
(`Dependency`): an owner reference that lies gets objects deleted, a selector that lies gets traffic lost.

Pure and driven by one table, `RULES`: the first rule that fits wins, so that the special stands above the general
(`subsets[].addresses[].targetRef.name` is a reference before it is an address). It names fields as Kubernetes 1.36
(k8s.io/api v0.36) does, plus patterns which custom resources share by convention; what no rule knows is `other`.
It does not know whether a field exists: that is the codec's part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from injector.errors import FaultError

__all__ = [
    "RULES",
    "Dependency",
    "Role",
    "RoleRule",
    "check_role",
    "dependency_of",
    "generic_path",
    "has_role",
    "role_of",
    "roles",
]


class Role(StrEnum):
    """What a field is for."""

    DEPENDENCY = "dependency"
    IDENTITY = "identity"
    REPLICAS = "replicas"
    ADDRESSES = "addresses"
    """Addresses and ports."""
    IMAGE_AND_COMMAND = "image-and-command"
    STATUS = "status"
    METADATA = "metadata"
    OTHER = "other"


class Dependency(StrEnum):
    """By what a dependency field ties its object to another."""

    OWNER_REFERENCE = "owner-reference"
    LABEL_OR_SELECTOR = "label-or-selector"
    TARGET_REFERENCE = "target-reference"
    NODE_NAME = "node-name"


@dataclass(frozen=True, slots=True)
class RoleRule:
    """`pattern` is a regular expression on a generic path (see generic_path) that must end at a segment's end: it
    covers the field and all below it. `kind` None is any kind. `dependency` is set just where role is DEPENDENCY."""

    pattern: str
    role: Role
    kind: str | None = None
    dependency: Dependency | None = None


def _dependency(by: Dependency, *patterns: str, kind: str | None = None) -> tuple[RoleRule, ...]:
    return tuple(RoleRule(pattern, Role.DEPENDENCY, kind, by) for pattern in patterns)


def _role(role: Role, *patterns: str, kind: str | None = None) -> tuple[RoleRule, ...]:
    return tuple(RoleRule(pattern, role, kind) for pattern in patterns)


_ANY = r"(?:.*\.)?"  # at any depth: the same fields stand in a Pod and in every pod template

RULES: tuple[RoleRule, ...] = (
    *_dependency(Dependency.OWNER_REFERENCE, r"metadata\.ownerReferences"),
    *_dependency(
        Dependency.TARGET_REFERENCE,
        _ANY + r"(?:scaleTargetRef|targetRef|claimRef|roleRef|subjects|involvedObject|regarding|boundObjectRef)",
        _ANY + r"(?:configMapRef|secretRef|configMapKeyRef|secretKeyRef|imagePullSecrets|claimName|volumeName)",
        _ANY + r"(?:secretName|serviceName|serviceAccountName|serviceAccount|storageClassName|priorityClassName)",
        _ANY + r"(?:runtimeClassName|ingressClassName|gatewayClassName|parentRefs|backendRefs|resourceClaimName)",
        _ANY + r"volumes\[\]\.configMap\.name",
        _ANY + r"backend\.service",
        _ANY + r"clientConfig\.service",
    ),
    *_dependency(Dependency.TARGET_REFERENCE, r"spec\.service", kind="APIService"),
    # Who leads, and which node is alive: components follow the name that stands here.
    *_dependency(Dependency.TARGET_REFERENCE, r"spec\.holderIdentity", kind="Lease"),
    *_dependency(Dependency.NODE_NAME, r"spec\.affinity", kind="IPAMBlock"),  # Calico: the node that a block belongs to
    *_dependency(
        Dependency.LABEL_OR_SELECTOR,
        _ANY + r"metadata\.labels",
        _ANY + r"(?:selector|\w+Selector|matchLabels|matchExpressions|nodeSelectorTerms|affinity|\w+Affinity)",
    ),
    *_dependency(Dependency.NODE_NAME, _ANY + r"(?:nodeName|nominatedNodeName)"),
    *_dependency(Dependency.NODE_NAME, r"target\.name", kind="Pod"),  # of its binding; a pod itself has no target
    *_role(Role.IDENTITY, r"metadata\.(?:name|namespace|uid|generateName)", r"kind", r"apiVersion"),
    *_role(Role.IDENTITY, r"spec\.providerID", kind="Node"),
    *_role(Role.IDENTITY, r"spec\.(?:names|group|scope)", kind="CustomResourceDefinition"),
    *_role(Role.IDENTITY, r"spec\.(?:group|version)", kind="APIService"),
    *_role(
        Role.ADDRESSES,
        _ANY + r"(?:podCIDRs?|podIPs?|hostIPs?|clusterIPs?|externalIPs|loadBalancerIP|addresses|cidrs?)",
        _ANY + r"(?:ports?|targetPort|nodePort|containerPort|hostPort|healthCheckNodePort|externalName|subsets)",
        _ANY + r"(?:ipFamilies|ipFamilyPolicy|addressType|hostNetwork|loadBalancer\.ingress)",
    ),
    *_role(Role.ADDRESSES, r"(?:range|data)", kind="RangeAllocation"),
    *_role(Role.STATUS, r"status", r"endpoints\[\]\.conditions"),
    *_role(
        Role.REPLICAS,
        _ANY + r"(?:replicas|parallelism|completions|minReplicas|maxReplicas|minAvailable|maxUnavailable|maxSurge)",
    ),
    *_role(
        Role.IMAGE_AND_COMMAND,
        _ANY + r"(?:containers|initContainers|ephemeralContainers)\[\]\.(?:image|imagePullPolicy|command|args|env)",
        _ANY + r"(?:containers|initContainers|ephemeralContainers)\[\]\.(?:envFrom|workingDir)",
    ),
    *_role(Role.METADATA, _ANY + r"metadata"),
)

_COMPILED = tuple((rule, re.compile(rf"(?:{rule.pattern})(?=$|[.\[])")) for rule in RULES)
_BRACKETS = re.compile(r"\[[^\]]*\]")


@cache
def generic_path(path: str) -> str:
    """A path without what is particular to one object: list indices and map keys become `[]`.

    `spec.selector[app.kubernetes.io/name]` → `spec.selector[]`, `subsets[0].addresses[2].ip` →
    `subsets[].addresses[].ip`.
    """
    return _BRACKETS.sub("[]", path)


@cache
def _rule_for(kind: str, path: str) -> RoleRule | None:
    generic = generic_path(path)
    for rule, pattern in _COMPILED:
        if rule.kind in (None, kind) and pattern.match(generic):
            return rule
    return None


def role_of(kind: str, path: str) -> Role:
    """The role of a field. `path` is a field path as in injector.targets.Target, with or without indices and keys."""
    rule = _rule_for(kind, path)
    return rule.role if rule else Role.OTHER


def dependency_of(kind: str, path: str) -> Dependency | None:
    """By what the field ties its object to another; None where its role is not DEPENDENCY."""
    rule = _rule_for(kind, path)
    return rule.dependency if rule else None


def roles() -> tuple[str, ...]:
    """What a target may name: every role, and every kind of dependency."""
    return (*(role.value for role in Role), *(dependency.value for dependency in Dependency))


def check_role(role: str) -> None:
    """FaultError, with those there are, unless a target may name that role."""
    if role not in roles():
        raise FaultError(f"expected one of {', '.join(roles())}, got {role!r}")


def has_role(kind: str, path: str, role: str) -> bool:
    """Whether the field has that role, or is that kind of dependency."""
    return role in (role_of(kind, path).value, dependency_of(kind, path))
