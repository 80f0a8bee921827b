"""What a workload is: a value. What the cluster is asked to do while the fault goes in, what "done" means, and what
clients probe meanwhile. One file each beside this one; a user's own in a folder (campaigns.workloads.manifests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from campaigns.clusters.actions import Action
from campaigns.workloads.goals import Goal, PodsReady
from campaigns.workloads.steps import Step, ToComponent, ToNode, Wait, asked_for

__all__ = ["ServiceName", "Workload"]

_OFF = (Action.KILL, Action.STOP, Action.PAUSE)


class ServiceName(NamedTuple):
    """A Service that clients use."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """As records have it: the name alone in `default`."""
        return self.name if self.namespace == "default" else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One workload.

    summary      one sentence for a list
    prepare      what is there before: done, and waited for, before the fault is armed
    ready        goals that end `prepare`
    steps        what is asked for while the fault is armed
    done         goals that the stored state fulfils when the steps have done what they were to do
    services     what clients on every node probe but those that the steps switch off; those Services that exist after
                 `prepare` from before the steps on
    namespaces   where its objects live: what is counted
    wanted_pods  pods that its user asks for in the end; `wanted_pods_per_node` as many for each node besides
    furniture    furniture that it needs (campaigns.clusters.sandbox.furniture)
    nodes        least number of nodes that it makes sense with
    """

    name: str
    summary: str
    steps: tuple[Step, ...]
    done: tuple[Goal, ...]
    prepare: tuple[Step, ...] = ()
    ready: tuple[Goal, ...] = ()
    services: tuple[ServiceName, ...] = ()
    namespaces: tuple[str, ...] = ("default",)
    wanted_pods: int = 0
    wanted_pods_per_node: int = 0
    furniture: tuple[str, ...] = ()
    nodes: int = 1

    @property
    def asked_for(self) -> tuple[str, ...]:
        """Identities of the objects that its user's steps name; everything else is made by controllers."""
        return asked_for(self.steps)

    @property
    def lost_nodes(self) -> frozenset[str]:
        """Nodes that its steps leave switched off: nobody is a client there."""
        lost: set[str] = set()
        for step in self.steps:
            if isinstance(step, ToNode):
                (lost.add if step.action in _OFF else lost.discard)(step.node)
        return frozenset(lost)

    @property
    def named_nodes(self) -> tuple[str, ...]:
        """Nodes that its steps or goals name."""
        steps = (*self.prepare, *self.steps)
        goals = (*self.ready, *self.done, *(step.goal for step in steps if isinstance(step, Wait)))
        named = [step.node for step in steps if isinstance(step, ToNode)]
        named += [goal.not_on for goal in goals if isinstance(goal, PodsReady) and goal.not_on]
        return tuple(dict.fromkeys(named))

    @property
    def named_components(self) -> tuple[str, ...]:
        """Components that its steps name."""
        steps = (step for step in (*self.prepare, *self.steps) if isinstance(step, ToComponent))
        return tuple(dict.fromkeys(step.component for step in steps))

    def pods_on(self, nodes: int) -> int:
        """Pods that its user asks for in the end, in a cluster of so many nodes."""
        return self.wanted_pods + self.wanted_pods_per_node * nodes
