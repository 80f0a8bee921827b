"""Planning the `paper` preset's 9,000 faults from the recording that ships: seconds from the spec to the text of its
plan, and how large the recordings are."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks import Figure
from campaigns.planning.plan import plan, plan_to_json
from campaigns.planning.recordings_found import SHIPPED, find_recordings
from campaigns.spec.campaign_spec import load_preset

__all__ = ["measure"]

_GOAL_S, _GOAL_KB = 10.0, 300.0


def measure(rounds: int, seconds: float, say: Callable[[str], object]) -> list[Figure]:
    """The best of `rounds`, by the clock on the wall and by the processor; `seconds` is not used."""
    wall, cpu, faults = [], [], 0
    for number in range(rounds):
        say(f"planning: round {number + 1} of {rounds}")
        began, used = time.perf_counter(), time.process_time()
        spec, _ = load_preset("paper")
        made = plan(spec, find_recordings(spec).recordings)
        plan_to_json(made)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        faults = sum(not each.golden for each in made.experiments)
    largest = max(path.stat().st_size for path in SHIPPED.glob("*.recording"))
    return [
        Figure(name=f"planning {faults:,} experiments", value=min(wall), unit="s", goal=_GOAL_S),
        Figure(name="the same, processor time", value=min(cpu), unit="s", goal=None),
        Figure(name="the largest recording", value=largest / 1000, unit="kB", goal=_GOAL_KB),
    ]
