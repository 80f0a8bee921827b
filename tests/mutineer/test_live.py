"""What a person sees while a campaign runs, on recording consoles."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from campaigns.record import ExperimentRecord, PlannedExperiment, Purpose
from classifiers.verdict import OrchestratorFailure, State, Verdict
from mutineer.live import ClosableView, ViewConsole, choose_view, outcome
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
        golden=3, faults=4, repeats=0, sandboxes=2, done=0,
        folder=Path("/home/somebody/with/a/long/path/to/it/runs/a-long-name-1"),
    )  # fmt: skip
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
    assert len(lines) == 1 + 1 + 2 + 3, "bar, outcomes, two sandboxes, what is worth a look: no quiet golden run"
    assert "4/7" in lines[0] and "0:00 gone, " in lines[0] and " an hour" in lines[0]
    assert lines[1].split() == ["more-resources", "1", "outage", "1", "error", "1"]
    assert lines[2].startswith("sandbox 1 0:00 driving: the Service's spec.selector[app] says [bold]wax")
    assert lines[2].rstrip().endswith("…") and lines[3].split() == ["sandbox", "2", "0:00", "starting"]
    assert [line.split()[0] for line in lines[4:]] == ["more-resources", "outage", "error"]
    assert "spec.selector[app] says" in lines[4] and lines[4].rstrip().endswith("…")


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
    view.planned(golden=0, faults=20, repeats=0, sandboxes=1, done=0, folder=Path("runs/x"))
    for number in range(20):
        view.finished(failed(OrchestratorFailure.STALL, why=f"number {number}", number=number))
    file.truncate(0)
    console.print(view._render())  # type: ignore[attr-defined]
    shown = [line for line in file.getvalue().splitlines() if "number" in line]
    assert [line.split()[-1] for line in shown] == [str(n) for n in range(12, 20)]
    assert "left" in file.getvalue()


class Clock:
    """Monotonic seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_time_left_and_how_long_each_phase_lasts_go_by_the_clock() -> None:
    console, file = consoles(100, terminal=True)
    clock = Clock()
    view = choose_view(console, clock)
    view.planned(golden=0, faults=101, repeats=0, sandboxes=1, done=0, folder=Path("runs/x"))
    view.sandbox("run-1-1", "starting")
    clock.now += 8
    view.finished(failed(OrchestratorFailure.NONE))
    for number in range(4):
        clock.now += 6
        view.finished(failed(OrchestratorFailure.NONE, number=number))
    view.sandbox("run-1-1", "settling: something")
    clock.now += 6
    file.truncate(0)
    console.print(view._render())  # type: ignore[attr-defined]
    lines = [" ".join(line.split()) for line in file.getvalue().replace("\0", "").splitlines()]
    assert lines[0].endswith("5/101 0:38 gone, 480 an hour, about 12:00 left")
    assert lines[1:] == ["none 5", "sandbox 1 0:06 settling: something"], "what is as it should be is no finding"


def test_many_sandboxes_are_not_all_shown() -> None:
    console, file = consoles(80, terminal=True)
    view = choose_view(console)
    for number in range(33):
        view.sandbox(f"run-1-{number}", "starting")
    console.print(view._render())  # type: ignore[attr-defined]
    lines = file.getvalue().splitlines()
    assert len(lines) == 13 and lines[-1].strip() == "and 23 more"


def test_piped_output_sums_up_once_a_minute_at_most() -> None:
    console, file = consoles(80, terminal=False)
    clock = Clock()
    view = choose_view(console, clock)
    view.planned(golden=0, faults=10, repeats=0, sandboxes=1, done=3, folder=Path("runs/x"))
    for number in range(10):
        clock.now += 25
        view.finished(failed(OrchestratorFailure.STALL, number=number))
    lines = file.getvalue().splitlines()
    assert lines[0] == "0 golden runs and 10 experiments (3 are done) on 1 sandbox, into runs/x"
    assert [line for line in lines if line.startswith("--")] == [
        "-- 1:15 gone, 144 an hour, about 2:55 left; so far 3 stall",
        "-- 2:30 gone, 144 an hour, about 1:40 left; so far 6 stall",
        "-- 3:45 gone, 144 an hour, about 0:25 left; so far 9 stall",
    ]


def test_a_repeat_is_named_as_one() -> None:
    console, file = consoles(80, terminal=False)
    view = choose_view(console)
    view.planned(golden=0, faults=0, repeats=2, sandboxes=4, done=9, folder=Path("runs/x"))
    view.finished(failed(OrchestratorFailure.STALL), Purpose.REPLAY)
    view.more(1, "to confirm findings on fresh sandboxes")
    assert file.getvalue().splitlines() == [
        "2 repeats on 2 sandboxes, into runs/x",
        "[1/2] e0000000001 stall: once more (replay): a wrong word (9.5 s)",
        "1 more, to confirm findings on fresh sandboxes",
    ]


def test_output_that_nobody_reads_any_more_stops_no_campaign() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    view = choose_view(ViewConsole(file=Gone(), width=80))
    view.finished(failed(OrchestratorFailure.STALL))
    view.note("words")


def test_an_outcome_is_the_class_or_the_state_where_there_is_none() -> None:
    assert outcome(failed(OrchestratorFailure.NETWORK)) == "network"
    assert outcome(error()) == "error"
    assert outcome(record(verdict=Verdict(state=State.INCONCLUSIVE, reasons=("blind",)))) == "inconclusive"
    late = Verdict(state=State.INCONCLUSIVE, reasons=("late",), to_be_alone=True)
    assert outcome(record(verdict=late)) == "timing?"
