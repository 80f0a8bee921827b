"""That the labelled set is what it says: valid faults, each with a class and a sentence, enough of each class."""

from __future__ import annotations

from collections import Counter

from classifiers.verdict import OrchestratorFailure
from tests.labelled.labels import campaigns, labels


def test_there_are_seventy_and_at_least_eight_of_each_class_and_each_has_its_reason() -> None:
    found = labels()
    assert len(found) >= 70 and len({each.id for each in found}) == len(found)
    counts = Counter(each.expected for each in found)
    assert set(counts) == set(OrchestratorFailure) and min(counts.values()) >= 8
    assert all(len(each.why) > 20 for each in found)


def test_each_is_a_fault_that_a_campaign_takes() -> None:
    assert sum(len(spec.faults) for spec in campaigns().values()) == len(labels())
