"""One process that reads how far faults of a stored run got (campaigns.judging.workers); started by `spreading`.

<- {"e0123…": "", …}
-> {"id", "spread"}                  null where no trace was kept
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from campaigns.judging.aftermath import Aftermaths
from campaigns.judging.spreading import spread_of
from campaigns.judging.workers import Work, serve
from campaigns.store import Run, Spoiled
from classifiers.record import to_json
from injector.errors import StoreError

__all__ = ["begin"]


def begin(run: Run) -> Work:
    aftermaths = Aftermaths(run)

    def work(ids: Mapping[str, str], spoiled: Spoiled) -> Iterator[dict[str, Any]]:
        for identifier in ids:
            try:
                record = run.record(identifier)
                after = aftermaths.of(record) if record is not None else None
            except StoreError as error:
                spoiled(identifier, str(error))
                continue
            spread = spread_of(record, after) if record is not None and after is not None else None
            yield {"id": identifier, "spread": None if spread is None else to_json(spread)}

    return work


if __name__ == "__main__":
    serve(sys.argv[1], begin)
