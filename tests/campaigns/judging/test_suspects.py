"""What a golden run that is not quiet tells of the others on its sandbox."""

from __future__ import annotations

from dataclasses import replace

import pytest

from campaigns.judging.suspects import suspects
from campaigns.record import ExperimentRecord, PlannedExperiment, Reset
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from tests.campaigns.builders import record

QUIET = Verdict(
    state=State.JUDGED, reasons=("as told",), orchestrator=OrchestratorFailure.NONE, client=ClientFailure.NONE
)
WRONG = replace(QUIET, orchestrator=OrchestratorFailure.LESS_RESOURCES)
CLIENTS = replace(QUIET, client=ClientFailure.INTERMITTENT)
UNKNOWN = Verdict(state=State.INCONCLUSIVE, reasons=("golden baseline too small",))
GOLDENS = {"q": QUIET, "w": WRONG, "c": CLIENTS, "u": UNKNOWN}


def run(story: str) -> list[str]:
    """Ids of suspects. A letter an experiment, in order: a golden run by GOLDENS, `x` one with a fault, `X` one after
    which the sandbox is made anew; of the second sandbox in capitals `A`, golden and wrong `B`."""
    records: list[ExperimentRecord] = []
    for place, letter in enumerate(story):
        golden = letter.lower() in GOLDENS or letter == "B"
        planned = PlannedExperiment(
            id=f"{letter}{place}", workload="deploy", rule=None if golden else record().planned.rule
        )
        rung = "recreate" if letter in "XQW" else "rollback"
        records.append(record(planned, sandbox="b" if letter in "AB" else "a", reset=Reset(rung, 0.2)))
    verdicts = GOLDENS | {"b": WRONG}
    found = suspects(records, lambda golden: verdicts[golden.planned.id[0].lower()])
    return list(found)


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("xxqxx", []),
        ("xx", []),
        ("xqxwxqx", ["x2", "x4"]),
        ("xwx", ["x0", "x2"]),
        ("xcxq", ["x0", "x2"]),
        ("xux", []),
        ("xwuxq", ["x0", "x3"]),
        ("xXwx", ["x3"]),
        ("xXxQxwX", ["x4", "X6"]),
        ("xWx", ["x0"]),
        ("xAxBAq", ["A1", "A4"]),
        ("xwxxwxq", ["x0", "x2", "x3", "x5"]),
    ],
)
def test_what_was_done_since_a_golden_run_was_quiet_and_until_one_is_again(story: str, expected: list[str]) -> None:
    assert sorted(run(story)) == sorted(expected)


def test_it_says_which_golden_run_and_what_was_wrong_in_it() -> None:
    fault, golden = record(), record(PlannedExperiment(id="g1", workload="deploy"))
    (why,) = suspects([fault, golden], lambda _: replace(WRONG, client=ClientFailure.SLOWER)).values()
    assert why.startswith("in golden run g1 on the same sandbox something was wrong, too (less-resources / slower)")
