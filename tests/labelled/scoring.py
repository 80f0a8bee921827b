"""How well a judge does on the labelled injections. Pure.

Recall of a class: of those that are labelled so, the share that was given it. Precision: of those that were given it,
the share that is labelled so. What was not judged (inconclusive, error) counts as missed, and as no class given.

Cohen's kappa: how far the classes of two repetitions agree beyond what chance would have them agree,
(observed - expected) / (1 - expected), where `expected` is from how often each gives each class (Cohen, Educational and
Psychological Measurement 20, 1960). Of more than two repetitions the mean of all pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean

from classifiers.verdict import OrchestratorFailure

__all__ = ["LEAST_KAPPA", "LEAST_RECALL", "Score", "cohens_kappa", "kappa", "scores", "shortfalls"]

LEAST_RECALL = LEAST_PRECISION = 0.9
LEAST_KAPPA = 0.85
"""Issue 7, "Figures"."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of one class. None where nothing is labelled so, or nothing was given it."""

    labelled: int
    given: int
    right: int

    @property
    def recall(self) -> float | None:
        return self.right / self.labelled if self.labelled else None

    @property
    def precision(self) -> float | None:
        return self.right / self.given if self.given else None


def scores(
    judged: Iterable[tuple[OrchestratorFailure, OrchestratorFailure | None]],
) -> Mapping[OrchestratorFailure, Score]:
    """Of pairs of label and class given (None: not judged)."""
    labelled, given, right = (Counter[OrchestratorFailure]() for _ in range(3))
    for label, found in judged:
        labelled[label] += 1
        if found is not None:
            given[found] += 1
            right[found] += found is label
    return {each: Score(labelled[each], given[each], right[each]) for each in OrchestratorFailure}


def shortfalls(found: Mapping[OrchestratorFailure, Score]) -> list[str]:
    """Which goals are missed, in words; a class that was never given misses its precision."""
    said = []
    for failure, score in found.items():
        if score.recall is None or score.recall < LEAST_RECALL:
            said.append(f"recall of {failure.value}: {score.right} of {score.labelled}")
        if score.precision is None or score.precision < LEAST_PRECISION:
            said.append(f"precision of {failure.value}: {score.right} of {score.given}")
    return said


def kappa(repetitions: Sequence[Mapping[str, str]]) -> float:
    """Of each repetition: id → class, the same ids in all. ValueError for fewer than two, or other ids."""
    if len(repetitions) < 2 or any(each.keys() != repetitions[0].keys() for each in repetitions):
        raise ValueError("expected two repetitions or more of the same experiments")
    return mean(cohens_kappa([(a[name], b[name]) for name in a]) for a, b in combinations(repetitions, 2))


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """1.0 also where both gave everything one and the same class."""
    total = len(pairs)
    observed = sum(a == b for a, b in pairs) / total
    one, other = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(one[name] * other[name] for name in one) / total**2
    return 1.0 if expected == 1.0 else (observed - expected) / (1 - expected)
