"""How runs of the suite's own campaigns go on, with a stand-in for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.record import ExperimentRecord, Purpose
from campaigns.store import create_run, open_run
from tests import whole_run as module
from tests.campaigns.builders import SPEC, record, small_plan
from tests.soak import repeat
from tests.whole_run import whole_run

PLAN = small_plan()


class Mutineer:
    """`run` leaves the last experiment out, `resume` does it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str, folder: Path) -> int:
        self.asked.append(arguments)
        command, *names = arguments
        path = folder / "runs" / (names[-1] if command == "run" else names[0])
        if command == "run":
            with create_run(path, SPEC, PLAN, {}) as run:
                for planned in PLAN.experiments[:-1]:
                    run.add(record(planned))
        with open_run(path, writable=True) as run:
            if command == "resume":
                if PLAN.experiments[-1].id not in run.finished_ids():
                    run.add(record(PLAN.experiments[-1]))
                run.note("ended", "now")
            for name in names[1:] if command == "replay" else ():
                run.add_repeat(_again(name), Purpose.REPLAY)
        return 0

    def commands(self) -> list[str]:
        return [each[0] for each in self.asked]


def _again(identifier: str) -> ExperimentRecord:
    return record(next(planned for planned in PLAN.experiments if planned.id == identifier))


@pytest.fixture
def mutineer(monkeypatch: pytest.MonkeyPatch) -> Mutineer:
    made = Mutineer()
    monkeypatch.setattr(module, "mutineer", made)
    monkeypatch.setattr(repeat, "mutineer", made)
    return made


def test_a_run_that_was_left_goes_on_and_one_that_is_whole_is_left_alone(tmp_path: Path, mutineer: Mutineer) -> None:
    run, code = whole_run(SPEC, tmp_path, "mine")
    assert (run, code, mutineer.commands()) == (tmp_path / "runs/mine", 0, ["run", "resume"])
    assert (tmp_path / "mine.yaml").read_text() == SPEC
    assert whole_run(SPEC, tmp_path, "mine") == (run, 0) and len(mutineer.asked) == 2


def test_all_done_but_not_yet_judged_as_a_whole_is_not_whole(tmp_path: Path, mutineer: Mutineer) -> None:
    mutineer("run", "mine.yaml", "--name", "mine", folder=tmp_path)
    with open_run(tmp_path / "runs/mine", writable=True) as run:
        run.add(record(PLAN.experiments[-1]))
    whole_run(SPEC, tmp_path, "mine")
    assert mutineer.commands() == ["run", "resume"]


def test_a_campaign_goes_on_until_enough_can_be_chosen_and_only_what_lacks_a_repeat_is_replayed(
    tmp_path: Path, mutineer: Mutineer
) -> None:
    repeat.repeated(7, tmp_path)
    faults = [planned.id for planned in PLAN.experiments if not planned.golden]
    assert mutineer.commands() == ["run", "rejudge", "resume", "rejudge", "replay"]
    assert mutineer.asked[-1] == ("replay", "repeat-7", *faults)
    found = repeat.repeated(7, tmp_path)
    assert mutineer.commands()[5:] == ["rejudge"]
    assert (found.finished, found.figures["all"]["the same class"]) == (2, "2")


def test_a_campaign_of_which_enough_can_be_chosen_is_left_where_it_is(
    tmp_path: Path, mutineer: Mutineer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeat, "EXPERIMENTS", 1)
    found = repeat.repeated(7, tmp_path)
    assert mutineer.commands() == ["run", "rejudge", "replay"]
    assert found.finished == 1
