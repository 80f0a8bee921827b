"""How stable a verdict is."""

from __future__ import annotations

from dataclasses import replace

from campaigns.judging.agreement import agreement, class_of, classes_of
from classifiers.verdict import ClientFailure, State, Verdict
from tests.campaigns.builders import record


def test_who_replays_is_told_of_clients_as_well_as_of_the_cluster() -> None:
    quiet = record()
    hurt = replace(quiet, verdict=replace(quiet.verdict, client=ClientFailure.INTERMITTENT))
    assert (class_of(hurt), classes_of(hurt), classes_of(quiet)) == ("none", "none, clients intermittent", "none")
    assert agreement(hurt, [quiet, hurt]).same == 2, "by the cluster alone"
    found = agreement(hurt, [quiet, hurt], classes_of)
    assert (found.was, found.same, found.again) == (
        "none, clients intermittent",
        1,
        ("none", "none, clients intermittent"),
    )
    unjudged = replace(quiet, verdict=Verdict(state=State.INCONCLUSIVE, reasons=("blind",)))
    assert classes_of(unjudged) == "inconclusive"
