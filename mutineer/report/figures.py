"""The report's numbers: shares with their denominators, cross tables, the spread of the golden runs. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from campaigns.judging import statistics as shares
from campaigns.judging.agreement import class_of
from campaigns.judging.shares import GROUPS, Group
from campaigns.record import ExperimentRecord
from classifiers.verdict import OrchestratorFailure, State
from injector.roles import role_of

__all__ = [
    "CLUSTER_WIDE",
    "PROVISIONING",
    "CrossTable",
    "GoldenRow",
    "GoldenTable",
    "Share",
    "cross_table",
    "golden_medians",
    "golden_tables",
    "outcome_of",
    "role_label",
    "wilson",
]

CLUSTER_WIDE, PROVISIONING = GROUPS[Group.CLUSTER_WIDE], GROUPS[Group.PROVISIONING]

OUTCOMES = (*(failure.value for failure in OrchestratorFailure), State.INCONCLUSIVE.value, State.ERROR.value)
"""All that can become of an experiment, gravest first, in the order of the tables' columns."""


_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Share:
    """A count with its denominator; `of_what` names the denominator ("planned", "fired", "judged")."""

    count: int
    of: int
    of_what: str

    @property
    def percent(self) -> str:
        """Whole percent, "n/a" where the denominator is 0; never "0 %" or "100 %" for what is not quite that."""
        if not self.of:
            return "n/a"
        exact = 100 * self.count / self.of
        if 0 < exact < 1:
            return f"< 1{_SPACE}%"
        return f"> 99{_SPACE}%" if 99 < exact < 100 else f"{exact:.0f}{_SPACE}%"

    def __str__(self) -> str:
        return f"{self.count} of {self.of} {self.of_what} ({self.percent})" if self.of else f"none {self.of_what}"


def wilson(count: int, of: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927), as fractions; holds for a random sample only. `of` > 0."""
    interval = shares.wilson(count, of)
    return interval.low, interval.high


def outcome_of(record: ExperimentRecord) -> str:
    """The orchestrator class of a judged experiment, else its state: one word of OUTCOMES."""
    return class_of(record)


@dataclass(frozen=True, slots=True)
class CrossTable:
    """Counts of experiments: `rows` are (label, one count a column, total)."""

    caption: str
    row_name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...], int], ...]
    total: tuple[tuple[int, ...], int]


def cross_table(
    records: Sequence[ExperimentRecord], *, caption: str, row_name: str, label: Callable[[ExperimentRecord], str]
) -> CrossTable:
    """Outcome by whatever `label` tells of an experiment. Columns and rows without any experiment are left out."""
    cells = Counter((label(record), outcome_of(record)) for record in records)
    columns = tuple(outcome for outcome in OUTCOMES if any(key[1] == outcome for key in cells))
    labels = sorted({key[0] for key in cells}, key=lambda name: (-sum(cells[name, c] for c in columns), name))
    rows = tuple(
        (name, tuple(cells[name, column] for column in columns), sum(cells[name, column] for column in columns))
        for name in labels
    )
    totals = tuple(sum(row[1][i] for row in rows) for i in range(len(columns)))
    return CrossTable(caption, row_name, columns, rows, (totals, sum(totals)))


def role_label(record: ExperimentRecord) -> str:
    """The role of the field that was hit, "whole message" where none was."""
    rule = record.planned.rule
    if rule is None or (rule.target.field is None and not rule.target.role):
        return "whole message"
    fired = record.observation.firings if record.observation else ()
    field = rule.target.field or next((firing.field for firing in fired if firing.field), None)
    return role_of(rule.target.kind, field).value if field else rule.target.role


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One golden run, or one line of the spread. `values` stand under the table's columns, None: never reached."""

    name: str
    verdict: str
    values: tuple[float | None, ...]
    requests: str
    quiet: bool = True


@dataclass(frozen=True, slots=True)
class GoldenTable:
    """The golden runs of one workload: `columns` are the milestones and "whole run", all in seconds."""

    workload: str
    columns: tuple[str, ...]
    rows: tuple[GoldenRow, ...]
    spread: tuple[tuple[str, tuple[float | None, ...]], ...]


def golden_tables(golden: Iterable[ExperimentRecord]) -> tuple[GoldenTable, ...]:
    """One table a workload, in the order of their first run. Of each record no more is kept than its row."""
    by_workload: dict[str, list[_Golden]] = {}
    for record in golden:
        by_workload.setdefault(record.planned.workload, []).append(_golden(record))
    return tuple(_golden_table(workload, runs) for workload, runs in by_workload.items())


@dataclass(frozen=True, slots=True)
class _Golden:
    """Of a golden run what its row needs; the columns depend on all of them."""

    row: GoldenRow
    milestones: Mapping[str, float | None]
    seconds: float


def _golden_table(workload: str, runs: Sequence[_Golden]) -> GoldenTable:
    names = list(dict.fromkeys(name for run in runs for name in run.milestones))
    rows = tuple(replace(r.row, values=(*(r.milestones.get(n) for n in names), r.seconds)) for r in runs)
    series = [[v for v in column if v is not None] for column in zip(*(row.values for row in rows), strict=True)]
    spread: list[tuple[str, tuple[float | None, ...]]] = [
        (name, tuple(measure(values) if values else None for values in series))
        for name, measure in (("least", min), ("median", statistics.median), ("most", max))
    ]
    return GoldenTable(workload, (*names, "whole run"), rows, tuple(spread))


def _golden(record: ExperimentRecord) -> _Golden:
    seen = record.observation
    samples = [sample for series in seen.probes for sample in series.samples] if seen else []
    failed = sum(sample.outcome != "ok" for sample in samples)
    outcome = outcome_of(record)
    row = GoldenRow(
        name=record.planned.id,
        verdict=outcome,
        values=(),
        requests=f"{failed} of {len(samples)}",
        quiet=outcome == OrchestratorFailure.NONE.value,
    )
    return _Golden(row, seen.milestones if seen else {}, record.seconds)


def golden_medians(tables: Iterable[GoldenTable]) -> Mapping[str, Mapping[str, float]]:
    """workload → milestone → median seconds over the golden runs that reached it."""
    return {
        table.workload: {
            name: value
            for name, value in zip(table.columns, dict(table.spread)["median"], strict=True)
            if value is not None and name != "whole run"
        }
        for table in tables
    }
