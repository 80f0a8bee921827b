"""python -m tests.soak [--rounds N] [--only KIND] [--minutes M] [--seed N] [--fresh]: the long runs, resumable.

All of it takes about ten and a half hours on two cores: 30 kills of each of six processes of a campaign and of a
sandbox in the background, 20 interrupts, 20 golden runs, 50 kills of one campaign with a resume after each, an hour of
churn, ten minutes of a Deployment that asks for a million pods, 200 golden runs judged as experiments (half an hour),
100 experiments done twice (an hour; neither time is measured yet).
Exit code 1 if anything was wrong in any round.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.soak.churn import churn
from tests.soak.million import million
from tests.soak.quiet import quiet
from tests.soak.repeat import EXPERIMENTS, repeated
from tests.soak.resuming import resumed
from tests.soak.rounds import Round, golden, interrupt, kill, kill_kept
from tests.soak.state import State
from tests.soak.victims import Victim

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs" / "soak"
TITLES = {
    "kill": "Soak: kill -9 at random moments",
    "golden": "Soak: golden runs in a row",
    "interrupt": "Soak: Ctrl-C at random moments",
    "kept": "Soak: kill -9 at random moments, of a sandbox in the background",
    "resume": "Soak: a campaign killed at 50 random moments and resumed after each",
    "churn": "Soak: churn",
    "million": "Soak: a Deployment that asks for a million pods",
    "quiet": "Soak: golden runs judged as experiments",
    "repeat": "Soak: experiments done twice",
}
KILLS, INTERRUPTS, GOLDENS, RESUMES = 30, 20, 20, 50
CHURN_MINUTES, MILLION_MINUTES = 60.0, 10.0


def planned(
    only: str | None, rounds: int | None, seed: int, minutes: float | None = None
) -> Iterator[tuple[str, Callable[[], Round]]]:
    """Key and call of every round, kinds one after another, victims in turn."""
    say = partial(print, flush=True)
    if only in (None, "million"):
        long = minutes or MILLION_MINUTES
        for number in range(rounds or 1):
            yield f"million/{long:g} minutes/{number}", partial(million, long, say)
    if only in (None, "churn"):
        long = minutes or CHURN_MINUTES
        for number in range(rounds or 1):
            yield f"churn/{long:g} minutes/{number}", partial(churn, long, seed * 1000 + number, say)
    if only in (None, "golden"):
        for number in range(rounds or 1):
            yield f"golden/{GOLDENS} golden runs/{number}", partial(golden, GOLDENS)
    if only in (None, "quiet"):
        for number in range(rounds or 1):
            for side in ("auto", "1"):
                yield f"quiet/parallelism {side}/{number}", partial(quiet, side, seed * 1000 + number, RUNS)
    if only in (None, "repeat"):
        for number in range(rounds or 1):
            yield f"repeat/{EXPERIMENTS} experiments/{number}", partial(repeated, seed * 1000 + number, RUNS)
    if only in (None, "resume"):
        for number in range(rounds or 1):
            yield f"resume/{RESUMES} kills/{number}", partial(resumed, RESUMES, seed * 1000 + number)
    if only in (None, "interrupt"):
        for number in range(rounds or INTERRUPTS):
            yield f"interrupt/Ctrl-C/{number}", partial(interrupt, seed * 1000 + number)
    if only in (None, "kill"):
        for number in range(rounds or KILLS):
            for victim in Victim:
                yield f"kill/{victim.value}/{number}", partial(kill, victim, seed * 1000 + number)
    if only in (None, "kept"):
        for number in range(rounds or KILLS):
            for victim in Victim:
                yield f"kept/{victim.value}/{number}", partial(kill_kept, victim, seed * 1000 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, help="of each kind and victim, instead of 30 kills, 20 interrupts, 1 golden"
    )
    parser.add_argument("--only", choices=tuple(TITLES))
    parser.add_argument("--minutes", type=float, help="of churn (60), of a million pods (10)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="forget what was done, and its runs")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(RUNS, ignore_errors=True)
    state = State.load(RUNS / "state.json", seed=options.seed)
    for key, run in planned(options.only, options.rounds, options.seed, options.minutes):
        if key in state.rounds:
            continue
        done = run()
        state.add(key, done, ROOT)
        words = f"WRONG: {done.wrong}" if done.wrong else "nothing wrong"
        print(
            f"{key}: {done.what} at {done.moment_s:.1f} s, exit {done.exit_code}, {done.seconds:.0f} s: {words}",
            flush=True,
        )
        for kind, title in TITLES.items():
            state.write_page(kind, title, ROOT / "docs" / "soak")
    return 1 if any(each["wrong"] for each in state.rounds.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
