"""The table of failures by what was hit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from campaigns.judging.shares import DIMENSIONS, Base, Group, caveats, in_words, rows
from campaigns.judging.statistics import Draw, clustered_share, wilson
from campaigns.record import ExperimentRecord, PlannedExperiment
from classifiers.verdict import Activation, OrchestratorFailure, State, Verdict
from injector.rules import Rule
from injector.targets import Target
from tests.builders import rule
from tests.campaigns.builders import record

SELECTOR, REPLICAS, LOST = (
    Target(kind="Service", identity="Service/default/web", field="spec.selector[app]"),
    Target(kind="Deployment", group="apps", identity="Deployment/default/web", field="spec.replicas"),
    Target(kind="Pod", identity="Pod/default/web#1"),
)


def done(
    number: int, target: Target, failure: str | None, *, stratum: str = "", reached: str = "effective"
) -> ExperimentRecord:
    hit: Rule = replace(rule(), target=target)
    planned = PlannedExperiment(id=f"e{number}", workload="deploy", rule=hit, why="", stratum=stratum)
    verdict = Verdict(
        state=State.JUDGED if failure else State.INCONCLUSIVE,
        reasons=(),
        orchestrator=OrchestratorFailure(failure) if failure else None,
        activation=Activation(reached),
    )
    return record(planned, verdict=verdict)


def test_each_row_has_its_experiments_and_its_share_of_each_group() -> None:
    records = [
        *(done(n, SELECTOR, "network" if n < 3 else "none") for n in range(4)),
        done(10, REPLICAS, "more-resources"),
        done(11, REPLICAS, "stall"),
        done(12, LOST, "none", reached="accepted"),
        done(13, LOST, None, reached="not-fired"),
    ]
    found = {row.name: row for row in rows(records, {}, DIMENSIONS["role"], Base.FIRED)}
    assert list(found) == ["dependency", "replicas", "whole message", "all"]
    assert (found["dependency"].experiments, found["dependency"].shares[Group.NETWORK].estimate) == (4, 0.75)
    assert found["replicas"].shares[Group.PROVISIONING].estimate == 0.5
    assert (found["all"].experiments, found["all"].shares[Group.CLUSTER_WIDE].estimate) == (7, pytest.approx(1 / 7))
    assert {row.name: row.experiments for row in rows(records, {}, DIMENSIONS["kind"], Base.PLANNED)}["Pod"] == 2
    assert rows(records, {}, DIMENSIONS["kind"], Base.EFFECTIVE)[-1].experiments == 6


def test_shares_are_of_the_population_that_the_strata_stand_for() -> None:
    records = [
        done(1, SELECTOR, "network", stratum="few"),
        *(done(n, SELECTOR, "none", stratum="many") for n in (2, 3)),
    ]
    populations = {"few": 10, "many": 90, "none yet": 7}
    (row, _) = rows(records, populations, DIMENSIONS["role"], Base.FIRED)
    assert (row.population, row.shares[Group.NETWORK].estimate) == (100.0, pytest.approx(0.1))
    assert "nothing is known of the strata with the other 7 faults" in caveats(records, populations, Base.FIRED)[-1]


def test_experiments_on_one_object_tell_less_than_as_many_on_different_ones() -> None:
    same = clustered_share([Draw(n < 10, 1.0, str(n // 5)) for n in range(20)])
    apart = clustered_share([Draw(n < 10, 1.0, str(n)) for n in range(20)])
    assert same is not None and apart is not None and same.estimate == apart.estimate == 0.5
    assert same.high - same.low > 1.5 * (apart.high - apart.low)
    plain = wilson(10, 20)
    assert apart.low == pytest.approx(plain.low, abs=0.01), "each its own cluster: as independent draws"


def test_a_share_of_nothing_is_none_and_what_never_happened_is_bounded_by_its_clusters() -> None:
    assert clustered_share([]) is None and clustered_share([Draw(True, 0.0, "a")]) is None
    never = clustered_share([Draw(False, 1.0, str(n % 5)) for n in range(50)])
    assert never is not None and never == wilson(0, 5)


def test_what_the_sample_can_not_tell_is_said() -> None:
    records = [done(n, SELECTOR if n < 20 else REPLICAS, "outage") for n in range(45)]
    records += [done(100 + n, LOST, "none") for n in range(1455)]
    said = caveats(records, {}, Base.FIRED)
    assert said[0].startswith("Of the cluster-wide failures 44 % [") and said[0].endswith("the paper: 51 %.")
    assert said[1].endswith("among 1500 experiments: a share of them has an interval of about ±14 points.")
    (none,) = caveats([done(1, LOST, "none")], {}, Base.FIRED)
    assert none.startswith("No cluster-wide failure among 1 experiments")
    assert "1 of 2 were not judged" in " ".join(caveats([done(1, LOST, "none"), done(2, LOST, None)], {}, Base.FIRED))


def test_a_share_in_words() -> None:
    assert in_words(wilson(0, 5)) == "0.0 % [0, 43]"
