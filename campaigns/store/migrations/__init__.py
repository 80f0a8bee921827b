"""From an older version of the record to this one: Alembic's revisions, one file a version, in `versions/`.

The record's own table schema_version says where it stands (files of version 1 have it and nothing of Alembic's), so
Alembic's version table is not used. All of it is one transaction: a kill in the middle leaves the old version.

A revision that has shipped is frozen: it spells out tables and columns as they were then and imports nothing of ours.
A new version: a file `versions/version_N.py`, `tables.VERSION`, the history in campaigns.store.tables, and a store of
the version before under tests/campaigns/recorded.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from campaigns.store.rows import plan_file_row, planned_rows
from campaigns.store.tables import VERSION, schema_version

__all__ = ["migrate"]


def migrate(connection: sa.Connection, version: int, plan_path: Path) -> None:
    """Brings the record from `version` to tables.VERSION within the connection's transaction. OSError and StoreError if
    the plan can't be read."""
    from alembic.operations import Operations  # half a second to import: only where it is needed
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from campaigns.planning.plan import plan_from_json

    text = plan_path.read_bytes()
    plan = plan_from_json(text.decode())
    given = {"planned": planned_rows(plan), "plan_file": plan_file_row(plan, text)}
    revisions = ScriptDirectory(str(Path(__file__).parent)).iterate_revisions(str(VERSION), str(version))
    with Operations.context(MigrationContext.configure(connection, opts=given)):
        for revision in reversed(list(revisions)):
            revision.module.upgrade()
    connection.execute(schema_version.update().values(version=VERSION))
