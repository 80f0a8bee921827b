"""The end of a campaign, however it comes: with a stand-in executor and a real record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from campaigns.campaign import Host, _available_bytes, _closing
from campaigns.judging import Bench
from campaigns.record import ExperimentRecord, PlannedExperiment
from campaigns.runner import Result
from campaigns.store import Run, create_run
from injector.errors import ClusterError
from tests.builders import goldens
from tests.campaigns.builders import SPEC, small_plan


class StandIn:
    """An executor with results that `run` never handed over."""

    def __init__(self, left: Sequence[Result], *, resists: bool = False) -> None:
        self.left, self.resists, self.closed = left, resists, False

    def close(self) -> None:
        self.closed = True
        if self.resists:
            raise ClusterError("a sandbox does not end")

    def unfinished(self) -> Iterator[Result]:
        assert self.closed, "closing comes first: it moves what is pending"
        yield from self.left


class View:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def finished(self, record: ExperimentRecord) -> None:
        self.seen.append(record.planned.id)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with create_run(tmp_path / "run", SPEC, small_plan(), {}) as made:
        yield made


def results(run: Run) -> list[Result]:
    planned: list[PlannedExperiment] = [each for each in run.plan.experiments if each.golden]
    return [
        Result(planned=each, observation=seen, error=None, reset=None, seconds=1.0, sandbox="s")
        for each, seen in zip(planned, goldens(len(planned)), strict=True)
    ]


@pytest.mark.parametrize("resists", [False, True])
def test_an_interrupted_campaign_keeps_what_is_done_once_each(run: Run, resists: bool) -> None:
    first, second, *_ = results(run)
    bench, view = Bench(()), View()
    executor = StandIn([first, second], resists=resists)
    with (
        pytest.raises(ClusterError if resists else KeyboardInterrupt),
        _closing(executor, run, bench, view),  # type: ignore[arg-type]
    ):
        run.add(bench.record(first))  # kept just before the interrupt came
        raise KeyboardInterrupt
    assert run.finished_ids() == {first.planned.id, second.planned.id}
    assert view.seen == [second.planned.id]
    assert executor.closed


def test_a_campaign_that_ends_closes_its_executor(run: Run) -> None:
    executor = StandIn([])
    with _closing(executor, run, Bench(()), View()):  # type: ignore[arg-type]
        assert not executor.closed
    assert executor.closed and run.finished_ids() == frozenset()


def test_the_host_is_told_with_what_it_really_has() -> None:
    host = Host.this()
    assert host.cores >= 1 and host.kernel and host.python.startswith("3.")
    assert 0 < _available_bytes() <= host.memory_bytes
