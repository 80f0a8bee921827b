"""Observations of real runs, kept small: golden runs of `deploy` and experiments of each class.

`python -m tests.classifiers.recorded RUN` makes them anew, of a labelled run (tests/labelled) whose verdicts are as its
labels say. One JSON line each, compressed all together: {"class": null for a golden run, "why", "observation"}.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from classifiers.observation import Observation
from classifiers.record import observation_from_json, observation_to_json
from classifiers.verdict import OrchestratorFailure

__all__ = ["Recorded", "keep", "recorded"]

_FILE = Path(__file__).parent / "deploy.jsonl.xz"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One of them. `expected`: None for a golden run; `why`: what was done, in words."""

    expected: OrchestratorFailure | None
    why: str
    observation: Observation


def recorded() -> tuple[Recorded, ...]:
    """All of them, golden runs first."""
    lines = map(json.loads, lzma.decompress(_FILE.read_bytes()).splitlines())
    return tuple(
        Recorded(
            OrchestratorFailure(line["class"]) if line["class"] else None,
            line["why"],
            observation_from_json(line["observation"]),
        )
        for line in lines
    )


def keep(those: Iterable[Recorded]) -> int:
    """Writes them; returns the file's size in bytes."""
    lines = (
        {
            "class": each.expected.value if each.expected else None,
            "why": each.why,
            "observation": observation_to_json(each.observation),
        }
        for each in those
    )
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    return _FILE.write_bytes(lzma.compress(text.encode()))
