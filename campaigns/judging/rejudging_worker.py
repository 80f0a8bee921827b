"""One process that judges experiments of a stored run again (campaigns.judging.workers); started by `rejudging`.

<- {"e0123…": "", …}                 with each id why it is suspect
-> {"id", "before", "new"}           its classes so far; the judgement, null if it is as before
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from campaigns.judging.rejudging import answer, bench_of, judge_here
from campaigns.judging.workers import Work, serve
from campaigns.store import Run, Spoiled

__all__ = ["begin"]


def begin(run: Run) -> Work:
    bench = bench_of(run)

    def work(ids: Mapping[str, str], spoiled: Spoiled) -> Iterator[dict[str, Any]]:
        return map(answer, judge_here(run, bench, ids, spoiled))

    return work


if __name__ == "__main__":
    serve(sys.argv[1], begin)
