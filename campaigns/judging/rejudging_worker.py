"""One process that judges experiments of a stored run again; started by `rejudging`, ends with its input.

    python -m campaigns.judging.rejudging_worker FOLDER
    <- {"e0123…": "", …}                 a line for each chunk of ids; with each why it is suspect
    -> {"id", "before", "new"}           a line for each id: its classes so far; the judgement, null if it is as before
    -> {"id", "spoiled": "…"}            instead: what is stored of it can't be read, in words
    -> {"failed": "…"}                   the record can't be read, in words; it ends

It opens the run for reading and writes nothing but these lines.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from campaigns.judging.bench import Bench
from campaigns.judging.rejudging import answer, bench_of, judge_one
from campaigns.store import Run, open_run
from injector.errors import StoreError

__all__ = ["main"]


def main(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's, which ends it
    try:
        with open_run(Path(folder)) as run:
            bench = bench_of(run)
            for line in sys.stdin:
                for identifier, suspect in json.loads(line).items():
                    print(_judged(run, bench, identifier, suspect))
                sys.stdout.flush()
    except StoreError as error:
        print(json.dumps({"failed": str(error)}), flush=True)


def _judged(run: Run, bench: Bench, identifier: str, suspect: str) -> str:
    """The line for one."""
    try:
        record = run.record(identifier)
    except StoreError as error:
        return json.dumps({"id": identifier, "spoiled": str(error)})
    if record is None:
        raise StoreError(f"{run.folder}: experiment {identifier} is not finished")
    return answer(judge_one(bench, record, suspect))


if __name__ == "__main__":
    main(*sys.argv[1:])
