"""Which control-plane component is dead, not ready or crash-looping, against what golden runs showed."""

from __future__ import annotations

from collections.abc import Iterable

from classifiers import numbers
from classifiers.golden import Baseline
from classifiers.observation import ComponentHealth, Observation

__all__ = ["CONTROLLERS", "SERVERS", "broken", "of_the_control_plane"]

SERVERS = ("etcd", "kube-apiserver")
"""Without them nothing is served: their failure is an outage."""

CONTROLLERS = ("kube-controller-manager", "kube-scheduler")
"""Without them nothing makes progress, but what runs goes on: their failure is a stall."""


def broken(observation: Observation, baseline: Baseline, names: tuple[str, ...]) -> tuple[str, ...]:
    """What is wrong with the components called `names` (or `NAME-1`, `NAME/node`, …) at the end, in words.

    One that some golden run ended with as well, not ready, is not counted: it tells nothing about the fault.
    """
    return tuple(
        f"{component.name} {what}"
        for component in observation.components
        if _is_one_of(component.name, names) and (what := _trouble(component, observation, baseline))
    )


def of_the_control_plane(names: Iterable[str]) -> set[str]:
    """Those whose failure is an outage or a stall."""
    return {name for name in names if _is_one_of(name, (*SERVERS, *CONTROLLERS))}


def _trouble(component: ComponentHealth, observation: Observation, baseline: Baseline) -> str:
    golden = baseline.components.get(component.name)
    usual = golden.high if golden else 0.0
    detail = f" ({component.detail})" if component.detail else ""
    if not component.alive and component.name not in baseline.unready:
        return f"is dead at the end{detail}"
    loops = component.restarts - usual >= numbers.CRASH_LOOP_RESTARTS
    if loops and not (component.ready and _ran_on_s(component.name, observation) >= numbers.BACK_FOR_GOOD_S):
        return f"ended {component.restarts} times, golden {usual:.0f}: a crash loop{detail}"
    if component.ready is False and component.name not in baseline.unready:
        return f"is not ready at the end{detail}"
    return ""


def _ran_on_s(name: str, observation: Observation) -> float:
    """For how long it ran, at the end, without ending again, as far as is known."""
    samples = next((series.samples for series in observation.over_time if series.name == name), ())
    if not samples:
        return 0.0
    last = samples[-1]
    since_s = min((s.at_s for s in reversed(samples) if s.alive and s.restarts == last.restarts), default=last.at_s)
    return last.at_s - since_s


def _is_one_of(name: str, names: tuple[str, ...]) -> bool:
    return any(name == n or (name.startswith(n) and not name[len(n)].isalnum()) for n in names)
