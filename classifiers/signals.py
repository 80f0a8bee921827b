"""What components told of themselves in one run, as plain numbers: what golden runs and experiments are compared by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from classifiers.observation import EventRecord, Observation

__all__ = ["log_errors", "metric_rises", "not_ready_s", "warnings"]


def not_ready_s(observation: Observation) -> Mapping[str, tuple[float | None, float]]:
    """Component → when it was first not ready, and for how many seconds in all, as far as it was asked."""
    found: dict[str, tuple[float | None, float]] = {}
    for series in observation.over_time:
        since_s, lasted_s = None, 0.0
        for sample, following in pairwise(series.samples):
            if sample.ready is False:
                since_s = sample.at_s if since_s is None else since_s
                lasted_s += following.at_s - sample.at_s
        if since_s is not None:
            found[series.name] = since_s, lasted_s
    return found


def log_errors(observation: Observation) -> Mapping[str, int]:
    """Component → lines of errors in its log."""
    return {each.component: each.count for each in observation.log_errors}


def metric_rises(observation: Observation) -> Mapping[tuple[str, str], float]:
    """(component, metric) → by how much it rose. A counter that is lower at the end began anew with its process."""
    found = {}
    for each in observation.metrics:
        if each.after is not None:
            before = each.before if each.before is not None and each.before <= each.after else 0.0
            found[each.component, each.name] = each.after - before
    return found


def warnings(observation: Observation) -> Iterator[tuple[tuple[str, str], EventRecord]]:
    """Each event of type Warning, and before it what it is of: (reason, kind of the object)."""
    return (((e.reason, e.about.partition("/")[0]), e) for e in observation.events if e.type == "Warning")
