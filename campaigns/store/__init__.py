"""The record of a run: a folder with the spec, the plan and a database to which experiments are only ever added.

    runs/NAME/spec.yaml        the user's text, as it was
              plan.json        campaigns.planning.plan
              record.sqlite    campaigns.store.tables, where every table is described
              traces/          large traces by content (campaigns.store.traces)
              runner.lock      held (flock) by the one process that may add; released by the kernel when that one dies

One transaction an experiment, synchronous=FULL: a crash at any moment loses the experiment in flight and nothing else.
SQLite is in WAL mode, so that readers see all finished experiments while the runner adds. Nothing here that PostgreSQL
could not do but the pragmas. Verdicts can be judged again from the observations alone.

    tables      the schema, and its history          migrations/   from an older version to the next (Alembic)
    database    SQLite's engine, its errors in words  opening       create_run, open_run: what is wrong with a run
    rows        records as rows and back              traces        files by content hash
    run         Run: what can be added and read       queries       statements, each for any number of experiments
"""

from campaigns.store.opening import create_run, open_run
from campaigns.store.run import Run, Spoiled
from campaigns.store.tables import VERSION
from campaigns.store.values import Count, Judgement, Repeat, Session

__all__ = ["VERSION", "Count", "Judgement", "Repeat", "Run", "Session", "Spoiled", "create_run", "open_run"]
