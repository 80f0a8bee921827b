"""Which experiments are done twice, and what counts as the same."""

from __future__ import annotations

from dataclasses import replace

from campaigns.record import ExperimentRecord, PlannedExperiment
from campaigns.spec.campaign_spec import load_preset, parse_spec
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from tests.builders import rule
from tests.campaigns.builders import record
from tests.soak.repeat import EXPERIMENTS, LEAST_SAME, Pair, chosen, scored, spec
from tests.soak.rounds import Round

ANY = record()
NONE, STALL = OrchestratorFailure.NONE, OrchestratorFailure.STALL


def done(
    number: int, orchestrator: OrchestratorFailure | None = STALL, client: ClientFailure = ClientFailure.NONE
) -> ExperimentRecord:
    """Of class None: it was not judged."""
    judged = Verdict(state=State.JUDGED, orchestrator=orchestrator, client=client, reasons=("seen", f"at {number}"))
    unknown = Verdict(state=State.INCONCLUSIVE, reasons=("late",))
    planned = PlannedExperiment(id=f"e{number}", workload="deploy", rule=rule(), why="a wrong word")
    return replace(ANY, planned=planned, verdict=judged if orchestrator else unknown)


def score(pairs: list[Pair]) -> Round:
    return scored(pairs, seconds=9.0, exit_code=0)


def same(count: int) -> list[Pair]:
    return [(done(number), done(number)) for number in range(count)]


def test_the_campaign_is_the_papers_but_for_its_size_and_the_slow_workload() -> None:
    (paper, _), mine = load_preset("paper"), parse_spec(spec(7), file="repeat.yaml")
    assert paper.sample is not None and mine.sample is not None
    assert mine.sample.model_copy(update={"budget": paper.sample.budget}) == paper.sample
    assert (mine.workloads, mine.seed, mine.cluster) == (["deploy", "scale"], 7, paper.cluster)


def test_those_chosen_are_the_first_that_were_judged_with_few_of_class_none() -> None:
    golden = replace(done(0), planned=PlannedExperiment(id="g0", workload="deploy"))
    records = [golden, *(done(n, NONE) for n in range(3)), done(3, None), *(done(n) for n in range(4, 9))]
    assert [each.planned.id for each in chosen(records, count=5, most_none=2)] == ["e0", "e1", "e4", "e5", "e6"]
    assert len(chosen(records, count=50, most_none=2)) == 7
    assert chosen(records, count=2, most_none=0) == [done(4), done(5)]


def test_enough_of_the_same_class_is_not_wrong_and_those_that_differ_are_noted_with_both_reasons() -> None:
    found = score([*same(LEAST_SAME), *((done(n), done(n, NONE)) for n in range(LEAST_SAME, EXPERIMENTS))])
    assert found.wrong == []
    assert len(found.noted) == EXPERIMENTS - LEAST_SAME
    assert found.noted[0] == "e95 (deploy, a wrong word): stall (seen; at 95), then none (seen; at 95)"
    assert found.figures["stall"] == found.figures["all"]
    assert found.figures["all"] == {"experiments": "100", "the same class": "95", "the same of clients": "100"}
    assert found.figures["none"]["experiments"] == "0"


def test_too_few_of_the_same_class_are_wrong_be_it_the_clusters_or_the_clients() -> None:
    few = same(LEAST_SAME - 1)
    other = range(LEAST_SAME - 1, EXPERIMENTS)
    assert score([*few, *((done(n), done(n, NONE)) for n in other)]).wrong == [
        "94 of 100 had the same class of the cluster again, not 95"
    ]
    clients = score([*few, *((done(n), done(n, STALL, ClientFailure.UNREACHABLE)) for n in other)])
    assert clients.wrong == ["94 of 100 had the same class of the clients again, not 95"]
    assert clients.noted[0].endswith("then stall, clients unreachable (seen; at 94)")


def test_what_was_not_judged_again_differs() -> None:
    found = score([*same(EXPERIMENTS - 1), (done(99), done(99, None))])
    assert found.noted == ["e99 (deploy, a wrong word): stall (seen; at 99), then inconclusive (late)"]
    assert found.figures["all"] == {"experiments": "100", "the same class": "99", "the same of clients": "99"}


def test_what_could_not_be_chosen_or_was_not_done_again_is_wrong() -> None:
    found = score([*same(EXPERIMENTS - 2), (done(98), None)])
    assert found.wrong == [
        "99 experiments could be chosen, not 100: the campaign has too few",
        "e98 was not done again",
    ]
    assert found.noted == []
