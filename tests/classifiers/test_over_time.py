"""Objects over time, where golden runs come and go a little differently."""

from __future__ import annotations

import pytest

from classifiers.observation import Observation, Write
from classifiers.over_time import excursions, ranges
from tests.builders import observation


def seen(*steps: tuple[float, str, str], seconds: float = 20.0) -> Observation:
    """`steps`: when, create or delete, and what."""
    writes = tuple(
        Write(
            revision=n, at_s=at_s, key=f"/{n}", kind=identity.partition("/")[0], identity=identity, operation=operation,
            size_bytes=1,
        )
        for n, (at_s, operation, identity) in enumerate(steps)
    )  # fmt: skip
    return observation(writes=writes, seconds=seconds)


def pods(at_s: float, count: int, operation: str = "create") -> list[tuple[float, str, str]]:
    return [(at_s, operation, f"Pod/default/web#{n}") for n in range(count)]


GOLDEN = ranges([seen(*pods(1.0 + n / 2, 3), seconds=9 + n) for n in range(3)])


def told(*steps: tuple[float, str, str]) -> list[str]:
    return [each.describe() for each in excursions(seen(*steps), GOLDEN)]


@pytest.mark.parametrize("at_s", [0.1, 1.2, 3.9])
def test_what_golden_runs_do_a_little_earlier_or_later_is_usual(at_s: float) -> None:
    assert told(*pods(at_s, 3)) == []


def test_objects_that_are_gone_for_a_while_are_told_with_how_many_and_when() -> None:
    gone = [*pods(1.0, 3), *pods(8.0, 2, "delete"), *pods(12.5, 2)]
    assert told(*gone) == ["2 fewer of Pod than golden runs, from 8 to 13 s"]
    assert told(*pods(1.0, 3), *pods(8.0, 2, "delete"), *pods(10.0, 2)) == [], "for a moment"


def test_objects_that_are_too_many_for_a_while_are_told_even_of_a_kind_that_golden_runs_never_make() -> None:
    more = [(5.0, "create", "Job/default/a"), (9.0, "delete", "Job/default/a")]
    assert told(*pods(1.0, 3), *more) == ["1 more of Job than golden runs, from 5 to 9 s"]
    assert told(*pods(1.0, 3), *pods(5.0, 4), *pods(9.0, 4, "delete")) == [
        "4 more of Pod than golden runs, from 5 to 9 s"
    ]


def test_what_lasts_to_the_end_is_told_by_the_counts_at_the_end() -> None:
    assert told(*pods(1.0, 3), *pods(8.0, 2, "delete")) == []


def test_what_lives_by_the_clock_and_what_is_the_harness_s_own_are_not_counted() -> None:
    own = [(5.0, "create", "Pod/mutineer-canary/c#1"), (9.0, "delete", "Pod/mutineer-canary/c#1")]
    events = [(5.0, "create", "Event/default/e"), (9.0, "delete", "Event/default/e")]
    assert told(*pods(1.0, 3), *own, *events) == []
