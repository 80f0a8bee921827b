"""What a workload waits for: values that are asked of the stored state (campaigns.observers.history).

Objects are named `KIND/NAMESPACE/NAME` or `KIND/NAME`, by their own name or by their stable identity
(injector.identity): `Deployment/default/web`, `Job/default/report#1`. Of an object that can't be decoded no goal holds
but that it is not gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from campaigns.observers.stored import ready_pods
from injector.codec import locate
from injector.conditions import parse_condition
from injector.errors import InjectionError
from injector.rules import JSONValue
from injector.selectors import labels_of, parse_selector

if TYPE_CHECKING:
    from campaigns.observers.history import History, StoredObject

__all__ = ["Condition", "Field", "Goal", "Gone", "PodsReady", "RolledOut", "all_hold", "missing"]


@dataclass(frozen=True, slots=True)
class PodsReady:
    """At least so many pods of a namespace are Ready and not being deleted; with a selector only such as it fits, with
    `not_on` only such as are not on that node."""

    pods: int
    namespace: str = "default"
    selector: str = ""
    not_on: str = ""

    def holds(self, history: History) -> bool:
        return self._ready(history) >= self.pods

    def _ready(self, history: History) -> int:
        selector = parse_selector(self.selector) if self.selector else None
        found = [pod for pod in ready_pods(history, self.namespace) if not self.not_on or _node(pod) != self.not_on]
        return sum(1 for pod in found if selector is None or selector.matches(labels_of(pod.value)))

    def __str__(self) -> str:
        which = f" with {self.selector}" if self.selector else ""
        where = f" on nodes other than {self.not_on}" if self.not_on else ""
        return f"{self.pods} pods{which} in {self.namespace} are ready{where}"


@dataclass(frozen=True, slots=True)
class Condition:
    """An object has a condition, or exists: `Job/default/report Complete`, `Node/node-2 Ready=Unknown`, `Service/a/b
    exists` (injector.conditions)."""

    text: str

    def holds(self, history: History) -> bool:
        condition = parse_condition(self.text)
        found = _find(history, condition.identity)
        return found is not None and condition.holds(found.value)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class RolledOut:
    """A Deployment, StatefulSet or DaemonSet is as its spec has it: observed, every pod of the newest template and
    available, none of an older one left (kubectl v0.36.3, pkg/polymorphichelpers/rollout_status.go)."""

    object: str

    def holds(self, history: History) -> bool:
        found = _find(history, self.object)
        tree = found.tree if found is not None else None
        return isinstance(tree, dict) and _rolled_out(tree)

    def __str__(self) -> str:
        return f"{self.object} is rolled out"


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such object."""

    object: str

    def holds(self, history: History) -> bool:
        return _find(history, self.object) is None

    def __str__(self) -> str:
        return f"{self.object} is gone"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object has a value: `status.phase` of a PersistentVolumeClaim is `Bound`. `None`: it is not set."""

    object: str
    field: str
    value: JSONValue

    def holds(self, history: History) -> bool:
        if (found := _find(history, self.object)) is None:
            return False
        try:
            return locate(found.value, self.field).value == self.value
        except InjectionError:
            return self.value is None and found.tree is not None

    def __str__(self) -> str:
        return f"{self.field} of {self.object} is {self.value!r}"


Goal = PodsReady | Condition | RolledOut | Gone | Field


def all_hold(goals: tuple[Goal, ...], history: History) -> bool:
    return all(goal.holds(history) for goal in goals)


def missing(goals: tuple[Goal, ...], history: History) -> tuple[str, ...]:
    """The goals that do not hold, in words."""
    return tuple(str(goal) for goal in goals if not goal.holds(history))


def _node(pod: StoredObject) -> str:
    return str(((pod.tree or {}).get("spec") or {}).get("nodeName", ""))


def _find(history: History, name: str) -> StoredObject | None:
    kind, _, rest = name.partition("/")
    for stored in history.of_kind(kind):
        who = stored.who
        if who.identity == name or rest == "/".join(part for part in (who.namespace, who.name) if part):
            return stored
    return None


def _rolled_out(tree: Mapping[str, Any]) -> bool:
    metadata, spec, status = (tree.get(part) or {} for part in ("metadata", "spec", "status"))
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return False
    if tree.get("kind") == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return wanted > 0 and all(status.get(name, 0) == wanted for name in _NODES)
    wanted = spec.get("replicas", 1)
    return all(status.get(name, 0) == wanted for name in _REPLICAS)


_NODES = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable")
_REPLICAS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
