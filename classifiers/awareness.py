"""Awareness: did the user whose request carried the error get a sign of it from the API?

True if the API told the workload's user anything (error, warning, failed condition) that golden users were not told
too; False if it told nothing; None where nobody asked: a fault at rest has no request that carried it, and a golden
run no fault. What was told is an answer to a request, or what a user sees who looks: a failed condition, a warning
event.
"""

from __future__ import annotations

from classifiers.golden import Baseline
from classifiers.observation import Observation

__all__ = ["aware", "aware_s", "signs"]


def signs(observation: Observation, baseline: Baseline | None) -> tuple[str, ...]:
    """What the user was told in words, without what golden users are told too."""
    usual = baseline.user_errors if baseline else frozenset()
    return tuple(words for words in observation.user_errors if words not in usual)


def aware(observation: Observation, baseline: Baseline | None) -> bool | None:
    if not observation.user_asked or not observation.firings:
        return None
    return bool(signs(observation, baseline))


def aware_s(observation: Observation, baseline: Baseline | None) -> float | None:
    """When the user was told first, in seconds since the experiment's start; None if they were not, or it is not known
    when."""
    if not aware(observation, baseline):
        return None
    return min((observation.told_s[w] for w in signs(observation, baseline) if w in observation.told_s), default=None)
