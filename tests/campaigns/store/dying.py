"""Opens a run for writing in a child for every other statement that migrating it takes, and kills it there.

python -m tests.campaigns.store.dying RECORDED FOLDER    copies are left in FOLDER/0, FOLDER/2, …
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa

from campaigns.store import open_run
from tests.campaigns.store.recorded import copy_of


def main(recorded: Path, folder: Path) -> None:
    import alembic.script  # noqa: F401 - once, not in every child

    for statement in range(0, 1000, 2):  # every other, for the sake of time
        copy = copy_of(recorded, folder / str(statement))
        child = os.fork()
        if child == 0:
            _die_before(statement)
            open_run(copy, writable=True).close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL, status


def _die_before(statement: int) -> None:
    left = statement

    def count(*_: object) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.Engine, "commit", count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
