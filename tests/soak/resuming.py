"""A campaign of 100 experiments whose runner is killed again and again, and resumed after each kill."""

from __future__ import annotations

import time
from collections import Counter
from random import Random

from tests.soak.campaign import started
from tests.soak.rounds import Round
from tests.soak.victims import Victim

__all__ = ["EXPERIMENTS", "resumed"]

EXPERIMENTS = 100
_MOMENT_S = 40.0
"""Moments are drawn from so long after a start, which takes 10 s: some kills come while sandboxes start, most while
experiments are under way. About two experiments are finished between two of 50."""
_GONE_S = 10.0
_END_S = 3600.0


def resumed(kills: int, seed: int, *, experiments: int = EXPERIMENTS, moment_s: float = _MOMENT_S) -> Round:
    """In the end the record has exactly the planned ids, each once, and every one that was ever said to be finished;
    after no kill a process is left."""
    began, random, wrong, said = time.monotonic(), Random(f"resumed:{seed}"), list[str](), set[str]()
    done = 0
    with started(golden=experiments, parallelism=2) as campaign:
        for number in range(1, kills + 1):
            until = time.monotonic() + random.uniform(0, moment_s)
            campaign.watch(lambda until=until: time.monotonic() >= until, within_s=moment_s + 1)  # type: ignore[misc]
            done += campaign.kill(Victim.RUNNER)
            campaign.process.wait(20)
            wrong += [f"after kill {number}: {each}" for each in campaign.left(within_s=_GONE_S, folders=False)]
            said |= set(campaign.finished())
            campaign.again()
        if not campaign.watch(lambda: False, within_s=_END_S):
            wrong.append(f"the campaign did not end within {_END_S:g} s: {campaign.log[-500:]}")
        code = campaign.process.poll()
        said |= set(campaign.finished())
        wrong += campaign.left(within_s=_GONE_S)
        planned, shown = campaign.planned(), campaign.shown()
        recorded = Counter(record["id"] for record in shown["golden"]) if shown else Counter[str]()
        if recorded != Counter(planned):
            wrong.append(f"{len(planned)} planned, {recorded.total()} recorded, {len(recorded)} of them different")
        if missing := said - recorded.keys():
            wrong.append(f"said to be finished, but not recorded: {sorted(missing)}")
        if code not in (0, 2):  # 2: the last kill came when all was done
            wrong.append(f"exit code {code}: {campaign.log[-500:]}")
    return Round(
        what=f"runner killed {done} times", moment_s=0.0, seconds=time.monotonic() - began, exit_code=code,
        finished=recorded.total(), wrong=wrong,
    )  # fmt: skip
