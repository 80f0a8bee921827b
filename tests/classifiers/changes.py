"""Hypothesis strategies of changes to an observation: those that make it worse in one respect, and those that must
change no verdict. A change is a function from an observation to an observation, so that they can follow each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from classifiers.components import CONTROLLERS, SERVERS
from classifiers.observation import CanaryRecord, EventRecord, Observation, Write
from tests.builders import CANARY, COUNTS, NODES, SECONDS

Change = Callable[[Observation], Observation]
T = TypeVar("T")


def after(seen: Observation, changes: Sequence[Change]) -> Observation:
    return reduce(lambda so_far, change: change(so_far), changes, seen)


def each_after(seen: Observation, changes: Sequence[Change]) -> Iterator[Observation]:
    """The observation as it is, and after each of the changes, one upon the other."""
    return (after(seen, changes[:n]) for n in range(len(changes) + 1))


def several(*of: st.SearchStrategy[Change], least: int = 1) -> st.SearchStrategy[list[Change]]:
    return st.lists(st.one_of(of), min_size=least, max_size=5)


def _change(function: Callable[..., Observation], /, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Change]:
    return st.fixed_dictionaries(values).map(lambda drawn: partial(function, **drawn))


# Worse


def _component(seen: Observation, *, name: str, how: str) -> Observation:
    (one,) = (c for c in seen.components if c.name == name)
    worse = replace(
        one,
        restarts=one.restarts + (how != "not ready"),
        ready=one.ready if how == "restarts" else False,
        alive=one.alive and how != "dead",
    )
    return replace(seen, components=tuple(worse if c is one else c for c in seen.components))


_HOW = st.sampled_from(["restarts", "restarts", "not ready", "dead"])
servers = _change(_component, name=st.sampled_from(SERVERS), how=_HOW)
controllers = _change(_component, name=st.sampled_from(CONTROLLERS), how=_HOW)


def _requests(seen: Observation, *, nodes: Collection[str], from_s: float, one_in: int) -> Observation:
    """So many of their requests since then fail, on every path."""
    return replace(
        seen,
        probes=tuple(
            replace(
                series,
                samples=tuple(
                    replace(s, outcome="timeout") if s.at_s >= from_s and i % one_in == 0 else s
                    for i, s in enumerate(series.samples)
                ),
            )
            if series.vantage in nodes
            else series
            for series in seen.probes
        ),
    )


requests = _change(
    _requests,
    nodes=st.sampled_from([NODES, NODES[:1], NODES[1:]]),
    from_s=st.floats(0, SECONDS),
    one_in=st.sampled_from([1, 1, 2, 7]),
)

_LATER = st.sampled_from([None, 0.5, 4.0, 9.0])
"""By so many seconds, or for ever: a little, beyond any threshold, and far beyond."""


def _later(at_s: float | None, by_s: float | None) -> float | None:
    return None if at_s is None or by_s is None else at_s + by_s


def canary_stage(seen: Observation, *, name: str, by_s: float | None) -> Observation:
    """That stage and those after it."""
    stages = list(seen.canary.stages.items())
    first = list(CANARY).index(name)
    late = {stage: _later(at_s, by_s) if i >= first else at_s for i, (stage, at_s) in enumerate(stages)}
    return replace(seen, canary=replace(seen.canary, stages=late))


canary_stages = _change(canary_stage, name=st.sampled_from(list(CANARY)), by_s=_LATER)


def _refused(seen: Observation) -> Observation:
    return replace(seen, canary=CanaryRecord(stages=dict.fromkeys(CANARY), deadline_s=10.0, error="500 from the API"))


refused = _change(_refused)


def milestone(seen: Observation, *, name: str, by_s: float | None) -> Observation:
    return replace(seen, milestones={**seen.milestones, name: _later(seen.milestones.get(name), by_s)})


milestones = _change(milestone, name=st.sampled_from(["applied", "pods-ready", "traffic", "settled"]), by_s=_LATER)


def _more(seen: Observation, *, kind: str, count: int, to_the_end: bool) -> Observation:
    """Of a kind of which there are not too few, which would be better."""
    final, peak = seen.final_counts.get(kind, 0), seen.peak_counts.get(kind, 0)
    if final < COUNTS.get(kind, 0):
        return seen
    final += count * to_the_end
    return replace(
        seen,
        final_counts={**seen.final_counts, kind: final},
        peak_counts={**seen.peak_counts, kind: max(final, peak + count)},
    )


def _fewer(seen: Observation, *, kind: str, count: int) -> Observation:
    """Of a kind of which there are not too many, which would be better."""
    final = seen.final_counts.get(kind, 0)
    if final > COUNTS.get(kind, 0):
        return seen
    return replace(seen, final_counts={**seen.final_counts, kind: max(0, final - count)})


_KINDS = st.sampled_from(["Pod", "ReplicaSet", "Deployment", "Service", "EndpointSlice", "ConfigMap"])
more_objects = _change(_more, kind=_KINDS, count=st.integers(1, 9), to_the_end=st.booleans())
fewer_objects = _change(_fewer, kind=_KINDS, count=st.integers(1, 4))


def _fewer_pods(seen: Observation, *, count: int, how: str) -> Observation:
    worse = {pod.identity for pod in [p for p in seen.pods if p.ready][:count]}
    if how == "gone":
        return replace(seen, pods=tuple(p for p in seen.pods if p.identity not in worse))
    left: dict[str, Any] = {"deleting": True} if how == "deleting" else {"ready": False, "phase": "Pending"}
    return replace(seen, pods=tuple(replace(p, **left) if p.identity in worse else p for p in seen.pods))


fewer_pods = _change(_fewer_pods, count=st.integers(1, 4), how=st.sampled_from(["gone", "deleting", "not ready"]))


def _written(seen: Observation, *, kind: str, operation: str, times: Sequence[float]) -> Observation:
    """Other objects of that kind."""
    first = max((w.revision for w in seen.writes), default=1000) + 1
    more = (
        Write(
            revision=first + i,
            at_s=at_s,
            key=f"/registry/{kind.lower()}s/default/more-{first + i}",
            kind=kind,
            identity=f"{kind}/default/more-{first + i}",
            operation=operation,
            size_bytes=500,
        )
        for i, at_s in enumerate(times)
    )
    return replace(seen, writes=(*seen.writes, *more))


created = _change(
    _written,
    kind=_KINDS,
    operation=st.just("create"),
    times=st.lists(st.floats(SECONDS - 4, SECONDS), min_size=1, max_size=20),
)

anything_but_pods = st.one_of(
    servers, controllers, requests, canary_stages, refused, milestones, more_objects, fewer_objects
)
"""Pods that can't answer take a network failure away, and objects that are created a hot loop, both by definition."""


