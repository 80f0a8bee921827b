"""Carries a workload's steps out: requests as its user, what happens to nodes and components through the cluster.

What the API refuses is what the user was told (User.told), and what does not come in its time is gone on without. Only
a cluster that can't do to a node or a component what a step says raises: ClusterError, a failure of the harness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from campaigns.clusters.protocol import Cluster
from campaigns.observers.history import History
from campaigns.workloads.steps import Apply, Create, Delete, ObjectName, Patch, Step, ToComponent, ToNode, Wait
from campaigns.workloads.user import User

__all__ = ["drive", "learn"]


def learn(steps: Sequence[Step], user: User) -> None:
    """Lets the user learn which kinds there are, as far as the steps need them: no request is about that later."""
    for version in dict.fromkeys(_api_version(step) for step in steps):
        if version:
            user.learn(version)


def _api_version(step: Step) -> str:
    if isinstance(step, (Create, Apply)):
        return ObjectName.of(step.manifest).api_version
    return step.target.api_version if isinstance(step, (Patch, Delete)) else ""


def drive(
    steps: Sequence[Step],
    user: User,
    cluster: Cluster,
    history: History,
    *,
    deadline: float,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Does all steps in order; no Wait goes on past `deadline` (time.monotonic())."""
    for step in steps:
        say(str(step))
        match step:
            case Create():
                user.create(step.manifest)
            case Apply():
                user.apply(step.manifest)
            case Patch():
                user.patch(step)
            case Delete():
                user.delete(step.target)
            case ToNode():
                cluster.node(step.node, step.action)
            case ToComponent():
                cluster.component(step.component, step.action)
            case Wait():
                until = deadline if step.within_s is None else min(deadline, time.monotonic() + step.within_s)
                history.wait(lambda goal=step.goal: goal.holds(history), deadline=until)  # type: ignore[misc]
