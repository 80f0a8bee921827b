"""Which experiments a golden run casts doubt on: those before it and after it, on the same sandbox.

A reset proves what is stored and what is on the nodes. What components remember can't be proven; it shows in golden
runs. One in which something is wrong was so because of an earlier experiment on its sandbox, or by chance: which, and
since when, nobody can tell, so nothing counts that was done there after the last golden run that was quiet and before
the next one that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from campaigns.record import ExperimentRecord
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict

__all__ = ["is_quiet", "suspects"]


class Judged(Protocol):
    """What has classes, None where it was not judged: a verdict, or a count of them."""

    @property
    def orchestrator(self) -> OrchestratorFailure | None: ...

    @property
    def client(self) -> ClientFailure | None: ...


def is_quiet(verdict: Judged) -> bool:
    """Judged, and nothing was wrong."""
    return verdict.orchestrator is OrchestratorFailure.NONE and verdict.client is ClientFailure.NONE


def suspects(
    records: Iterable[ExperimentRecord], verdict_of: Callable[[ExperimentRecord], Verdict]
) -> Mapping[str, str]:
    """Id → why it is in doubt, in words, of experiments with a fault. `records`: all of a run, those of one sandbox in
    the order in which they were done; `verdict_of`: of a golden run. One that is not judged tells nothing."""
    lives: dict[str, _Life] = {}
    found: dict[str, str] = {}
    for record in records:
        life = lives.setdefault(record.sandbox, _Life())
        if not record.planned.golden:
            life.since_quiet.append(record.planned.id)
        elif (verdict := verdict_of(record)).state is State.JUDGED:
            if is_quiet(verdict):
                found |= life.doubted()
                lives[record.sandbox] = _Life()
            elif not life.why:
                life.why = _in_words(record, verdict)
        if record.reset is not None and record.reset.rung == "recreate":  # the next one has another cluster
            found |= lives.pop(record.sandbox, life).doubted()
    for life in lives.values():
        found |= life.doubted()
    return found


class _Life:
    """What was done on one cluster since a golden run was quiet; `why` is set once one was not."""

    def __init__(self) -> None:
        self.since_quiet: list[str] = []
        self.why = ""

    def doubted(self) -> Mapping[str, str]:
        return dict.fromkeys(self.since_quiet, self.why) if self.why else {}


def _in_words(record: ExperimentRecord, verdict: Verdict) -> str:
    wrong = [each.value for each in (verdict.orchestrator, verdict.client) if each is not None and each.value != "none"]
    return (
        f"in golden run {record.planned.id} on the same sandbox something was wrong, too ({' / '.join(wrong)}), "
        "and no golden run between them was quiet: it may have been there before"
    )
