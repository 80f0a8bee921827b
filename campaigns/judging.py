"""Judges the experiments of one run as they come, and all of them again once every golden run is in.

A classifier that raises makes the experiment an *error*, with the traceback, never `none`.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Sequence

from campaigns.executor import Result
from campaigns.record import ExperimentRecord, IncidentMatch
from classifiers.golden import Baseline
from classifiers.judge import judge, judge_goldens
from classifiers.numbers import MIN_GOLDENS
from classifiers.observation import Observation
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from failure_db.catalogue import Incident
from failure_db.matching import match, signature_of

__all__ = ["Bench"]


def _quiet(verdict: Verdict) -> bool:
    return verdict.orchestrator is OrchestratorFailure.NONE and verdict.client is ClientFailure.NONE


class Bench:
    """Holds the golden runs and the incidents that experiments are compared with."""

    def __init__(self, incidents: Sequence[Incident]) -> None:
        self._incidents = incidents
        self._goldens: dict[str, dict[str, Observation]] = {}
        self._baselines: dict[tuple[str, int], Baseline] = {}

    def record(self, result: Result) -> ExperimentRecord:
        """The record of a result, judged by the golden runs that there are so far."""
        planned, observation = result.planned, result.observation
        if observation is None:
            verdict = Verdict(state=State.ERROR, reasons=("the harness failed; see `error`",))
            return self._record(result, verdict, error=result.error)
        if planned.golden:
            self._goldens.setdefault(planned.workload, {})[planned.id] = observation
        record = self._record(result, Verdict(state=State.INCONCLUSIVE, reasons=("not judged yet",)))
        return self.judged(record)

    def judged(self, record: ExperimentRecord) -> ExperimentRecord:
        """The same record, judged anew by the golden runs that there are now. Errors of the harness stay what they
        are."""
        if (observation := record.observation) is None:
            return record
        try:
            verdict = self._verdict(record, observation)
            incidents = self._matches(record, verdict, observation)
        except Exception:  # noqa: BLE001 - the border of one plugin: a classifier that raises makes an error
            verdict = Verdict(state=State.ERROR, reasons=("a classifier failed; see `error`",))
            return dataclasses.replace(record, verdict=verdict, incidents=(), error=traceback.format_exc())
        return dataclasses.replace(record, verdict=verdict, incidents=incidents, error=None)

    def _verdict(self, record: ExperimentRecord, observation: Observation) -> Verdict:
        goldens = self._goldens.get(record.planned.workload, {})
        workload = record.planned.workload
        if record.planned.golden:
            names = list(goldens)
            return judge_goldens(workload, list(goldens.values()))[names.index(record.planned.id)]
        return judge(observation, self._baseline(workload))

    def _baseline(self, workload: str) -> Baseline:
        """From the golden runs in which nothing was wrong, judged by each other: one whose canary never came would make
        a canary that never comes look normal. While they are too few to judge each other, from all of them."""
        runs = list(self._goldens.get(workload, {}).values())
        known = self._baselines.get((workload, len(runs)))
        if known is None:
            believed = runs
            if len(runs) > MIN_GOLDENS:
                verdicts = judge_goldens(workload, runs)
                believed = [run for run, verdict in zip(runs, verdicts, strict=True) if _quiet(verdict)]
            known = Baseline.from_observations(workload, believed)
            self._baselines[workload, len(runs)] = known
        return known

    def _matches(
        self, record: ExperimentRecord, verdict: Verdict, observation: Observation
    ) -> tuple[IncidentMatch, ...]:
        if record.planned.rule is None:
            return ()
        found = match(signature_of(record.planned.rule, verdict, observation), self._incidents)
        return tuple(IncidentMatch(m.id, m.score, m.why) for m in found)

    def _record(self, result: Result, verdict: Verdict, *, error: str | None = None) -> ExperimentRecord:
        return ExperimentRecord(
            planned=result.planned,
            verdict=verdict,
            observation=result.observation,
            reset=result.reset,
            seconds=round(result.seconds, 3),
            sandbox=result.sandbox,
            error=error,
        )
