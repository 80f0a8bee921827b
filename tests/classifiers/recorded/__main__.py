"""python -m tests.classifiers.recorded RUN: keeps of a labelled run what the tests are made with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from campaigns.store import Run, open_run
from classifiers.verdict import OrchestratorFailure
from tests.classifiers.recorded import Recorded, keep
from tests.labelled.labels import labels

GOLDENS, OF_A_CLASS = 5, 1
"""So many are kept."""


def chosen(run: Run) -> Iterator[Recorded]:
    goldens = [each for each in run.goldens() if each.observation is not None]
    for golden in goldens[:GOLDENS]:
        assert golden.observation is not None
        yield Recorded(None, "golden run", golden.observation)
    left = dict.fromkeys(OrchestratorFailure, OF_A_CLASS)
    for label in labels():
        record = run.record(label.id) if label.id in run.finished_ids() else None
        if record is None or record.observation is None or not left[label.expected]:
            continue
        if record.verdict.orchestrator is label.expected:
            left[label.expected] -= 1
            yield Recorded(label.expected, label.why, record.observation)


if __name__ == "__main__":
    with open_run(Path(sys.argv[1])) as opened:
        print(f"{keep(chosen(opened))} bytes")
