"""Everything that can be done with a run, once: for tests of what statements that takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from campaigns.record import ExperimentRecord, Purpose
from campaigns.store import create_run, open_run
from tests.campaigns.builders import SPEC, judge_again, record, small_plan

__all__ = ["work_out"]


def work_out(folder: Path) -> None:
    plan = small_plan()
    fault = next(e for e in plan.experiments if not e.golden)
    with create_run(folder, SPEC, plan, {"seed": 1}) as run:
        run.begin_session({"sandboxes": 1})
        for planned in plan.experiments[:-1]:
            run.add(record(planned), trace=b"a trace")
        run.add_failed_attempt(fault.id, "etcd ended")
        run.add_repeat(record(fault), Purpose.CONFIRM, trace=b"another")
        judge_again(run, _doubtful)
        run.note("ended", "now")
        run.end_session("finished")
    with open_run(folder, writable=True) as run:
        run.begin_session({})
        run.add(record(plan.experiments[-1]))
        run.add_repeat(record(fault), Purpose.REPLAY)
    with open_run(folder) as run:
        assert len(list(run.records())) == len(list(run.records(observations=False))) == len(plan.experiments)
        assert run.record(fault.id) and run.trace(fault.id) and run.trace(fault.id, purpose=Purpose.CONFIRM)
        assert len(list(run.repeats())) == 2 and len(list(run.repeats(fault.id))) == 2
        assert run.failed_attempts() and len(run.sessions()) == 2 and run.finished_ids() and run.metadata
        assert run.plan == plan


def _doubtful(known: ExperimentRecord) -> ExperimentRecord:
    return replace(known, verdict=replace(known.verdict, reasons=("on reflection", *known.verdict.reasons)))
