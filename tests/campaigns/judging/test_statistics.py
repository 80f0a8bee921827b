"""Against published worked examples and other programs' values, each with its source."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.judging.statistics import Interval, Pairs, Stratum, difference, mcnemar, paired_difference, share, wilson


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        # Newcombe, Stat. Med. 17 (1998) 857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # scipy 1.17.1: binomtest(7, 50).proportion_ci(method="wilson")
        (7, 50, 0.069508, 0.261862),
    ],
)
def test_a_share_has_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    found = wilson(count, of)
    assert (found.estimate, found.low, found.high) == pytest.approx((count / of, low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        # Newcombe, Stat. Med. 17 (1998) 873, table II, method 10
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((0, 10), (10, 10), 0.6075, 1.0),
        ((0, 29), (5, 56), -0.0381, 0.1926),
        # statsmodels 0.15.0: confint_proportions_2indep(5, 28, 1, 30, method="newcomb")
        ((1, 30), (5, 28), -0.021330, 0.324689),
    ],
)
def test_two_samples_differ_with_newcombes_interval(
    a: tuple[int, int], b: tuple[int, int], low: float, high: float
) -> None:
    found = difference(wilson(*a), wilson(*b))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.estimate == pytest.approx(b[0] / b[1] - a[0] / a[1])


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        # CRAN's contingencytables 3.1.0, tests/testthat: Newcombe_square_and_add_CI_paired_2x2(cavo_2012)
        (Pairs(both=59, only_a=6, only_b=16, neither=80), 0.0046, 0.1186),
        # Fagerland, Lydersen, Laake, Stat. Med. 33 (2014) 2850: airway hyper-responsiveness (Bentur et al., 2009)
        (Pairs(both=1, only_a=1, only_b=7, neither=12), 0.026, 0.507),
    ],
)
def test_pairs_differ_with_newcombes_interval(pairs: Pairs, low: float, high: float) -> None:
    found = paired_difference(pairs)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)
    assert found.estimate == pytest.approx((pairs.only_b - pairs.only_a) / pairs.count)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (1, 7, 0.0703125),  # by hand: 2 (1 + 8) / 256; Fagerland et al. have 0.0703
        (6, 16, 0.052478790283203125),  # scipy 1.17.1: binomtest(6, 22).pvalue
        (3, 9, 0.14599609375),  # scipy 1.17.1: binomtest(3, 12).pvalue
        (0, 0, 1.0),
        (5, 5, 1.0),
        (2000, 2000, 1.0),
    ],
)
def test_mcnemars_test_is_the_exact_one(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(Pairs(both=40, only_a=only_a, only_b=only_b, neither=50)) == pytest.approx(p)


def test_strata_are_weighted() -> None:
    """By hand: 0.1 * 3/10 + 0.9 * 1/40 = 0.0525, of 1 / (0.01/10 + 0.81/40) = 47.06 effective experiments."""
    found = share([Stratum(count=3, of=10, weight=100), Stratum(count=1, of=40, weight=900)])
    effective = 1 / (0.001 + 0.02025)
    by_hand = wilson(0.0525 * effective, effective)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((0.0525, by_hand.low, by_hand.high))


def test_strata_of_which_nothing_was_drawn_are_left_out() -> None:
    assert share([Stratum(count=0, of=0, weight=5)]) is None
    assert share([Stratum(count=1, of=4), Stratum(count=0, of=0, weight=5)]) == wilson(1, 4)


COUNTS = st.integers(0, 60)


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=6))
def test_strata_in_proportion_are_as_one(drawn: list[tuple[int, int]]) -> None:
    strata = [Stratum(count=held, of=held + rest, weight=3.0 * (held + rest)) for held, rest in drawn]
    held, of = sum(each.count for each in strata), sum(each.of for each in strata)
    found = share(strata)
    if not of:
        assert found is None
    else:
        one = wilson(held, of)
        assert found is not None
        assert (found.estimate, found.low, found.high) == pytest.approx((one.estimate, one.low, one.high), abs=1e-9)


def _holds(found: Interval, low: float) -> None:
    assert all(map(math.isfinite, (found.estimate, found.low, found.high)))
    assert low <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_every_interval_holds_its_estimate_and_turns_with_the_runs(e: int, f: int, g: int, h: int) -> None:
    pairs, turned = Pairs(both=e, only_a=f, only_b=g, neither=h), Pairs(both=e, only_a=g, only_b=f, neither=h)
    if pairs.count:
        found, back = paired_difference(pairs), paired_difference(turned)
        _holds(found, -1)
        assert (found.low, found.high) == pytest.approx((-back.high, -back.low))
        assert mcnemar(pairs) == mcnemar(turned) <= 1
        _holds(wilson(e, pairs.count), 0)
    if e + f and g + h:
        one, other = wilson(e, e + f), wilson(g, g + h)
        _holds(difference(one, other), -1)
        assert difference(one, other).low == pytest.approx(-difference(other, one).high)


@given(st.integers(0, 30), st.integers(1, 30))
def test_more_of_the_same_gives_a_narrower_interval(count: int, rest: int) -> None:
    few, many = wilson(count, count + rest), wilson(4 * count, 4 * (count + rest))
    assert many.high - many.low < few.high - few.low
