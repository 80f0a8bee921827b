"""How many faults are taken of each stratum, so that rates can be estimated for the whole population. Pure.

The share of a stratum goes with the square root of its population (a power allocation, as M. D. Bankier, "Power
Allocations: Determining Sample Sizes for Subnational Areas", The American Statistician 42, 1988): small strata, such as
owner references, get more than in proportion, so that a rate can be told for each; large ones still weigh more. What a
stratum's experiments stand for is its weight, population over planned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Stratum", "allocate"]

_STEPS = 100
"""Of the search for the common factor; halving so often leaves nothing of a float's 53 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """`name`: the values that its faults share, in the order of the spec's `strata`, with slashes between them;
    `population`: how many there are; `planned`: how many were drawn."""

    name: str
    population: int
    planned: int

    @property
    def weight(self) -> float:
        """How many faults of the population each planned one stands for; 0 where none is."""
        return self.population / self.planned if self.planned else 0.0


def allocate(populations: Mapping[str, int], budget: int, at_least: int) -> dict[str, int]:
    """How many of each; together `budget`, or all there are. Each gets at least `at_least`, or all that it has, where
    the budget is enough for that."""
    if sum(populations.values()) <= budget:
        return dict(populations)
    names = sorted(populations)
    least = {name: min(at_least, populations[name]) for name in names}
    if sum(least.values()) > budget:
        least = dict.fromkeys(names, 0)
    shares = _shares(populations, least, budget)
    taken = {name: math.floor(share) for name, share in shares.items()}
    by_rest = sorted(names, key=lambda name: (taken[name] - shares[name], name))
    for name in by_rest[: budget - sum(taken.values())]:
        taken[name] += 1
    return taken


def _shares(populations: Mapping[str, int], least: Mapping[str, int], budget: int) -> dict[str, float]:
    """The square roots by a common factor, within what each has and at least gets, together the budget."""

    def by(factor: float) -> dict[str, float]:
        return {
            name: min(float(number), max(float(least[name]), factor * math.sqrt(number)))
            for name, number in sorted(populations.items())
        }

    low, high = 0.0, max(math.sqrt(number) for number in populations.values())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if math.fsum(by(middle).values()) <= budget else (low, middle)
    return by(low)
