"""Judges the experiments of one run as they come, and all of them again once every golden run is in.

A classifier that raises makes the experiment an *error*, with the traceback, never `none`.

An experiment that was late beside others is judged by how it went alone (classifiers.alone), and that by the golden
runs that were made alone.

What it keeps in memory does not grow with the campaign: of each workload at most MOST_GOLDENS golden runs, spread
evenly over the campaign, and of the experiments nothing.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from campaigns.judging.suspects import is_quiet
from campaigns.record import ExperimentRecord, IncidentMatch, Purpose, Result
from classifiers.alone import by_itself
from classifiers.golden import Baseline
from classifiers.judge import judge, judge_goldens
from classifiers.numbers import MIN_GOLDENS
from classifiers.observation import Observation
from classifiers.verdict import OrchestratorFailure, State, Verdict
from failure_db.catalogue import Incident
from failure_db.matching import match, signature_of

__all__ = ["MOST_GOLDENS", "Bench"]

MOST_GOLDENS = 100
"""Of a workload, for comparison; of more, every second is left out, then of the rest, and so on. Spreads hardly change
with more than some dozens, and each takes 0.2 MB and, in every baseline, 0.7 ms."""
_STALE, _STALE_LATER, _LATER = 1.25, 2.0, 20
"""While golden runs come in, the baseline is made anew when there are so many times as many: who is believed has to be
asked of all of each other, which takes 0.4 s for 20 and four times that for twice as many, and nobody gets a task
meanwhile. In the end it is exact."""


def _stale(count: int) -> float:
    return (_STALE if count < _LATER else _STALE_LATER) * count


class _Measure(NamedTuple):
    """What experiments of a workload are measured by: golden runs made beside others, or alone."""

    workload: str
    alone: bool

    @classmethod
    def of(cls, record: ExperimentRecord, purpose: Purpose) -> _Measure:
        return cls(record.planned.workload, purpose is Purpose.ALONE)


class _Goldens:
    """Golden runs of one workload, by id, in the order they came; thinned out evenly where they are many."""

    def __init__(self) -> None:
        self.kept: dict[str, Observation] = {}
        self._seen, self._every = 0, 1

    def add(self, identifier: str, observation: Observation) -> None:
        if self._seen % self._every == 0:
            self.kept[identifier] = observation
        self._seen += 1
        if len(self.kept) > MOST_GOLDENS:
            self._every *= 2
            self.kept = {name: seen for place, (name, seen) in enumerate(self.kept.items()) if place % 2 == 0}


class Bench:
    """Holds the golden runs and the incidents that experiments are compared with. Of an experiment, by its id:
    `beside`, whether others ran while it did; `alone`, how it went when it was done again alone, None if it was not."""

    def __init__(
        self,
        incidents: Sequence[Incident],
        *,
        beside: Callable[[str], bool] = lambda identifier: False,
        alone: Callable[[str], ExperimentRecord | None] = lambda identifier: None,
    ) -> None:
        self._incidents, self._beside, self._alone = incidents, beside, alone
        self._goldens: dict[_Measure, _Goldens] = {}
        self._baselines: dict[_Measure, tuple[int, Baseline]] = {}
        self._all_in = False

    def remember(self, record: ExperimentRecord, purpose: Purpose = Purpose.PLANNED) -> None:
        """A golden run of an earlier session: others are judged by it, too."""
        if record.planned.golden and record.observation is not None:
            self._add(_Measure.of(record, purpose), record.planned.id, record.observation)

    def all_in(self) -> None:
        """No more golden runs come for now: baselines are by exactly those that there are."""
        self._all_in = True
        self._baselines.clear()

    def _add(self, measure: _Measure, identifier: str, observation: Observation) -> None:
        """One that started unclean measures nothing."""
        if not observation.unclean:
            self._all_in = False
            self._goldens.setdefault(measure, _Goldens()).add(identifier, observation)

    def record(self, result: Result) -> ExperimentRecord:
        """The record of a result, judged by the golden runs that there are so far. A golden run that was planned is
        one of them from here on, beside others or alone; one that was done once more for another reason is only
        judged."""
        planned, observation = result.planned, result.observation
        if observation is None:
            verdict = Verdict(state=State.ERROR, reasons=("the harness failed; see `error`",))
            return self._record(result, verdict, error=result.error)
        record = self._record(result, Verdict(state=State.INCONCLUSIVE, reasons=("not judged yet",)))
        if planned.golden and result.purpose in (Purpose.PLANNED, Purpose.ALONE):
            self._add(_Measure.of(record, result.purpose), planned.id, observation)
        return self.judged(record, result.purpose)

    def judged(
        self, record: ExperimentRecord, purpose: Purpose = Purpose.PLANNED, *, suspect: str = ""
    ) -> ExperimentRecord:
        """The same record, judged anew by the golden runs that there are now. Errors of the harness stay what they
        are. `suspect`: see campaigns.judging.suspects."""
        if (observation := record.observation) is None:
            return record
        try:
            verdict = self._verdict(record, purpose, observation, suspect)
            incidents = self._matches(record, verdict, observation)
        except Exception:  # noqa: BLE001 - the border of one plugin: a classifier that raises makes an error
            verdict = Verdict(state=State.ERROR, reasons=("a classifier failed; see `error`",))
            return dataclasses.replace(record, verdict=verdict, incidents=(), error=traceback.format_exc())
        return dataclasses.replace(record, verdict=verdict, incidents=incidents, error=None)

    def _verdict(self, record: ExperimentRecord, purpose: Purpose, observation: Observation, suspect: str) -> Verdict:
        measure = _Measure.of(record, purpose)
        if record.planned.golden:
            others = [seen for name, seen in self._kept(measure).items() if name != record.planned.id]
            return judge(observation, Baseline.from_observations(measure.workload, others), golden=True)
        baseline = self._baseline(measure)
        verdict = judge(observation, baseline, doubt=f"unclean start, perhaps: {suspect}" if suspect else "")
        if purpose is not Purpose.PLANNED or verdict.orchestrator is not OrchestratorFailure.TIMING:
            return verdict
        if not self._beside(record.planned.id):
            return verdict
        again = self._alone(record.planned.id)
        if again is None or not self._baseline(_Measure(measure.workload, alone=True)).enough:
            return by_itself(observation, baseline, None)
        return by_itself(observation, baseline, self.judged(again, Purpose.ALONE).verdict)

    def _kept(self, measure: _Measure) -> Mapping[str, Observation]:
        return self._goldens[measure].kept if measure in self._goldens else {}

    def _baseline(self, measure: _Measure) -> Baseline:
        """From the golden runs in which nothing was wrong, judged by each other: one whose canary never came would make
        a canary that never comes look normal. While they are too few for that, from all. Where there are many of those,
        nothing can be judged by it."""
        runs, workload = list(self._kept(measure).values()), measure.workload
        count, known = self._baselines.get(measure, (-1, None))
        if known is None or (count != len(runs) and (self._all_in or len(runs) >= _stale(count))):
            believed, wrong = runs, 0
            if len(runs) > MIN_GOLDENS:
                verdicts = judge_goldens(workload, runs)
                believed = [run for run, verdict in zip(runs, verdicts, strict=True) if is_quiet(verdict)]
                wrong = sum(verdict.state is State.JUDGED and not is_quiet(verdict) for verdict in verdicts)
            known = Baseline.from_observations(workload, believed, wrong=wrong)
            self._baselines[measure] = len(runs), known
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
            times=result.times,
        )