# Irrelevant


def _shuffled(seen: Observation, *, random: Random) -> Observation:
    def mixed(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(random.sample(values, len(values)))

    return replace(
        seen,
        milestones=dict(mixed(list(seen.milestones.items()))),
        final_counts=dict(mixed(list(seen.final_counts.items()))),
        peak_counts=dict(mixed(list(seen.peak_counts.items()))),
        probes=mixed([replace(series, samples=mixed(series.samples)) for series in seen.probes]),
        pods=mixed(seen.pods),
        canary=replace(seen.canary, stages=dict(mixed(list(seen.canary.stages.items())))),
        components=mixed(seen.components),
        writes=mixed(seen.writes),
        events=mixed(seen.events),
    )


def _volatile(seen: Observation, *, kind: str, operation: str, times: Sequence[float], count: int) -> Observation:
    written = _written(seen, kind=kind, operation=operation, times=times)
    return replace(
        written,
        final_counts={**seen.final_counts, kind: count},
        peak_counts={**seen.peak_counts, kind: count + len(times)},
    )


def _events(seen: Observation, *, times: Sequence[float], reason: str) -> Observation:
    more = (EventRecord(at_s, "Normal", reason, "Pod/default/web#1", "in order", "kubelet") for at_s in times)
    return replace(seen, events=(*seen.events, *more))


_TIMES = st.lists(st.floats(0, SECONDS), max_size=20)
order = _change(_shuffled, random=st.randoms(use_true_random=False))
volatile = _change(
    _volatile,
    kind=st.sampled_from(["Lease", "Event", "IPAddress"]),
    operation=st.sampled_from(["create", "update", "delete"]),
    times=_TIMES,
    count=st.integers(0, 500),
)
normal_events = _change(_events, times=_TIMES, reason=st.sampled_from(["Pulled", "BackOff", "FailedScheduling"]))


def with_nodes_called(seen: Observation, names: Sequence[str]) -> Observation:
    """The same, its nodes called otherwise wherever they are named."""
    called = dict(zip(NODES, names, strict=True))

    def renamed(component: str) -> str:
        name, slash, node = component.partition("/")
        return f"{name}{slash}{called.get(node, node)}"

    return replace(
        seen,
        probes=tuple(replace(series, vantage=called[series.vantage]) for series in seen.probes),
        pods=tuple(replace(pod, node=called[pod.node]) for pod in seen.pods),
        components=tuple(replace(c, name=renamed(c.name)) for c in seen.components),
    )
