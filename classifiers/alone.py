"""What becomes of a verdict of timing once the experiment has been done again alone.

Experiments side by side share a machine. Golden runs made beside them tell how late that makes things as a rule, not in
this one run, so what was late and nothing else counts only if it is late alone, too, by golden runs made alone.
"""

from __future__ import annotations

import dataclasses

from classifiers.golden import Baseline
from classifiers.judge import judge
from classifiers.observation import Observation
from classifiers.symptoms import SYMPTOMS, Registry
from classifiers.verdict import OrchestratorFailure, State, Verdict

__all__ = ["by_itself"]

_TIMING = OrchestratorFailure.TIMING


def by_itself(
    observation: Observation, baseline: Baseline, again: Verdict | None, *, symptoms: Registry = SYMPTOMS
) -> Verdict:
    """The verdict on an experiment that was judged to be late, beside others, by `again`, which is of the same one done
    alone; None: it has not been yet. Late then, too: timing. In time: whatever else there is, mostly none. Otherwise it
    is inconclusive."""
    late = judge(observation, baseline, symptoms=symptoms)
    if again is None:
        why = "late beside other experiments, and not done again alone yet (`mutineer resume` does)"
        return dataclasses.replace(judge(observation, baseline, doubt=why, symptoms=symptoms), to_be_alone=True)
    if again.state is not State.JUDGED or again.orchestrator is None:
        why = f"late beside other experiments, and alone not judged: {' | '.join(again.reasons)}"
        return judge(observation, baseline, doubt=why, symptoms=symptoms)
    if again.orchestrator is _TIMING:
        said = (f"alone, too: {words}" for words in again.reasons if words.startswith(f"{_TIMING.value}: "))
        first, *rest = late.reasons
        return dataclasses.replace(late, reasons=(first, *said, *rest))
    if again.orchestrator is OrchestratorFailure.NONE:
        in_time = judge(observation, baseline, symptoms=symptoms.without(_TIMING))
        beside = "what was late beside other experiments, and alone it was not"
        first = f"none: nothing was wrong but {beside}: {late.reasons[0]}"
        return dataclasses.replace(in_time, reasons=(first, *in_time.reasons[1:]))
    why = f"late beside other experiments, and alone something else: {' | '.join(again.reasons)}"
    return judge(observation, baseline, doubt=why, symptoms=symptoms)
