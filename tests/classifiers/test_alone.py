"""What was late beside others, and what came of it alone."""

from __future__ import annotations

import pytest

from classifiers.alone import by_itself
from classifiers.judge import judge
from classifiers.observation import Observation
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from tests.builders import baseline, canary, faulty, pods

LATE = faulty(milestones={"applied": 0.2, "pods-ready": 2.1, "traffic": 4.0, "settled": 16.0})


def alone(observed: Observation) -> Verdict:
    return judge(observed, baseline())


def test_what_is_late_alone_too_is_timing_with_both_reasons() -> None:
    verdict = by_itself(LATE, baseline(), alone(LATE))
    assert (verdict.orchestrator, verdict.to_be_alone) == (OrchestratorFailure.TIMING, False)
    assert verdict.reasons[0].startswith("timing: `settled` came after 16.0 s")
    assert verdict.reasons[1].startswith("alone, too: timing: `settled` came after 16.0 s")


def test_what_is_in_time_alone_is_not_late_and_says_what_was_seen() -> None:
    verdict = by_itself(LATE, baseline(), alone(faulty()))
    assert (verdict.state, verdict.orchestrator, verdict.client) == (
        State.JUDGED, OrchestratorFailure.NONE, ClientFailure.NONE,
    )  # fmt: skip
    assert "and alone it was not: timing: `settled` came after 16.0 s" in verdict.reasons[0]
    assert "so was the fault" not in " ".join(verdict.reasons)
    assert verdict.activation == judge(faulty(), baseline()).activation, "being late is no effect of the fault then"


@pytest.mark.parametrize(
    ("again", "words"),
    [
        (alone(faulty(blind=("no watch",))), "alone not judged: blind: no watch"),
        (alone(faulty(pods=pods(4))), "alone something else: less-resources"),
        (alone(faulty(milestones=LATE.milestones, pods=pods(4))), "alone something else: less-resources"),
        (alone(faulty(canary=canary(pod_scheduled=None, pod_ready=None))), "alone something else: stall"),
        (Verdict(state=State.ERROR, reasons=("the harness failed",)), "alone not judged: the harness failed"),
        (None, "not done again alone yet"),
    ],
)
def test_what_came_otherwise_or_could_not_be_seen_alone_is_inconclusive(again: Verdict | None, words: str) -> None:
    verdict = by_itself(LATE, baseline(), again)
    assert (verdict.state, verdict.orchestrator) == (State.INCONCLUSIVE, None)
    assert words in verdict.reasons[0] and verdict.to_be_alone is (again is None)
    assert any(reason.startswith("seen all the same, not judged: timing: ") for reason in verdict.reasons)
