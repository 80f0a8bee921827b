"""One round of each kind. A round returns what was seen; it never raises for what it is there to find."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tests.soak.campaign import Campaign, started
from tests.soak.kept import Kept, launched, raised
from tests.soak.victims import Victim

__all__ = ["GOLDENS", "Round", "golden", "healed", "interrupt", "kill", "kill_each", "kill_kept"]

GOLDENS = 4
"""Golden runs of a campaign that is killed or interrupted: the fewest that a spec may ask for."""
_CAMPAIGN_S = 28.0
"""About how long such a campaign takes on two idle cores (30 s were measured): the moments are drawn from it."""
_END_S = 300.0
"""For a campaign to end after one of its processes was killed: a start, a fresh sandbox, and the experiments."""
_GONE_S = 10.0
"""For the kernel to end what a killed process had."""
_START_S = 10.0
"""About how long `mutineer sandbox up` takes on two idle cores: moments at which it is killed are drawn from it."""
_IDLE_S = 5.0
"""A sandbox that is up is hit at a moment drawn from so long after its workload has come to life: the kubelets' and
controllers' clocks go round several times. Arbitrary beyond that."""
_HEALED_S = 90.0
"""For a sandbox to be well again: etcd and kubelets take 3 s, pods of a new runtime 10 s with one crash back-off."""
_INTERRUPTED = (130, -signal.SIGINT)
"""The second: before the command has caught the signal, that is, while Python starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`wrong` is empty where all is well. moment_s: from the start of the command to the signal, in seconds. figures:
    what was measured, by name: a mapping each, whose keys are the columns of the page's table. noted: what a reader is
    to know besides, though it is not wrong."""

    what: str
    moment_s: float
    seconds: float
    exit_code: int | None
    finished: int
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, dict[str, str]] = field(default_factory=dict)
    noted: list[str] = field(default_factory=list)


def _moment(campaign: Campaign, moment_s: float) -> None:
    began = time.monotonic()
    campaign.watch(lambda: time.monotonic() - began >= moment_s, within_s=moment_s + 1)


def _codes(victim: Victim) -> tuple[int, ...]:
    """Exit codes that are right: a part of the harness that dies in an experiment makes it an error, no finding; so
    does an etcd that is gone just when the harness itself asks it, before an experiment or in its reset."""
    return (0, 3) if victim in (Victim.FIRST_PROCESS, Victim.RUNTIME, Victim.SPAWNER, Victim.ETCD) else (0,)


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
        else:
            wrong += _awaited(campaign)
        recorded, lost = _recorded(campaign, None if victim is Victim.RUNNER else GOLDENS, _codes(victim))
        wrong += lost
        code = campaign.process.poll()
    what = f"{victim.value} killed{' (had ended)' if ended else ''}"
    return Round(
        what=what, moment_s=at_s, seconds=time.monotonic() - began, exit_code=code, finished=recorded, wrong=wrong
    )


def kill_each(victims: Sequence[Victim], *, experiments: int) -> Round:
    """kill -9 of one process after another of one campaign with two sandboxes, each once one more experiment is
    finished; then it comes to its end by itself, with a record of every experiment, and leaves nothing."""
    began, wrong = time.monotonic(), list[str]()
    with started(golden=experiments, parallelism=2) as campaign:
        for number, victim in enumerate(victims, 1):
            campaign.watch(partial(_has_finished, campaign, number), within_s=_END_S)
            campaign.watch(partial(campaign.find, victim), within_s=60)
            if not campaign.kill(victim):
                wrong.append(f"no {victim.value} to kill: {campaign.log[-500:]}")
        at_s = time.monotonic() - began
        wrong += _awaited(campaign)
        recorded, lost = _recorded(campaign, experiments, tuple({c for victim in victims for c in _codes(victim)}))
        wrong += lost
        code = campaign.process.poll()
    return Round(
        what=f"{', '.join(victims)} killed", moment_s=at_s, seconds=time.monotonic() - began, exit_code=code,
        finished=recorded, wrong=wrong,
    )  # fmt: skip


def _has_finished(campaign: Campaign, number: int) -> bool:
    return len(campaign.finished()) >= number


def _awaited(campaign: Campaign) -> list[str]:
    """What is wrong with its end."""
    if campaign.watch(lambda: False, within_s=_END_S):
        return []
    return [f"the campaign did not end within {_END_S:g} s: {campaign.log[-500:]}"]


def _recorded(campaign: Campaign, experiments: int | None, codes: tuple[int, ...]) -> tuple[int, list[str]]:
    """How many experiments are recorded, and what is wrong with what it left: anything but its run, an exit code that
    is none of `codes`, or another number than `experiments` (None: it was itself killed)."""
    wrong, code, shown = campaign.left(within_s=_GONE_S), campaign.process.poll(), campaign.shown()
    recorded = {record["id"] for record in shown["golden"]} if shown else set()
    if missing := set(campaign.finished()) - recorded:
        wrong.append(f"said to be finished, but not recorded: {sorted(missing)}")
    if experiments is not None and (code not in codes or len(recorded) != experiments):
        failed = [each["reasons"] for each in shown["golden"] if each["verdict"] == "error"] if shown else []
        wrong.append(
            f"exit code {code}, {len(recorded)} of {experiments} recorded, errors {failed}: {campaign.log[-500:]}"
        )
    return len(recorded), wrong


def kill_kept(victim: Victim, seed: int) -> Round:
    """kill -9 of one process of a sandbox in the background, at a random moment.

    Of `up` itself: the sandbox comes up all the same, or is gone. Of its first process: nothing but its folder is left,
    which the next start removes. Of anything else: it is well again by itself. In the end `down` leaves nothing."""
    began, random = time.monotonic(), Random(f"kept:{victim}:{seed}")
    wrong = list[str]()
    with launched() if victim is Victim.RUNNER else raised() as kept:
        at = time.monotonic() + random.uniform(0, _START_S if victim is Victim.RUNNER else _IDLE_S)
        kept.wait(lambda: time.monotonic() >= at, within_s=_START_S + 1)
        at_s = time.monotonic() - began
        if victim is Victim.RUNNER:
            kept.kill(victim)
            kept.command.wait(20)
            if not kept.wait(lambda: (kept.folder / "ready").exists() or not kept.running(), within_s=60):
                wrong.append("a sandbox whose `up` was killed neither comes up nor ends")
        elif victim is Victim.FIRST_PROCESS:
            kept.kill(victim)
            wrong += kept.left(within_s=_GONE_S, folders=False)
            kept.next_start()
        else:
            wrong += healed(kept, victim)
        kept.down()
        kept.next_start()
        wrong += kept.left(within_s=_GONE_S)
        code = kept.command.poll()
    return Round(
        what=f"{victim.value} killed", moment_s=at_s, seconds=time.monotonic() - began, exit_code=code, finished=0,
        wrong=wrong,
    )  # fmt: skip


def healed(kept: Kept, victim: Victim) -> list[str]:
    """Kills a component and waits until all is well again and nothing of before is left; what is not, in words."""
    before = kept.kill(victim)
    words = [f"no {victim.value} to kill"]

    def well() -> bool:
        words[:] = [ill] if (ill := kept.ill()) else kept.litter()
        return not words and kept.find(victim) not in (before, None)

    return [] if before and kept.wait(well, within_s=_HEALED_S) else words or [f"{victim.value} did not come back"]


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
