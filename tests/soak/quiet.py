"""Golden runs judged as experiments, each by the others of its workload: what is called a failure is a false alarm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from campaigns.judging.agreement import classes_of
from campaigns.judging.suspects import is_quiet
from campaigns.record import ExperimentRecord
from campaigns.store import open_run
from classifiers.verdict import State
from tests.soak.rounds import Round
from tests.whole_run import whole_run

__all__ = ["GOLDENS", "WORKLOADS", "quiet", "scored", "spec"]

WORKLOADS = ("deploy", "scale", "rolling-update", "config-change")
GOLDENS = 25
"""Of each workload. With four workloads, one sandbox and several, 200 (issue 7, "Figures")."""


def spec(parallelism: str, seed: int) -> str:
    """`parallelism`: a number, or auto."""
    return f"""\
name: quiet
workloads: [{", ".join(WORKLOADS)}]
golden: {GOLDENS}
seed: {seed}
parallelism: {parallelism}
faults: []
"""


def quiet(parallelism: str, seed: int, folder: Path) -> Round:
    """A campaign of golden runs alone, kept below `folder`; none of them may report a failure."""
    began = time.monotonic()
    run, code = whole_run(spec(parallelism, seed), folder, f"quiet-{parallelism}-{seed}")
    with open_run(run) as opened:
        records = list(opened.records(observations=False))
        hosts = [session.document["host"] for session in opened.sessions()]
    sandboxes = min(int(str(host["sandboxes"])) for host in hosts if isinstance(host, dict))
    return scored(records, parallelism, sandboxes, seconds=time.monotonic() - began, exit_code=code)


def scored(
    records: Sequence[ExperimentRecord], parallelism: str, sandboxes: int, *, seconds: float, exit_code: int
) -> Round:
    """Wrong is what is judged with a failure, an error of the harness, and what is missing; what is inconclusive is
    noted. `sandboxes`: the fewest that were side by side."""
    wrong, noted, figures = list[str](), list[str](), dict[str, dict[str, str]]()
    for record in records:
        if not is_quiet(record.verdict):
            where = wrong if record.verdict.state is not State.INCONCLUSIVE else noted
            where.append(_in_words(record, parallelism))
    for workload in WORKLOADS:
        verdicts = [record.verdict for record in records if record.planned.workload == workload]
        if len(verdicts) != GOLDENS:
            wrong.append(f"{len(verdicts)} of {GOLDENS} golden runs of {workload} are recorded")
        states = [verdict.state for verdict in verdicts]
        figures[workload] = {
            "sandboxes": str(sandboxes),
            "golden runs": str(len(verdicts)),
            "none / none": str(sum(map(is_quiet, verdicts))),
            "with a failure": str(sum(v.state is State.JUDGED and not is_quiet(v) for v in verdicts)),
            "inconclusive": str(states.count(State.INCONCLUSIVE)),
            "errors": str(states.count(State.ERROR)),
        }
    if parallelism != "1" and sandboxes == 1:
        wrong.append("one sandbox only: nothing was side by side")
    return Round(
        what=f"{len(records)} golden runs, parallelism {parallelism}", moment_s=0.0, seconds=seconds,
        exit_code=exit_code, finished=len(records), wrong=wrong, figures=figures, noted=noted,
    )  # fmt: skip


def _in_words(record: ExperimentRecord, parallelism: str) -> str:
    planned, reasons = record.planned, "; ".join(record.verdict.reasons)
    return f"{planned.id} ({planned.workload}, parallelism {parallelism}) is {classes_of(record)}: {reasons}"
