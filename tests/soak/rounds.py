"""One round of each kind. A round returns what was seen; it never raises for what it is there to find."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from random import Random

from tests.soak.campaign import Campaign, Victim, started

__all__ = ["GOLDENS", "Round", "golden", "interrupt", "kill"]

GOLDENS = 4
"""Golden runs of a campaign that is killed or interrupted: the fewest that a spec may ask for."""
_CAMPAIGN_S = 28.0
"""About how long such a campaign takes on two idle cores (30 s were measured): the moments are drawn from it."""
_END_S = 300.0
"""For a campaign to end after one of its processes was killed: a start, a fresh sandbox, and the experiments."""
_GONE_S = 10.0
"""For the kernel to end what a killed process had."""
_INTERRUPTED = (130, -signal.SIGINT)
"""The second: before the command has caught the signal, that is, while Python starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`wrong` is empty where all is well. moment_s: from the start of the command to the signal, in seconds."""

    what: str
    moment_s: float
    seconds: float
    exit_code: int | None
    finished: int
    wrong: list[str] = field(default_factory=list)


def _moment(campaign: Campaign, moment_s: float) -> None:
    began = time.monotonic()
    campaign.watch(lambda: time.monotonic() - began >= moment_s, within_s=moment_s + 1)


def _codes(victim: Victim) -> tuple[int, ...]:
    """Exit codes that are right: a part of the harness that dies in an experiment makes it an error, no finding."""
    return (0, 3) if victim in (Victim.FIRST_PROCESS, Victim.RUNTIME) else (0,)


def kill(victim: Victim, seed: int, *, after_first: bool = False) -> Round:
    """kill -9 of one process at a random moment (or once the first experiment is finished).

    Afterwards: of a killed runner nothing but folders, which the next start removes; otherwise a campaign that comes to
    its end by itself with a record of every experiment, and nothing."""
    began, random = time.monotonic(), Random(f"{victim}:{seed}")
    moment_s, wrong = random.uniform(0, _CAMPAIGN_S), list[str]()
    with started(golden=GOLDENS) as campaign:
        if after_first:
            campaign.watch(lambda: bool(campaign.finished()), within_s=_END_S)
        else:
            _moment(campaign, moment_s)
        campaign.watch(lambda: campaign.find(victim) is not None, within_s=60)
        at_s = time.monotonic() - began
        ended = not campaign.kill(victim)
        if victim is Victim.RUNNER:
            campaign.process.wait(20)
            wrong += campaign.left(within_s=_GONE_S, folders=False)
            campaign.next_start()
        elif not campaign.watch(lambda: False, within_s=_END_S):
            wrong.append(f"the campaign did not end within {_END_S:g} s: {campaign.log[-500:]}")
        wrong += campaign.left(within_s=_GONE_S)
        code = campaign.process.poll()
        shown = campaign.shown()
        recorded = {record["id"] for record in shown["golden"]} if shown else set()
        if missing := set(campaign.finished()) - recorded:
            wrong.append(f"said to be finished, but not recorded: {sorted(missing)}")
        if victim is not Victim.RUNNER and (code not in _codes(victim) or len(recorded) != GOLDENS):
            wrong.append(f"exit code {code}, {len(recorded)} of {GOLDENS} recorded: {campaign.log[-500:]}")
    what = f"{victim.value} killed{' (had ended)' if ended else ''}"
    return Round(
        what=what, moment_s=at_s, seconds=time.monotonic() - began, exit_code=code, finished=len(recorded), wrong=wrong
    )


def interrupt(seed: int, *, after_first: bool = False) -> Round:
    """Ctrl-C at a random moment (or once the first experiment is finished): what was finished is kept, nothing left."""
    began, random = time.monotonic(), Random(f"interrupt:{seed}")
    moment_s, wrong = random.uniform(0, _CAMPAIGN_S), list[str]()
    with started(golden=GOLDENS) as campaign:
        if after_first:
            campaign.watch(lambda: bool(campaign.finished()), within_s=_END_S)
        else:
            _moment(campaign, moment_s)
        at_s = time.monotonic() - began
        done = campaign.process.poll() is not None
        campaign.kill(Victim.RUNNER, signal.SIGINT)
        campaign.watch(lambda: False, within_s=60)
        code = campaign.process.poll()
        if code not in ((0,) if done else (0, *_INTERRUPTED)):
            wrong.append(f"exit code {code}: {campaign.log[-500:]}")
        wrong += campaign.left(within_s=_GONE_S if code == -signal.SIGINT else 1.0)
        shown = campaign.shown()
        recorded = {record["id"] for record in shown["golden"]} if shown else set()
        if missing := set(campaign.finished()) - recorded:
            wrong.append(f"said to be finished, but not recorded: {sorted(missing)}")
    return Round(
        what="interrupted", moment_s=at_s, seconds=time.monotonic() - began, exit_code=code, finished=len(recorded),
        wrong=wrong,
    )  # fmt: skip


def golden(count: int) -> Round:
    """`count` golden runs in a row: none of them may report a failure."""
    began, wrong = time.monotonic(), list[str]()
    with started(golden=count) as campaign:
        if not campaign.watch(lambda: False, within_s=60 + 30 * count):
            wrong.append(f"the campaign did not end: {campaign.log[-500:]}")
        code = campaign.process.poll()
        shown = campaign.shown() or {"golden": []}
        for record in shown["golden"]:
            quiet = (record["verdict"], record["orchestrator"], record["client"]) == ("judged", "none", "none")
            if not quiet:
                words = record["orchestrator"], record["client"], *record["reasons"]
                wrong.append(f"{record['id']} is {record['verdict']}: {', '.join(str(word) for word in words)}")
        if len(shown["golden"]) != count or code != 0:
            wrong.append(f"exit code {code}, {len(shown['golden'])} of {count} recorded: {campaign.log[-500:]}")
        wrong += campaign.left(within_s=1.0)
    return Round(
        what=f"{count} golden runs", moment_s=0.0, seconds=time.monotonic() - began, exit_code=code,
        finished=len(shown["golden"]), wrong=wrong,
    )  # fmt: skip
