"""What is asked of the tables: each a statement of its own for however many experiments, never one an experiment."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from campaigns.store import tables as t
from classifiers.verdict import OrchestratorFailure

__all__ = ["counts", "experiments", "gravest_first", "in_plan_order", "repeats", "sessions"]


def experiments(*, bodies: bool) -> sa.Select[Any]:
    """Experiments, each with its latest judgement (`judgement`, null: none but its own) and, if asked for, its stored
    observation (`body`)."""
    chosen = _with_latest(t.experiments.c.id, t.judgements.c.experiment)
    return _with_body(chosen, t.experiments) if bodies else chosen


def repeats(*, bodies: bool = True) -> sa.Select[Any]:
    """Repeats likewise, in the order they were added."""
    chosen = _with_latest(t.repeats.c.seq, t.repeat_judgements.c.repeat)
    chosen = chosen.order_by(t.repeats.c.seq)
    return _with_body(chosen, t.repeats) if bodies else chosen


def in_plan_order(chosen: sa.Select[Any]) -> sa.Select[Any]:
    """Experiments in the order of the plan."""
    return chosen.join(t.planned, t.planned.c.id == t.experiments.c.id).order_by(t.planned.c.seq)


def gravest_first(chosen: sa.Select[Any], *, limit: int | None) -> sa.Select[Any]:
    """Experiments with a fault, the gravest class first, what was not judged last; within one as they were added."""
    order = {failure.value: place for place, failure in enumerate(OrchestratorFailure)}
    gravity = sa.case(order, value=_latest("orchestrator"), else_=len(order))
    return chosen.where(t.experiments.c.golden.is_(False)).order_by(gravity, t.experiments.c.seq).limit(limit)


def counts() -> sa.Select[Any]:
    """How many experiments there are of each latest class."""
    what = [
        t.experiments.c.workload,
        t.experiments.c.golden,
        *(_latest(name).label(name) for name in ("state", "orchestrator", "client", "activation")),
    ]
    counted = sa.select(*what, sa.func.count().label("experiments"))
    return _outer_latest(counted, t.experiments.c.id, t.judgements.c.experiment).group_by(*what)


def sessions() -> sa.Select[Any]:
    """Sessions with their ends and how many experiments each added."""
    added = (
        sa.select(t.experiments.c.session, sa.func.count().label("added")).group_by(t.experiments.c.session).subquery()
    )
    return (
        sa.select(t.sessions, t.session_ends.c.ended, t.session_ends.c.why, added.c.added)
        .outerjoin(t.session_ends, t.session_ends.c.session == t.sessions.c.number)
        .outerjoin(added, added.c.session == t.sessions.c.number)
        .order_by(t.sessions.c.number)
    )


def _latest(name: str) -> sa.ColumnElement[Any]:
    """The class column of the latest judgement, the experiment's own where there is none."""
    return sa.case((t.judgements.c.seq.is_not(None), t.judgements.c[name]), else_=t.experiments.c[name])


def _with_latest(whole: sa.Column[Any], judged: sa.Column[Any]) -> sa.Select[Any]:
    chosen = sa.select(whole.table, judged.table.c.document.label("judgement"))
    return _outer_latest(chosen, whole, judged)


def _outer_latest(chosen: sa.Select[Any], whole: sa.Column[Any], judged: sa.Column[Any]) -> sa.Select[Any]:
    """From the table of `whole`, each row with the last of those whose `judged` names it. A subquery for each row, by
    the index: half the time of grouping all judgements first."""
    table = judged.table
    latest = sa.select(sa.func.max(table.c.seq)).where(judged == whole).correlate(whole.table).scalar_subquery()
    return chosen.select_from(whole.table.outerjoin(table, table.c.seq == latest))


def _with_body(chosen: sa.Select[Any], whole: sa.Table) -> sa.Select[Any]:
    body = t.observations.c.body
    return chosen.add_columns(body).outerjoin(t.observations, t.observations.c.hash == whole.c.observation)
