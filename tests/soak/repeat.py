"""Experiments done twice: whether a verdict comes again.

The campaign is the preset `paper`'s with a smaller budget and without `failover`, of which one takes 80 s. It goes on
until there are enough to choose from. The first time is as in any campaign, on a sandbox on which others were done
before; the second on a fresh one. So what differs may be chance, or something that a reset left: the page has both
reasons, the run both traces.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from campaigns.judging.agreement import class_of, classes_of
from campaigns.record import ExperimentRecord, Purpose
from campaigns.spec.campaign_spec import load_preset
from campaigns.store import Run, open_run
from classifiers.verdict import OrchestratorFailure, State
from tests.soak.rounds import Round
from tests.whole_run import begun, mutineer

__all__ = ["EXPERIMENTS", "LEAST_SAME", "MOST_NONE", "Pair", "chosen", "repeated", "scored", "spec"]

EXPERIMENTS, MOST_NONE, LEAST_SAME = 100, 30, 95
"""Issue 7, "Figures"."""
BUDGET, GOLDENS = 900, 60
"""Most is never done: in an hour of such a campaign a third of what was judged had a failure, so that the first 240
gave the 100; a twelfth would still be enough. Golden runs are of each workload, spread over all of it."""
FINDINGS = 40
"""After so many it is looked whether there are enough: twice, if at most one in eight of them is lost in judging."""

Pair = tuple[ExperimentRecord, ExperimentRecord | None]
"""The first time, and the second; None if it was not done again."""


def spec(seed: int) -> str:
    _, text = load_preset("paper")
    document = yaml.safe_load(text)
    document |= {"name": "repeat", "workloads": ["deploy", "scale"], "golden": GOLDENS, "seed": seed}
    document["sample"]["budget"] = BUDGET
    document["stop"] = {"findings": FINDINGS}
    return yaml.safe_dump(document, sort_keys=False)


def repeated(seed: int, folder: Path) -> Round:
    """The campaign, kept below `folder`, and a replay of those chosen of it that have none yet."""
    began, name = time.monotonic(), f"repeat-{seed}"
    run, code = begun(spec(seed), folder, name)
    while True:
        mutineer("rejudge", name, folder=folder)  # it may have been left before all was judged by all golden runs
        with open_run(run) as opened:
            records = opened.records(observations=False, in_plan_order=True)
            first = chosen(records, count=EXPERIMENTS, most_none=MOST_NONE)
            missing = set(opened.planned_ids()) - opened.finished_ids()
            again = _again(opened)
        if len(first) == EXPERIMENTS or not missing:
            break
        code = mutineer("resume", name, folder=folder)
    if todo := [each.planned.id for each in first if each.planned.id not in again]:
        code = mutineer("replay", name, *todo, folder=folder)
        with open_run(run) as opened:
            again = _again(opened)
    pairs = [(each, again.get(each.planned.id)) for each in first]
    return scored(pairs, seconds=time.monotonic() - began, exit_code=code)


def _again(run: Run) -> dict[str, ExperimentRecord]:
    repeats = run.repeats(purpose=Purpose.REPLAY, observations=False)
    return {each.record.planned.id: each.record for each in repeats if each.number == 1}


def chosen(records: Iterable[ExperimentRecord], *, count: int, most_none: int) -> list[ExperimentRecord]:
    """The first `count` experiments that were judged, at most `most_none` of them of class none."""
    found, none = list[ExperimentRecord](), 0
    for record in records:
        if len(found) == count:
            break
        if record.planned.golden or record.verdict.state is not State.JUDGED:
            continue
        if record.verdict.orchestrator is OrchestratorFailure.NONE:
            if none == most_none:
                continue
            none += 1
        found.append(record)
    return found


def scored(pairs: Sequence[Pair], *, seconds: float, exit_code: int) -> Round:
    """Wrong is fewer than LEAST_SAME of the same class, be it the cluster's or its clients', and what is missing. All
    that differs is noted; one that was not judged the second time differs."""
    wrong, figures = list[str](), dict[str, dict[str, str]]()
    for name in (*(failure.value for failure in OrchestratorFailure), "all"):
        mine = [pair for pair in pairs if name in ("all", class_of(pair[0]))]
        figures[name] = {
            "experiments": str(len(mine)),
            "the same class": str(sum(map(_same_class, mine))),
            "the same of clients": str(sum(map(_same_client, mine))),
        }
    if len(pairs) < EXPERIMENTS:
        wrong.append(f"{len(pairs)} experiments could be chosen, not {EXPERIMENTS}: the campaign has too few")
    wrong += [f"{first.planned.id} was not done again" for first, again in pairs if again is None]
    for what, same in (("cluster", _same_class), ("clients", _same_client)):
        if (count := sum(map(same, pairs))) < LEAST_SAME:
            wrong.append(f"{count} of {len(pairs)} had the same class of the {what} again, not {LEAST_SAME}")
    differing = [pair for pair in pairs if not (_same_class(pair) and _same_client(pair))]
    return Round(
        what=f"{len(pairs)} experiments done twice", moment_s=0.0, seconds=seconds, exit_code=exit_code,
        finished=len(pairs), wrong=wrong, figures=figures,
        noted=[_in_words(first, again) for first, again in differing if again is not None],
    )  # fmt: skip


def _same_class(pair: Pair) -> bool:
    first, again = pair
    return again is not None and class_of(first) == class_of(again)


def _same_client(pair: Pair) -> bool:
    first, again = pair
    return again is not None and first.verdict.client is again.verdict.client


def _in_words(first: ExperimentRecord, again: ExperimentRecord) -> str:
    said = (f"{classes_of(each)} ({'; '.join(each.verdict.reasons)})" for each in (first, again))
    return f"{first.planned.id} ({first.planned.workload}, {first.planned.why}): {', then '.join(said)}"
