"""Awareness: did the user whose request carried the error get a sign of it from the API?

True if the API told the workload's user anything (error, warning, failed condition) that golden users were not told
too; False if it told nothing; None where nobody asked: a fault at rest has no request that carried it, and a golden
run no fault.
"""

from __future__ import annotations

from classifiers.golden import Baseline
from classifiers.observation import Observation

__all__ = ["aware", "signs"]


def signs(observation: Observation, baseline: Baseline | None) -> tuple[str, ...]:
    """What the user was told in words, without what golden users are told too."""
    usual = baseline.user_errors if baseline else frozenset()
    return tuple(words for words in observation.user_errors if words not in usual)


def aware(observation: Observation, baseline: Baseline | None) -> bool | None:
    if not observation.user_asked or not observation.firings:
        return None
    return bool(signs(observation, baseline))
