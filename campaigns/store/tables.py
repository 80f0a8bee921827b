"""The tables of record.sqlite. Rows are only ever added; nothing here that PostgreSQL could not do.

    schema_version     version, made_by: one row; written with the tables in one transaction, set anew by a migration
    metadata           name, value (JSON): versions, host, seed, … as create_run was given them, and Run.note
    plan_file          name, seed, bytes, sha256 of plan.json: one row, written with the tables
    planned            seq (place in the plan), id, workload, golden, stratum: the plan's lines, so that no reader of a
                       large run has to parse plan.json
    experiments        seq, id, workload, golden, state, orchestrator, client, activation, seconds, document (JSON: the
                       ExperimentRecord without its observation), observation (content hash, null for an error),
                       trace (content hash, campaigns.store.traces; null: none), session
    judgements         seq, experiment (id), state, orchestrator, client, activation, document (JSON: verdict,
                       incidents, error): a later one stands for the earlier and for the experiment's own
    observations       hash (SHA-256 of the JSON text), body (that text, zlib)
    repeats            seq, experiment (id), purpose, number, and the rest as in experiments: see values.Repeat
    repeat_judgements  seq, repeat (its seq), and the rest as in judgements
    failed_attempts    seq, experiment (id), at (ISO 8601), error (text), session: the harness broke, it may be tried
                       again
    sessions           number, began, document (JSON)
    session_ends       session, ended, why: absent where the process was killed

History: 1 (first): schema_version, metadata, experiments without trace and session, judgements, observations.
2: the other tables; experiments.trace, experiments.session; the indexes.

Why observations are zlib at level 6: one of a deploy is 26..64 KB of JSON, and 14 KB so. A preset dictionary saves 2 %,
xz at its best 18 % for five times the processor's time (docs/runs.md); an experiment may take 200 KB.
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "MADE_BY",
    "TABLES",
    "VERSION",
    "experiments",
    "failed_attempts",
    "judgements",
    "metadata",
    "observations",
    "plan_file",
    "planned",
    "repeat_judgements",
    "repeats",
    "schema",
    "schema_version",
    "session_ends",
    "sessions",
]

VERSION = 2

MADE_BY = "mutineer"

TABLES = {1: {"schema_version", "metadata", "experiments", "judgements", "observations"}}
"""What a record of an older version has to have. This version's are those of `schema`."""

schema = sa.MetaData()

schema_version = sa.Table("schema_version", schema, sa.Column("version", sa.Integer), sa.Column("made_by", sa.Text))

metadata = sa.Table(
    "metadata", schema, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)

plan_file = sa.Table(
    "plan_file",
    schema,
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
)

planned = sa.Table(
    "planned",
    schema,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("golden", sa.Boolean, nullable=False),
    sa.Column("stratum", sa.Text, nullable=False),
)

observations = sa.Table(
    "observations",
    schema,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

sessions = sa.Table(
    "sessions",
    schema,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("began", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

session_ends = sa.Table(
    "session_ends",
    schema,
    sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number"), primary_key=True, autoincrement=False),
    sa.Column("ended", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)


def _classes() -> tuple[sa.Column[str], ...]:
    """The verdict as columns, for counting without reading documents."""
    return (
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("orchestrator", sa.Text),
        sa.Column("client", sa.Text),
        sa.Column("activation", sa.Text),
    )


experiments = sa.Table(
    "experiments",
    schema,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("golden", sa.Boolean, nullable=False),
    *_classes(),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("observation", sa.Text, sa.ForeignKey("observations.hash")),
    sa.Column("trace", sa.Text),
    sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number")),
)

judgements = sa.Table(
    "judgements",
    schema,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.id"), nullable=False),
    *_classes(),
    sa.Column("document", sa.Text, nullable=False),
)

repeats = sa.Table(
    "repeats",
    schema,
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

repeat_judgements = sa.Table(
    "repeat_judgements",
    schema,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("repeat", sa.Integer, sa.ForeignKey("repeats.seq"), nullable=False),
    *_classes(),
    sa.Column("document", sa.Text, nullable=False),
)

failed_attempts = sa.Table(
    "failed_attempts",
    schema,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey("planned.id"), nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("session", sa.Integer, sa.ForeignKey("sessions.number")),
)

sa.Index("judgements_latest", judgements.c.experiment, judgements.c.seq)
sa.Index("repeat_judgements_latest", repeat_judgements.c.repeat, repeat_judgements.c.seq)
