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

from campaigns.judging.rejudging import answer, bench_of, judge_here
from campaigns.store import open_run
from injector.errors import StoreError

__all__ = ["main"]


def main(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's, which ends it
    try:
        with open_run(Path(folder)) as run:
            bench = bench_of(run)
            for line in sys.stdin:
                for judged in judge_here(run, bench, json.loads(line), _spoiled):
                    print(answer(judged))
                sys.stdout.flush()
    except StoreError as error:
        print(json.dumps({"failed": str(error)}), flush=True)


def _spoiled(identifier: str, why: str) -> None:
    print(json.dumps({"id": identifier, "spoiled": why}))


if __name__ == "__main__":
    main(*sys.argv[1:])
