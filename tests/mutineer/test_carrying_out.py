"""What is said when a campaign ends: what is left, and how to go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.running.stopping import Stop
from campaigns.store import create_run
from classifiers.verdict import State, Verdict
from mutineer.carrying_out import finished
from mutineer.exit_codes import ExitCode
from tests.campaigns.builders import SPEC, record, small_plan


@pytest.mark.parametrize(
    ("late", "done", "said"),
    [
        (True, 6, "stopped (enough), 1 that were late are to be done again alone; go on: mutineer resume"),
        (True, 5, "stopped (enough), 1 are missing and 1 that were late are to be done again alone; go on:"),
        (False, 5, "stopped (enough), 1 are missing; go on: mutineer resume"),
        (False, 6, ""),
    ],
)
def test_what_is_left_of_a_stopped_campaign_is_said(
    late: bool, done: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = Verdict(state=State.INCONCLUSIVE, reasons=("late",), to_be_alone=late)
    experiments = sorted(small_plan().experiments, key=lambda planned: planned.golden)
    with create_run(tmp_path / "run", SPEC, small_plan(), {}) as run:
        for place, planned in enumerate(experiments[:done]):
            one = record(planned)
            run.add(replace(one, verdict=waiting) if place == 0 else one)
    stop = Stop()
    stop.why = "enough"
    assert finished(run, stop) is ExitCode.OK
    told = capsys.readouterr().err
    assert said in told if said else "stopped" not in told
