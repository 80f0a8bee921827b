"""Timing: what the workload or the canary had to reach came later than in golden runs, or never.

A milestone is late beyond `Spread.late` (classifiers.numbers). One that never came although every golden run had it is
late without end; usually a graver symptom tells what that means and this one is kept beside it, but a cluster in which
all is right except that it never gets quiet is named by this one alone. One that some golden run never reached is not
late either, whenever it comes: never is later still. Golden runs and experiment must have been made at the same load;
the runner sees to that.

A fault that comes after golden runs have reached a milestone (as at rest, when the workload has settled) starts a
stretch of time of which golden runs know nothing: such a milestone can then be missing, but not late. The canary's
stages are counted from the canary's own start and compare always.

An API that was not ready for longer than any restart takes, and came back, is late as well, whatever was asked of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from classifiers import numbers
from classifiers.components import SERVERS
from classifiers.golden import Baseline, Spread
from classifiers.observation import Observation
from classifiers.signals import not_ready_s
from classifiers.verdict import OrchestratorFailure, Symptom
from classifiers.windows import hit_s

__all__ = ["absent", "detect"]


def detect(observation: Observation, baseline: Baseline) -> Symptom | None:
    fault_s = hit_s(observation)
    signs = [
        *(
            _late(f"`{name}`", observation.milestones.get(name), spread)
            for name, spread in baseline.milestones.items()
            if observation.milestones.get(name) is None or fault_s is None or fault_s <= spread.median
        ),
        *(
            _late(f"the canary's `{stage}`", observation.canary.stages[stage], spread)
            for stage, spread in baseline.canary.items()
            if stage in observation.canary.stages
        ),
    ]
    signs = [words for words in (*signs, *_unserved(observation, baseline)) if words]
    return Symptom(orchestrator=OrchestratorFailure.TIMING, why="; ".join(signs)) if signs else None


def absent(observation: Observation, baseline: Baseline) -> str:
    """Why it does not hold, in words: what came nearest to being late."""
    came = [
        *((f"`{name}`", observation.milestones.get(name), spread) for name, spread in baseline.milestones.items()),
        *((f"the canary's `{s}`", observation.canary.stages.get(s), spread) for s, spread in baseline.canary.items()),
    ]
    known = [
        (what, at_s, spread) for what, at_s, spread in came if at_s is not None and spread.always and spread.late > 0
    ]
    if not known:
        return "nothing that could be late was reached"
    what, at_s, spread = max(known, key=lambda each: each[1] / each[2].late)
    if at_s > spread.late:
        return f"{what} came after {at_s:.1f} s (late from {spread.late:.1f} s), but so did the fault"
    return f"nothing came late: {what} was nearest to it, after {at_s:.1f} s (late from {spread.late:.1f} s)"


def _unserved(observation: Observation, baseline: Baseline) -> Iterator[str]:
    """Servers that were back at the end, and away for long."""
    for name, (_, seconds) in not_ready_s(observation).items():
        golden = baseline.not_ready_s.get(name)
        if name in SERVERS and seconds > (golden.high if golden else 0.0) + numbers.UNSERVED_S:
            yield f"{name} was not ready for {seconds:.0f} s, golden {golden.describe('s') if golden else 'never'}"


def _late(what: str, came_s: float | None, golden: Spread) -> str:
    if came_s is None and golden.always:
        return f"{what} never came, golden {golden.describe('s')}"
    if came_s is None or not golden.always or came_s <= golden.late:
        return ""
    return f"{what} came after {came_s:.1f} s, golden {golden.describe('s')} (late from {golden.late:.1f} s)"
