"""Version 2: traces, repeats, failed attempts and sessions; the plan's lines as rows; indexes.

Given in the context's options, from plan.json: `planned`, rows of the table of that name; `plan_file`, its one row.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "2"
down_revision = "1"


def upgrade() -> None:
    _plan()
    _sessions()
    op.add_column("experiments", sa.Column("trace", sa.Text))
    session = sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number"))
    op.add_column("experiments", session, inline_references=True)
    op.create_index("judgements_latest", "judgements", ["experiment", "seq"])
    _repeats()
    op.create_table(
        "failed_attempts",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("experiment", sa.Text, sa.ForeignKey("planned.id"), nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number")),
    )


def _plan() -> None:
    options = op.get_context().opts
    plan_file = op.create_table(
        "plan_file",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
    )
    op.bulk_insert(plan_file, [options["plan_file"]])
    planned = op.create_table(
        "planned",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("golden", sa.Boolean, nullable=False),
        sa.Column("stratum", sa.Text, nullable=False),
    )
    op.bulk_insert(planned, options["planned"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("began", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "session_ends",
        sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number"), primary_key=True, autoincrement=False),
        sa.Column("ended", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )


def _repeats() -> None:
    op.create_table(
        "repeats",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("experiment", sa.Text, sa.ForeignKey("planned.id"), nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        *_classes(),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("observation", sa.Text, sa.ForeignKey("observations.hash")),
        sa.Column("trace", sa.Text),
        sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number")),
        sa.UniqueConstraint("experiment", "purpose", "number", name="repeats_number"),
    )
    op.create_table(
        "repeat_judgements",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("repeat", sa.Integer, sa.ForeignKey("repeats.seq"), nullable=False),
        *_classes(),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("repeat_judgements_latest", "repeat_judgements", ["repeat", "seq"])


def _classes() -> tuple[sa.Column[str], ...]:
    return (
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("orchestrator", sa.Text),
        sa.Column("client", sa.Text),
        sa.Column("activation", sa.Text),
    )
