"""Carries a workload's steps out: requests as its user, what happens to nodes and components through the cluster.

What the API refuses is what the user was told (User.told), and what does not come in its time is gone on without. Only
a cluster that can't do to a node or a component what a step says raises: ClusterError, a failure of the harness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from campaigns.clusters.protocol import Cluster
from campaigns.observers.history import History
from campaigns.workloads.steps import Apply, Create, Delete, ObjectName, Patch, Step, ToComponent, ToNode, Wait
from campaigns.workloads.user import User

__all__ = ["drive", "learn"]

_AGAIN_S = 0.1
"""kube-apiserver serves a new kind up to 2 s after its CustomResourceDefinition is established, and tells nobody."""


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
    patient: bool = False,
) -> None:
    """Does all steps in order; no Wait goes on past `deadline` (time.monotonic()). `patient`: an object whose kind or
    namespace is not there yet is tried again until then."""
    for step in steps:
        match step:
            case Create():
                _ask(partial(user.create, step.manifest), user, deadline if patient else 0.0)
            case Apply():
                _ask(partial(user.apply, step.manifest), user, deadline if patient else 0.0)
            case Patch():
                user.patch(step)
            case Delete():
                user.delete(step.target)
            case ToNode():
                cluster.node(step.node, step.action)
            case ToComponent():
                cluster.component(step.component, step.action)
            case Wait():
                history.caught_up(within_s=1.0)  # or the goal might be asked of the state before the last step
                until = deadline if step.within_s is None else min(deadline, time.monotonic() + step.within_s)
                history.wait(lambda goal=step.goal: goal.holds(history), deadline=until)  # type: ignore[misc]


def _ask(request: Callable[[], bool], user: User, deadline: float) -> None:
    told = len(user.told)
    while not request() and _not_there_yet(user.told[-1]) and time.monotonic() < deadline:
        del user.told[told:]
        time.sleep(_AGAIN_S)


def _not_there_yet(told: str) -> bool:
    return "the API has no kind" in told or "HTTP 404" in told
