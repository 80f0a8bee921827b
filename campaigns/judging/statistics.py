"""Shares of experiments and how they differ between two runs, with 95 % intervals. Pure; no clock, no randomness.

Choices, with their sources:

    one share             Wilson's score interval: near its nominal coverage also for few experiments and shares near 0,
                          where the textbook's is not (Wilson, JASA 22 (1927) 209; Agresti and Coull, Am. Stat. 52
                          (1998) 119)
    strata with weights   the weighted share, with Wilson's interval at Kish's effective sample size (Kish, Survey
                          Sampling, 1965, section 11.7; Dean and Pagano, J. Surv. Stat. Methodol. 3 (2015) 484). It
                          leaves out what stratification gains, so the interval is rather too wide than too narrow
    two shares            Newcombe's hybrid score interval for their difference (method 10 of Newcombe, Stat. Med. 17
                          (1998) 873)
    the same experiments  McNemar's exact test (Psychometrika 12 (1947) 153; the two-sided binomial
    in both               form), and Newcombe's interval for the difference of paired shares (method 10 of Newcombe,
                          Stat. Med. 17 (1998) 2635)

    experiments that come    the weighted share; its variance from the sums of each cluster (linearised, with the
    in clusters              correction C/(C-1): Woodruff, JASA 66 (1971) 411), and Wilson's interval at the sample size
                             that has this variance (Korn and Graubard, Survey Methodology 24 (1998) 193, who use
                             Clopper and Pearson's). Where the share is 0 or 1 the clusters are counted (Kish)

Every other interval takes the experiments for independent draws from the population that is asked about. Experiments on
one object are more alike than that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Draw",
    "Interval",
    "Pairs",
    "Stratum",
    "Z",
    "clustered_share",
    "difference",
    "mcnemar",
    "paired_difference",
    "share",
    "wilson",
]

Z = 1.959963984540054
"""The standard normal's 97.5 % quantile."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval, as fractions (of a difference: -1 to 1)."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """`count` of `of` experiments that were drawn from a part of the population; `weight`: how large that part is, in
    any unit (its number of possible experiments, or 1 where there is but one)."""

    count: int
    of: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The same experiments in two runs, by whether they have some property: in both, in one alone, in neither."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def count(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither


def wilson(count: float, of: float) -> Interval:
    """The share `count` / `of`, `of` > 0; both may be effective sizes, and so no whole numbers."""
    observed = count / of
    centre = (observed + Z * Z / (2 * of)) / (1 + Z * Z / of)
    half = Z * math.sqrt(observed * (1 - observed) / of + Z * Z / (4 * of * of)) / (1 + Z * Z / of)
    low = max(0.0, centre - half) if count > 0 else 0.0  # not almost 0: rounding
    high = min(1.0, centre + half) if count < of else 1.0
    return Interval(observed, low, high)


def share(strata: Sequence[Stratum]) -> Interval | None:
    """The share in the whole population; None where nothing was drawn. Strata of which nothing was drawn are left out,
    so that it then holds for the rest only."""
    drawn = [stratum for stratum in strata if stratum.of and stratum.weight > 0]
    if not drawn:
        return None
    total = sum(stratum.weight for stratum in drawn)
    weighted = sum(stratum.weight / total * stratum.count / stratum.of for stratum in drawn)
    # each experiment of a stratum stands for weight/of of the population: (Σ w)² / Σ w² over the experiments
    size = 1 / sum((stratum.weight / total) ** 2 / stratum.of for stratum in drawn)
    return wilson(weighted * size, size)


@dataclass(frozen=True, slots=True)
class Draw:
    """One experiment: whether it has the property, how many of the population it stands for, what it clusters with."""

    held: bool
    weight: float
    cluster: str


def clustered_share(draws: Sequence[Draw]) -> Interval | None:
    """The share in the population that the draws stand for; None without any of weight."""
    total = sum(draw.weight for draw in draws)
    if total <= 0:
        return None
    estimate = sum(draw.weight for draw in draws if draw.held) / total
    sums, off = defaultdict[str, float](float), defaultdict[str, float](float)
    for draw in draws:
        sums[draw.cluster] += draw.weight
        off[draw.cluster] += draw.weight * (draw.held - estimate)
    size = total**2 / sum(weight**2 for weight in sums.values())  # as many clusters, if each had the same weight
    if 0 < estimate < 1 and len(sums) > 1:
        variance = len(sums) / (len(sums) - 1) * sum(each**2 for each in off.values()) / total**2
        if variance > 0:
            size = estimate * (1 - estimate) / variance
    return wilson(estimate * size, size)


def difference(a: Interval, b: Interval) -> Interval:
    """b - a of two independent shares, from their own intervals (which may be weighted)."""
    estimate = b.estimate - a.estimate
    below = math.hypot(b.estimate - b.low, a.high - a.estimate)
    above = math.hypot(b.high - b.estimate, a.estimate - a.low)
    return Interval(estimate, max(-1.0, estimate - below), min(1.0, estimate + above))


def mcnemar(pairs: Pairs) -> float:
    """The exact two-sided p value of: a pair changes either way equally often. 1.0 where no pair has changed."""
    changed, fewer = pairs.only_a + pairs.only_b, min(pairs.only_a, pairs.only_b)
    return min(1.0, 2 * sum(math.comb(changed, k) for k in range(fewer + 1)) / 2**changed) if changed else 1.0


def paired_difference(pairs: Pairs) -> Interval:
    """b - a of the shares of the same experiments in two runs; `count` > 0."""
    a, b = wilson(pairs.both + pairs.only_a, pairs.count), wilson(pairs.both + pairs.only_b, pairs.count)
    estimate = (pairs.only_b - pairs.only_a) / pairs.count
    phi = _correlation(pairs)
    down_a, up_a, down_b, up_b = a.estimate - a.low, a.high - a.estimate, b.estimate - b.low, b.high - b.estimate
    below = math.sqrt(max(0.0, down_b**2 - 2 * phi * down_b * up_a + up_a**2))
    above = math.sqrt(max(0.0, up_b**2 - 2 * phi * up_b * down_a + down_a**2))
    return Interval(estimate, max(-1.0, estimate - below), min(1.0, estimate + above))


def _correlation(pairs: Pairs) -> float:
    """Newcombe's phi: of the table, with its continuity correction where the table tells of agreement; 0 where a margin
    is empty."""
    margins = (
        (pairs.both + pairs.only_a)
        * (pairs.only_b + pairs.neither)
        * (pairs.both + pairs.only_b)
        * (pairs.only_a + pairs.neither)
    )
    if not margins:
        return 0.0
    cross = float(pairs.both * pairs.neither - pairs.only_a * pairs.only_b)
    if cross > 0:
        cross = max(cross - pairs.count / 2, 0.0)
    return cross / math.sqrt(margins)
