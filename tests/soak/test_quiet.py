"""What counts as a failure that a golden run reported."""

from __future__ import annotations

from dataclasses import replace

from campaigns.record import ExperimentRecord, PlannedExperiment
from campaigns.spec.campaign_spec import parse_spec
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from tests.campaigns.builders import record
from tests.soak.quiet import GOLDENS, WORKLOADS, scored, spec
from tests.soak.rounds import Round

ANY = record(PlannedExperiment(id="g", workload="deploy"))
QUIET = Verdict(
    state=State.JUDGED, orchestrator=OrchestratorFailure.NONE, client=ClientFailure.NONE, reasons=("as golden runs",)
)
LATE = Verdict(
    state=State.JUDGED, orchestrator=OrchestratorFailure.TIMING, client=ClientFailure.NONE, reasons=("late", "by 3 s")
)
REFUSED = Verdict(
    state=State.JUDGED, orchestrator=OrchestratorFailure.NONE, client=ClientFailure.INTERMITTENT, reasons=("refused",)
)
UNKNOWN = Verdict(state=State.INCONCLUSIVE, reasons=("unclean start",))
BROKEN = Verdict(state=State.ERROR, reasons=("the harness failed",))


def golden(number: int, workload: str, verdict: Verdict = QUIET) -> ExperimentRecord:
    return replace(ANY, planned=PlannedExperiment(id=f"g{number}", workload=workload), verdict=verdict)


def whole(*first: Verdict) -> list[ExperimentRecord]:
    """All golden runs, the first ones of `deploy` judged so."""
    verdicts = [*first, *[QUIET] * (GOLDENS - len(first))]
    others = [golden(100 * n + i, name) for n, name in enumerate(WORKLOADS[1:], 1) for i in range(GOLDENS)]
    return [*(golden(i, "deploy", verdict) for i, verdict in enumerate(verdicts)), *others]


def score(records: list[ExperimentRecord], parallelism: str = "auto", sandboxes: int = 3) -> Round:
    return scored(records, parallelism, sandboxes, seconds=9.0, exit_code=0)


def test_the_campaigns_together_are_200_golden_runs_and_nothing_else() -> None:
    specs = [parse_spec(spec(parallelism, 7), file="quiet.yaml") for parallelism in ("1", "auto")]
    assert [each.parallelism for each in specs] == [1, "auto"]
    assert sum(each.golden * len(each.workloads) for each in specs) == 200
    assert all(each.faults == [] and each.sample is None and each.seed == 7 for each in specs)


def test_where_every_golden_run_is_quiet_nothing_is_wrong() -> None:
    found = score(whole())
    assert (found.wrong, found.noted, found.finished) == ([], [], 100)


def test_a_failure_and_an_error_are_wrong_and_what_is_inconclusive_is_noted_all_with_their_reasons() -> None:
    found = score(whole(LATE, REFUSED, UNKNOWN, BROKEN))
    assert found.wrong == [
        "g0 (deploy, parallelism auto) is timing: late; by 3 s",
        "g1 (deploy, parallelism auto) is none, clients intermittent: refused",
        "g3 (deploy, parallelism auto) is error: the harness failed",
    ]
    assert found.noted == ["g2 (deploy, parallelism auto) is inconclusive: unclean start"]
    assert found.figures["deploy"] == {
        "sandboxes": "3", "golden runs": "25", "none / none": "21", "with a failure": "2", "inconclusive": "1",
        "errors": "1",
    }  # fmt: skip
    assert found.figures["scale"]["none / none"] == "25"


def test_golden_runs_that_are_missing_are_wrong() -> None:
    assert score(whole()[1:]).wrong == ["24 of 25 golden runs of deploy are recorded"]


def test_side_by_side_takes_two() -> None:
    assert score(whole(), "auto", 1).wrong == ["one sandbox only: nothing was side by side"]
    assert score(whole(), "1", 1).wrong == []
