"""How a budget is spread over strata."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.planning.strata import Stratum, allocate

POPULATIONS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 5000), min_size=1, max_size=30)


@given(POPULATIONS, st.integers(1, 20_000), st.integers(0, 20))
def test_the_budget_is_spent_exactly_and_no_stratum_gets_more_than_it_has(
    populations: dict[str, int], budget: int, at_least: int
) -> None:
    taken = allocate(populations, budget, at_least)
    assert sum(taken.values()) == min(budget, sum(populations.values()))
    assert all(0 <= taken[name] <= populations[name] for name in populations)
    least = {name: min(at_least, number) for name, number in populations.items()}
    if sum(least.values()) <= budget:
        assert all(taken[name] >= least[name] for name in populations)
    assert taken == allocate(dict(reversed(populations.items())), budget, at_least), "the order does not matter"


@given(POPULATIONS, st.integers(1, 20_000))
def test_a_larger_stratum_gets_no_fewer(populations: dict[str, int], budget: int) -> None:
    taken = allocate(populations, budget, 1)
    by_size = sorted(populations, key=lambda name: populations[name])
    assert all(taken[a] <= taken[b] + 1 for a, b in pairwise(by_size))


def test_shares_go_with_the_square_root_and_the_rest_stays_where_a_stratum_is_used_up() -> None:
    assert allocate({"a": 100, "b": 400, "c": 10_000}, 130, 1) == {"a": 10, "b": 20, "c": 100}
    assert allocate({"a": 3, "b": 400, "c": 400}, 103, 1) == {"a": 3, "b": 50, "c": 50}
    assert allocate({"a": 1, "b": 9, "c": 90_000}, 3, 1) == {"a": 1, "b": 1, "c": 1}
    assert allocate({"a": 1, "b": 9, "c": 90_000}, 2, 1)["c"] == 2


@pytest.mark.parametrize(("population", "planned", "weight"), [(10, 4, 2.5), (3, 3, 1.0), (7, 0, 0.0)])
def test_a_weight_is_what_each_planned_one_stands_for(population: int, planned: int, weight: float) -> None:
    assert Stratum(name="s", population=population, planned=planned).weight == weight
