"""What a person sees while a campaign runs, on recording consoles."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from campaigns.record import ExperimentRecord, PlannedExperiment
from classifiers.verdict import OrchestratorFailure, State, Verdict
from mutineer.live import ClosableView, choose_view, outcome
from tests.builders import rule
from tests.campaigns.builders import record

WHY = (
    "the Service's spec.selector[app] says [bold]wax[/bold], [/nothing], and this sentence is far too long for a line "
    * 2
)


def failed(failure: OrchestratorFailure, *, why: str = "a wrong word", number: int = 1) -> ExperimentRecord:
    planned = PlannedExperiment(id=f"e{number:010}", workload="deploy", rule=rule(), why=why)
    verdict = Verdict(state=State.JUDGED, reasons=("so",), orchestrator=failure)
    return record(planned, verdict=verdict)


def golden() -> ExperimentRecord:
    return record(PlannedExperiment(id="g1", workload="deploy"))


def error() -> ExperimentRecord:
    return record(verdict=Verdict(state=State.ERROR, reasons=("it broke",)), observation=None, error="Traceback")


def consoles(width: int, *, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, height=30, force_terminal=terminal, color_system=None), file


def tell(view: ClosableView) -> None:
    view.planned(
        golden=3, faults=4, sandboxes=2, folder=Path("/home/somebody/with/a/long/path/to/it/runs/a-long-name-1")
    )
    view.sandbox("run-1-1", f"driving: {WHY}")
    view.sandbox("run-1-2", "starting")
    view.finished(golden())
    view.finished(failed(OrchestratorFailure.MORE_RESOURCES, why=WHY))
    view.finished(failed(OrchestratorFailure.OUTAGE, number=2))
    view.finished(error())


@pytest.mark.parametrize("width", [80, 140])
def test_piped_output_is_one_plain_line_a_result_however_long(width: int) -> None:
    console, file = consoles(width, terminal=False)
    with choose_view(console) as view:
        tell(view)
        view.note("[this] is no markup")
    lines = file.getvalue().splitlines()
    assert lines == [
        "3 golden runs and 4 experiments on 2 sandboxes, into /home/somebody/with/a/long/path/to/it/runs/a-long-name-1",
        "[1/7] g1 none: golden run of deploy (9.5 s)",
        f"[2/7] e0000000001 more-resources: {WHY} (9.5 s)",
        "[3/7] e0000000002 outage: a wrong word (9.5 s)",
        "[4/7] e0123456789 error: a wrong word (9.5 s)",
        "[this] is no markup",
    ]
    assert "\x1b" not in file.getvalue()


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_view_never_wraps_and_takes_nothing_for_markup(width: int) -> None:
    console, file = consoles(width, terminal=True)
    view = choose_view(console)
    tell(view)
    file.truncate(0)
    console.print(view._render())  # type: ignore[attr-defined]
    lines = file.getvalue().replace("\0", "").splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 1 + 1 + 2 + 4, "bar, outcomes, two sandboxes, four results"
    assert "4/7" in lines[0] and "gone" in lines[0]
    assert lines[1].split() == ["more-resources", "1", "outage", "1", "error", "1"]
    assert lines[2].startswith("sandbox 1 driving: the Service's spec.selector[app] says [bold]wax")
    assert lines[2].rstrip().endswith("…") and lines[3].split() == ["sandbox", "2", "starting"]
    assert [line.split()[0] for line in lines[4:]] == ["none", "more-resources", "outage", "error"]
    assert "spec.selector[app] says" in lines[5] and lines[5].rstrip().endswith("…")


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_view_starts_and_stops_on_a_terminal(width: int) -> None:
    console, file = consoles(width, terminal=True)
    with choose_view(console) as view:
        tell(view)
    written = file.getvalue()
    assert "7 experiments" not in written and "3 golden runs and 4 experiments" in written
    assert written.endswith("\x1b[?25h") or "\x1b[?25h" in written, "the cursor is shown again"


def test_only_the_last_findings_are_shown() -> None:
    console, file = consoles(100, terminal=True)
    view = choose_view(console)
    view.planned(golden=0, faults=20, sandboxes=1, folder=Path("runs/x"))
    for number in range(20):
        view.finished(failed(OrchestratorFailure.STALL, why=f"number {number}", number=number))
    file.truncate(0)
    console.print(view._render())  # type: ignore[attr-defined]
    shown = [line for line in file.getvalue().splitlines() if "number" in line]
    assert [line.split()[-1] for line in shown] == [str(n) for n in range(12, 20)]
    assert "left" in file.getvalue()


def test_an_outcome_is_the_class_or_the_state_where_there_is_none() -> None:
    assert outcome(failed(OrchestratorFailure.NETWORK)) == "network"
    assert outcome(error()) == "error"
    assert outcome(record(verdict=Verdict(state=State.INCONCLUSIVE, reasons=("blind",)))) == "inconclusive"
