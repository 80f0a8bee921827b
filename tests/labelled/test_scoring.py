"""The score itself, and that no judge that does not look passes it."""

from __future__ import annotations

import pytest

from classifiers.verdict import OrchestratorFailure as O
from tests.labelled.labels import labels
from tests.labelled.scoring import Score, cohens_kappa, kappa, scores, shortfalls


def test_recall_and_precision_count_what_was_not_judged_as_missed() -> None:
    found = scores([(O.STALL, O.STALL), (O.STALL, O.OUTAGE), (O.STALL, None), (O.OUTAGE, O.OUTAGE)])
    assert found[O.STALL] == Score(labelled=3, given=1, right=1)
    assert (found[O.STALL].recall, found[O.STALL].precision) == (pytest.approx(1 / 3), 1.0)
    assert (found[O.OUTAGE].recall, found[O.OUTAGE].precision) == (1.0, 0.5)
    assert (found[O.NONE].recall, found[O.NONE].precision) == (None, None)


@pytest.mark.parametrize("always", list(O))
def test_a_judge_that_always_says_the_same_misses_the_goals_of_every_other_class(always: O) -> None:
    missed = shortfalls(scores((each.expected, always) for each in labels()))
    assert all(any(f"recall of {other.value}: 0 of" in words for words in missed) for other in O if other is not always)
    assert any(f"precision of {always.value}" in words for words in missed)


def test_a_judge_that_is_right_each_time_misses_none() -> None:
    assert shortfalls(scores((each.expected, each.expected) for each in labels())) == []


def test_kappa_is_cohens() -> None:
    # the example of two raters and fifty items in many a textbook: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("y", "y")] * 3) == 1.0
    one, other = {"a": "none", "b": "stall"}, {"a": "stall", "b": "none"}
    assert kappa([one, one, one]) == 1.0 and kappa([one, other]) == pytest.approx(-1.0)
    with pytest.raises(ValueError, match="of the same experiments"):
        kappa([one, {"a": "none"}])
