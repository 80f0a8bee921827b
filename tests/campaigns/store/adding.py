"""A runner of its own: adds experiments with traces, one after the other, judges them again, ends.

python -m tests.campaigns.store.adding FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from campaigns.store import create_run
from tests.builders import faulty
from tests.campaigns.builders import SPEC, judge_again, record
from tests.campaigns.store.scarce import many

ADDED = 20

if __name__ == "__main__":
    plan = many()
    with create_run(Path(sys.argv[1]), SPEC, plan, {}) as run:
        run.begin_session({})
        for place, planned in enumerate(plan.experiments[:ADDED]):
            run.add(record(planned, observation=faulty(seconds=20.0 + place)), trace=f"trace of {place}".encode() * 500)
        judge_again(run, lambda r: replace(r, verdict=replace(r.verdict, reasons=("again",))))
        run.end_session("finished")
